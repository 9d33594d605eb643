"""What an archive in sqlite writes: new events, and the end of old ones."""

from __future__ import annotations

import sqlite3
from collections import Counter

from antiphon.archive.event import Event
from antiphon.archive.searching import Key, Query
from antiphon.archive.sqlite_layout import ALL
from antiphon.archive.sqlite_names import Names, packed
from antiphon.archive.sqlite_walking import keys_from, numbers_of
from antiphon.errors import EventNotFound


def insert(
    connection: sqlite3.Connection, names: Names, events: list[Event]
) -> tuple[int, dict[str, int]]:
    """Insert what is new of *events*; return how many, and numbers to remember after the commit."""
    head, forgotten = connection.execute("SELECT head, forgotten FROM archive").fetchone()
    numbers = names.numbers(
        connection, dict.fromkeys(tag for event in events for tag in event.tags), forgotten
    )
    before = connection.total_changes
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO NOTHING",
        (
            (
                seq,
                event.id,
                event.timestamp,
                event.received,
                event.source,
                packed(numbers[tag] for tag in event.tags),
                event.content,
                event.message,
            )
            for seq, event in enumerate(events, head + 1)
        ),
    )
    count = connection.total_changes - before
    new = list(enumerate(events, head + 1))
    if count < len(events):
        present = {
            seq for (seq,) in connection.execute("SELECT seq FROM events WHERE seq > ?", (head,))
        }
        new = [(seq, event) for seq, event in new if seq in present]
    if new:
        _index(connection, new, numbers)
        connection.execute(
            "UPDATE archive SET head = ?, events = events + ?", (new[-1][0], len(new))
        )
    return len(new), numbers


def _index(
    connection: sqlite3.Connection, new: list[tuple[int, Event]], numbers: dict[str, int]
) -> None:
    counts: Counter[int] = Counter()
    rows = []
    for seq, event in new:
        own = {numbers[tag] for tag in event.tags}
        counts.update(own)
        rows.append((ALL, event.timestamp, seq))
        rows.extend((number, event.timestamp, seq) for number in own)
    rows.sort()
    connection.executemany("INSERT INTO flags VALUES (?, ?, ?)", rows)
    _count(connection, counts, +1)


def _count(connection: sqlite3.Connection, counts: Counter[int], sign: int) -> None:
    connection.executemany(
        "UPDATE names SET events = events + ? WHERE number = ?",
        ((sign * count, number) for number, count in counts.items()),
    )


def delete(connection: sqlite3.Connection, event_id: str) -> None:
    """Delete one event; raise ``EventNotFound``."""
    row = connection.execute("SELECT seq FROM events WHERE id = ?", (event_id,)).fetchone()
    if row is None:
        raise EventNotFound(f"no event has the id {event_id!r:.200}; nothing was deleted")
    remove(connection, [row[0]])


def remove(connection: sqlite3.Connection, places: list[int]) -> None:
    """Delete the events with these places, and all that points to them."""
    counts: Counter[int] = Counter()
    rows = []
    for seq in places:
        timestamp, tags = connection.execute(
            "SELECT timestamp, tags FROM events WHERE seq = ?", (seq,)
        ).fetchone()
        own = set(numbers_of(tags))
        counts.update(own)
        rows.append((ALL, timestamp, seq))
        rows.extend((number, timestamp, seq) for number in own)
    connection.executemany(
        "DELETE FROM flags WHERE flag = ? AND timestamp = ? AND seq = ?", sorted(rows)
    )
    connection.executemany("DELETE FROM events WHERE seq = ?", ((seq,) for seq in places))
    _count(connection, counts, -1)
    before = connection.total_changes
    connection.executemany(
        "DELETE FROM names WHERE number = ? AND events = 0", ((number,) for number in counts)
    )
    forgot = int(connection.total_changes > before)
    connection.execute(
        "UPDATE archive SET events = events - ?, forgotten = forgotten + ?", (len(places), forgot)
    )


def purge(
    connection: sqlite3.Connection,
    before: float | None,
    keep: int | None,
    flags: tuple[str, ...],
    limit: int,
) -> int:
    """Delete the oldest of what is too old or too many; return how many, at most *limit*."""
    query = Query(float("-inf"), float("inf"), flags)
    victims = [
        key
        for key in keys_from(connection, query, limit)
        if before is not None and key.timestamp < before
    ]
    if keep is not None and len(victims) < limit:
        extra = _count_of(connection, flags, query) - keep
        if extra > len(victims):
            victims = list(keys_from(connection, query, min(limit, extra)))
    remove(connection, [key.place for key in victims])
    return len(victims)


def _count_of(connection: sqlite3.Connection, flags: tuple[str, ...], query: Query) -> int:
    if not flags:
        (count,) = connection.execute("SELECT events FROM archive").fetchone()
    elif len(flags) == 1:
        row = connection.execute("SELECT events FROM names WHERE name = ?", flags).fetchone()
        count = row[0] if row else 0
    else:
        count = sum(1 for _ in keys_from(connection, query, None))
    return int(count)


__all__ = ["Key", "delete", "insert", "purge", "remove"]
