"""Identity of events: who made it, and the how-manyeth it was.

An id is a random publisher (12 bytes, one a process) and a counter, so that
making one costs an increment and no random bytes (DESIGN section 5).
"""

from __future__ import annotations

import itertools
import os
import weakref
from typing import NamedTuple

#: Bytes in a publisher id: 96 random bits, as unlikely to repeat as a UUID.
PUBLISHER_BYTES = 12


class EventId(NamedTuple):
    """The identity of one event, the same in every process that hears it.

    Attributes:
        publisher: 12 random bytes, drawn once a process.
        counter: 1 for the first event of that publisher, then 2, 3, …
    """

    publisher: bytes
    counter: int

    def __str__(self) -> str:
        return f"{self.publisher.hex()}-{self.counter}"

    @classmethod
    def parse(cls, text: str) -> EventId:
        """Return the id that ``str()`` wrote as *text*; ``ValueError`` if it is none."""
        publisher, dash, counter = text.partition("-")
        if not dash:
            raise ValueError(f"no event id: {text!r} (expected '<24 hex digits>-<number>')")
        return cls(bytes.fromhex(publisher), int(counter))


class EventIds:
    """Ids of a publisher of its own, for whoever vouches for the events that have them.

    Attributes:
        publisher: drawn at random; another one in a forked child.
    """

    def __init__(self) -> None:
        self._start_over()
        _publishers.add(self)

    def _start_over(self) -> None:
        self.publisher = os.urandom(PUBLISHER_BYTES)
        self._next_counter = itertools.count(1).__next__

    def next(self) -> EventId:
        """Return an id that no other event has or will have.  Thread-safe."""
        return _new_tuple(EventId, (self.publisher, self._next_counter()))


_new_tuple = tuple.__new__
_publisher = os.urandom(PUBLISHER_BYTES)
_next_counter = itertools.count(1).__next__
_publishers: weakref.WeakSet[EventIds] = weakref.WeakSet()


def _start_over_after_fork() -> None:
    # A child that went on with its parent's publisher id would repeat its ids.
    global _publisher, _next_counter
    _publisher = os.urandom(PUBLISHER_BYTES)
    _next_counter = itertools.count(1).__next__
    for each in list(_publishers):
        each._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over_after_fork)


def next_event_id() -> EventId:
    """Return an id that no other event has or will have.  Thread-safe."""
    # Past the named tuple's own __new__: half the time.
    return _new_tuple(EventId, (_publisher, _next_counter()))


def next_id() -> tuple[bytes, int]:
    """Return publisher and counter of ``next_event_id()``, in half the time of that."""
    return _publisher, _next_counter()
