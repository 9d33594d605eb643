"""The last invalidations of keys and prefixes, in a sqlite database (rule 3 of ``ledger.py``).

Each function is a part of the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from antiphon.storage.journal import Version
from antiphon.storage.ledger import NOTE_TTL_S, NOTES_KEPT, PREFIX_NOTES_KEPT, latest
from antiphon.storage.sqlite_schema import Tables

# ruff: noqa: S608 - names are quoted, values are bound

#: Seconds between the times of two notes of one transaction, so that they have
#: an order; what a float of such a time can tell apart.
_STEP_S = 1e-6


class Notes:
    """The notes of one ledger.

    Args:
        tables: the names of the tables.
    """

    def __init__(self, tables: Tables) -> None:
        t = tables
        self._tables = tables
        self._insert = (
            f"INSERT INTO {t.notes} (is_prefix, name, epoch, sequence, until)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT (is_prefix, name) DO UPDATE SET"
            # The latest counts, whatever the order in which they come.
            " epoch = iif((excluded.epoch, excluded.sequence) < (epoch, sequence),"
            " epoch, excluded.epoch),"
            " sequence = iif((excluded.epoch, excluded.sequence) < (epoch, sequence),"
            " sequence, excluded.sequence), until = excluded.until"
        )
        self._renew = f"UPDATE {t.notes} SET until = ? WHERE is_prefix = ? AND name = ?"

    def add(
        self,
        connection: sqlite3.Connection,
        changes: Sequence[tuple[str, Version | None]],
        *,
        now: float,
        is_prefix: bool = False,
    ) -> None:
        """Note invalidations; those of an unknown version renew what is known."""
        until = now + NOTE_TTL_S
        connection.executemany(
            self._insert,
            (
                (is_prefix, name, version[0], version[1], until + number * _STEP_S)
                for number, (name, version) in enumerate(changes)
                if version is not None
            ),
        )
        connection.executemany(
            self._renew,
            (
                (until + number * _STEP_S, is_prefix, name)
                for number, (name, version) in enumerate(changes)
                if version is None
            ),
        )

    def of(self, connection: sqlite3.Connection, key: str) -> Version | None:
        """Return the version of the last invalidation that concerns *key*; its id is left out."""
        rows = connection.execute(
            f"SELECT name, epoch, sequence FROM {self._tables.notes}"
            # What begins a text is not greater than it.
            " WHERE (is_prefix = 0 AND name = ?1) OR (is_prefix = 1 AND name <= ?1)",
            (key,),
        )
        noted: Version | None = None
        for name, epoch, sequence in rows:
            if key.startswith(name):
                noted = latest(noted, Version(epoch, sequence, b""))
        return noted

    def clear(self, connection: sqlite3.Connection) -> None:
        """Forget all of them."""
        connection.execute(f"DELETE FROM {self._tables.notes}")

    def sweep(self, connection: sqlite3.Connection, now: float) -> None:
        """Forget those that have outlived their time, and the oldest of too many."""
        notes = self._tables.notes
        for is_prefix, kept in ((0, NOTES_KEPT), (1, PREFIX_NOTES_KEPT)):
            connection.execute(
                f"DELETE FROM {notes} WHERE is_prefix = ?1 AND until <= max(?2, coalesce("
                f"(SELECT until FROM {notes} WHERE is_prefix = ?1"
                " ORDER BY until DESC LIMIT 1 OFFSET ?3), ?2))",
                (is_prefix, now, kept),
            )
