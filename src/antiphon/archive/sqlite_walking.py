"""Walks over an archive in sqlite: in the order of time, and in that of saving."""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Iterator
from typing import Any

from antiphon.archive.event import Event
from antiphon.archive.searching import Key, Portion, Query, Step
from antiphon.archive.sqlite_layout import ALL
from antiphon.archive.sqlite_names import Names

# ruff: noqa: S608 - what is put in are numbers and words of this module

#: The columns of an event, in the order of ``event_of``.
COLUMNS = "id, source, events.timestamp, tags, content, received, message"

#: Characters and bytes of events that one step reads at most (and one event more).
STEP_BYTES = 8_000_000


def numbers_of(tags: bytes) -> tuple[int, ...]:
    """Return the numbers of an event's tags, as its row has them."""
    return struct.unpack(f"<{len(tags) // 4}I", tags)


def event_of(connection: sqlite3.Connection, names: Names, row: tuple[Any, ...]) -> Event:
    """Return the event of a row of ``COLUMNS``."""
    id_, source, timestamp, tags, content, received, message = row
    return Event(
        id_,
        source,
        timestamp,
        names.unpacked(connection, tags),
        content,
        received=received,
        message=message,
    )


def step(
    connection: sqlite3.Connection,
    names: Names,
    query: Query,
    after: Key | None,
    head: int,
    size: int,
) -> Step:
    """Return the next events of a walk in the order of time."""
    events: list[Event] = []
    total = 0
    last: Key | None = None
    for key in keys_from(connection, query, size, after, head):
        row = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE seq = ?",
            (key.place,),
        ).fetchone()
        events.append(event_of(connection, names, row))
        last = key
        total += len(row[4]) + len(row[6] or b"")
        if total > STEP_BYTES:
            return Step(events, last)
    return Step(events, last if len(events) == size else None)


def keys_from(
    connection: sqlite3.Connection,
    query: Query,
    limit: int | None,
    after: Key | None = None,
    head: int | None = None,
) -> Iterator[Key]:
    """Yield keys of events that a query finds, in its order."""
    numbers = [ALL]
    if query.flags:
        rows = [
            connection.execute("SELECT number, events FROM names WHERE name = ?", (f,)).fetchone()
            for f in query.flags
        ]
        if None in rows:
            return
        numbers = [row[0] for row in sorted(rows, key=lambda row: row[1])]
    others = "".join(
        f" AND EXISTS (SELECT 1 FROM flags o WHERE o.flag = {int(n)}"
        " AND o.timestamp = f.timestamp AND o.seq = f.seq)"
        for n in numbers[1:]
    )
    direction, beyond = ("DESC", "<") if query.descending else ("ASC", ">")
    if after is None:
        after = Key(math.inf, 2**63 - 1) if query.descending else Key(-math.inf, -1)
    cursor = connection.execute(
        f"SELECT timestamp, seq FROM flags f WHERE flag = ? AND (timestamp, seq) {beyond} (?, ?)"
        " AND timestamp BETWEEN ? AND ? AND seq <= ?"
        f"{others} ORDER BY timestamp {direction}, seq {direction} LIMIT ?",
        (
            numbers[0],
            after.timestamp,
            after.place,
            query.start,
            query.end,
            2**63 - 1 if head is None else head,
            -1 if limit is None else limit,
        ),
    )
    for timestamp, seq in cursor:
        yield Key(timestamp, seq)


def portion(
    connection: sqlite3.Connection, names: Names, place: int, flags: tuple[str, ...], limit: int
) -> Portion:
    """Return what was saved after *place*, of the next *limit* events."""
    wanted = {names.number_of(connection, flag) for flag in flags}
    events: list[Event] = []
    total = 0
    rows = connection.execute(
        "SELECT seq, tags FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (place, limit)
    )
    for seq, tags in rows:
        place = seq
        if wanted and not wanted <= set(numbers_of(tags)):
            continue
        row = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE seq = ?",
            (seq,),
        ).fetchone()
        events.append(event_of(connection, names, row))
        total += len(row[4]) + len(row[6] or b"")
        if total > STEP_BYTES:
            break
    return Portion(events, place)
