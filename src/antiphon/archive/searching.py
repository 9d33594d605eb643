"""What a search asks for, checked, and how a walk over an archive goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from antiphon.archive.event import Event
from antiphon.errors import InvalidSearch

#: Flags that one search can ask for.
MAX_FLAGS = 100

#: The largest number that a database counts; larger than every place.
MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Key:
    """Where a walk in the order of time stands: at an event's time and place."""

    timestamp: float
    place: int

    def is_before(self, other: Key) -> bool:
        """Return whether this comes first, of two."""
        return (self.timestamp, self.place) < (other.timestamp, other.place)


@dataclass(frozen=True, slots=True)
class Query:
    """Which events, and in which order of time.

    Attributes:
        start: first second of the range, inclusive.
        end: last second of it, inclusive; infinite if there is none.
        flags: all of them must be among an event's tags; each is here once.
        descending: latest first.
        unless: none of them may be there.
    """

    start: float
    end: float
    flags: tuple[str, ...] = ()
    descending: bool = False
    unless: tuple[str, ...] = ()

    def begin(self) -> Key:
        """Return the key behind which a walk begins."""
        return Key(self.end, MOST) if self.descending else Key(self.start, -1)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of a walk in the order of time has found.

    Attributes:
        events: in the order of the walk.
        after: where the next step begins; None if this was the last.
    """

    events: list[Event]
    after: Key | None


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of what was saved, in the order of saving.

    Attributes:
        events: those that were asked for.
        place: up to here, inclusively, everything was looked at.
    """

    events: list[Event]
    place: int


@dataclass(frozen=True, slots=True)
class ArchiveStats:
    """What is in an archive.

    Attributes:
        events: how many.
        oldest: the earliest timestamp, in seconds since the epoch; None if there is none.
        newest: the latest, likewise.
        bytes: what it takes on its medium.
        flags: how many events have each flag; the most frequent ones, in that order.
            Of flags that are rare, not all are looked at if there are many of them.
    """

    events: int
    oldest: float | None
    newest: float | None
    bytes: int
    flags: dict[str, int]


def checked_query(
    ts_start: object, ts_end: object, flags: Iterable[str] | None, order: object
) -> Query:
    """Return the query that the arguments of ``search`` stand for.

    Raises:
        InvalidSearch: a time is no number, the end is before the start, the
            flags are no list of text, or the order is neither word.
    """
    start = checked_time("ts_start", -math.inf if ts_start is None else ts_start)
    end = checked_time("ts_end", math.inf if ts_end is None else ts_end)
    if end < start:
        raise InvalidSearch(f"ts_end {end!r} is before ts_start {start!r}")
    if order not in ("asc", "desc"):
        raise InvalidSearch(f"order must be 'asc' or 'desc', not {order!r:.80}")
    return Query(start, end, checked_flags(flags), order == "desc")


def checked_time(name: str, value: object) -> float:
    """Return *value* in seconds; ``InvalidSearch`` if it is no number (infinite ones are)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise InvalidSearch(f"{name} must be seconds since the epoch, not {value!r:.80}")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def checked_flags(flags: Iterable[str] | None) -> tuple[str, ...]:
    """Return *flags*, each once; ``InvalidSearch`` if they are no list of text."""
    if flags is None:
        return ()
    if isinstance(flags, str | bytes) or not isinstance(flags, Iterable):
        raise InvalidSearch(f"flags must be a list of text, not {flags!r:.80}")
    found = list(flags)
    for flag in found:
        if not isinstance(flag, str):
            raise InvalidSearch(f"a flag must be text, not {flag!r:.80}")
        if not is_unicode(flag):
            raise InvalidSearch(f"no event has the flag {flag!r:.80}: it has half a character")
    once = tuple(dict.fromkeys(found))
    if len(once) > MAX_FLAGS:
        raise InvalidSearch(f"{len(once)} flags are too many; ask for at most {MAX_FLAGS}")
    return once


def is_unicode(text: str) -> bool:
    """Return whether *text* can be written as UTF-8: it has no lone surrogate."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def checked_count(name: str, value: object, least: int = 1) -> int:
    """Return *value*, or ``MOST``; ``InvalidSearch`` if it is no whole number from *least* on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidSearch(f"{name} must be a whole number from {least} on, not {value!r:.80}")
    return min(value, MOST)
