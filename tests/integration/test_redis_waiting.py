"""Waiting for commits in Redis: who tells, and what ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from redis_checks import raw_client

from antiphon.errors import IncompatibleStore, NotConnected, PositionLost, StoreUnavailable
from antiphon.storage.journal import Position
from antiphon.storage.redis_client import _looking_at
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis

_LONG_S = 30.0


@pytest.fixture
def raw(redis_server: Redis) -> Iterator[Any]:
    """The Redis of the test's own past the store."""
    with raw_client(redis_server.redis_url) as raw:
        yield raw


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    """Threads to wait in."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _value(data: bytes = b"data") -> StringValue:
    return StringValue(data, {})


def _blocked(raw: Any, count: int = 1) -> None:
    """Return when so many clients of Redis are blocked."""
    deadline = time.monotonic() + _LONG_S
    while raw.info("clients")["blocked_clients"] != count:
        assert time.monotonic() < deadline, f"no {count} blocked clients"


def _wait(beside: ThreadPoolExecutor, store: RedisStore) -> Future[Position]:
    return beside.submit(store.wait, store.head(), _LONG_S)


def test_redis_itself_tells(redis_server: Redis, raw: Any, beside: ThreadPoolExecutor) -> None:
    """While somebody waits nothing is sent, and one commit costs no more than one question."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        waiting = _wait(beside, store)
        _blocked(raw)
        raw.config_resetstat()
        threading.Event().wait(0.5)
        calls = set(raw.info("commandstats"))
        store.set("a", _value())

        assert {"cmdstat_config|resetstat"} == calls
        assert store.head() == waiting.result(_LONG_S)


def test_a_restart_is_outlived(redis_server: Redis, raw: Any, beside: ThreadPoolExecutor) -> None:
    """Who waits while Redis is killed and started again goes on waiting, and hears."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        store.set("a", _value())
        waiting = _wait(beside, store)
        _blocked(raw)
        redis_server.kill()
        redis_server.restart()
        _blocked(raw)
        store.set("b", _value())

        assert store.head() == waiting.result(_LONG_S)


def test_a_redis_that_is_gone_is_told(
    redis_server: Redis, raw: Any, beside: ThreadPoolExecutor
) -> None:
    """Who waits hears that the head cannot be read."""
    with RedisStore(redis_server.redis_url, namespace="n", retry_s=0.1) as store:
        waiting = _wait(beside, store)
        _blocked(raw)
        redis_server.kill()

        with pytest.raises(StoreUnavailable):
            waiting.result(_LONG_S)


def test_a_redis_that_was_emptied_is_told(
    redis_server: Redis, raw: Any, beside: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis does not say that the journal is gone, so it is asked now and then."""
    monkeypatch.setattr("antiphon.storage.redis_waiting._ASK_ANEW_S", 0.1)
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        waiting = _wait(beside, store)
        _blocked(raw)
        raw.flushdb()

        with pytest.raises(IncompatibleStore, match="emptied"):
            waiting.result(_LONG_S)


def test_disconnecting_needs_no_redis(
    redis_server: Redis, raw: Any, beside: ThreadPoolExecutor
) -> None:
    """Who waits for a Redis that does not answer any more is let go at once."""
    store = RedisStore(redis_server.redis_url, namespace="n")
    store.connect()
    waiters = [_wait(beside, store) for _ in range(3)]
    _blocked(raw, 3)
    redis_server.pause()
    begun = time.monotonic()
    store.disconnect()
    for waiting in waiters:
        with pytest.raises(NotConnected):
            waiting.result(_LONG_S)
    redis_server.resume()

    assert time.monotonic() - begun < 5


def test_new_entries_are_handed_out(
    redis_server: Redis, raw: Any, beside: ThreadPoolExecutor
) -> None:
    """Who asks for what follows a position gets it with the commit, or at once."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        begin = store.head()
        tailing = beside.submit(store.tail, begin, _LONG_S)
        _blocked(raw)
        store.set("a", _value())
        first = tailing.result(_LONG_S)
        store.set("b", _value())

        assert [entry.key for entry in first] == ["a"]
        assert [*store.tail(begin, _LONG_S)] == [*store.since(begin)]
        assert [*store.tail(store.head(), 0.01)] == []


def test_entries_of_another_store_are_not_handed_out(redis_server: Redis, raw: Any) -> None:
    """A namespace that was emptied, and has a new store, tells nothing to those of the old."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        begin = store.head()
        raw.flushdb()
        with RedisStore(redis_server.redis_url, namespace="n") as other:
            other.set("a", _value())

            with pytest.raises(PositionLost):
                store.tail(begin, _LONG_S)


def test_what_has_arrived_and_nobody_has_read_is_seen(redis_server: Redis) -> None:
    """Another thread finds out that there is an answer, and that there is none."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        client = store._here.client
        connection = client._take(may_be_stale=True)
        connection.connect()
        client._waiting[connection] = _looking_at(connection)
        was_there = store.has_arrivals()
        connection.send_packed_command([b"PING\r\n"])
        deadline = time.monotonic() + _LONG_S
        while not store.has_arrivals():
            assert time.monotonic() < deadline, "the answer is not seen"
        client._waiting.clear()
        connection.disconnect()

        assert was_there is False


def test_who_tails_is_let_go_with_the_store(
    redis_server: Redis, raw: Any, beside: ThreadPoolExecutor
) -> None:
    """``wake`` ends the question with an error."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        tailing = beside.submit(store.tail, store.head(), _LONG_S)
        _blocked(raw)
        store.wake()

        with pytest.raises(StoreUnavailable):
            tailing.result(_LONG_S)
