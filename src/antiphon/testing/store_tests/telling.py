"""The suite's part on events."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import threading
from typing import Any

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.testing.store_tests.base import SuiteBase, content, listen, told, value
from antiphon.testing.store_tests.concurrency import at_once

#: Seconds after which a test gives up waiting.
PATIENCE_S = 20.0


class Telling(SuiteBase):
    """Each change is told by one event."""

    def test_every_change_is_told(self, store: AbstractStore, changes: list[Any]) -> None:
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
        self, store: AbstractStore, changes: list[Any]
    ) -> None:
        """Source is the store; class and action agree; only the documented attributes travel."""
        store.set("a", value(n=1))
        store.set("a", value(n=1))
        store.delete("a")

        assert [StoreSetEvent, StoreUpdateEvent, StoreDeleteEvent] == [type(e) for e in changes]
        assert ["set", "update", "delete"] == [event.action for event in changes]
        for event in changes:
            assert event.source is self.emitter(store)
            assert {"source", "key", "metadata"} == {n for n in vars(event) if n[0] != "_"}

    def test_writers_in_threads_are_told_once_each_and_in_order(
        self, store: AbstractStore, changes: list[Any]
    ) -> None:
        """Every change has one event, and those of one writer come in the order of its changes."""

        def write(worker: int) -> None:
            for number in range(12):
                store.set(f"{worker}", value(worker=worker, n=number))
                store.set("common", value(worker=worker, n=number))

        at_once(write, 2)

        assert 2 * 24 == len(changes)
        for worker in range(2):
            mine = [event for event in changes if event.metadata["worker"] == worker]
            assert [n for n in range(12) for _ in range(2)] == [e.metadata["n"] for e in mine]
            assert [f"{worker}", "common"] * 12 == [event.key for event in mine]
            own = [event.action for event in changes if event.key == f"{worker}"]
            assert ["set"] + ["update"] * 11 == own

    def test_a_store_hears_nothing_of_another(
        self, store: AbstractStore, other: AbstractStore, changes: list[Any]
    ) -> None:
        """Only who commits tells of it, to its own event manager."""
        if other is store:
            return
        other.set("a", value())
        store.set("b", value())

        assert ["b"] == [event.key for event in changes]

    def test_a_reading_store_tells_nothing(self, store: AbstractStore) -> None:
        """Reading, failing and writing nothing emit no events."""
        store.set("a", value())
        heard = listen(self.emitter(store), BaseEvent)
        content(store, "a")
        list(store.query(x=1))
        store.exists("b")
        with pytest.raises(KeyError):
            store.delete("b")

        assert [] == heard

    def test_the_metadata_of_an_event_are_a_copy(self, store: AbstractStore) -> None:
        """A listener that changes them changes nothing else."""

        def spoil(event: Any) -> None:
            event.metadata["tags"].append("spoiled")
            event.metadata["more"] = 1

        self.emitter(store).event_manager.connect(StoreModificationEvent, spoil)
        store.set("a", value(b"", tags=["x"]))
        store.update_metadata("a", {"n": 1})

        assert {"tags": ["x"], "n": 1} == store.get_metadata("a")

    def test_a_listener_may_use_the_store(self, store: AbstractStore, other: AbstractStore) -> None:
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

        self.emitter(store).event_manager.connect(StoreSetEvent, use)
        store.set("a", value(b"data", n=1))

        assert [(False, (b"data", {"n": 1}), (b"data", {"n": 1}))] == seen
        assert store.exists("c")

    def test_a_listener_that_fails_stops_nothing(
        self, store: AbstractStore, changes: list[Any]
    ) -> None:
        """Neither the write nor the other listeners."""

        def fail(event: Any) -> None:
            raise RuntimeError("a listener failed")

        self.emitter(store).event_manager.connect(StoreModificationEvent, fail, priority=9)
        store.set("a", value())

        assert store.exists("a")
        assert ["a"] == [event.key for event in changes]

    def test_the_event_manager_can_be_assigned(self, store: AbstractStore) -> None:
        """Events go to the one that is assigned now."""
        emitter = self.emitter(store)
        before, emitter.event_manager = emitter.event_manager, EventManager()
        unheard: list[Any] = []
        before.connect(BaseEvent, unheard.append)
        heard = listen(self.emitter(store), StoreModificationEvent)
        store.set("a", value())

        assert ([], ["a"]) == (unheard, [event.key for event in heard])
