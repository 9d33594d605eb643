"""The suite's part on versions, conditional writes and the journal."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from typing import Any

import pytest

from antiphon.errors import InvalidValue, PositionLost, VersionConflict
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import ABSENT, Position, Version
from antiphon.testing.store_tests.base import (
    Call,
    SuiteBase,
    content,
    everything,
    journal_of,
    large_bytes,
    listen,
    value,
)


class Journalling(SuiteBase):
    """Versions, conditions, journal."""

    # -- Versions ------------------------------------------------------------

    def test_versions_grow(self, store: BackendStore, other: BackendStore) -> None:
        """Each change of a key gives it a later version, whoever makes it."""
        versions: list[Any] = [
            store.set("a", value()),
            other.set_data("a", io.BytesIO()),
            store.set_metadata("a", {}),
            other.update_metadata("a", {}),
            store.delete("a"),
            other.set("a", value()),
        ]
        numbers = [version[:2] for version in versions]

        assert sorted(set(numbers)) == numbers
        assert versions[-1] == store.get("a").version
        assert len(versions) == len({version.entry_id for version in versions})

    def test_a_change_of_one_key_leaves_the_version_of_others(self, store: BackendStore) -> None:
        """A version belongs to its key."""
        first = store.set("a", value())
        store.set("b", value())

        assert first == store.get("a").version

    def test_a_write_may_expect_a_version(self, store: BackendStore, other: BackendStore) -> None:
        """With the present version it is done, with any other nothing happens."""
        old = store.set("a", value(b"1"))
        new = other.set("a", value(b"2"), expect=old)
        assert new is not None
        changes = listen(store, StoreModificationEvent)
        for stale in (old, ABSENT, Version(1, 999, b"12345678"), new._replace(entry_id=b"x" * 8)):
            for write in self._writes(store, stale):
                with pytest.raises(VersionConflict, match="'a'"):
                    write()

        assert ([], (b"2", {})) == (changes, content(store, "a"))
        third = store.set_metadata("a", {"n": 1}, expect=new)
        fourth = store.update_metadata("a", {"m": 1}, expect=third)
        fifth = store.set_data("a", io.BytesIO(b"5"), expect=fourth)
        store.delete("a", expect=fifth)
        assert {} == everything(store)

    def _writes(self, store: BackendStore, expect: Version | None) -> list[Call]:
        return [
            lambda: store.set("a", value(b"3"), expect=expect),
            lambda: store.set_data("a", io.BytesIO(b"3"), expect=expect),
            lambda: store.set_metadata("a", {"n": 3}, expect=expect),
            lambda: store.update_metadata("a", {"n": 3}, expect=expect),
            lambda: store.delete("a", expect=expect),
        ]

    def test_a_write_may_expect_no_key(self, store: BackendStore) -> None:
        """``ABSENT`` creates only; a version of what is gone is a conflict."""
        version = store.set("a", value(b"1"), expect=ABSENT)
        with pytest.raises(VersionConflict):
            store.set("a", value(b"2"), expect=ABSENT)
        store.delete("a")
        calls: list[Call] = [
            lambda: store.set("a", value(b"2"), expect=version),
            lambda: store.delete("a", expect=version),
            lambda: store.update_metadata("a", {}, expect=version),
        ]
        for write in calls:
            with pytest.raises(VersionConflict):
                write()

        assert {} == everything(store)

    def test_a_conflict_leaves_no_large_value_behind(self, store: BackendStore) -> None:
        """What was staged for a write that is refused harms nothing later."""
        store.set("a", value(b"1"))
        with pytest.raises(VersionConflict):
            store.set("a", value(large_bytes()), expect=ABSENT)
        store.set("a", value(large_bytes(seed=8)))

        assert large_bytes(seed=8) == store.to_bytes("a")

    @pytest.mark.parametrize("expect", [1, "1-1-00", (1, 1, b""), b"", True])
    def test_only_a_version_can_be_expected(self, store: BackendStore, expect: Any) -> None:
        """Anything else is refused rather than ignored."""
        with pytest.raises(InvalidValue, match="expect"):
            store.set("a", value(), expect=expect)
        assert not store.exists("a")

    # -- The journal ---------------------------------------------------------

    def test_a_new_store_is_at_the_beginning(self, store: BackendStore) -> None:
        """The head of an empty journal has sequence 0, and nothing after it."""
        head = store.head()

        assert (store.store_id, 0, b"") == (head.store_id, head.sequence, head.entry_id)
        assert [] == list(store.since(head))

    def test_the_journal_has_every_change(
        self, store: BackendStore, other: BackendStore, changes: list[Any]
    ) -> None:
        """Gapless, in order, with the ids of the events that were emitted."""
        store.set("a", value(n=1))
        store.set("a", value())
        store.set_metadata("b", {})
        store.delete("a")
        entries = journal_of(other)

        assert [1, 2, 3, 4] == [entry.version.sequence for entry in entries]
        assert [(e.key, e.action) for e in changes] == [(e.key, e.action) for e in entries]
        assert [event._event_id for event in changes] == [entry.event_id for entry in entries]
        assert [event.version for event in changes] == [entry.version for entry in entries]
        assert {store.store_id} == {event.position.store_id for event in changes}
        assert all(entry.last for entry in entries)
        assert all(e.event_id is not None and e.owner == e.event_id.publisher for e in entries)
        assert [8] * 4 == [len(entry.entry_id) for entry in (e.version for e in entries)]
        assert all(1.5e18 < entry.time_ns < 1e20 for entry in entries)

    def test_the_journal_goes_on_from_a_position(self, store: BackendStore) -> None:
        """``since`` gives what came after, from any entry on; the head is the last one."""
        for number in range(5):
            store.set(f"k{number}", value())
        entries = journal_of(store)
        assert store.store_id is not None

        for number, entry in enumerate(entries, start=1):
            position = Position(store.store_id, *entry.version)
            assert entries[number:] == list(store.since(position))
        assert Position(store.store_id, *entries[-1].version) == store.head()
        assert store.head() == Position(store.store_id, *store.get("k4").version or ABSENT)

    def test_a_failed_write_is_not_in_the_journal(self, store: BackendStore) -> None:
        """Numbers are given to commits only."""
        store.set("a", value())
        with pytest.raises(KeyError):
            store.delete("none")
        with pytest.raises(VersionConflict):
            store.set("a", value(), expect=ABSENT)
        store.set("b", value())

        assert [1, 2] == [entry.version.sequence for entry in journal_of(store)]

    def test_a_position_of_another_history_is_lost(self, store: BackendStore) -> None:
        """Another store, epoch, entry id or the future: ``since`` says so at once."""
        store.set("a", value())
        store.set("b", value())
        head = store.head()
        first = journal_of(store)[0].version
        for position in (
            head._replace(store_id=type(head.store_id)(int=1)),
            head._replace(epoch=head.epoch + 1),
            head._replace(entry_id=b"another!"),
            head._replace(sequence=first.sequence),
            head._replace(sequence=head.sequence + 1),
            head._replace(sequence=0),
        ):
            with pytest.raises(PositionLost):
                store.since(position)

    def test_a_journal_may_be_long(self, store: BackendStore) -> None:
        """More entries than fit one page of whatever reads them."""
        with store.transaction("many"):
            for number in range(2500):
                store.set_metadata(f"k{number % 7}", {})
        store.set_metadata("z", {})

        entries = journal_of(store)
        assert list(range(1, 2502)) == [entry.version.sequence for entry in entries]
        assert [2500, 2501] == [entry.version.sequence for entry in entries if entry.last]
