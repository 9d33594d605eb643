"""The numbers of flags in an archive, and what this process remembers of them."""

from __future__ import annotations

import sqlite3
import struct
import threading
from collections.abc import Collection, Iterable

#: Names that are remembered at most; then all are forgotten and asked for again.
_REMEMBERED = 100_000


class Names:
    """Numbers for flags; calls are made within a transaction of *connection*."""

    def __init__(self) -> None:
        # Replaced, never emptied: others may be reading it.
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._forgotten = 0
        self._lock = threading.Lock()

    def number_of(self, connection: sqlite3.Connection, name: str) -> int | None:
        """Return the number of *name*; None if no event has that flag."""
        row = connection.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def numbers_for(
        self, connection: sqlite3.Connection, names: Iterable[str], forgotten: int
    ) -> dict[str, int]:
        """Return the number of each name, new ones for new names.

        Args:
            connection: within a transaction that writes.
            names: each once.
            forgotten: the archive's count of deletions of names.
        """
        known, found = self._known(forgotten), {}
        new: list[str] = []
        for name in names:
            number = known.get(name)
            if number is None:
                number = self.number_of(connection, name)
            if number is None:
                new.append(name)
            else:
                found[name] = number
        if new:
            found.update(_inserted(connection, new))
        return found

    def _known(self, forgotten: int) -> dict[str, int]:
        with self._lock:
            if forgotten != self._forgotten or len(self._numbers) > _REMEMBERED:
                self._numbers, self._forgotten = {}, forgotten
            return self._numbers

    def remember(self, numbers: dict[str, int], forgotten: int) -> None:
        """Remember what ``numbers_for`` returned; called after the commit."""
        with self._lock:
            # Else some of them may have been deleted since.
            if forgotten == self._forgotten:
                self._numbers.update(numbers)

    def of(self, connection: sqlite3.Connection, numbers: Collection[int]) -> list[str]:
        """Return the names with these numbers; within the transaction that read them."""
        known = self._names
        try:
            return [known[number] for number in numbers]
        except KeyError:
            pass
        if len(known) > _REMEMBERED:
            known = self._names = {}
        for number in numbers:
            if number not in known:
                row = connection.execute(
                    "SELECT name FROM names WHERE number = ?", (number,)
                ).fetchone()
                if row is None:
                    raise sqlite3.DatabaseError(f"no flag has the number {number}")
                known[number] = row[0]
        return [known[number] for number in numbers]


def _inserted(connection: sqlite3.Connection, names: list[str]) -> dict[str, int]:
    # Numbered here, so that it is one call however many they are: nobody else writes just now.
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'names'").fetchone()
    numbered = {name: number for number, name in enumerate(names, 1 + (row[0] if row else 0))}
    connection.executemany(
        "INSERT INTO names (name, number, events) VALUES (?, ?, 0)", numbered.items()
    )
    return numbered


def packed(numbers: Collection[int]) -> bytes:
    """Return numbers as the row of an event has them."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def unpacked(tags: bytes) -> tuple[int, ...]:
    """Return what ``packed`` was given; ``sqlite3.DatabaseError`` if it cannot have made it."""
    try:
        return struct.unpack(f"<{len(tags) // 4}I", tags)
    except (struct.error, TypeError) as exc:
        raise sqlite3.DatabaseError(f"the flags of an event are broken: {exc}") from exc
