"""The numbers of flags in an archive, and what this process remembers of them."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable

#: Names that are remembered at most; then all are forgotten and asked for again.
_REMEMBERED = 100_000


class Names:
    """Numbers for flags; every call is made within a transaction of *connection*."""

    def __init__(self) -> None:
        # Replaced, never emptied: others may be reading them.
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._forgotten = 0

    def number_of(self, connection: sqlite3.Connection, name: str) -> int | None:
        """Return the number of *name*; None if no event has that flag."""
        row = connection.execute("SELECT number FROM names WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def numbers(
        self, connection: sqlite3.Connection, names: Iterable[str], forgotten: int
    ) -> dict[str, int]:
        """Return the number of each name, new ones for new names; writers only.

        Args:
            connection: within a transaction that writes.
            names: each once.
            forgotten: the archive's count of deletions of names.
        """
        if forgotten != self._forgotten or len(self._numbers) > _REMEMBERED:
            self._numbers, self._forgotten = {}, forgotten
        known, found = self._numbers, {}
        for name in names:
            number = known.get(name)
            if number is None:
                number = self.number_of(connection, name)
            if number is None:
                (number,) = connection.execute(
                    "INSERT INTO names (name, events) VALUES (?, 0) RETURNING number", (name,)
                ).fetchone()
            found[name] = number
        return found

    def remember(self, numbers: dict[str, int]) -> None:
        """Remember what ``numbers`` returned; called after the commit."""
        self._numbers.update(numbers)

    def unpacked(self, connection: sqlite3.Connection, tags: bytes) -> list[str]:
        """Return the tags of an event; within the transaction that read its row."""
        if len(self._names) > _REMEMBERED:
            self._names = {}
        known, found = self._names, []
        for number in struct.unpack(f"<{len(tags) // 4}I", tags):
            name = known.get(number)
            if name is None:
                (name,) = connection.execute(
                    "SELECT name FROM names WHERE number = ?", (number,)
                ).fetchone()
                known[number] = name
            found.append(name)
        return found


def packed(numbers: Iterable[int]) -> bytes:
    """Return the tags of an event as its row has them."""
    found = list(numbers)
    return struct.pack(f"<{len(found)}I", *found)
