"""The suite's part on events, versions and the journal."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import threading
from typing import Any

import pytest

from antiphon.errors import InvalidValue, PositionLost, VersionConflict
from antiphon.events.api import BaseEvent, EventManager, ProgressEvent
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreProgressEndEvent,
    StoreProgressEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.storage.journal import ABSENT, Position, Version
from antiphon.testing.store_tests.base import (
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

#: Seconds after which a test gives up waiting.
PATIENCE_S = 20.0


class Telling(SuiteBase):
    """Events, versions, conditions, journal."""

    # -- Events --------------------------------------------------------------

    def test_every_change_is_told(self, store: BackendStore, changes: list[Any]) -> None:
        """A new key is set, a present one updated, an ended one deleted, each with metadata."""
        store.set("a", value(b"1", n=1))
        store.set("a", value(b"2", n=2))
        store.set_data("a", io.BytesIO(b"3"))
        store.set_metadata("a", {"n": 3})
        store.update_metadata("a", {"m": 1})
        store.delete("a")
        store.set_data("b", io.BytesIO())
        store.set_metadata("c", {"n": 4})
        store.from_bytes("c", b"x")

        assert [
            ("StoreSetEvent", "a", {"n": 1}),
            ("StoreUpdateEvent", "a", {"n": 2}),
            ("StoreUpdateEvent", "a", {"n": 2}),
            ("StoreUpdateEvent", "a", {"n": 3}),
            ("StoreUpdateEvent", "a", {"n": 3, "m": 1}),
            ("StoreDeleteEvent", "a", {"n": 3, "m": 1}),
            ("StoreSetEvent", "b", {}),
            ("StoreSetEvent", "c", {"n": 4}),
            ("StoreUpdateEvent", "c", {"n": 4}),
        ] == told(changes)

    def test_an_event_says_where_it_comes_from(
        self, store: BackendStore, changes: list[Any]
    ) -> None:
        """Source is the store; class and action agree; only the documented attributes travel."""
        store.set("a", value(n=1))
        store.set("a", value(n=1))
        store.delete("a")

        assert [StoreSetEvent, StoreUpdateEvent, StoreDeleteEvent] == [type(e) for e in changes]
        assert ["set", "update", "delete"] == [event.action for event in changes]
        for event in changes:
            assert event.source is store
            assert {"source", "key", "metadata"} == {n for n in vars(event) if n[0] != "_"}

    def test_a_reading_store_tells_nothing(self, store: BackendStore) -> None:
        """Reading, failing and writing nothing emit no events."""
        store.set("a", value())
        heard = listen(store, BaseEvent)
        content(store, "a")
        list(store.query(x=1))
        store.exists("b")
        with pytest.raises(KeyError):
            store.delete("b")

        assert [] == heard

    def test_the_metadata_of_an_event_are_a_copy(self, store: BackendStore) -> None:
        """A listener that changes them changes nothing else."""

        def spoil(event: Any) -> None:
            event.metadata["tags"].append("spoiled")
            event.metadata["more"] = 1

        store.event_manager.connect(StoreModificationEvent, spoil)
        store.set("a", value(b"", tags=["x"]))
        store.update_metadata("a", {"n": 1})

        assert {"tags": ["x"], "n": 1} == store.get_metadata("a")

    def test_a_listener_may_use_the_store(self, store: BackendStore, other: BackendStore) -> None:
        """Events come after the commit and outside every lock: also another thread may write."""
        seen: list[Any] = []

        def use(event: Any) -> None:
            if event.key != "a":
                return
            thread = threading.Thread(target=lambda: other.set("b", store.get("a")))
            thread.start()
            thread.join(PATIENCE_S)
            store.set("c", value(b"c"))
            seen.append((thread.is_alive(), content(store, "a"), content(other, "b")))

        store.event_manager.connect(StoreSetEvent, use)
        store.set("a", value(b"data", n=1))

        assert [(False, (b"data", {"n": 1}), (b"data", {"n": 1}))] == seen
        assert store.exists("c")

    def test_a_listener_that_fails_stops_nothing(
        self, store: BackendStore, changes: list[Any]
    ) -> None:
        """Neither the write nor the other listeners."""

        def fail(event: Any) -> None:
            raise RuntimeError("a listener failed")

        store.event_manager.connect(StoreModificationEvent, fail, priority=9)
        store.set("a", value())

        assert store.exists("a")
        assert ["a"] == [event.key for event in changes]

    def test_the_event_manager_can_be_assigned(self, store: BackendStore) -> None:
        """Events go to the one that is assigned now."""
        before, store.event_manager = store.event_manager, EventManager()
        unheard: list[Any] = []
        before.connect(BaseEvent, unheard.append)
        heard = listen(store, StoreModificationEvent)
        store.set("a", value())

        assert ([], ["a"]) == (unheard, [event.key for event in heard])

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

    # -- Progress ------------------------------------------------------------

    def test_a_transfer_of_many_pieces_tells_how_it_goes(
        self, store: BackendStore, heard: list[Any]
    ) -> None:
        """Start, a step a piece, end; then the change."""
        store.set("a", value(b"x" * 25, n=1), 10)

        kinds = [type(event) for event in heard]
        assert [
            StoreProgressStartEvent, StoreProgressStepEvent, StoreProgressStepEvent,
            StoreProgressStepEvent, StoreProgressEndEvent, StoreSetEvent,
        ] == kinds  # fmt: skip
        progress = heard[:-1]
        assert 1 == len({event.operation_id for event in progress})
        assert all(e.source is store and e.key == "a" and e.metadata == {"n": 1} for e in progress)
        assert (25, [10, 20, 25]) == (heard[0].steps, [event.step for event in heard[1:4]])
        assert "normal" == heard[4].exit_state

    def test_a_transfer_of_one_piece_tells_nothing(
        self, store: BackendStore, heard: list[Any]
    ) -> None:
        """What is over in one step has no progress."""
        store.set("a", value(b"x" * 10), 10)
        store.to_bytes("a", 10)

        assert ["StoreSetEvent"] == [type(event).__name__ for event in heard]

    def test_reading_tells_how_it_goes(
        self, store: BackendStore, tmp_path: Any, heard: list[Any]
    ) -> None:
        """``to_file`` and ``to_bytes`` have progress as ``set`` has."""
        store.set("a", value(b"x" * 25))
        for read in (
            lambda: store.to_file("a", tmp_path / "file", 10),
            lambda: store.to_bytes("a", 10),
        ):
            del heard[:]
            read()

            assert [10, 20, 25] == [e.step for e in heard if isinstance(e, StoreProgressStepEvent)]
            assert isinstance(heard[-1], StoreProgressEndEvent)

    def test_a_transfer_that_fails_has_an_end(self, store: BackendStore) -> None:
        """The end says that it was an exception, and no change is told."""
        heard = listen(store, ProgressEvent)
        with pytest.raises(OSError, match="the source failed"):
            store.set_data("a", FailingStream(3 << 20))  # type: ignore[arg-type]

        assert all(isinstance(event, StoreProgressEvent) for event in heard)
        assert "exception" == heard[-1].exit_state

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
            for write in (
                lambda v=stale: store.set("a", value(b"3"), expect=v),
                lambda v=stale: store.set_data("a", io.BytesIO(b"3"), expect=v),
                lambda v=stale: store.set_metadata("a", {"n": 3}, expect=v),
                lambda v=stale: store.update_metadata("a", {"n": 3}, expect=v),
                lambda v=stale: store.delete("a", expect=v),
            ):
                with pytest.raises(VersionConflict, match="'a'"):
                    write()

        assert ([], (b"2", {})) == (changes, content(store, "a"))
        third = store.set_metadata("a", {"n": 1}, expect=new)
        fourth = store.update_metadata("a", {"m": 1}, expect=third)
        fifth = store.set_data("a", io.BytesIO(b"5"), expect=fourth)
        store.delete("a", expect=fifth)
        assert {} == everything(store)

    def test_a_write_may_expect_no_key(self, store: BackendStore) -> None:
        """``ABSENT`` creates only; a version of what is gone is a conflict."""
        version = store.set("a", value(b"1"), expect=ABSENT)
        with pytest.raises(VersionConflict):
            store.set("a", value(b"2"), expect=ABSENT)
        store.delete("a")
        for write in (
            lambda: store.set("a", value(b"2"), expect=version),
            lambda: store.delete("a", expect=version),
            lambda: store.update_metadata("a", {}, expect=version),
        ):
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
