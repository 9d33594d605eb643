"""Events read from an archive in sqlite; each call is made within a transaction."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from antiphon.archive.event import Event
from antiphon.archive.searching import ArchiveStats, Key, Portion, Query, Step
from antiphon.archive.sqlite_layout import FREQUENT
from antiphon.archive.sqlite_names import Names, unpacked
from antiphon.archive.sqlite_walking import keys_after
from antiphon.errors import InvalidEvent

# ruff: noqa: S608 - what is put in are words of this module

_COLUMNS = "e.id, e.source, e.timestamp, e.tags, e.content, e.received, e.message"

#: Events by their places, in the order in which those are given; a fifth of the time
#: that a statement for each event takes.
_SELECT_PLACES = f"""SELECT {_COLUMNS} FROM json_each(?) place
    CROSS JOIN events e ON e.seq = place.value"""

#: Characters and bytes of events that one step reads at most, and one event more.
STEP_BYTES = 8_000_000

#: Events that one portion looks at, at most, if few have the flags.
_LOOKED_AT = 10_000

#: Flags that ``stats`` counts, and those it looks at if fewer than that are frequent.
_COUNTED_FLAGS = 1000
_RARE_FLAGS = 10_000


def event_with_id(connection: sqlite3.Connection, names: Names, event_id: str) -> Event | None:
    """Return the event with an id; None if there is none."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM events e WHERE e.id = ?", (event_id,)
    ).fetchone()
    return None if row is None else _event(connection, names, row)


def step(
    connection: sqlite3.Connection,
    names: Names,
    query: Query,
    after: Key,
    head: int,
    size: int,
) -> Step:
    """Return the next events of a walk in the order of time."""
    keys = keys_after(connection, query, after, head, size)
    events = _events_at(connection, names, [key.place for key in keys.found])
    if len(events) < len(keys.found):
        return Step(events, keys.found[len(events) - 1])
    return Step(events, keys.after)


def portion(
    connection: sqlite3.Connection, names: Names, place: int, flags: tuple[str, ...], limit: int
) -> Portion:
    """Return what was saved after *place*: at most *limit* events with all flags."""
    wanted = {names.number_of(connection, flag) for flag in flags}
    looked_at = max(limit, _LOOKED_AT) if flags else limit
    rows = connection.execute(
        "SELECT seq, tags FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (place, looked_at)
    ).fetchall()
    found = [seq for seq, tags in rows if not wanted or wanted.issubset(unpacked(tags))]
    events = _events_at(connection, names, found[:limit])
    if len(events) < len(found):
        return Portion(events, found[len(events) - 1])
    if len(rows) == looked_at:
        return Portion(events, rows[-1][0])
    # What was saved last may have been deleted: whoever goes on until the head must get there.
    (head,) = connection.execute("SELECT head FROM archive").fetchone()
    return Portion(events, max(place, head))


def statistics(connection: sqlite3.Connection, log_bytes: int) -> ArchiveStats:
    """Return what is in the archive."""
    (events,) = connection.execute("SELECT events FROM archive").fetchone()
    (oldest,) = connection.execute("SELECT min(timestamp) FROM flags WHERE flag = 0").fetchone()
    (newest,) = connection.execute("SELECT max(timestamp) FROM flags WHERE flag = 0").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    flags = _flags(connection)
    return ArchiveStats(events, oldest, newest, pages * page_bytes + log_bytes, flags)


def _flags(connection: sqlite3.Connection) -> dict[str, int]:
    # The number is written out: with a parameter sqlite does not see that the index will do.
    found = connection.execute(
        f"SELECT name, events FROM names WHERE events >= {FREQUENT}"
        " ORDER BY events DESC, name LIMIT ?",
        (_COUNTED_FLAGS,),
    ).fetchall()
    rare = connection.execute(
        f"SELECT name, events FROM names WHERE events BETWEEN 1 AND {FREQUENT - 1} LIMIT ?",
        (_RARE_FLAGS if len(found) < _COUNTED_FLAGS else 0,),
    ).fetchall()
    rare.sort(key=lambda row: (-row[1], row[0]))
    return dict((found + rare)[:_COUNTED_FLAGS])


def _events_at(connection: sqlite3.Connection, names: Names, places: list[int]) -> list[Event]:
    """Return the events at some places, in that order; fewer if they are too large together."""
    events: list[Event] = []
    room = STEP_BYTES
    for row in (cursor := connection.execute(_SELECT_PLACES, (json.dumps(places),))):
        event = _event(connection, names, row)
        events.append(event)
        room -= len(event.content) + len(event.message or b"")
        if room < 0:
            break
    # Else it would keep the transaction open.
    cursor.close()
    return events


def _event(connection: sqlite3.Connection, names: Names, row: tuple[Any, ...]) -> Event:
    id_, source, timestamp, tags, content, received, message = row
    flags = names.of(connection, unpacked(tags))
    try:
        return Event(id_, source, timestamp, flags, content, received=received, message=message)
    except InvalidEvent as exc:
        raise sqlite3.DatabaseError(f"an event is broken: {exc}") from exc
