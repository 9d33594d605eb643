"""A Redis whose log was torn in mid-commit: by kill -9 or a power cut during its write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis_checks import assert_consistent, raw_client
from redis_data import make_durable, read_data, restart, start, write_data

from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis


@pytest.fixture
def redis_server(redis_server: Redis) -> Redis:
    """A Redis of the test's own, which loses nothing when it is killed."""
    make_durable(redis_server)
    return redis_server


def _tear(server: Redis, at: float) -> None:
    """Have Redis end in the middle of writing the last script's changes, at that part of them."""

    def tear(log: bytes) -> int:
        begin = log.rindex(b"*1\r\n$5\r\nMULTI\r\n")
        end = log.index(b"*1\r\n$4\r\nEXEC\r\n", begin)
        return begin + int((end - begin) * at)

    _cut(server, tear)


def _cut(server: Redis, end_of: Callable[[bytes], int]) -> None:
    """Have Redis end when it had written its log so far."""
    server.kill()
    files = read_data(server)
    log = max(name for name in files if name.endswith(".incr.aof"))
    write_data(server, {**files, log: files[log][: end_of(files[log])]})
    start(server)


def _change_much(store: RedisStore) -> None:
    with store.transaction():
        store.set("a", StringValue(b"torn" * 100, {"n": 1, "torn": True}))
        store.set("b", StringValue(b"x" * 50_000, {"torn": True}))
        store.delete("old")
        store.set("new", StringValue(b"torn", {"torn": True}))


@pytest.mark.parametrize("at", [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97])
def test_a_torn_commit_never_becomes_half_of_one(redis_server: Redis, at: float) -> None:
    """It is done in full or not at all, and what is committed later stays, restart for restart."""
    url = redis_server.redis_url
    with RedisStore(url, namespace="n") as store:
        for key in ("a", "b", "old"):
            store.set(key, StringValue(b"1", {"n": 0}))
        _change_much(store)
        _tear(redis_server, at)

    for later in range(2):
        with RedisStore(url, namespace="n") as store:
            torn = list(store.query_keys(torn=True))
            store.set(f"later/{later}", StringValue(b"2", {}))
            assert [] == torn or ["a", "b", "new"] == torn
            assert store.exists("old") == (torn == [])
        restart(redis_server)
        keys = [entry.key for entry in assert_consistent(url, "n", after_crash=True)]
        assert later + 1 == sum(key.startswith("later/") for key in keys)


def test_who_stays_connected_sees_no_half_either(redis_server: Redis) -> None:
    """A reader that only reads, through both restarts, finds the torn commit whole."""
    with RedisStore(redis_server.redis_url, namespace="n") as store:
        for key in ("a", "b", "old"):
            store.set(key, StringValue(b"1", {"n": 0}))
        _change_much(store)
        _tear(redis_server, 0.6)

        assert ["a", "b", "new"] == list(store.query_keys(torn=True))
        restart(redis_server)
        assert ["a", "b", "new"] == list(store.query_keys(torn=True))
    assert_consistent(redis_server.redis_url, "n", after_crash=True)


def test_a_half_that_came_to_life_is_made_whole(redis_server: Redis) -> None:
    """Where another program's transaction was added to the torn half, the rest is done as well."""
    url = redis_server.redis_url
    with RedisStore(url, namespace="n") as store:
        for key in ("a", "b", "old"):
            store.set(key, StringValue(b"1", {"n": 0}))
        _change_much(store)
    _tear(redis_server, 0.7)
    with raw_client(url) as raw:
        raw.pipeline(transaction=True).set("x", 1).set("y", 2).execute()
    restart(redis_server)

    assert 7 == len(assert_consistent(url, "n", after_crash=True))


def test_chunks_whose_end_was_torn_off_are_collected(redis_server: Redis) -> None:
    """Staged data that have no end of their time, because Redis died, go when it would be over."""
    url = redis_server.redis_url
    with RedisStore(url, namespace="n") as store:
        token = store._stage([b"x" * 600_000]).token
        _cut(redis_server, lambda log: log.rindex(b"PEXPIREAT"))
    with raw_client(url) as raw:
        orphan = "{n}:g:" + token
        assert (2, -1) == (raw.hlen(orphan), raw.ttl(orphan))
        assert_consistent(url, "n", after_crash=True)
        raw.zadd("{n}:staging", {token: 1})
        with RedisStore(url, namespace="n") as store:
            store.set("large", StringValue(b"y" * 100_000, {}))

        assert 0 == raw.exists(orphan)
        assert 1 == len(raw.keys("{n}:g:*"))
    assert_consistent(url, "n")


def test_what_is_committed_is_not_collected(redis_url: str) -> None:
    """However a large value came to its key, nothing notes it as staged any more."""
    with RedisStore(redis_url, namespace="n") as store, raw_client(redis_url) as raw:
        store.set("a", StringValue(b"x" * 100_000, {}))
        store.set("b", StringValue(b"x" * 3_000_000, {}))
        with store.transaction():
            store.delete("a")
            store.set("a", StringValue(b"y" * 3_000_000, {}))
        with pytest.raises(OSError, match="the source failed"):
            store.set("b", (_Failing(), {}))

        assert 0 == raw.zcard("{n}:staging")


class _Failing:
    """A stream that fails when much of it was read."""

    def __init__(self) -> None:
        self._left = 10

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if not self._left:
            raise OSError("the source failed")
        return b"z" * 500_000
