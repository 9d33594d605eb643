"""Walks over the index of an archive in sqlite, in the order of time.

The keys of events with one flag lie side by side.  With several flags the walk
goes over the rarest one, and looks each key up among the others.  Where they
have long stretches without one another it leaps: from a key of one to the next
that another has, until all agree.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass

from antiphon.archive.searching import Key, Query
from antiphon.archive.sqlite_layout import ALL

# ruff: noqa: S608 - what is put in are numbers and words of this module

#: As large as every place that can be.
_LAST_PLACE = 2**63 - 1

#: Keys of the rarest flag that are looked up among the others at once: at first, and at most.
_FEWEST = 16
_WALKED = 1024

#: Leaps for each flag before the next walk; a leap costs what ten keys of a walk cost.
_LEAPS = 2

#: Seconds after which a walk without a result pauses, so that no transaction is long.
_STEP_S = 0.02


@dataclass(frozen=True, slots=True)
class Keys:
    """What a part of a walk found.

    Attributes:
        found: keys of events that have all flags, in the order of the walk.
        after: where the walk goes on; None if it is at its end.
    """

    found: list[Key]
    after: Key | None


def keys_after(
    connection: sqlite3.Connection,
    query: Query,
    after: Key,
    head: int | None,
    size: int,
) -> Keys:
    """Return the next keys of the events that a query finds.

    Args:
        connection: within a transaction.
        query: what is looked for.
        after: where the query begins, or an earlier part ended.
        head: place of the last event that counts; None if all do.
        size: keys to return, at most.
    """
    numbers = _numbers(connection, query.flags)
    if numbers is None:
        return Keys([], None)
    spared = [found for flag in query.unless for found in _numbers(connection, [flag]) or []]
    walk = _Walk(connection, query, numbers, spared, _LAST_PLACE if head is None else head)
    return walk.go(after, size)


def count_of(connection: sqlite3.Connection, flags: Sequence[str]) -> int:
    """Return how many events there are, or how many have one flag."""
    if not flags:
        row = connection.execute("SELECT events FROM archive").fetchone()
    else:
        row = connection.execute("SELECT events FROM names WHERE name = ?", flags).fetchone()
    return int(row[0]) if row else 0


def _numbers(connection: sqlite3.Connection, flags: Sequence[str]) -> list[int] | None:
    """Return the numbers of flags, the rarest first; None if no event has one of them."""
    rows = [
        connection.execute("SELECT events, number FROM names WHERE name = ?", (flag,)).fetchone()
        for flag in flags
    ]
    if None in rows:
        return None
    return [number for _, number in sorted(rows)] or [ALL]


class _Walk:
    """One walk, within one transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        query: Query,
        numbers: list[int],
        spared: list[int],
        head: int,
    ) -> None:
        self._connection = connection
        self._query = query
        self._numbers = numbers
        self._spared = spared
        self._head = head
        order, self._beyond = ("DESC", "<") if query.descending else ("ASC", ">")
        # Only the far end: with the near one, too, sqlite begins there at each step.
        self._within, self._last = (
            ("timestamp >= ?", Key(query.start, -1))
            if query.descending
            else ("timestamp <= ?", Key(query.end, _LAST_PLACE))
        )
        self._order = f"ORDER BY timestamp {order}, seq {order} LIMIT ?"

    def go(self, after: Key, size: int) -> Keys:
        """Return the next keys."""
        if len(self._numbers) == 1 and not self._spared:
            return self._walk(after, size)
        found: list[Key] = []
        position: Key | None = after
        # Longer and longer while nothing is found: then flags are mixed so finely
        # that leaps lead nowhere.
        count = _FEWEST
        leaps = True
        pause_at = time.monotonic() + _STEP_S
        while position is not None and len(found) < size:
            if leaps:
                position = self._leap(position)
                if position is None:
                    break
            part = self._walk(position, count)
            found += part.found
            position = part.after
            leaps = not part.found
            count = min(2 * count, _WALKED)
            if time.monotonic() >= pause_at:
                break
        if len(found) > size:
            found = found[:size]
            position = found[-1]
        return Keys(found, position)

    def _walk(self, after: Key, count: int) -> Keys:
        """Look at the next *count* keys of the rarest flag."""
        also = "".join(
            f" AND EXISTS (SELECT 1 FROM flags o WHERE o.flag = {number}"
            " AND o.timestamp = f.timestamp AND o.seq = f.seq)"
            for number in self._numbers[1:]
        )
        if self._spared:
            also += (
                f" AND NOT EXISTS (SELECT 1 FROM flags o WHERE o.flag IN ({_listed(self._spared)})"
                " AND o.timestamp = f.timestamp AND o.seq = f.seq)"
            )
        if not also:
            found = self._rows("", after, self._last, count)
            return Keys(found, found[-1] if len(found) == count else None)
        # First where it ends: keys that the other flags lack need not leave sqlite then.
        (after_it,) = self._rows("", after, self._last, 1, count - 1) or (None,)
        found = self._rows(also, after, after_it or self._last, count)
        return Keys(found, after_it)

    def _rows(self, also: str, after: Key, last: Key, count: int, passed: int = 0) -> list[Key]:
        """Return keys of the rarest flag behind *after*, up to *last* inclusive."""
        rows = self._connection.execute(
            f"SELECT timestamp, seq FROM flags f WHERE flag = {self._numbers[0]}"
            f" AND (timestamp, seq) {self._beyond} (?, ?) AND {self._within}"
            f" AND NOT (timestamp, seq) {self._beyond} (?, ?)"
            f" AND seq <= ?{also} {self._order} OFFSET ?",
            (
                *(after.timestamp, after.place),
                *(last.timestamp, last.timestamp, last.place),
                *(self._head, count, passed),
            ),
        )
        return [Key(*row) for row in rows.fetchall()]

    def _leap(self, after: Key) -> Key | None:
        """Return a key behind which nothing was left out; None if no event has all flags."""
        candidate, inclusive = after, False
        agreed = 0
        for turn in range(_LEAPS * len(self._numbers)):
            number = self._numbers[turn % len(self._numbers)]
            found = self._next(number, candidate, inclusive=inclusive)
            if found is None:
                return None
            agreed = agreed + 1 if found == candidate and inclusive else 1
            candidate, inclusive = found, True
            if agreed == len(self._numbers):
                break
        return self._just_before(candidate)

    def _next(self, number: int, key: Key, *, inclusive: bool) -> Key | None:
        also = "=" if inclusive else ""
        row = self._connection.execute(
            f"SELECT timestamp, seq FROM flags WHERE flag = {number}"
            f" AND (timestamp, seq) {self._beyond}{also} (?, ?) AND {self._within} {self._order}",
            (key.timestamp, key.place, self._last.timestamp, 1),
        ).fetchone()
        return None if row is None else Key(*row)

    def _just_before(self, key: Key) -> Key:
        return Key(key.timestamp, key.place + (1 if self._query.descending else -1))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
