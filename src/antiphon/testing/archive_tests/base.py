"""What all parts of the suite start from: events, and the second handle."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable

import pytest

from antiphon.archive import Event, EventStore

#: Seconds that threads of a test may take.
TIMEOUT_S = 60.0


def event(number: int, timestamp: float = 0.0, *tags: str, content: str = "") -> Event:
    """Return the event with the id ``e<number>``."""
    return Event(f"e{number}", "here", timestamp, list(tags), content)


def ids(events: Iterable[Event]) -> list[str]:
    """Return the ids of events, in their order."""
    return [each.id for each in events]


def everything_since(store: EventStore, place: int = 0, *, limit: int = 1000) -> list[Event]:
    """Return all that was saved after *place*, in the order of saving."""
    found: list[Event] = []
    while place != store.head():
        portion = store.since(place, limit=limit)
        found += portion.events
        place = portion.place
    return found


def purge_all(store: EventStore, **rule: object) -> int:
    """Purge until nothing is left to delete; return how many were deleted."""
    total = 0
    while count := store.purge(**rule):  # type: ignore[arg-type]
        total += count
    return total


def at_once(work: Callable[[int], object], workers: int) -> None:
    """Call *work* with 0, 1, … in as many threads, and raise what one of them raised."""
    errors: list[BaseException] = []

    def run(worker: int) -> None:
        try:
            work(worker)
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(workers)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT_S)
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]
    if any(thread.is_alive() for thread in threads):
        raise AssertionError(f"threads did not end within {TIMEOUT_S} s")


class ArchiveParts:
    """Fixtures of all parts."""

    @pytest.fixture
    def other(self, archive: EventStore) -> EventStore:
        """A second handle on the same medium."""
        return archive
