"""The suite's part on transactions."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import threading
from typing import Any

import pytest

from antiphon.errors import InvalidKey, InvalidValue, KeyNotFound
from antiphon.storage.abstract_store import AbstractStore
from antiphon.testing.store_tests.base import (
    Call,
    FailingStream,
    SuiteBase,
    content,
    everything,
    large_bytes,
    told,
    value,
)
from antiphon.testing.store_tests.concurrency import at_once


class Interrupted(BaseException):
    """What a rollback is tried with, as unlike the store's errors as can be."""


class Transacting(SuiteBase):
    """The changes of a block are one."""

    def test_many_keys_are_all_set_or_none(self, store: AbstractStore, changes: list[Any]) -> None:
        """If one of them fails the others are not there."""
        with pytest.raises(InvalidKey):
            store.multiset(["a", 1, "b"], [value(), value(), value()])  # type: ignore[list-item]

        assert {} == everything(store)
        assert [] == changes

    @pytest.mark.parametrize(
        "method", ["multiset", "multiset_data", "multiset_metadata", "multiupdate_metadata"]
    )
    def test_many_keys_are_one_transaction(
        self, store: AbstractStore, heard: list[Any], method: str
    ) -> None:
        """Each multi method begins one, commits it, and tells of the keys; or does nothing."""
        good: Any
        bad: Any
        good, bad = {
            "multiset": (value(b"1"), None),
            "multiset_data": (io.BytesIO(b"1"), None),
            "multiset_metadata": ({"n": 1}, None),
            "multiupdate_metadata": ({"n": 1}, None),
        }[method]
        store.set("a", value(b"before"))
        store.set("b", value(b"before"))
        before = everything(store)
        del heard[:]
        with pytest.raises(InvalidValue):
            getattr(store, method)(["a", "b"], [good, bad])
        assert before == everything(store)
        assert [None, "failed"] == [getattr(event, "state", None) for event in heard]
        del heard[:]
        getattr(store, method)(iter(["a", "b"]), iter([good]))
        kinds = [type(event).__name__ for event in heard]

        assert [
            "StoreTransactionStartEvent", "StoreTransactionEndEvent", "StoreUpdateEvent",
        ] == kinds  # fmt: skip

    def test_blocks_in_threads_are_told_one_by_one(
        self, store: AbstractStore, heard: list[Any]
    ) -> None:
        """Whatever others do meanwhile, each block has its begin, its end, and its events once."""

        def write(worker: int) -> None:
            for number in range(5):
                with store.transaction("some"):
                    store.set(f"{worker}", value(worker=worker, n=number))
                    store.set(f"{worker}b", value(worker=worker, n=number))

        at_once(write, 3)

        kinds = [type(event).__name__ for event in heard]
        assert [15, 15] == [
            kinds.count(f"StoreTransaction{which}Event") for which in ("Start", "End")
        ]
        for worker in range(3):
            mine = [event for event in heard if getattr(event, "key", "")[:1] == f"{worker}"]
            expected = [(key, n) for n in range(5) for key in (f"{worker}", f"{worker}b")]
            assert expected == [(event.key, event.metadata["n"]) for event in mine]

    def test_a_block_is_one_commit(self, store: AbstractStore, heard: list[Any]) -> None:
        """Events are held back until the commit, then come in order."""
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
        assert all(event.source is self.emitter(store) for event in heard)
        assert [
            ("StoreSetEvent", "b", {"n": 1}),
            ("StoreUpdateEvent", "b", {"n": 1, "m": 2}),
            ("StoreDeleteEvent", "a", {"n": 0}),
        ] == told(heard[2:])

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
    def test_a_block_that_raises_changes_nothing(
        self, store: AbstractStore, heard: list[Any], error: type[BaseException]
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
        names = [type(event).__name__ for event in heard if "Progress" not in type(event).__name__]
        assert ["StoreTransactionStartEvent", "StoreTransactionEndEvent"] == names
        assert "failed" == heard[-1].state

    def test_reads_in_a_block_see_its_changes(
        self, store: AbstractStore, other: AbstractStore
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
        self, store: AbstractStore, changes: list[Any]
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

    def test_what_needs_a_key_says_at_once_that_there_is_none(self, store: AbstractStore) -> None:
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
        self, store: AbstractStore, heard: list[Any]
    ) -> None:
        """An inner block ends nothing; what it wrote goes with the outer one."""
        with store.transaction("outer"):
            with store.transaction("inner"):
                store.set("a", value())
            assert ["StoreTransactionStartEvent"] == [type(event).__name__ for event in heard]
            store.set("b", value())
        assert 2 == len(heard[2:])

        def fail() -> None:
            with store.transaction("outer"):
                with store.transaction("inner"):
                    store.set("c", value())
                raise ValueError("stop")

        with pytest.raises(ValueError, match="stop"):
            fail()
        assert {"a", "b"} == set(store.query_keys())

    def test_an_empty_block_commits_nothing(self, store: AbstractStore, heard: list[Any]) -> None:
        """It begins and ends, and that is all."""
        with store.transaction("nothing"):
            pass

        assert ["done"] == [event.state for event in heard[1:]]
        assert {} == everything(store)

    def test_a_source_that_fails_in_a_block_ends_only_its_own_write(
        self, store: AbstractStore
    ) -> None:
        """The block may go on without it."""
        with store.transaction("go on"):
            store.set("a", value(b"a"))
            with pytest.raises(OSError, match="the source failed"):
                store.set_data("a", FailingStream(3 << 20))

        assert (b"a", {}) == content(store, "a")

    def test_a_block_belongs_to_its_thread(self, store: AbstractStore) -> None:
        """Another thread neither sees it nor writes into it."""
        seen: list[Any] = []
        with store.transaction("mine"):
            store.set("a", value())

            def look() -> None:
                seen.append(store.exists("a"))
                store.set("b", value(n=1))

            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            seen.append(store.get_metadata("b"))

        assert [False, {"n": 1}] == seen
        assert {"a", "b"} == set(store.query_keys())
