"""The Redis store through lost answers, silent servers, restarts and forks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bus_helpers import wait_until
from redis_checks import assert_consistent, host_and_port
from redis_data import make_durable, restart
from redis_proxy import RedisProxy

from antiphon.errors import StoreUnavailable, VersionConflict
from antiphon.events.event_manager import EventManager
from antiphon.storage.events import StoreDeleteEvent
from antiphon.storage.journal import ABSENT
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis


@pytest.fixture
def proxy(redis_url: str) -> Iterator[RedisProxy]:
    """A proxy before the Redis of the test."""
    with RedisProxy(*host_and_port(redis_url), urlsplit(redis_url).path.strip("/")) as proxy:
        yield proxy


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, which loses nothing when it is killed."""
    make_durable(redis_server)
    return redis_server


def _open(url: str, **options: float) -> RedisStore:
    return RedisStore(url, namespace="n", **options)  # type: ignore[arg-type]


def test_a_lost_answer_makes_no_second_change(redis_url: str, proxy: RedisProxy) -> None:
    """A set whose answer was lost is asked for again, and was done once."""
    with _open(proxy.url) as store:
        store.set("a", StringValue(b"one", {}))
        proxy.lose_next_answer()
        version = store.set("a", StringValue(b"two", {"n": 1}), expect=store.get("a").version)

        assert (b"two", version) == (store.get("a").data.read(), store.get("a").version)
    assert ["set", "update"] == [e.action for e in assert_consistent(redis_url, "n")]


def test_a_large_value_is_kept_through_a_lost_answer(redis_url: str, proxy: RedisProxy) -> None:
    """Staging again what was committed already does not give it an end of its time."""
    with _open(proxy.url) as store:
        store.set("a", StringValue(b"1" * 100_000, {}))
        proxy.lose_next_answer()
        store.set("a", StringValue(b"2" * 100_000, {}))

        assert b"2" * 100_000 == store.get("a").data.read()
    assert_consistent(redis_url, "n")


def test_a_lost_answer_is_told_with_its_metadata(redis_url: str, proxy: RedisProxy) -> None:
    """What the event of a delete carries comes through a lost answer, although the key is gone."""
    heard: list[dict[str, object]] = []

    def hear(event: StoreDeleteEvent) -> None:
        heard.append(event.metadata)

    with _open(proxy.url) as store:
        store.event_manager = EventManager()
        store.event_manager.connect(StoreDeleteEvent, hear)
        store.set("a", StringValue(b"", {"n": 1}))
        proxy.lose_next_answer()
        store.delete("a")

    assert [{"n": 1}] == heard


def test_a_call_that_arrives_after_its_repetition_does_nothing(
    redis_url: str, proxy: RedisProxy
) -> None:
    """A request that was stuck in the network while it was repeated is recognised."""
    with _open(proxy.url, timeout_s=0.5) as store:
        store.exists("a")
        proxy.hold_next_request()
        store.set("a", StringValue(b"one", {}))
        store.set("a", StringValue(b"two", {}))
        proxy.let_go()

        assert b"two" == store.get("a").data.read()
    assert ["set", "update"] == [e.action for e in assert_consistent(redis_url, "n")]


def test_a_refusal_stays_a_refusal_when_the_first_call_arrives_late(
    redis_url: str, proxy: RedisProxy
) -> None:
    """After VersionConflict nothing is written, not even by a request that was stuck."""
    with _open(proxy.url, timeout_s=0.5) as store, _open(redis_url) as other:
        other.set("a", StringValue(b"theirs", {}))
        proxy.hold_next_request()
        with pytest.raises(VersionConflict):
            store.set("a", StringValue(b"mine", {}), expect=ABSENT)
        other.delete("a")
        proxy.let_go()

        assert not store.exists("a")
    assert ["set", "delete"] == [e.action for e in assert_consistent(redis_url, "n")]


def test_small_values_take_one_round_trip(proxy: RedisProxy) -> None:
    """Setting, getting, deleting and asking are one request each."""
    with _open(proxy.url) as store:
        store.set("a", StringValue(b"1", {"n": 1}))
        store.delete("a")  # Redis knows the scripts from now on.
        store.set("a", StringValue(b"1", {"n": 1}))
        for call in (
            lambda: store.set("a", StringValue(b"2", {"n": 2})),
            lambda: store.get("a").data.read(),
            lambda: store.get_metadata("a"),
            lambda: store.exists("a"),
            lambda: store.delete("a"),
        ):
            before = proxy.requests
            call()

            assert 1 == proxy.requests - before


def test_many_keys_take_one_round_trip(proxy: RedisProxy) -> None:
    """So do twenty keys that are set, and read, together."""
    keys = [f"k{number}" for number in range(20)]
    with _open(proxy.url) as store:
        store.multiset(keys, [StringValue(b"1", {"n": 1}) for _ in keys])
        for call in (
            lambda: store.multiset(keys, [StringValue(b"2", {"n": 2}) for _ in keys]),
            lambda: list(store.multiget(keys)),
            lambda: list(store.multiget_data(keys)),
            lambda: list(store.multiget_metadata(keys)),
            lambda: list(store.query_keys(n=2)),
        ):
            before = proxy.requests
            call()

            assert 1 == proxy.requests - before


def test_a_restarted_redis_is_used_again(redis_server: Redis) -> None:
    """Calls after a restart connect anew, without the caller's doing."""
    with _open(redis_server.redis_url) as store:
        store.set("a", StringValue(b"1", {}))
        restart(redis_server)

        assert b"1" == store.get("a").data.read()
        restart(redis_server)
        store.set("a", StringValue(b"2", {}))
        restart(redis_server)
        assert ["a"] == list(store.query_keys())
    assert 2 == len(assert_consistent(redis_server.redis_url, "n"))


def test_a_call_that_is_not_repeated_finds_a_closed_connection_before(
    redis_server: Redis,
) -> None:
    """What Redis has hung up on meanwhile costs a new connection, and no error."""
    with _open(redis_server.redis_url) as store:
        store.exists("a")
        redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        assert b"PONG" == store._here.client.call("PING", retry=False)


def test_a_store_that_is_closed_while_it_is_used_leaves_nothing_open(proxy: RedisProxy) -> None:
    """A connection that comes back after the end is closed as well."""
    with _open(proxy.url, timeout_s=0.5, retry_s=0.1) as store:
        store.exists("a")
        proxy.hold_next_request()
        client = store._here.client
        thread = threading.Thread(target=lambda: store.exists("a"))
        requests = proxy.requests
        thread.start()
        wait_until(lambda: proxy.requests > requests, "the request")
        store.disconnect()
        proxy.let_go()
        thread.join()

        assert [None] == [connection._sock for connection in client._idle]


def test_calls_wait_for_a_redis_that_is_starting(redis_server: Redis) -> None:
    """While Redis is away for less than retry_s, a call takes longer and does not fail."""
    with _open(redis_server.redis_url, retry_s=60.0) as store:
        store.set("a", StringValue(b"1", {}))
        redis_server.kill()
        redis_server.start()  # without waiting

        assert b"1" == store.get("a").data.read()


def test_a_silent_redis_is_given_up(redis_server: Redis) -> None:
    """A Redis that answers nothing costs the timeout, twice at most, and says so."""
    with _open(redis_server.redis_url, timeout_s=0.2, retry_s=0.1) as store:
        store.set("a", StringValue(b"1", {}))
        redis_server.pause()
        with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
            store.get("a")
        redis_server.resume()

        assert b"1" == store.get("a").data.read()


_FORKS = """
import os, sys
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue

with RedisStore(sys.argv[1], namespace="n") as store:
    for number in range(3):
        store.set("warm", StringValue(b"", {}))
    child = os.fork()
    name = "parent" if child else "child"
    for number in range(200):
        store.set(f"{name}/{number}", StringValue(name.encode(), {}))
        assert store.get(f"{name}/{number}").data.read() == name.encode()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_child_has_connections_of_its_own(redis_url: str) -> None:
    """Parent and child use the same store object at once, and neither gets the other's answers."""
    done = subprocess.run(
        [sys.executable, "-c", _FORKS, redis_url], capture_output=True, text=True, timeout=60
    )

    assert (0, "") == (done.returncode, done.stderr)
    entries = assert_consistent(redis_url, "n")
    assert 403 == len(entries)
    assert 2 == len({e.owner for e in entries})
