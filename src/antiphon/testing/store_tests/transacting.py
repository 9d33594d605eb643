"""The suite's part on transactions, and on many writers at once."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import KeyNotFound, VersionConflict
from antiphon.events.api import EventManager
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import ABSENT
from antiphon.testing.store_tests.base import (
    Call,
    FailingStream,
    MakeStore,
    SuiteBase,
    content,
    everything,
    journal_of,
    large_bytes,
    listen,
    told,
    value,
)


class Interrupted(BaseException):
    """What a rollback is tried with, as unlike the store's errors as can be."""


class Transacting(SuiteBase):
    """Transactions and concurrency."""

    def test_a_block_is_one_commit(self, store: BackendStore, heard: list[Any]) -> None:
        """Events are held back until the commit, then come in order; the journal marks its end."""
        store.set("a", value(n=0))
        del heard[:]
        with store.transaction("some changes"):
            store.set("b", value(b"b", n=1))
            store.update_metadata("b", {"m": 2})
            store.delete("a")
            during = [type(event).__name__ for event in heard]

        assert ["StoreTransactionStartEvent"] == during
        assert "StoreTransactionEndEvent" == type(heard[1]).__name__
        assert "done" == heard[1].state
        assert all(event.source is store for event in heard)
        assert [
            ("StoreSetEvent", "b", {"n": 1}),
            ("StoreUpdateEvent", "b", {"n": 1, "m": 2}),
            ("StoreDeleteEvent", "a", {"n": 0}),
        ] == told(heard[2:])
        entries = journal_of(store)
        assert [True, False, False, True] == [entry.last for entry in entries]
        assert [event._event_id for event in heard[2:]] == [e.event_id for e in entries[1:]]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
    def test_a_block_that_raises_changes_nothing(
        self, store: BackendStore, heard: list[Any], error: type[BaseException]
    ) -> None:
        """The changes and their events are dropped, the error comes through."""
        store.set("a", value(b"before", n=1))
        del heard[:]

        def fail() -> None:
            with store.transaction("fails"):
                store.set("a", value(b"after"))
                store.set("new", value(large_bytes()), 1 << 22)
                store.delete("a")
                raise error("stop")

        with pytest.raises(error, match="stop"):
            fail()
        assert {"a": (b"before", {"n": 1})} == everything(store)
        assert 1 == len(journal_of(store))
        names = [type(event).__name__ for event in heard if "Progress" not in type(event).__name__]
        assert ["StoreTransactionStartEvent", "StoreTransactionEndEvent"] == names
        assert "failed" == heard[-1].state

    def test_reads_in_a_block_see_its_changes(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """And nobody else sees them before the commit."""
        store.set("a", value(b"a", n=1))
        store.set("gone", value(b"", n=1))
        with store.transaction("look"):
            store.set("b", value(large_bytes(), n=1))
            store.set_data("a", io.BytesIO(b"new"))
            store.update_metadata("a", {"m": 2})
            store.delete("gone")

            assert (b"new", {"n": 1, "m": 2}) == content(store, "a")
            assert large_bytes() == store.to_bytes("b")
            assert large_bytes()[5:2_000_000] == store.get_data_range("b", 5, 2_000_000).read()
            assert {"n": 1} == store.get_metadata("b", ["n", "m"])
            assert not store.exists("gone")
            with pytest.raises(KeyNotFound):
                store.get_metadata("gone")
            assert {"a": {"n": 1, "m": 2}, "b": {"n": 1}} == dict(store.query(n=1))
            assert ["a"] == list(store.query_keys(m=2))
            assert {"a", "b"} == set(store.query_keys()) == set(store.glob("*"))
            if other is not store:
                assert {"a": (b"a", {"n": 1}), "gone": (b"", {"n": 1})} == everything(other)

        assert {"a": (b"new", {"n": 1, "m": 2}), "b": (large_bytes(), {"n": 1})} == everything(
            other
        )

    def test_a_key_may_change_again_and_again_in_a_block(
        self, store: BackendStore, changes: list[Any]
    ) -> None:
        """Every change is told, and the last one counts."""
        with store.transaction("to and fro"):
            store.set("a", value(b"1", n=1))
            store.delete("a")
            assert not store.exists("a")
            store.set_metadata("a", {"n": 2})
            assert (b"", {"n": 2}) == content(store, "a")
            store.set_data("a", io.BytesIO(large_bytes()))
            store.set_data("a", io.BytesIO(large_bytes(seed=8)))

        assert (large_bytes(seed=8), {"n": 2}) == content(store, "a")
        assert ["set", "delete", "set", "update", "update"] == [event.action for event in changes]
        assert [event.version for event in changes] == [e.version for e in journal_of(store)]

    def test_what_needs_a_key_says_at_once_that_there_is_none(self, store: BackendStore) -> None:
        """In a block too; the block may go on."""
        with store.transaction("go on"):
            store.set("a", value())
            store.delete("a")
            calls: list[Call] = [
                lambda: store.delete("a"),
                lambda: store.update_metadata("a", {}),
                lambda: store.delete("none"),
            ]
            for need in calls:
                with pytest.raises(KeyNotFound):
                    need()
            store.set("b", value())

        assert ["b"] == list(store.query_keys())

    def test_blocks_nest_and_only_the_outermost_counts(
        self, store: BackendStore, heard: list[Any]
    ) -> None:
        """An inner block ends nothing; what it wrote goes with the outer one."""
        with store.transaction("outer"):
            with store.transaction("inner"):
                store.set("a", value())
            assert ["StoreTransactionStartEvent"] == [type(event).__name__ for event in heard]
            store.set("b", value())
        assert 2 == len(heard[2:])
        assert [False, True] == [entry.last for entry in journal_of(store)]

        def fail() -> None:
            with store.transaction("outer"):
                with store.transaction("inner"):
                    store.set("c", value())
                raise ValueError("stop")

        with pytest.raises(ValueError, match="stop"):
            fail()
        assert {"a", "b"} == set(store.query_keys())

    def test_an_empty_block_commits_nothing(self, store: BackendStore, heard: list[Any]) -> None:
        """It begins and ends, and that is all."""
        with store.transaction("nothing"):
            pass

        assert ["done"] == [event.state for event in heard[1:]]
        assert 0 == store.head().sequence

    def test_a_source_that_fails_in_a_block_ends_only_its_own_write(
        self, store: BackendStore
    ) -> None:
        """The block may go on without it."""
        with store.transaction("go on"):
            store.set("a", value(b"a"))
            with pytest.raises(OSError, match="the source failed"):
                store.set_data("a", FailingStream(3 << 20))

        assert (b"a", {}) == content(store, "a")

    def test_a_block_belongs_to_its_thread(self, store: BackendStore) -> None:
        """Another thread neither sees it nor writes into it."""
        seen: list[Any] = []
        with store.transaction("mine"):
            store.set("a", value())

            def look() -> None:
                seen.append(store.exists("a"))
                store.set("b", value())

            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            seen.append([entry.key for entry in journal_of(store)])

        assert [False, ["b"]] == seen
        assert {"a", "b"} == set(store.query_keys())

    def test_an_expectation_in_a_block_holds_at_its_commit(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """If the key was changed meanwhile the whole block fails, and says so."""
        version = store.set("a", value(b"1"))
        changes = listen(store, StoreModificationEvent)

        def write() -> None:
            with store.transaction("conditional"):
                store.set("b", value(b"b"))
                store.set("a", value(b"2"), expect=version)
                thread = threading.Thread(target=lambda: other.set("a", value(b"other")))
                thread.start()
                thread.join()

        with pytest.raises(VersionConflict):
            write()
        assert {"a": (b"other", {})} == everything(store)
        assert [] == [event for event in changes if event.key != "a"]

    def test_an_expectation_speaks_of_the_store_before_the_block(self, store: BackendStore) -> None:
        """A later change of the same key in the block may have it as well as the first."""
        version = store.set("a", value(b"1"))
        with store.transaction("conditional"):
            store.set("a", value(b"2"))
            store.set("a", value(b"3"), expect=version)
            store.set("new", value(), expect=ABSENT)
            store.set_metadata("new", {"n": 1}, expect=ABSENT)
            with pytest.raises(VersionConflict):
                store.set("a", value(b"4"), expect=ABSENT)
            with pytest.raises(VersionConflict):
                store.set("other", value(), expect=version)

        assert {"a": (b"3", {}), "new": (b"data", {"n": 1})} == everything(store)

    def test_versions_in_a_block_come_with_the_commit(self, store: BackendStore) -> None:
        """Before it a changed key has none."""
        before = store.set("a", value())
        with store.transaction("x"):
            assert store.set("b", value()) is None
            assert store.get("b").version is None
            assert before == store.get("a").version
        assert store.get("b").version is not None

    # -- Many writers --------------------------------------------------------

    def test_many_writers_lose_nothing(self, make_store: MakeStore, store: BackendStore) -> None:
        """Whatever they write at once is there, journalled without a gap."""
        handles = [store] + [self._handle(make_store) for _ in range(2) if self.shared]

        def write(worker: int) -> None:
            mine = handles[worker % len(handles)]
            for number in range(12):
                mine.set(f"{worker}/{number}", value(b"x" * worker, n=number))
                mine.set_metadata("common", {"worker": worker})

        self._at_once(write, 4)
        for handle in handles[1:]:
            handle.disconnect()

        keys = {f"{worker}/{number}" for worker in range(4) for number in range(12)}
        assert {*keys, "common"} == set(store.query_keys())
        entries = journal_of(store)
        assert list(range(1, 4 * 24 + 1)) == [entry.version.sequence for entry in entries]
        assert len(entries) == len({entry.event_id for entry in entries})

    def test_a_counter_counted_by_many_is_right(
        self, make_store: MakeStore, store: BackendStore
    ) -> None:
        """Read, add, write if unchanged, else again: no count is lost."""
        handles = [store] + [self._handle(make_store) for _ in range(2) if self.shared]
        store.set("counter", value(b"", n=0))

        def count(worker: int) -> None:
            mine = handles[worker % len(handles)]
            done = 0
            while done < 10:
                found = mine.get("counter")
                try:
                    mine.set_metadata(
                        "counter", {"n": found.metadata["n"] + 1}, expect=found.version
                    )
                except VersionConflict:
                    continue
                done += 1

        self._at_once(count, 3)
        for handle in handles[1:]:
            handle.disconnect()

        assert {"n": 30} == store.get_metadata("counter")

    def test_data_and_metadata_of_a_read_belong_together(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """While a key is rewritten again and again a reader never sees half of a change."""
        store.set("a", value(b"0", n=0))
        stop = threading.Event()
        wrong: list[Any] = []

        def write(worker: int) -> None:
            for number in range(60):
                size = (1 << 20) + 5 if number % 20 == 0 else 5
                other.set("a", value(str(number).encode().ljust(size, b"."), n=number))
            stop.set()

        def read(worker: int) -> None:
            while not stop.is_set():
                data, metadata = content(store, "a")
                if int(data.split(b".")[0]) != metadata["n"]:
                    wrong.append((data[:10], metadata))

        threads = [threading.Thread(target=run, args=(0,)) for run in (write, read, read)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == wrong

    def test_a_slow_source_holds_nobody_up(self, store: BackendStore, other: BackendStore) -> None:
        """While a large value trickles in others read and write, the same key too."""
        store.set("a", value(b"before"))
        reached, go_on = threading.Event(), threading.Event()

        class Slow(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell() > (2 << 20):
                    reached.set()
                    go_on.wait(20)
                return super().read(size)

        thread = threading.Thread(target=lambda: store.set_data("a", Slow(large_bytes())))
        thread.start()
        try:
            assert reached.wait(20)
            assert b"before" == other.to_bytes("a")
            other.set("a", value(b"meanwhile"))
            store.set("b", value())
            assert b"meanwhile" == store.to_bytes("a")
        finally:
            go_on.set()
            thread.join()
        assert large_bytes() == other.to_bytes("a")

    def _handle(self, make_store: MakeStore) -> BackendStore:
        handle = make_store()
        handle.event_manager = EventManager()
        handle.connect()
        return handle

    def _at_once(self, work: Callable[[int], None], count: int) -> None:
        failures: list[BaseException] = []

        def run(worker: int) -> None:
            try:
                work(worker)
            except BaseException as exc:  # handed to the test below
                failures.append(exc)

        threads = [threading.Thread(target=run, args=(worker,)) for worker in range(count)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)  # as many interleavings as there may be
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)
        assert [] == failures
