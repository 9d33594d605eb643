"""Cache entries in the tables of a sqlite store (protocol: ``storage/ledger.py``).

Each method is one transaction, so the rules hold between processes too.  None
waits for the disk: a power cut takes the newest transactions, and the position
with them, from which the repair then begins.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from antiphon.errors import InvalidValue
from antiphon.storage.changes import STAGE_ABOVE_BYTES, Staged
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import (
    NOTE_TTL_S,
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
    is_older,
    latest,
)
from antiphon.storage.metadata import decode, encode, normalise
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_query import keys_of
from antiphon.storage.sqlite_schema import Tables
from antiphon.storage.sqlite_values import Values
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import BUFFER_BYTES

# ruff: noqa: S608 - names are quoted, values are bound

#: Invalidations of one process between two sweeps of what has outlived its time.
_SWEEP_EVERY = 256

_LAST_CHARACTER = chr(0x10FFFF)


class SqliteLedger:
    """The ledger of one sqlite store.

    Args:
        medium: the database.
        tables: the names of its tables.
        values: its large values.
        clock: seconds since the Unix epoch.
    """

    def __init__(
        self,
        medium: Medium,
        tables: Tables,
        values: Values,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._medium = medium
        self._tables = tables
        self._values = values
        self._clock = clock
        self._until_sweep = _SWEEP_EVERY

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        t = self._tables
        row = self._medium.read_one(
            lambda c: c.execute(
                "SELECT t.beat, e.key, e.data, e.generation, e.size, e.metadata, e.created,"
                " e.modified, e.epoch, e.sequence, e.entry_id"
                f" FROM {t.trust} t LEFT JOIN {t.cache} e ON e.key = ?",
                (key,),
            ).fetchone()
        )
        beat, found, *fields = row
        return Lookup(None if found is None else self._entry(key, *fields), beat)

    def _entry(
        self,
        key: str,
        data: bytes | None,
        generation: int | None,
        size: int,
        metadata: str,
        created: float | None,
        modified: float | None,
        *version: Any,
    ) -> CachedEntry:
        opener = self._values.opener(generation, data or b"", f"the cached value of {key!r:.200}")
        return CachedEntry(
            opener(0, size), size, decode(metadata), created, modified, _version(version)
        )

    def reserve(self, key: str) -> Reservation:
        reservation = Reservation(key, os.urandom(16))
        t, now = self._tables, self._clock()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"DELETE FROM {t.reservations} WHERE key = ? AND until <= ?", (key, now)
            )
            connection.execute(
                f"INSERT INTO {t.reservations} (key, token, until) VALUES (?, ?, ?)",
                (key, reservation.token, now + RESERVATION_TTL_S),
            )

        self._medium.write(work, durable=False)
        return reservation

    def release(self, reservation: Reservation) -> None:
        self._medium.write(lambda c: self._end(c, reservation), durable=False)

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        try:
            with value.data as stream:
                data = self._take_in(reservation.key, stream)
        except BaseException:
            self.release(reservation)
            raise
        try:
            metadata = encode(normalise(value.metadata))
            kept = self._medium.write(
                lambda c: self._keep(c, reservation, value, data, metadata), durable=False
            )
        except InvalidValue:
            # Another kind of store may have metadata that cannot be kept here.
            self.release(reservation)
            kept = False
        except BaseException:
            self._drop_staged(data)
            raise
        if not kept:
            self._drop_staged(data)
            return None
        return self._entry(
            reservation.key,
            None if isinstance(data, Staged) else data,
            int(data.token) if isinstance(data, Staged) else None,
            data.size if isinstance(data, Staged) else len(data),
            metadata,
            value.created,
            value.modified,
            *(value.version or (None, None, None)),
        )

    def _take_in(self, key: str, stream: object) -> bytes | Staged:
        chunks = checked_chunks(key, stream, BUFFER_BYTES)
        head = next(chunks, b"")
        following = next(chunks, None)
        if following is None and len(head) <= STAGE_ABOVE_BYTES:
            return head
        return self._values.stage(_chain(head, following, chunks))

    def _drop_staged(self, data: bytes | Staged) -> None:
        if isinstance(data, Staged):
            self._values.discard(int(data.token))

    def _keep(
        self,
        connection: sqlite3.Connection,
        reservation: Reservation,
        value: Fill,
        data: bytes | Staged,
        metadata: str,
    ) -> bool:
        """Keep the value if the rules allow it."""
        t, key = self._tables, reservation.key
        if not self._end(connection, reservation):
            return False
        if is_older(value.version, self._noted(connection, key)):
            return False
        present = self._present(connection, key)
        if present is not None and is_older(value.version, present[1]):
            # Two readers filled at once; the later value is already here.
            return False
        if present is not None:
            self._values.release(connection, present[0])
        generation = self._values.take(connection, data) if isinstance(data, Staged) else None
        connection.execute(
            f"INSERT OR REPLACE INTO {t.cache} (key, metadata, created, modified, epoch, sequence,"
            " entry_id, generation, size, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                metadata,
                value.created,
                value.modified,
                *(value.version or (None, None, None)),
                generation,
                data.size if isinstance(data, Staged) else len(data),
                None if isinstance(data, Staged) else data,
            ),
        )
        return True

    def _end(self, connection: sqlite3.Connection, reservation: Reservation) -> bool:
        """Remove a reservation; whether it still stood."""
        t = self._tables
        arguments = (reservation.key, reservation.token)
        row = connection.execute(
            f"SELECT until FROM {t.reservations} WHERE key = ? AND token = ?", arguments
        ).fetchone()
        connection.execute(f"DELETE FROM {t.reservations} WHERE key = ? AND token = ?", arguments)
        return row is not None and row[0] > self._clock()

    def _present(
        self, connection: sqlite3.Connection, key: str
    ) -> tuple[int | None, Version | None] | None:
        row = connection.execute(
            f"SELECT generation, epoch, sequence, entry_id FROM {self._tables.cache} WHERE key = ?",
            (key,),
        ).fetchone()
        return None if row is None else (row[0], _version(row[1:]))

    def keys(self) -> Iterable[str]:
        return list(keys_of(self._medium, self._tables.cache))

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        t = self._tables

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute(f"DELETE FROM {t.reservations} WHERE key = ?", (key,))
            self._note(connection, key, version, is_prefix=False)
            return self._drop(connection, key, version)

        dropped = self._medium.write(work, durable=False)
        self._sweep()
        return dropped

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        t = self._tables
        condition, bounds = _range(prefix)

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(f"DELETE FROM {t.reservations} WHERE {condition}", bounds)
            self._note(connection, prefix, version, is_prefix=True)
            rows = connection.execute(f"SELECT key FROM {t.cache} WHERE {condition}", bounds)
            keys = [key for (key,) in rows.fetchall()]
            return sum(self._drop(connection, key, version) for key in keys)

        dropped = self._medium.write(work, durable=False)
        self._sweep()
        return dropped

    def _drop(self, connection: sqlite3.Connection, key: str, version: Version | None) -> bool:
        present = self._present(connection, key)
        if present is None:
            return False
        generation, kept = present
        if kept is not None and version is not None and not is_older(kept, version):
            # A late invalidation of a value that was replaced since.
            return False
        self._values.release(connection, generation)
        connection.execute(f"DELETE FROM {self._tables.cache} WHERE key = ?", (key,))
        return True

    def _note(
        self, connection: sqlite3.Connection, name: str, version: Version | None, *, is_prefix: bool
    ) -> None:
        if version is None:
            return
        t = self._tables
        row = connection.execute(
            f"SELECT epoch, sequence, entry_id FROM {t.notes} WHERE is_prefix = ? AND name = ?",
            (is_prefix, name),
        ).fetchone()
        newest = latest(None if row is None else _version(row), version) or version
        connection.execute(
            f"INSERT OR REPLACE INTO {t.notes} (is_prefix, name, epoch, sequence, entry_id, until)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (is_prefix, name, *newest, self._clock() + NOTE_TTL_S),
        )

    def _noted(self, connection: sqlite3.Connection, key: str) -> Version | None:
        """Return the version of the last invalidation that concerns *key*."""
        rows = connection.execute(
            f"SELECT name, epoch, sequence, entry_id FROM {self._tables.notes}"
            " WHERE (is_prefix = 0 AND name = ?) OR is_prefix = 1",
            (key,),
        )
        noted: Version | None = None
        for name, *version in rows:
            if key.startswith(name):
                noted = latest(noted, _version(version))
        return noted

    def _sweep(self) -> None:
        self._until_sweep -= 1
        if self._until_sweep > 0:
            return
        self._until_sweep = _SWEEP_EVERY
        t, now = self._tables, self._clock()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM {t.notes} WHERE until <= ?", (now,))
            connection.execute(f"DELETE FROM {t.reservations} WHERE until <= ?", (now,))

        self._medium.write(work, durable=False)
        self._values.collect()

    # -- Trust ---------------------------------------------------------------

    def position(self) -> Position | None:
        return self._medium.read_one(self._position)

    def _position(self, connection: sqlite3.Connection) -> Position | None:
        row = connection.execute(
            f"SELECT store_id, epoch, sequence, entry_id FROM {self._tables.trust}"
        ).fetchone()
        return None if row[0] is None else Position(UUID(row[0]), *row[1:])

    def advance(self, position: Position | None) -> None:
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            present = self._position(connection)
            if position is None:
                connection.execute(f"DELETE FROM {t.notes}")
            elif present is not None and _is_behind(position, present):
                return
            store_id = None if position is None else str(position.store_id)
            connection.execute(
                f"UPDATE {t.trust} SET store_id = ?, epoch = ?, sequence = ?, entry_id = ?",
                (store_id, *(position[1:] if position is not None else (None, None, None))),
            )

        self._medium.write(work, durable=False)

    def beat(self) -> None:
        t = self._tables
        # Both columns are set from the row as it was.
        sql = f"UPDATE {t.trust} SET beats = beats + 1, beat = beats + 1"
        self._medium.write(lambda c: c.execute(sql), durable=False)

    def doubt(self) -> None:
        sql = f"UPDATE {self._tables.trust} SET beat = NULL"
        self._medium.write(lambda c: c.execute(sql), durable=False)

    def base(self, key: str) -> Version | None:
        sql = f"SELECT epoch, sequence, entry_id FROM {self._tables.bases} WHERE key = ?"
        row = self._medium.read_one(lambda c: c.execute(sql, (key,)).fetchone())
        return None if row is None else _version(row)

    def set_base(self, key: str, version: Version | None) -> None:
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM {t.bases} WHERE key = ?", (key,))
            if version is not None:
                connection.execute(
                    f"INSERT INTO {t.bases} (key, epoch, sequence, entry_id) VALUES (?, ?, ?, ?)",
                    (key, *version),
                )

        self._medium.write(work, durable=False)


def _is_behind(position: Position, present: Position) -> bool:
    return position[:2] == present[:2] and position.sequence < present.sequence


def _version(fields: Any) -> Version | None:
    epoch, sequence, entry_id = fields
    return None if epoch is None else Version(epoch, sequence, bytes(entry_id))


def _range(prefix: str) -> tuple[str, tuple[str, ...]]:
    """Return the condition that ``key`` begins with *prefix*, and its arguments.

    A range, for LIKE and GLOB give signs a meaning, and sqlite's functions end
    a text at its first NUL.
    """
    begin = prefix.rstrip(_LAST_CHARACTER)
    if not begin:
        return "key >= ?", (prefix,)
    after = ord(begin[-1]) + 1
    # No text has a character from 0xD800 to 0xDFFF.
    successor = begin[:-1] + chr(0xE000 if after == 0xD800 else after)
    return "key >= ? AND key < ?", (prefix, successor)


def _chain(head: bytes, following: bytes | None, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield head
    if following is not None:
        yield following
    yield from rest
