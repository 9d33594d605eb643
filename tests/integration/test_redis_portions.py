"""Large commits to Redis do not keep others waiting: portions, and a most for transactions."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from redis_checks import assert_consistent, journal_of, raw_client

from antiphon.errors import PositionLost, TransactionTooLarge
from antiphon.storage.portions import Portion
from antiphon.storage.redis_store import MOST, PORTION, RedisStore
from antiphon.storage.string_value import StringValue


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """A new store."""
    with RedisStore(redis_url, namespace="n") as store:
        yield store


@pytest.fixture
def small(store: RedisStore) -> RedisStore:
    """The store, with little room for transactions."""
    store._most = Portion(changes=5, entries=20, size=1000)
    return store


def _keys(count: int) -> list[str]:
    return [f"prices/{number:06}" for number in range(count)]


def test_more_keys_than_a_transaction_may_have_are_set_in_portions(
    store: RedisStore, redis_url: str
) -> None:
    """Each commit has at most one portion, and everything fits together at the end."""
    store._most = Portion(PORTION.changes, PORTION.entries, PORTION.size)
    keys = _keys(2 * PORTION.changes + 1)
    store.multiset(keys, (StringValue(b"1", {"n": number}) for number in range(len(keys))))
    entries = assert_consistent(redis_url, "n")
    ends = [-1, *(number for number, entry in enumerate(entries) if entry.last)]

    assert [PORTION.changes, PORTION.changes, 1] == [b - a for a, b in pairwise(ends)]
    assert keys == [entry.key for entry in entries]


def test_large_values_are_set_in_smaller_portions(store: RedisStore) -> None:
    """What Redis copies at once is bounded by bytes, too."""
    keys = _keys(300)
    store.multiset(keys, (StringValue(b"1" * 10_000) for _ in keys))
    ends = [number for number, entry in enumerate(journal_of(store)) if entry.last]

    assert [103, 207, 299] == ends


@pytest.mark.parametrize(
    ("count", "metadata"),
    [(6, {}), (3, dict.fromkeys("abcdefg", 1)), (2, {"text": "x" * 600})],
    ids=["changes", "entries", "bytes"],
)
def test_a_transaction_that_is_too_large_is_refused(
    small: RedisStore, redis_url: str, count: int, metadata: dict[str, Any]
) -> None:
    """Before anything is written; the store goes on."""
    small.set("before", StringValue(b"1"))
    head = small.head()
    with pytest.raises(TransactionTooLarge, match="Nothing was written"), small.transaction():
        for key in _keys(count):
            small.set(key, StringValue(b"1" * 100_000, metadata))

    assert (head, ["before"]) == (small.head(), list(small.query_keys()))
    with raw_client(redis_url) as raw:
        assert [] == [name for name in raw.scan_iter() if b":g:" in name or b"staging" in name]


def test_what_a_refused_transaction_has_staged_is_removed(
    small: RedisStore, redis_url: str
) -> None:
    """Nobody has to wait an hour for its memory."""
    with pytest.raises(TransactionTooLarge), small.transaction():
        for key in _keys(6):
            small.set_data(key, io.BytesIO(b"1" * 1_100_000))
    with raw_client(redis_url) as raw:
        assert [] == [name for name in raw.scan_iter() if b":g:" in name or b"staging" in name]


def test_a_transaction_may_be_as_large_as_it_says(small: RedisStore) -> None:
    """And one change may be of any size."""
    with small.transaction():
        for key in _keys(5):
            small.set(key, StringValue(b"1" * 5000, dict.fromkeys("abcd", 1)))
    small.set_metadata("large", {"text": "x" * 2000})

    assert (6, True) == (small.head().sequence, journal_of(small)[4].last)


def test_a_transaction_that_is_larger_than_the_journal(redis_url: str) -> None:
    """Readers find all of it, or that their position is lost; and go on after it."""
    with RedisStore(redis_url, namespace="short", journal_length=50) as store:
        store.set("before", StringValue(b"1"))
        before = store.head()
        keys = _keys(1000)
        with store.transaction():
            for key in keys:
                store.set(key, StringValue(b"1"))
        after = store.head()
        try:
            found: list[str | None] = [entry.key for entry in store.since(before)]
        except PositionLost:
            found = []
        store.set("after", StringValue(b"1"))

        assert found in ([], keys)
        assert ["after"] == [entry.key for entry in store.since(after)]


def test_the_largest_transaction_keeps_nobody_waiting_for_seconds(
    store: RedisStore, redis_url: str
) -> None:
    """Redis gives up on everybody after five; and a portion it is done with soon."""
    with raw_client(redis_url) as raw:
        raw.config_set("slowlog-log-slower-than", 1000)
        raw.slowlog_reset()
        keys = _keys(MOST.changes)
        metadata = {name: name for name in "abc"} | {"n": 1}
        with store.transaction():
            for key in keys:
                store.set(key, StringValue(b"1" * 100, metadata))
        largest = max(entry["duration"] for entry in raw.slowlog_get(128)) / 1e6
        raw.slowlog_reset()
        store.multiset(keys, (StringValue(b"2" * 100, metadata) for _ in keys))
        portion = max(entry["duration"] for entry in raw.slowlog_get(128)) / 1e6
        raw.config_set("slowlog-log-slower-than", 10_000)

    assert (True, True) == (largest < 4, portion < largest / 5)
