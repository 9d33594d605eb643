"""Ids of events that came lately, so that one that comes again is known."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from antiphon.events.abstract_event_manager import BaseEvent

#: An ``EventId``, or its publisher and counter as a plain tuple.
Id: TypeAlias = tuple[bytes, int]

#: Ids of each busy publisher that are remembered at least: more than one has under way, and
#: sends again when its connection was lost (outgoing.MAX_UNDER_WAY).  Of each, since a broker
#: that restarts makes all of them do so at once.
PER_PUBLISHER = 8192

#: Ids from which on a publisher counts as busy.
_BUSY = 256

#: Ids that are remembered in any case at most, twice: about 80 MiB.
_MAX_IDS = 64 * PER_PUBLISHER

_NONE: set[int] = set()


class _All(set[int]):
    """What has every number."""

    def __contains__(self, counter: object) -> bool:
        return True


_ALL = _All()


class HandledIds:
    """The ids of events that a subscription has done with; its owner holds a lock, or is alone.

    There are two generations: when the newer one is full, the older is forgotten
    as a whole, which costs nothing for each id.  Numbers are in a set for each
    publisher: a third of the memory of ids in one set, of which there may be a
    hundred thousand for each subscription, and nothing that Python's garbage
    collector has to look at.

    Args:
        at_least: how many ids are remembered at least, and ``PER_PUBLISHER`` of each busy
            publisher; at most twice as many are.
    """

    def __init__(self, at_least: int) -> None:
        self._at_least = self._limit = at_least
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
        if self._count >= self._limit:
            self._turn()
        return is_new

    def _turn(self) -> None:
        busy = sum(len(counters) >= _BUSY for counters in self._new.values())
        self._limit = max(self._at_least, min(busy * PER_PUBLISHER, _MAX_IDS))
        if self._count >= self._limit:
            self._old, self._new, self._count = self._new, {}, 0
            self._limit = self._at_least

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
    """The same, safe from any thread: of several that add one id, it is new to one.

    Attributes:
        repeated: how many events ``new_of`` has left out.
    """

    def __init__(self, at_least: int) -> None:
        super().__init__(at_least)
        self.repeated = 0
        self._known: frozenset[bytes] = frozenset()
        self._lock = threading.RLock()  # reentrant: a finalizer may emit at any point

    def add(self, event_id: Id) -> bool:
        """Remember *event_id*; return False if it was known."""
        with self._lock:
            return _add(self, event_id)

    def know(self, publisher: bytes) -> None:
        """Have ``new_of`` leave out all events of *publisher*: they come from this process."""
        with self._lock:
            self._known |= {publisher}

    def new_of(self, events: Iterable[BaseEvent]) -> Iterator[BaseEvent]:
        """Yield those of *events*, which arrived, that are not known when it is their turn.

        They are remembered from then on.  It is for one thread.
        """
        # In one piece, since it is the way of every event: ``add`` takes three times as long.
        lock = self._lock
        publisher, new = b"", self._old
        counters: set[int] = set()
        before: set[int] = counters
        for event in events:
            came: Any = event._came
            counter = came[1]
            with lock:
                if new is not self._new or came[0] != publisher:
                    publisher, new = came[0], self._new
                    counters = new.setdefault(publisher, set())
                    before = self._old.get(publisher, _NONE)
                    if publisher in self._known:
                        before = _ALL
                if counter in counters or counter in before:
                    self.repeated += 1
                    continue
                counters.add(counter)
                self._count += 1
                if self._count >= self._limit:
                    self._turn()
            yield event

    def discard(self, event_id: Id) -> None:
        """Forget *event_id*, if it is known."""
        with self._lock:
            super().discard(event_id)

    def __contains__(self, event_id: Id) -> bool:
        with self._lock:
            return super().__contains__(event_id)
