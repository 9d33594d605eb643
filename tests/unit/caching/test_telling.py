"""What the own process is told of a cache, and nothing that nobody listens to."""

import time
from typing import Any

import pytest

from antiphon.caching.changes import Applied
from antiphon.caching.events import (
    CacheConflictEvent,
    CacheEvent,
    CacheInvalidatedEvent,
    CachePrefixInvalidatedEvent,
)
from antiphon.caching.telling import Telling
from antiphon.events.api import EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import Version
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue

VERSION = Version(1, 7, b"12345678")


class Told:
    """A cache whose events are collected."""

    def __init__(self) -> None:
        stores = DictMemoryStore(), DictMemoryStore()
        for store in stores:
            store.event_manager = EventManager()
        self.own = stores[0]
        self.mounted = MountedStore("p/", *stores, fill=True)
        self.mounted.connect()
        self.manager = EventManager()
        self.telling = Telling(self.mounted, self.manager)
        self.events: list[CacheEvent] = []

    def listen(self, cls: type = CacheEvent) -> None:
        self.manager.connect(cls, self.events.append)


@pytest.fixture
def told() -> Told:
    return Told()


def test_coalesced_changes_are_one_event_with_their_number(told: Told) -> None:
    """The latency is that of the change that came first."""
    told.listen()
    sent_ns = time.time_ns() - 10**9
    told.telling.applied([Applied("p/a", VERSION, 1, 5, sent_ns)])

    (event,) = told.events
    assert isinstance(event, CacheInvalidatedEvent)
    assert ("p/a", VERSION, True, 5) == (event.key, event.version, event.dropped, event.changes)
    assert event.latency_s is not None
    assert 1 <= event.latency_s < 5


def test_a_dropped_prefix_is_one_event(told: Told) -> None:
    """However many keys changed below it."""
    told.listen()
    told.telling.applied([Applied("p/x/", None, 3, 8, None, {"p/x/1": VERSION, "p/x/2": VERSION})])

    (event,) = told.events
    assert isinstance(event, CachePrefixInvalidatedEvent)
    assert ("p/x/", 3, 8, None) == (event.key, event.dropped, event.changes, event.latency_s)


def test_what_nobody_listens_to_is_not_made(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalidation is quick where it is only applied."""
    told.listen()
    told.manager.disconnect(CacheEvent, told.events.append)
    told.telling.applied([Applied("p/a", VERSION, 1)])
    made: list[Any] = []
    monkeypatch.setattr(told.telling, "_event_of", lambda *args: made.append(args))
    told.telling.applied([Applied("p/a", VERSION, 1)])

    assert [] == made


@pytest.mark.parametrize("count", [1, 200])
def test_a_conflict_is_found_among_many_changes(told: Told, count: int) -> None:
    """The user's own keys are looked for, however many others changed with them; told once."""
    told.listen(CacheConflictEvent)
    told.mounted.set("p/0", StringValue(b"mine"))
    changes = [Applied(f"p/{n}", VERSION, 0) for n in range(count)]
    told.telling.applied(changes)
    told.telling.applied(changes)

    assert [("p/0", VERSION)] == [(e.key, e.version) for e in told.events]  # type: ignore[attr-defined]
    assert 1 == told.telling.conflicts


def test_a_conflict_is_found_below_a_dropped_prefix(told: Told) -> None:
    """No unpushed write is passed over because many keys changed at once (P6)."""
    told.listen(CacheConflictEvent)
    told.mounted.set("p/x/9", StringValue(b"mine"))
    covered = {f"p/x/{n}": VERSION for n in range(200)}
    told.telling.applied([Applied("p/x/", None, 0, 200, None, covered)])

    assert ["p/x/9"] == [event.key for event in told.events]


def test_a_medium_that_fails_hides_no_invalidation(told: Told) -> None:
    """Conflicts cannot be looked for; what was dropped is told all the same."""
    told.listen()
    told.own.disconnect()
    told.telling.applied([Applied("p/a", VERSION, 1)])

    assert ["p/a"] == [event.key for event in told.events]
