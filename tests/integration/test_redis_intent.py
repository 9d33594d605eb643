"""A commit that was written down and not done yet: its writer died, or Redis did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from redis_checks import assert_consistent, raw_client

from antiphon.errors import StoreUnavailable
from antiphon.storage.redis_calls import PackedCall
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import Redis

MIB = 1 << 20


@pytest.fixture
def other(redis_url: str) -> Iterator[RedisStore]:
    """A writer that lives on, connected before the other one dies."""
    with RedisStore(redis_url, namespace="n") as store:
        store.set("a", StringValue(b"old", {"n": 0}))
        yield store


def _die_in_commit(redis_url: str, write: Callable[[RedisStore], object]) -> None:
    """Have a process write that ends after its commit was written down."""
    with RedisStore(redis_url, namespace="n") as store:
        client = store._here.client
        run_all = client.run_all

        def cut(calls: Callable[[bool], Sequence[Any]]) -> list[Any]:
            if not isinstance(calls(False)[-1], PackedCall):
                return run_all(calls)  # puts a large value aside
            run_all(lambda is_repetition: calls(is_repetition)[:-1])
            raise StoreUnavailable("the process has ended")

        client.run_all = cut  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            write(store)


def _set_both(store: RedisStore) -> None:
    with store.transaction():
        store.set("a", StringValue(b"new", {"n": 1}))
        store.set("large", StringValue(b"x" * 2 * MIB, {"n": 1}))


def test_readers_see_nothing_of_it_before_it_is_done(redis_url: str, other: RedisStore) -> None:
    """What is written down is not half visible."""
    _die_in_commit(redis_url, _set_both)

    assert [("a", {"n": 0})] == list(other.query())
    assert 1 == other.head().sequence


def test_the_next_who_commits_does_it_first(redis_url: str, other: RedisStore) -> None:
    """It has its place in the journal before whatever comes after it."""
    _die_in_commit(redis_url, _set_both)
    other.set("b", StringValue(b"later", {}))

    entries = assert_consistent(redis_url, "n")
    assert ["a", "a", "large", "b"] == [entry.key for entry in entries]
    assert b"x" * 2 * MIB == other.get("large").data.read()


def test_a_condition_is_checked_after_it_was_done(redis_url: str, other: RedisStore) -> None:
    """Who expects the version from before it is refused."""
    before = other.get("a").version
    _die_in_commit(redis_url, _set_both)

    with pytest.raises(Exception, match="was expected"):
        other.set("a", StringValue(b"mine", {}), expect=before)
    assert b"new" == other.get("a").data.read()


def test_the_next_who_connects_does_it(redis_url: str, other: RedisStore) -> None:
    """Nobody needs to write for it to be there."""
    _die_in_commit(redis_url, _set_both)
    with RedisStore(redis_url, namespace="n") as store:
        assert {"a", "large"} == set(store.query_keys(n=1))

    assert 3 == len(assert_consistent(redis_url, "n"))


@pytest.mark.parametrize("write", [_set_both, lambda store: store.delete("a")])
def test_it_is_done_though_memory_has_run_out(
    redis_server: Redis, write: Callable[[RedisStore], object]
) -> None:
    """What was written down while there was room is not refused half-way."""
    url = redis_server.redis_url
    with RedisStore(url, namespace="n") as store:
        store.set("a", StringValue(b"old", {"n": 0}))
    _die_in_commit(url, write)
    redis_server.command("CONFIG", "SET", "maxmemory", "1000")
    with RedisStore(url, namespace="n") as store:
        assert not list(store.query_keys(n=0))
    redis_server.command("CONFIG", "SET", "maxmemory", "0")

    assert ["a"] == [entry.key for entry in assert_consistent(url, "n")][1:2]


def test_it_is_dropped_whole_if_a_staged_value_is_gone(redis_url: str, other: RedisStore) -> None:
    """After an hour its data are gone; then nothing of it happens, and others go on."""
    _die_in_commit(redis_url, _set_both)
    with raw_client(redis_url) as raw:
        raw.delete(*raw.keys("{n}:g:*"))
    other.set("b", StringValue(b"later", {}))

    assert ["a", "b"] == [entry.key for entry in assert_consistent(redis_url, "n")]
    assert b"old" == other.get("a").data.read()
