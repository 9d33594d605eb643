"""The suite's part on what versions, journal and transactions promise together."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import itertools
import threading
from typing import Any

import pytest

from antiphon.errors import VersionConflict
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import ABSENT
from antiphon.testing.store_tests.base import (
    MakeStore,
    SuiteBase,
    everything,
    journal_of,
    listen,
    value,
)
from antiphon.testing.store_tests.concurrency import at_once


class Committing(SuiteBase):
    """For stores that have all three: versions, a journal, transactions."""

    def test_an_expectation_in_a_block_holds_at_its_commit(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """If the key was changed meanwhile the whole block fails, and says so."""
        version = store.set("a", value(b"1"))
        changes = listen(self.emitter(store), StoreModificationEvent)

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

    def test_a_journal_may_be_long(self, store: BackendStore) -> None:
        """More entries than fit one page of whatever reads them."""
        with store.transaction("many"):
            for number in range(2500):
                store.set_metadata(f"k{number % 7}", {})
        store.set_metadata("z", {})

        entries = journal_of(store)
        assert list(range(1, 2502)) == [entry.version.sequence for entry in entries]
        assert [2500, 2501] == [entry.version.sequence for entry in entries if entry.last]

    def test_the_journal_marks_the_end_of_a_block(
        self, store: BackendStore, changes: list[Any]
    ) -> None:
        """The entries of a block are one run, in the order and with the ids of its events."""
        store.set("a", value(n=0))
        with store.transaction("some changes"):
            store.set("b", value())
            with store.transaction("inner"):
                store.update_metadata("b", {"m": 2})
            store.delete("a")
        entries = journal_of(store)

        assert [True, False, False, True] == [entry.last for entry in entries]
        assert [event._event_id for event in changes] == [entry.event_id for entry in entries]
        assert [event.version for event in changes] == [entry.version for entry in entries]

    def test_a_block_that_failed_is_not_in_the_journal(self, store: BackendStore) -> None:
        """Nor is an empty one."""

        def fail() -> None:
            with store.transaction("fails"):
                store.set("a", value())
                raise ValueError("stop")

        with pytest.raises(ValueError, match="stop"):
            fail()
        with store.transaction("nothing"):
            pass

        assert [] == journal_of(store)
        assert 0 == store.head().sequence

    def test_many_writers_leave_no_gap(self, make_store: MakeStore, store: BackendStore) -> None:
        """Single changes and blocks of several stores: numbered one by one, blocks unbroken."""
        handles = [store] + [self.connected(make_store()) for _ in range(2) if self.shared]

        def write(worker: int) -> None:
            mine = handles[worker % len(handles)]
            for number in range(6):
                mine.set(f"{worker}", value(n=number))
                with mine.transaction("two"):
                    mine.set_metadata("common", {"worker": worker})
                    mine.set_metadata(f"{worker}", {"worker": worker})

        at_once(write, 4)
        for handle in handles[1:]:
            handle.disconnect()

        entries = journal_of(store)
        assert list(range(1, 4 * 18 + 1)) == [entry.version.sequence for entry in entries]
        assert len(entries) == len({entry.event_id for entry in entries})
        for entry, following in itertools.pairwise(entries):
            if not entry.last:
                assert ("common", entry.owner) == (entry.key, following.owner)
                assert following.last
