"""Ids of events that came lately, so that one that comes again is known."""

from __future__ import annotations

import threading

from antiphon.events.event_id import EventId


class RecentIds:
    """The newest ids of all publishers together; safe from any thread, without a lock.

    There are two generations: when the newer one is full, the older is forgotten
    as a whole, which costs nothing for each id.

    Args:
        at_least: how many ids are remembered at least; at most twice as many are.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._new: dict[EventId, object] = {}
        self._old: dict[EventId, object] = {}
        self._turning = threading.RLock()  # reentrant: a finalizer may emit at any point

    def add(self, event_id: EventId) -> bool:
        """Remember *event_id*; return False if it was known."""
        new = self._new
        mark = object()
        # Of several threads that come with one id, setdefault lets one be the first.  The old
        # ones are looked at afterwards: meanwhile the new ones may have become them.
        if new.setdefault(event_id, mark) is not mark or event_id in self._old:
            return False
        if len(new) >= self._at_least:
            with self._turning:
                if self._new is new:
                    self._old, self._new = new, {}
        return True

    def discard(self, event_id: EventId) -> None:
        """Forget *event_id*, if it is known."""
        self._new.pop(event_id, None)
        self._old.pop(event_id, None)

    def __contains__(self, event_id: EventId) -> bool:
        return event_id in self._new or event_id in self._old

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._new) + len(self._old)


class HandledIds:
    """The ids of events that a subscription has done with; its owner holds a lock, or is alone.

    Numbers in a set for each publisher: a third of the memory of ids in one set,
    of which there may be a hundred thousand for each subscription.

    Args:
        at_least: how many ids are remembered at least; at most twice as many are.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._count = 0
        self._new: dict[bytes, set[int]] = {}
        self._old: dict[bytes, set[int]] = {}

    def add(self, event_id: EventId) -> None:
        """Remember *event_id*."""
        publisher, counter = event_id
        counters = self._new.get(publisher)
        if counters is None:
            counters = self._new[publisher] = set()
        counters.add(counter)
        self._count += 1
        if self._count >= self._at_least:
            self._old, self._new, self._count = self._new, {}, 0

    def __contains__(self, event_id: EventId) -> bool:
        publisher, counter = event_id
        counters = self._new.get(publisher)
        if counters is not None and counter in counters:
            return True
        counters = self._old.get(publisher)
        return counters is not None and counter in counters
