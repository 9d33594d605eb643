"""What an archive in sqlite writes; each call is made within one transaction that writes."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from antiphon.archive.event import Event
from antiphon.archive.searching import Key, Query
from antiphon.archive.sqlite_layout import ALL
from antiphon.archive.sqlite_names import Names, packed, unpacked
from antiphon.archive.sqlite_walking import count_of, keys_after
from antiphon.errors import EventNotFound

#: Seconds after which a purge leaves the rest to the next call, so that others can write:
#: events of megabytes take their time.
PURGE_S = 0.5

#: Events that are deleted between two looks at the clock.
_REMOVED_AT_ONCE = 500


#: Timestamp and place of an event, and the numbers of its tags.
_Tagged: TypeAlias = "tuple[float, int, Sequence[int]]"


@dataclass(frozen=True, slots=True)
class Inserted:
    """What ``insert`` did.

    Attributes:
        count: events that were new.
        numbers: of the flags, to be remembered after the commit.
        forgotten: the count of deletions of names that they hold for.
    """

    count: int
    numbers: dict[str, int]
    forgotten: int


def insert(connection: sqlite3.Connection, names: Names, events: Sequence[Event]) -> Inserted:
    """Insert what is new of *events*."""
    head, forgotten = connection.execute("SELECT head, forgotten FROM archive").fetchone()
    flags = dict.fromkeys(tag for event in events for tag in event.tags)
    numbers = names.numbers_for(connection, flags, forgotten)
    # By place; the tags of each as numbers.
    rows = [
        (seq, event, [numbers[tag] for tag in event.tags])
        for seq, event in enumerate(events, head + 1)
    ]
    count = connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING",
        [
            (
                seq,
                event.id,
                event.timestamp,
                event.received,
                event.source,
                packed(tags),
                event.content,
                event.message,
            )
            for seq, event, tags in rows
        ],
    ).rowcount
    if count < len(rows):
        new = {n for (n,) in connection.execute("SELECT seq FROM events WHERE seq > ?", (head,))}
        rows = [row for row in rows if row[0] in new]
    if rows:
        _index(connection, [(event.timestamp, seq, tags) for seq, event, tags in rows])
        connection.execute("UPDATE archive SET head = ?, events = events + ?", (rows[-1][0], count))
    _drop_unused(connection, numbers.values() if count < len(events) else ())
    return Inserted(count, numbers, forgotten)


def _index(connection: sqlite3.Connection, tagged: list[_Tagged]) -> None:
    keys, counts = _entries(tagged)
    connection.executemany("INSERT INTO flags VALUES (?, ?, ?)", keys)
    connection.executemany("UPDATE names SET events = events + ? WHERE number = ?", counts)


def _entries(
    tagged: list[_Tagged],
) -> tuple[list[tuple[int, float, int]], list[tuple[int, int]]]:
    """Return the rows of ``flags`` for some events, and how many each flag has, in order."""
    by_flag: defaultdict[int, list[tuple[int, float, int]]] = defaultdict(list)
    for timestamp, seq, tags in tagged:
        for number in set(tags):
            by_flag[number].append((number, timestamp, seq))
    # Side by side in the index, so that its pages are visited once.
    entries = [(ALL, timestamp, seq) for timestamp, seq, _ in tagged]
    counts = []
    for number in sorted(by_flag):
        entries += by_flag[number]
        counts.append((len(by_flag[number]), number))
    return entries, counts


def delete(connection: sqlite3.Connection, event_id: str) -> None:
    """Delete one event; raise ``EventNotFound``."""
    row = connection.execute("SELECT timestamp, seq FROM events WHERE id = ?", (event_id,))
    found = row.fetchone()
    if found is None:
        raise EventNotFound(f"no event has the id {event_id!r:.200}; nothing was deleted")
    _remove(connection, [Key(*found)])


def purge_before(
    connection: sqlite3.Connection, flags: tuple[str, ...], timestamp: float, limit: int
) -> int:
    """Delete the oldest events with all flags from before a time; return how many."""
    end = math.nextafter(timestamp, -math.inf)
    return _remove_some(connection, _oldest(connection, flags, end, limit))


def purge_to_count(
    connection: sqlite3.Connection, flags: tuple[str, ...], keep: int, limit: int
) -> int:
    """Delete the oldest events with one flag, or with none, but keep so many; return how many."""
    too_many = min(limit, count_of(connection, flags) - keep)
    return _remove_some(connection, _oldest(connection, flags, math.inf, too_many))


def purge_to_key(
    connection: sqlite3.Connection, flags: tuple[str, ...], last: Key, limit: int
) -> int:
    """Delete the oldest events with all flags up to a key, inclusive; return how many."""
    keys = _oldest(connection, flags, last.timestamp, limit)
    return _remove_some(connection, [key for key in keys if not last.is_before(key)])


def purge_keys(
    connection: sqlite3.Connection, keys: Sequence[Key], end: Key, most: int
) -> tuple[int, int]:
    """Delete those events that are still there, as many as can be in a short time.

    Args:
        connection: within a transaction that writes.
        keys: of the events, the oldest first.
        end: what is older than this is deleted in any case.
        most: of the others it deletes no more than so many, all in all.

    Returns:
        How many were deleted, and how many of the keys are done with.
    """
    stop_at = time.monotonic() + PURGE_S
    count = done = 0
    while done < len(keys) and (done == 0 or time.monotonic() < stop_at):
        part = keys[done : done + _REMOVED_AT_ONCE]
        there = [key for key in part if _is_there(connection, key)]
        going = [key for n, key in enumerate(there, count) if key.is_before(end) or n < most]
        count += _remove(connection, going) if going else 0
        if len(going) < len(there):
            return count, done + part.index(there[len(going)])
        done += len(part)
    return count, done


def _is_there(connection: sqlite3.Connection, key: Key) -> bool:
    row = connection.execute("SELECT 1 FROM events WHERE seq = ?", (key.place,)).fetchone()
    return row is not None


def _oldest(
    connection: sqlite3.Connection, flags: tuple[str, ...], end: float, limit: int
) -> list[Key]:
    query = Query(-math.inf, end, flags)
    found: list[Key] = []
    after: Key | None = query.begin()
    while after is not None and len(found) < limit:
        part = keys_after(connection, query, after, None, limit - len(found))
        found += part.found
        after = part.after
    return found


def _remove_some(connection: sqlite3.Connection, keys: Sequence[Key]) -> int:
    """Delete the first of these events, as many as can be in a short time; return how many."""
    stop_at = time.monotonic() + PURGE_S
    count = 0
    while count < len(keys) and (count == 0 or time.monotonic() < stop_at):
        count += _remove(connection, keys[count : count + _REMOVED_AT_ONCE])
    return count


def _remove(connection: sqlite3.Connection, keys: Sequence[Key]) -> int:
    """Delete events, and all that points to them; return how many."""
    tagged: list[_Tagged] = []
    for key in keys:
        row = connection.execute("SELECT tags FROM events WHERE seq = ?", (key.place,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"a flag leads to the place {key.place}, and no event is")
        tagged.append((key.timestamp, key.place, unpacked(row[0])))
    entries, counts = _entries(tagged)
    connection.executemany(
        "DELETE FROM flags WHERE flag = ? AND timestamp = ? AND seq = ?", entries
    )
    connection.executemany("DELETE FROM events WHERE seq = ?", sorted((key.place,) for key in keys))
    connection.executemany("UPDATE names SET events = events - ? WHERE number = ?", counts)
    connection.execute("UPDATE archive SET events = events - ?", (len(keys),))
    _drop_unused(connection, [number for _, number in counts])
    return len(keys)


def _drop_unused(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Delete those names that no event has any more, and have all writers forget theirs."""
    dropped = connection.executemany(
        "DELETE FROM names WHERE number = ? AND events = 0", [(number,) for number in numbers]
    ).rowcount
    if dropped > 0:
        connection.execute("UPDATE archive SET forgotten = forgotten + 1")
