"""The suite's part on events."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import threading
from typing import Any

import pytest

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
from antiphon.testing.store_tests.base import (
    Call,
    FailingStream,
    MakeStore,
    SuiteBase,
    content,
    listen,
    told,
    value,
)

#: Seconds after which a test gives up waiting.
PATIENCE_S = 20.0


class Telling(SuiteBase):
    """Events of changes and of progress."""

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

    def test_short_reads_make_no_steps_of_their_own(
        self, store: BackendStore, heard: list[Any]
    ) -> None:
        """However little a source gives at a time, a step is a buffer."""

        class Trickle(io.BytesIO):
            def read(self, size: int | None = -1, /) -> bytes:
                return super().read(1)

        store.set_data("a", Trickle(b"x" * 25), 10)

        assert [10, 20, 25] == [e.step for e in heard if isinstance(e, StoreProgressStepEvent)]

    def test_a_listener_to_progress_cannot_change_the_value(self, store: BackendStore) -> None:
        """The metadata in its events are copies too."""

        def spoil(event: Any) -> None:
            event.metadata["tags"].append("spoiled")

        store.event_manager.connect(StoreProgressEvent, spoil)
        store.set("a", value(b"x" * 25, tags=["x"]), 10)
        store.set_data("a", io.BytesIO(b"x" * 25), 10)
        store.to_bytes("a", 10)

        assert {"tags": ["x"]} == store.get_metadata("a")

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
        calls: list[Call] = [
            lambda: store.to_file("a", tmp_path / "file", 10),
            lambda: store.to_bytes("a", 10),
        ]
        for read in calls:
            del heard[:]
            read()

            assert [10, 20, 25] == [e.step for e in heard if isinstance(e, StoreProgressStepEvent)]
            assert isinstance(heard[-1], StoreProgressEndEvent)

    def test_a_transfer_that_fails_has_an_end(self, store: BackendStore) -> None:
        """The end says that it was an exception, and no change is told."""
        heard = listen(store, ProgressEvent)
        with pytest.raises(OSError, match="the source failed"):
            store.set_data("a", FailingStream(3 << 20))

        assert all(isinstance(event, StoreProgressEvent) for event in heard)
        assert "exception" == heard[-1].exit_state
