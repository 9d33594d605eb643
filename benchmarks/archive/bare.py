"""The module sqlite3 by hand, on the very same schema: what a program without the library does."""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.archive import Event, open_archive


@dataclass(frozen=True, slots=True)
class Rows:
    """What a batch adds to each table, ready for ``executemany``."""

    names: list[tuple[int, str]]
    events: list[tuple[Any, ...]]
    flags: list[tuple[int, float, int]]
    counts: list[tuple[int, int]]


class Bare:
    """An archive that is written by hand.

    Args:
        path: of the file; its tables are made by the library.
    """

    def __init__(self, path: Path) -> None:
        open_archive(f"sqlite://{path}").close()
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute("PRAGMA cache_size=-8192")  # as the library has it
        self._numbers: dict[str, int] = {}
        self._head = 0

    def rows_of(self, events: Iterable[Event]) -> Rows:
        """Return the rows of the next events; each call goes on where the last one ended."""
        rows = Rows([], [], [], [])
        counts: Counter[int] = Counter()
        known = self._numbers
        for each in events:
            self._head += 1
            tags = []
            for name in each.tags:
                number = known.get(name)
                if number is None:
                    number = known[name] = len(known) + 1
                    rows.names.append((number, name))
                tags.append(number)
            counts.update(tags)
            rows.events.append(
                (
                    self._head,
                    each.id,
                    each.timestamp,
                    each.received,
                    each.source,
                    struct.pack(f"<{len(tags)}I", *tags),
                    each.content,
                    each.message,
                )
            )
            for number in (0, *tags):
                rows.flags.append((number, each.timestamp, self._head))
        rows.flags.sort()
        rows.counts.extend(sorted((count, number) for number, count in counts.items()))
        return rows

    def write(self, rows: Rows) -> None:
        """Write rows in one transaction."""
        run, many = self._connection.execute, self._connection.executemany
        run("BEGIN IMMEDIATE")
        if rows.names:
            many("INSERT INTO names VALUES (?, ?, 0)", rows.names)
        many("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.events)
        many("INSERT INTO flags VALUES (?, ?, ?)", rows.flags)
        many("UPDATE names SET events = events + ? WHERE number = ?", rows.counts)
        run(
            "UPDATE archive SET head = ?, events = events + ?",
            (rows.events[-1][0], len(rows.events)),
        )
        run("COMMIT")

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def contents_of(path: Path) -> list[Sequence[Any]]:
    """Return all rows of an archive, to be compared with another one's."""
    connection = sqlite3.connect(path)
    try:
        found: list[Sequence[Any]] = []
        for table in ("archive", "names", "events", "flags"):
            found += connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        return found
    finally:
        connection.close()
