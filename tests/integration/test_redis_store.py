"""What only the Redis store promises: identity, index, large values, journal in one namespace."""

from __future__ import annotations

import contextlib
import io
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from redis_checks import assert_consistent, journal_of, raw_client

from antiphon.errors import IncompatibleStore, PositionLost, StoreError, VersionConflict
from antiphon.events.event_id import next_event_id
from antiphon.storage.changes import Change
from antiphon.storage.journal import ABSENT, Position, new_entry_id
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue

MIB = 1 << 20


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    """A new store."""
    with RedisStore(redis_url, namespace="n") as store:
        yield store


@pytest.fixture
def raw(redis_url: str) -> Iterator[Any]:
    """The same database past the store."""
    with raw_client(redis_url) as raw:
        yield raw


# -- Identity ------------------------------------------------------------------


def test_all_who_connect_at_once_find_one_store(redis_url: str) -> None:
    """The first of many to connect names the store, and the others take its name."""
    barrier = threading.Barrier(12)
    found: list[object] = []

    def connect() -> None:
        store = RedisStore(redis_url, namespace="n")
        barrier.wait()
        with store:
            found.append((store.store_id, store.head()))

    threads = [threading.Thread(target=connect) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 12 == len(found)
    assert 1 == len(set(found))


def test_namespaces_are_stores_of_their_own(store: RedisStore, redis_url: str) -> None:
    """Another namespace has another identity and sees nothing of the first."""
    store.set("a", StringValue(b"1", {"n": 1}))
    with RedisStore(redis_url, namespace="n:k") as other:
        assert store.store_id != other.store_id
        assert [] == list(other.query())
        assert 0 == other.head().sequence


def test_the_origin_is_the_namespace_unless_given(redis_url: str) -> None:
    """Events are routed by the namespace's name; another can be given."""
    assert "n" == RedisStore(redis_url + "?namespace=n").origin
    assert "shop" == RedisStore(redis_url, namespace="n", origin="shop").origin


@pytest.mark.parametrize("number", ["1", "3"])
def test_another_format_is_refused(
    store: RedisStore, raw: Any, redis_url: str, number: str
) -> None:
    """What another version has written is not touched, and the message says what to do."""
    raw.hset("{n}:meta", "format", number)

    with pytest.raises(IncompatibleStore, match=rf"has format {number}.*knows format 2"):
        RedisStore(redis_url, namespace="n").connect()


def test_keys_of_another_program_are_refused(raw: Any, redis_url: str) -> None:
    """A namespace that is in use otherwise is left as it is."""
    raw.set("{string}:meta", "theirs")
    raw.hset("{hash}:meta", "title", "theirs")
    raw.set("{part}:keys", "theirs")

    for namespace in ("string", "hash", "part"):
        with pytest.raises(IncompatibleStore, match="another program"):
            RedisStore(redis_url, namespace=namespace).connect()
    assert 3 == raw.dbsize()


def test_a_copy_without_identity_becomes_a_store_of_its_own(
    store: RedisStore, raw: Any, redis_url: str
) -> None:
    """Who copies a database removes the meta hash; the data stay, history begins anew."""
    store.set("a", StringValue(b"1", {"n": 1}))
    old = store.head()
    raw.delete("{n}:meta")
    with RedisStore(redis_url, namespace="n") as copy:
        assert (2, 0) == (copy.head().epoch, copy.head().sequence)
        assert copy.store_id != store.store_id
        assert ["a"] == list(copy.query_keys(n=1))
        with pytest.raises(PositionLost):
            copy.since(old)
        copy.set("a", StringValue(b"2", {}))
        begin = Position(copy.head().store_id, 2, 0, b"")
        assert ["update"] == [e.action for e in copy.since(begin)]


def test_an_emptied_redis_is_noticed(store: RedisStore, raw: Any) -> None:
    """After FLUSHDB nothing is written under the old identity, and connecting begins anew."""
    store.set("a", StringValue(b"1", {}))
    before = store.store_id
    raw.flushdb()

    with pytest.raises(IncompatibleStore, match="connect again"):
        store.set("b", StringValue(b"2", {}))
    with pytest.raises(IncompatibleStore, match="onnect again"):
        store.head()
    assert 0 == raw.dbsize()
    store.disconnect()
    store.connect()
    assert store.store_id != before
    store.set("b", StringValue(b"2", {}))


# -- Commits -------------------------------------------------------------------


def test_one_refused_change_refuses_all(store: RedisStore, redis_url: str) -> None:
    """A transaction whose last condition fails leaves data, index and journal as they were."""
    store.set("a", StringValue(b"1", {"n": 1}))
    store.set("b", StringValue(b"1", {"n": 1}))
    stale = store.get("b").version
    store.set("b", StringValue(b"2", {"n": 1}))
    head = store.head()

    def change_all() -> None:
        with store.transaction():
            store.set("a", StringValue(b"x" * 2 * MIB, {"n": 2}))
            store.delete("a")
            store.set("new", StringValue(b"y" * 50_000, {}))
            store.set("b", StringValue(b"3", {}), expect=stale)

    with pytest.raises(VersionConflict, match=r"'b'.*expected"):
        change_all()

    assert head == store.head()
    assert {"a", "b"} == set(store.query_keys(n=1))
    assert_consistent(redis_url, "n")


def test_changes_of_one_key_apply_in_order(store: RedisStore, redis_url: str) -> None:
    """Several changes of a key in one commit end as they would one by one."""
    store.set("a", StringValue(b"old", {"n": 1, "m": 1}))
    with store.transaction():
        store.set("a", StringValue(b"x" * 20_000, {"n": 2}))
        store.delete("a")
        store.set_metadata("a", {"n": 3})
        store.update_metadata("a", {"k": 4})
        store.set("b", StringValue(b"y" * 2 * MIB, {}))
        store.delete("b")

    value = store.get("a")
    assert (b"", {"n": 3, "k": 4}) == (value.data.read(), value.metadata)
    actions = [(e.key, e.action, e.last) for e in assert_consistent(redis_url, "n")]
    assert [
        ("a", "set", True),
        ("a", "update", False),
        ("a", "delete", False),
        ("a", "set", False),
        ("a", "update", False),
        ("b", "set", False),
        ("b", "delete", True),
    ] == actions


def test_a_thousand_changes_are_one_commit(store: RedisStore, redis_url: str) -> None:
    """A large transaction is one run in the journal, read in several pages."""
    with store.transaction():
        for number in range(1200):
            store.set(f"k{number:04}", StringValue(b"v", {"n": number % 2}))

    entries = assert_consistent(redis_url, "n")
    assert [1200] == [e.version.sequence for e in entries if e.last]
    assert 600 == len(list(store.query_keys(n=1)))


def test_much_data_in_one_transaction(store: RedisStore, redis_url: str) -> None:
    """What would make one call too long is put aside before."""
    with store.transaction():
        for number in range(14):
            store.set(f"k{number}", StringValue(bytes([number]) * MIB, {}))

    assert [bytes([n]) * MIB for n in range(14)] == [
        store.get(f"k{n}").data.read() for n in range(14)
    ]
    assert_consistent(redis_url, "n")


# -- Queries -------------------------------------------------------------------


def test_long_values_are_found_exactly(store: RedisStore) -> None:
    """Values too long for the index are found, and others with the same beginning are not."""
    store.set("a", StringValue(b"", {"text": "x" * 5000 + "a"}))
    store.set("b", StringValue(b"", {"text": "x" * 5000 + "b"}))

    assert ["a"] == list(store.query_keys(text="x" * 5000 + "a"))


def test_the_index_knows_names_and_keys_apart(store: RedisStore) -> None:
    """No choice of names, values and keys makes one entry look like another."""
    store.set("a", StringValue(b"", {"n": "1"}))
    store.set('1"\x00a', StringValue(b"", {"n": ""}))
    store.set("b", StringValue(b"", {'n"\t1\x00': 1, "!n": 2, "": 3, "ü\n": 4}))

    assert ["a"] == list(store.query_keys(n="1"))
    assert ['1"\x00a'] == list(store.query_keys(n=""))
    for name, value in (('n"\t1\x00', 1), ("!n", 2), ("", 3), ("ü\n", 4)):
        assert ["b"] == list(store.query_keys(**{name: value}))


def test_several_conditions_are_met_by_all(store: RedisStore) -> None:
    """The rarest condition is looked up, and the others hold as well."""
    for number in range(20):
        store.set(f"k{number}", StringValue(b"", {"even": number % 2 == 0, "third": number % 3}))

    assert {"k4", "k10", "k16"} == set(store.query_keys(even=True, third=1))
    assert [] == list(store.query_keys(even=1, third=1))
    assert [] == list(store.query_keys(even=True, fourth=1))


def test_keys_are_listed_while_others_change(store: RedisStore) -> None:
    """What is there all the while comes exactly once, page by page."""
    with store.transaction():
        for number in range(1300):
            store.set(f"k{number:04}", StringValue(b"", {"n": 1}))
    found = []
    for number, key in enumerate(store.query_keys(n=1)):
        found.append(key)
        if number % 100 == 0:
            with contextlib.suppress(KeyError):
                store.delete(f"k{number * 2 + 1:04}")
            store.set(f"a{number}", StringValue(b"", {"n": 1}))

    assert len(found) == len(set(found))
    staying = {key for key in store.query_keys(n=1) if key.startswith("k")}
    assert staying <= set(found)


# -- Large values --------------------------------------------------------------


def test_an_open_reader_keeps_its_version(store: RedisStore) -> None:
    """A stream is read to its end although the key was replaced and deleted."""
    store.set("a", StringValue(b"1" * 3 * MIB, {}))
    stream = store.get("a").data
    begin = stream.read(10)
    store.set("a", StringValue(b"2" * 3 * MIB, {}))
    store.delete("a")

    assert b"1" * 3 * MIB == begin + stream.read()


def test_each_read_of_a_replaced_value_begins_its_grace_anew(store: RedisStore, raw: Any) -> None:
    """A slow reader is not cut off while it reads; who comes too late is told."""
    store.set("a", StringValue(b"1" * 3 * MIB, {}))
    (generation,) = raw.keys("{n}:g:*")
    stream = store.get("a").data
    store.delete("a")
    assert 0 < raw.ttl(generation) <= 120
    raw.expire(generation, 5)
    stream.read(MIB)

    assert raw.ttl(generation) > 100
    raw.delete(generation)
    with pytest.raises(StoreError, match="replaced more than 120 s ago"):
        stream.read()


def test_a_key_may_have_small_and_large_values_by_turns(store: RedisStore, redis_url: str) -> None:
    """Data move between record and chunks, and nothing of the old place stays."""
    for size in (10, 100_000, 3 * MIB, 0, 3 * MIB, 100_000, 20):
        store.set("a", StringValue(b"x" * size, {}))

        assert b"x" * size == store.get("a").data.read()
        assert_consistent(redis_url, "n")


def test_parts_are_read_without_the_rest(store: RedisStore, raw: Any) -> None:
    """A range fetches the chunks that it touches and no others."""
    data = b"".join(bytes([n % 251]) * 1000 for n in range(5000))
    store.set("a", StringValue(data, {}))
    (generation,) = raw.keys("{n}:g:*")
    raw.hdel(generation, 0, 4, 9)

    assert data[700_000:1_200_000] == store.get_data_range("a", 700_000, 1_200_000).read()
    with pytest.raises(StoreError):
        store.get("a").data.read(1)


def test_large_values_pass_in_little_memory(store: RedisStore) -> None:
    """Writing and reading 24 MiB holds a few chunks at a time."""

    class Source(io.RawIOBase):
        left = 24 * MIB

        def read(self, size: int = -1) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return b"x" * size

    tracemalloc.start()
    try:
        store.set_data("a", Source(), 64 * 1024)
        stream, size = store.get("a").data, 0
        while piece := stream.read(MIB // 4):
            size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert 24 * MIB == size
    assert peak < 12 * MIB


def test_a_source_that_fails_leaves_nothing(store: RedisStore, raw: Any) -> None:
    """An error in mid-value changes no key and leaves no chunk."""

    class Failing(io.RawIOBase):
        left = 5

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            if not self.left:
                raise OSError("the source failed")
            return b"x" * MIB

    with pytest.raises(OSError, match="the source failed"):
        store.set_data("a", Failing(), MIB)

    assert [] == raw.keys("{n}:[gk]:*")


def test_what_a_dead_process_staged_goes_by_itself(store: RedisStore, raw: Any) -> None:
    """Staged chunks have an end of their time until they are committed, and then none."""
    staged = store._stage([b"x" * 2 * MIB])
    (generation,) = raw.keys("{n}:g:*")
    assert 3500 < raw.ttl(generation) <= 3600

    store._commit([_change("a", data=staged)])
    assert -1 == raw.ttl(generation)


def test_discarding_a_committed_value_does_nothing(store: RedisStore) -> None:
    """Who lost the answer to a commit may discard what it staged, and harms no key."""
    staged = store._stage([b"x" * 2 * MIB])
    store._commit([_change("a", data=staged)])
    store._discard(staged)

    assert b"x" * 2 * MIB == store.get("a").data.read()


def test_a_refused_commit_leaves_no_chunks(store: RedisStore, raw: Any) -> None:
    """What was staged for a change whose condition fails is removed at once."""
    store.set("a", StringValue(b"", {}))

    for size in (100_000, 3 * MIB):
        with pytest.raises(VersionConflict):
            store.set("a", StringValue(b"x" * size, {}), expect=ABSENT)
        assert [] == raw.keys("{n}:g:*")


def test_half_a_staged_value_is_not_committed(store: RedisStore, raw: Any) -> None:
    """A Redis that lost a chunk before the commit does not get half a value."""
    staged = store._stage([b"x" * 2 * MIB])
    raw.hdel(raw.keys("{n}:g:*")[0], 1)

    with pytest.raises(StoreError, match="staged data of 'a' are no longer"):
        store._commit([_change("b", data=b"1"), _change("a", data=staged)])
    assert [] == list(store.query_keys())


def _change(key: str, **parts: Any) -> Change:
    return Change(key, next_event_id(), new_entry_id(), **parts)


# -- Journal -------------------------------------------------------------------


def test_the_journal_is_bounded(redis_url: str, raw: Any) -> None:
    """Old entries go, about a hundred at a time; who stood there is told."""
    with RedisStore(redis_url, namespace="n", journal_length=200) as store:
        positions = [store.head()]
        for number in range(500):
            store.set("a", StringValue(b"", {"n": number}))
            positions.append(store.head())

        assert 200 <= raw.xlen("{n}:journal") <= 300
        assert 150 == len(list(store.since(positions[350])))
        for lost in (0, 1, 150):
            with pytest.raises(PositionLost):
                store.since(positions[lost])


def test_the_length_of_the_journal_holds_for_all(redis_url: str, raw: Any) -> None:
    """Who opens the store without a length keeps the one that was set."""
    with RedisStore(redis_url, namespace="n", journal_length=200):
        pass
    with RedisStore(redis_url, namespace="n") as store:
        store.set("a", StringValue(b"", {}))

    assert b"200" == raw.hget("{n}:meta", "journal_length")


def test_a_commit_longer_than_the_journal_is_still_a_commit(redis_url: str) -> None:
    """The newest entry stays, so whoever is up to date stays so."""
    with RedisStore(redis_url, namespace="n", journal_length=1) as store:
        with store.transaction():
            for number in range(400):
                store.set(f"k{number}", StringValue(b"", {}))
        head = store.head()

        assert [] == list(store.since(head))
        assert 400 == head.sequence


def test_positions_of_others_are_refused(store: RedisStore) -> None:
    """A position of another store, epoch, entry or of the future is none of this journal."""
    store.set("a", StringValue(b"", {}))
    head = store.head()

    for wrong in (
        head._replace(store_id=type(head.store_id)(int=1)),
        head._replace(epoch=2),
        head._replace(entry_id=b"12345678"),
        head._replace(sequence=2),
        head._replace(sequence=0),
    ):
        with pytest.raises(PositionLost):
            store.since(wrong)


def test_reading_on_ends_at_the_head_of_its_beginning(store: RedisStore) -> None:
    """A reader comes to an end although others go on writing, and loses nothing by it."""
    for number in range(3):
        store.set("a", StringValue(b"", {"n": number}))
    assert store.store_id is not None
    reading = iter(store.since(Position(store.store_id, 1, 0, b"")))
    next(reading)
    store.set("b", StringValue(b"", {}))

    assert [2, 3] == [e.version.sequence for e in reading]
    assert 4 == len(journal_of(store))


def test_create_only_is_decided_in_redis(store: RedisStore, redis_url: str) -> None:
    """Of many who create a key at once exactly one succeeds."""
    barrier = threading.Barrier(8)
    results: list[bool] = []

    def create() -> None:
        with RedisStore(redis_url, namespace="n") as mine:
            barrier.wait()
            try:
                mine.set("a", StringValue(b"", {}), expect=ABSENT)
                results.append(True)
            except VersionConflict:
                results.append(False)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [False] * 7 + [True] == sorted(results)
