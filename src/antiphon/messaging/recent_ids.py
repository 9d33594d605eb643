"""Ids of events that came lately, so that one that comes again is known."""

from __future__ import annotations

import threading
from typing import TypeAlias

#: An ``EventId``, or its publisher and counter as a plain tuple.
Id: TypeAlias = tuple[bytes, int]


class HandledIds:
    """The ids of events that a subscription has done with; its owner holds a lock, or is alone.

    There are two generations: when the newer one is full, the older is forgotten
    as a whole, which costs nothing for each id.  Numbers are in a set for each
    publisher: a third of the memory of ids in one set, of which there may be a
    hundred thousand for each subscription, and nothing that Python's garbage
    collector has to look at.

    Args:
        at_least: how many ids are remembered at least; at most twice as many are.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = at_least
        self._count = 0
        self._new: dict[bytes, set[int]] = {}
        self._old: dict[bytes, set[int]] = {}

    def add(self, event_id: Id) -> bool:
        """Remember *event_id*; return False if it was known."""
        publisher, counter = event_id
        counters = self._new.get(publisher)
        if counters is None:
            counters = self._new.setdefault(publisher, set())
        elif counter in counters:
            return False
        counters.add(counter)
        before = self._old.get(publisher)
        is_new = before is None or counter not in before
        self._count += 1
        if self._count >= self._at_least:
            self._old, self._new, self._count = self._new, {}, 0
        return is_new

    def discard(self, event_id: Id) -> None:
        """Forget *event_id*, if it is known."""
        publisher, counter = event_id
        for generation in (self._new, self._old):
            if (counters := generation.get(publisher)) is not None:
                counters.discard(counter)

    def __contains__(self, event_id: Id) -> bool:
        publisher, counter = event_id
        counters = self._new.get(publisher)
        if counters is not None and counter in counters:
            return True
        counters = self._old.get(publisher)
        return counters is not None and counter in counters


_add = HandledIds.add  # super() would take as long as the rest


class RecentIds(HandledIds):
    """The same, safe from any thread: of several that add one id, it is new to one."""

    def __init__(self, at_least: int) -> None:
        super().__init__(at_least)
        self._lock = threading.RLock()  # reentrant: a finalizer may emit at any point

    def add(self, event_id: Id) -> bool:
        """Remember *event_id*; return False if it was known."""
        with self._lock:
            return _add(self, event_id)

    def discard(self, event_id: Id) -> None:
        """Forget *event_id*, if it is known."""
        with self._lock:
            super().discard(event_id)

    def __contains__(self, event_id: Id) -> bool:
        with self._lock:
            return super().__contains__(event_id)
