"""The suite's part on identity and journal."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from typing import Any

import pytest

from antiphon.errors import PositionLost, VersionConflict
from antiphon.events.api import EventManager
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.journal import ABSENT, Position
from antiphon.testing.store_tests.base import MakeStore, SuiteBase, journal_of, value


class Journalling(SuiteBase):
    """The store knows who it is, and its own past."""

    def test_the_identity_is_that_of_the_medium(
        self, store: BackendStore, other: BackendStore
    ) -> None:
        """Two stores on one medium have one identity."""
        assert store.store_id is not None
        assert store.store_id == other.store_id
        assert str(store.store_id) == store.info()["store_id"]

    def test_an_event_manager_hears_of_its_sources(self, make_store: MakeStore) -> None:
        """A connected store is known to its manager, so that arriving events find it."""
        known: list[Any] = []

        class Bus(EventManager):
            def add_source(self, source: object) -> None:
                known.append(source)

            def remove_source(self, source: object) -> None:
                known.remove(source)

        store = make_store()
        store.event_manager = Bus()
        assert [] == known
        with store:
            assert [store] == known
            store.event_manager = EventManager()
            assert [] == known

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

    def test_each_event_links_to_the_entry_before(
        self, store: BackendStore, other: BackendStore, changes: list[Any]
    ) -> None:
        """Whoever is at that entry knows that it missed nothing, also within a commit."""
        store.set("a", value(n=1))
        other.set("b", value())
        with store.transaction():
            store.set("c", value())
            store.delete("a")
        store.delete("b")
        ids = {entry.version: entry.version.entry_id for entry in journal_of(store)}
        before = dict(zip(ids, [b"", *ids.values()], strict=False))

        heard = [event for event in changes if event.source is store]
        assert [before[event.version][:4] for event in heard] == [event.link for event in heard]
        assert len(heard) >= 4

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

    def test_the_journal_goes_on_when_opened_again(self, make_store: MakeStore) -> None:
        """Identity, head and numbers are those of the medium, not of the store that was closed."""
        if not self.shared:
            return
        first = self.connected(make_store())
        first.set("a", value())
        identity, head = first.store_id, first.head()
        first.disconnect()
        second = self.connected(make_store())

        assert (identity, head) == (second.store_id, second.head())
        second.set("a", value())
        assert [1, 2] == [entry.version.sequence for entry in journal_of(second)]
        assert ["update"] == [entry.action for entry in second.since(head)]
        second.disconnect()

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
