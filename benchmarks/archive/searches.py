"""What is looked for, and how long the first result takes."""

from __future__ import annotations

import random
import sqlite3
import time
from dataclasses import dataclass

from antiphon.archive import EventStore
from benchmarks.archive.made import time_of

#: Seconds of the short time range.
HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for, from a random time in the first half on.

    Attributes:
        title: for the table; with how many of ten million events match.
        flags: the rarest first.
        span_s: length of the time range; None is without end.
        order: of the results.
    """

    title: str
    flags: tuple[str, ...] = ()
    span_s: float | None = None
    order: str = "asc"


SEARCHES = (
    Search("one hour", span_s=HOUR_S),
    Search("from a time on"),
    Search("latest first", order="desc"),
    Search("a class: nearly all", ("StoreModificationEvent",)),
    Search("a class: nearly all, in one hour", ("StoreModificationEvent",), HOUR_S),
    Search("a class: 100", ("shop:Alarm",)),
    Search("a class: none", ("shop:Never",)),
    Search("a key: 100", ("key:prices/{key:06}",)),
    Search("a key: 500", ("key:prices/watched",)),
    Search("a key: 500, latest first", ("key:prices/watched",), order="desc"),
    Search("two: 1 000 000 and nearly all", ("origin:import", "StoreModificationEvent")),
    Search("two: 50 000 and 1 800 000", ("StoreDeleteEvent", "origin:shop-1")),
    Search("two: 500 and nearly all", ("key:prices/watched", "StoreModificationEvent")),
    Search("two: 500 and 50 000, no match", ("key:prices/watched", "StoreDeleteEvent")),
    Search("two: 100 and 1 000 000, no match", ("shop:Alarm", "origin:import")),
    Search("two: 50 000 and 1 000 000, no match", ("StoreDeleteEvent", "origin:import")),
    Search("two: 1 000 000 by turns, no match", ("StoreMoveEvent", "origin:import")),
)

#: The one whose time grows with what has either flag.
WORST = SEARCHES[-1]


@dataclass(frozen=True, slots=True)
class Asked:
    """A search with its random part drawn."""

    start: float
    end: float | None
    flags: list[str]
    order: str


def asked(search: Search, count: int, chance: random.Random) -> Asked:
    """Draw time and key of a search in *count* events."""
    start = time_of(chance.randrange(count // 2))
    end = None if search.span_s is None else start + search.span_s
    flags = [flag.format(key=chance.randrange(100_000)) for flag in search.flags]
    return Asked(start, end, flags, search.order)


def first_result(store: EventStore, one: Asked) -> float:
    """Return the seconds from the call to the first result, or to there being none."""
    began = time.perf_counter()
    next(store.search(one.start, one.end, one.flags or None, order=one.order), None)
    return time.perf_counter() - began


def by_hand(connection: sqlite3.Connection, one: Asked) -> float:
    """Return what the same takes in SQL, without the checks and the snapshot of the library."""
    began = time.perf_counter()
    found = [
        connection.execute("SELECT number FROM names WHERE name = ?", (flag,)).fetchone()
        for flag in one.flags
    ]
    if None not in found:
        numbers = [number for (number,) in found] or [0]
        also = "".join(
            f" JOIN flags f{n} ON f{n}.flag = {number} AND f{n}.timestamp = f.timestamp"
            f" AND f{n}.seq = f.seq"
            for n, number in enumerate(numbers[1:])
        )
        way = "DESC" if one.order == "desc" else "ASC"
        connection.execute(
            f"SELECT e.* FROM flags f{also} JOIN events e ON e.seq = f.seq"
            f" WHERE f.flag = {numbers[0]} AND f.timestamp BETWEEN ? AND ?"
            f" ORDER BY f.timestamp {way}, f.seq {way} LIMIT 1",
            (one.start, 1e300 if one.end is None else one.end),
        ).fetchone()
    return time.perf_counter() - began
