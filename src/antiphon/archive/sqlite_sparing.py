"""What purges with exceptions delete, found without a look at all that they spare each time.

What a rule spares for good gathers at the beginning of time: a year of audit events
before a week of everything else.  So a walk begins behind what an earlier one has
looked at, and of what came since, only what is as old as that is looked at besides.
All of it is reading, in short transactions: nobody waits for it to write.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from antiphon.archive.searching import Key, Query
from antiphon.archive.sqlite_names import unpacked
from antiphon.archive.sqlite_walking import Keys, count_of, keys_after
from antiphon.archive.sqlite_writing import purge_keys

#: Returns what a function of a connection does in a transaction.
Do = Callable[[Callable[[sqlite3.Connection], Any]], Any]

#: Events that are looked at in one transaction, of those that came since the last walk.
_LOOKED_AT = 10_000

#: Rules of which is remembered where their walks have ended.
_REMEMBERED = 100

#: Behind every event.
_END = Key(math.inf, -1)


@dataclass(frozen=True, slots=True)
class Doomed:
    """What a walk has found.

    Attributes:
        keys: of events to be deleted, the oldest first.
        late: how many of those that were found came since the last walk.
        begin: where the walk began.
        end: up to here, inclusive, all but the keys are spared.
        head: of what was saved up to this place.
    """

    keys: list[Key]
    late: int
    begin: Key
    end: Key
    head: int


class Sparing:
    """Purges with exceptions, of one archive.

    Args:
        read, write: do work in a transaction that reads, or writes.
    """

    def __init__(self, read: Do, write: Do) -> None:
        self._read = read
        self._write = write
        # Where walks have ended, and the head then; whichever thread noted it, it is true.
        self._ended: dict[Query, tuple[Key, int]] = {}

    def purge(self, before: float | None, keep: int | None, query: Query, limit: int) -> int:
        """Delete the oldest that *query* finds, and that are too old or too many; return how many.

        Args:
            before, keep, limit: as for ``EventStore.purge``.
            query: of all times, ascending.
        """
        while True:
            end, most = self._bounds(before, keep, query)
            doomed = self._find(query, end, limit)
            if min(most, limit) > len(doomed.keys):
                doomed = self._find(query, _END, min(most, limit))
            count = done = 0
            if keys := doomed.keys:
                count, done = self._write(_removal(keys, end, keep, query))
            self._note(query, doomed, done)
            # If others have deleted them meanwhile, there may be more.
            if count or not keys:
                return count

    def _bounds(self, before: float | None, keep: int | None, query: Query) -> tuple[Key, int]:
        """Return the key before which all go, and how many go in any case."""
        end = query.begin() if before is None else Key(before, -1)
        if keep is None:
            return end, 0
        most = self._read(lambda connection: _most(connection, query)) - keep
        if most <= 0 or _is_counted(query):
            return end, most
        last = newest_but(self._read, keep, query)
        behind = end if last is None else Key(last.timestamp, last.place + 1)
        return (behind if end.is_before(behind) else end), 0

    def _find(self, query: Query, end: Key, limit: int) -> Doomed:
        """Return at most *limit* of the oldest events before *end* that *query* finds."""
        begin, seen = self._ended.get(query, (query.begin(), None))
        if end.is_before(begin):
            begin, seen = query.begin(), None
        head = self._read(_head)
        late = [] if seen is None else _late(self._read, query, begin, seen, head)
        found: list[Key] = []
        after: Key | None = begin
        within = replace(query, end=end.timestamp)
        while after is not None and after.is_before(end) and len(late) + len(found) < limit:
            part = self._read(_walk(within, after, limit - len(late) - len(found)))
            found += [key for key in part.found if key.is_before(end)]
            after = part.after
        if after is None or not after.is_before(end):
            after = Key(end.timestamp, end.place - 1)
        return Doomed((late + found)[:limit], len(late), begin, after, head)

    def _note(self, query: Query, doomed: Doomed, count: int) -> None:
        """Remember where the next walk begins, when the first *count* keys are gone."""
        if count < doomed.late:
            return
        end = doomed.end
        if count < len(doomed.keys):
            end = doomed.keys[count - 1] if count > doomed.late else doomed.begin
        known = self._ended.get(query)
        if known is None or not end.is_before(known[0]):
            if len(self._ended) >= _REMEMBERED:
                self._ended = {}
            self._ended[query] = (end, doomed.head)


def newest_but(read: Do, keep: int, query: Query) -> Key | None:
    """Return the key of the newest event that is beyond so many; None if there are not so many."""
    # Nobody counts those with several flags.  Finding the limit may take a while, so it
    # is not done while others wait to write.
    backward = replace(query, descending=True)
    after: Key | None = backward.begin()
    left = keep + 1
    while after is not None:
        part: Keys = read(_walk(backward, after, min(left, _LOOKED_AT)))
        after = part.after
        left -= len(part.found)
        if left == 0:
            return part.found[-1]
    return None


def _is_counted(query: Query) -> bool:
    return not query.flags and len(query.unless) == 1


def _most(connection: sqlite3.Connection, query: Query) -> int:
    """Return how many events *query* finds at most; if it is counted, exactly so many."""
    if query.flags:
        return min(count_of(connection, [flag]) for flag in query.flags)
    return count_of(connection, ()) - max(count_of(connection, [flag]) for flag in query.unless)


def _removal(
    keys: Sequence[Key], end: Key, keep: int | None, query: Query
) -> Callable[[sqlite3.Connection], tuple[int, int]]:
    def work(connection: sqlite3.Connection) -> tuple[int, int]:
        most = 0
        if keep is not None and _is_counted(query):
            # Again: somebody may have deleted some since.
            most = _most(connection, query) - keep
        return purge_keys(connection, keys, end, most)

    return work


def _head(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT head FROM archive").fetchone()[0])


def _walk(query: Query, after: Key, size: int) -> Callable[[sqlite3.Connection], Keys]:
    return lambda connection: keys_after(connection, query, after, None, size)


def _late(read: Do, query: Query, end: Key, seen: int, head: int) -> list[Key]:
    """Return what was saved behind *seen*, and belongs to what was walked over."""
    found: list[Key] = []
    while seen < head:
        part, seen = read(_looked_at(query, end, seen, head))
        found += part
    return sorted(found, key=lambda key: (key.timestamp, key.place))


def _looked_at(
    query: Query, end: Key, seen: int, head: int
) -> Callable[[sqlite3.Connection], tuple[list[Key], int]]:
    def work(connection: sqlite3.Connection) -> tuple[list[Key], int]:
        wanted = _numbers(connection, query.flags)
        spared = {number for number in _numbers(connection, query.unless) if number is not None}
        rows = connection.execute(
            "SELECT timestamp, seq, tags FROM events WHERE seq > ? AND seq <= ?"
            " ORDER BY seq LIMIT ?",
            (seen, head, _LOOKED_AT),
        ).fetchall()
        found = [
            Key(timestamp, seq)
            for timestamp, seq, tags in rows
            if (timestamp, seq) <= (end.timestamp, end.place)
            and wanted.issubset(numbers := unpacked(tags))
            and spared.isdisjoint(numbers)
        ]
        return found, rows[-1][1] if len(rows) == _LOOKED_AT else head

    return work


def _numbers(connection: sqlite3.Connection, names: Iterable[str]) -> set[int | None]:
    # None for a flag that no event has.
    rows = (
        connection.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
        for name in names
    )
    return {None if row is None else int(row[0]) for row in rows}
