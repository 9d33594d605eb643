"""What a sqlite store keeps for outboxes (protocol: ``storage/outbox_ledger.py``).

Nothing waits for the disk: what a power cut takes from here costs a second copy
of some events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables, quoted

# ruff: noqa: S608 - names are quoted, values are bound

#: Seconds to wait for another writer: an outbox has other stores to look after, and comes again.
LOCKED_S = 0.5


class SqliteOutboxLedger:
    """The outbox ledger of one sqlite store.

    Args:
        medium: the database.
        tables: the names of its tables.
        table: name of the store's table.
    """

    def __init__(self, medium: Medium, tables: Tables, table: str) -> None:
        self._medium = medium
        self._meta = tables.meta
        self._journal = tables.journal
        self._leases = quoted(f"{table}.leases")
        self._is_made = False

    def renew(self, lease: Lease) -> None:
        self._make()
        self._medium.write_soon(
            lambda c: c.execute(
                f"INSERT OR REPLACE INTO {self._leases} (owner, until_ns, confirmed, epoch)"
                " VALUES (?, ?, ?, ?)",
                (lease.owner, lease.until_ns, lease.confirmed, lease.epoch),
            ),
            LOCKED_S,
        )

    def leases(self) -> Sequence[Lease]:
        if not self._has_leases():
            return []
        rows = self._medium.read_one(
            lambda c: c.execute(
                f"SELECT owner, until_ns, confirmed, epoch FROM {self._leases}"
            ).fetchall()
        )
        return [Lease(bytes(owner), *rest) for owner, *rest in rows]

    def release(self, lease: Lease) -> None:
        if not self._has_leases():
            return
        self._medium.write_soon(
            lambda c: c.execute(
                f"DELETE FROM {self._leases}"
                " WHERE owner = ? AND until_ns = ? AND confirmed = ? AND epoch = ?",
                (lease.owner, lease.until_ns, lease.confirmed, lease.epoch),
            ),
            LOCKED_S,
        )

    def swept(self) -> Position | None:
        text = self._medium.read_one(lambda c: self._noted(c, "swept"))
        return None if text is None else Position.parse(str(text))

    def sweep_to(self, expected: Position | None, position: Position) -> bool:
        wanted = None if expected is None else str(expected)

        def work(connection: sqlite3.Connection) -> bool:
            if self._noted(connection, "swept") != wanted:
                return False
            self._note(connection, "swept", str(position))
            return True

        if expected is None:  # at a connect, which waits as long as it takes
            return self._medium.write(work)
        return self._medium.write_soon(work, LOCKED_S)

    def skip(self, after: Position, owner: bytes, upto: int) -> Position:
        bounds = (after.sequence, upto)

        def work(connection: sqlite3.Connection) -> Position:
            known = connection.execute(
                f"SELECT entry_id FROM {self._journal} WHERE sequence = ? AND epoch = ?",
                (after.sequence, after.epoch),
            ).fetchone()
            if known is None or bytes(known[0]) != after.entry_id:
                return after
            other = connection.execute(
                f"SELECT sequence FROM {self._journal} WHERE sequence > ? AND sequence <= ?"
                " AND owner <> ? ORDER BY sequence LIMIT 1",
                (*bounds, owner),
            ).fetchone()
            end = upto if other is None else other[0] - 1
            row = connection.execute(
                f"SELECT epoch, sequence, entry_id FROM {self._journal}"
                " WHERE sequence > ? AND sequence <= ? AND last = 1"
                " ORDER BY sequence DESC LIMIT 1",
                (after.sequence, end),
            ).fetchone()
            return after if row is None else Position(after.store_id, *row)

        return self._medium.read(work)

    def shield(self) -> None:
        self._medium.write(lambda c: self._note(c, "shielded", 1))

    def is_shielded(self) -> bool:
        return self._medium.read_one(lambda c: self._noted(c, "shielded")) is not None

    def _noted(self, connection: sqlite3.Connection, name: str) -> object:
        row = connection.execute(
            f"SELECT value FROM {self._meta} WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else row[0]

    def _note(self, connection: sqlite3.Connection, name: str, value: object) -> None:
        connection.execute(
            f"INSERT OR REPLACE INTO {self._meta} (name, value) VALUES (?, ?)", (name, value)
        )

    def _has_leases(self) -> bool:
        if not self._is_made:
            name = self._leases[1:-1].replace('""', '"')
            present = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
            self._is_made = self._medium.fetch_one(present, (name,)) is not None
        return self._is_made

    def _make(self) -> None:
        if self._has_leases():
            return
        self._medium.write_soon(
            lambda c: c.execute(
                f"CREATE TABLE IF NOT EXISTS {self._leases} (owner BLOB PRIMARY KEY,"
                " until_ns INTEGER NOT NULL, confirmed INTEGER NOT NULL,"
                " epoch INTEGER NOT NULL) WITHOUT ROWID"
            ),
            LOCKED_S,
        )
        self._is_made = True
