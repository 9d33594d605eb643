"""Cache entries in a sqlite database (protocol: ``storage/ledger.py``).

Each method is one transaction, so the rules hold between processes too.  None
waits for the disk, but the notes of pushes: a power cut takes the newest
transactions, and the position with them, from which the repair then begins.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any
from uuid import UUID

from antiphon.errors import InvalidValue
from antiphon.storage.changes import Staged
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import (
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
    Usage,
    is_behind,
    is_older,
)
from antiphon.storage.metadata import encode, normalise
from antiphon.storage.sqlite_entries import Entries
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_notes import Notes
from antiphon.storage.sqlite_query import key_range, keys_of, pages_of
from antiphon.storage.sqlite_schema import Tables
from antiphon.storage.sqlite_values import Values

# ruff: noqa: S608 - names are quoted, values are bound

#: Invalidations of one process between two sweeps of what has outlived its time.
_SWEEP_EVERY = 1024

#: Seconds that who fills waits for a lock of others: a read must not wait as long
#: as a write may, and what is not kept now is kept at another read.
_LOCKED_S = 0.5

#: Changes in one transaction: some tens of milliseconds, for which others wait.
_AT_A_TIME = 5000


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
        self._entries = Entries(tables, values)
        self._notes = Notes(tables)
        self._until_sweep = _SWEEP_EVERY

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat."""
        row = self._medium.fetch_one(self._entries.select_with_beat, (key,))
        assert row is not None  # noqa: S101 - the row of the beat is always there
        return Lookup(None if row[1] is None else self._entries.entry(key, *row[1:]), row[0])

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now."""
        reservation = Reservation(key, os.urandom(16))
        t, now = self._tables, self._clock()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"DELETE FROM {t.reservations} WHERE key = ? AND until <= ?", (key, now)
            )
            connection.execute(
                f"INSERT INTO {t.reservations} (key, token, until, era)"
                f" SELECT ?, ?, ?, era FROM {t.trust}",
                (key, reservation.token, now + RESERVATION_TTL_S),
            )

        self._medium.write_soon(work, _LOCKED_S)
        return reservation

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused."""
        self._medium.write_soon(lambda c: self._end(c, reservation), _LOCKED_S)

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules allow it, and return it as cached; else None."""
        try:
            with value.data as stream:
                data = self._entries.take_in(reservation.key, stream)
        except BaseException:
            self.release(reservation)
            raise
        try:
            metadata = encode(normalise(value.metadata))
            kept = self._medium.write_soon(
                lambda c: self._keep(c, reservation, value, data, metadata), _LOCKED_S
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
        return self._entries.kept(reservation.key, value, data, metadata)

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
        key = reservation.key
        if not self._end(connection, reservation):
            return False
        if is_older(value.version, self._notes.of(connection, key)):
            return False
        present = self._entries.present(connection, key)
        if present is not None and present.checked and is_older(value.version, present.version):
            # Two readers filled at once; the later value is already here.
            return False
        self._entries.put(connection, key, value, data, metadata, present)
        return True

    def confirm(self, reservation: Reservation, version: Version | None) -> CachedEntry | None:
        """Note that the backing store was found to have *version* after *reservation*."""
        key = reservation.key

        def work(connection: sqlite3.Connection) -> tuple[Any, ...] | None:
            if not self._end(connection, reservation):
                return None
            present = self._entries.present(connection, key)
            if present is None:
                return None
            if version is None or present.version != version:
                if not present.checked:
                    self._entries.remove(connection, key, present)
                return None
            return self._entries.check(connection, key)

        row = self._medium.write_soon(work, _LOCKED_S)
        return None if row is None else self._entries.entry(key, *row)

    def _end(self, connection: sqlite3.Connection, reservation: Reservation) -> bool:
        """Remove a reservation; whether it still stood."""
        t = self._tables
        arguments = (reservation.key, reservation.token)
        row = connection.execute(
            f"SELECT until, era = (SELECT era FROM {t.trust}) FROM {t.reservations}"
            " WHERE key = ? AND token = ?",
            arguments,
        ).fetchone()
        connection.execute(f"DELETE FROM {t.reservations} WHERE key = ? AND token = ?", arguments)
        return row is not None and row[0] > self._clock() and bool(row[1])

    def keys(self) -> Iterable[str]:
        """Return the keys that have a cached entry."""
        return list(keys_of(self._medium, self._tables.cache))

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        """Invalidate one key; whether an entry was dropped."""
        return self.void_many([(key, version)])[0]

    def void_many(self, changes: Sequence[tuple[str, Version | None]]) -> list[bool]:
        """Invalidate many keys, in the order given; for each whether an entry was dropped."""
        dropped: list[bool] = []
        remaining = iter(changes)
        while some := list(islice(remaining, _AT_A_TIME)):
            dropped.extend(self._medium.write(self._voiding(some), durable=False))
            self._sweep(len(some))
        return dropped

    def _voiding(
        self, changes: Sequence[tuple[str, Version | None]]
    ) -> Callable[[sqlite3.Connection], list[bool]]:
        t, now = self._tables, self._clock()

        def work(connection: sqlite3.Connection) -> list[bool]:
            if connection.execute(f"SELECT 1 FROM {t.reservations} LIMIT 1").fetchone():
                keys = ((key,) for key, _ in changes)
                connection.executemany(f"DELETE FROM {t.reservations} WHERE key = ?", keys)
            self._notes.add(connection, changes, now=now)
            return self._entries.drop(connection, changes)

        return work

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Invalidate all keys with *prefix*; how many entries were dropped."""
        t, now = self._tables, self._clock()
        condition, bounds = key_range(prefix)

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(f"DELETE FROM {t.reservations} WHERE {condition}", bounds)
            self._notes.add(connection, [(prefix, version)], now=now, is_prefix=True)
            return self._entries.drop_range(connection, condition, bounds, version)

        dropped = self._medium.write(work, durable=False)
        self._sweep(1)
        return dropped

    def _sweep(self, changes: int) -> None:
        self._until_sweep -= changes
        if self._until_sweep > 0:
            return
        self._until_sweep = _SWEEP_EVERY
        t, now = self._tables, self._clock()

        def work(connection: sqlite3.Connection) -> None:
            self._notes.sweep(connection, now)
            connection.execute(
                f"DELETE FROM {t.reservations}"
                f" WHERE until <= ? OR era != (SELECT era FROM {t.trust})",
                (now,),
            )

        self._medium.write(work, durable=False)
        self._values.collect()

    def suspect(self) -> None:
        """Make all entries unchecked, and end all reservations."""
        self._set_trust("era = era + 1")

    # -- Trust ---------------------------------------------------------------

    def position(self) -> Position | None:
        """Return how far invalidations were applied, if it is of one store."""
        positions = self.positions()
        return next(iter(positions.values())) if len(positions) == 1 else None

    def positions(self) -> dict[UUID, Position]:
        """Return how far invalidations of each store were applied."""
        return self._all_of(self._tables.positions)

    def _all_of(self, table: str) -> dict[UUID, Position]:
        sql = f"SELECT store_id, epoch, sequence, entry_id FROM {table}"
        rows = self._medium.read_one(lambda c: c.execute(sql).fetchall())
        return {(position := _position(row)).store_id: position for row in rows}

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied; None forgets everything."""
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            if position is None:
                self._notes.clear(connection)
                connection.execute(f"DELETE FROM {t.positions}")
                return
            store_id = str(position.store_id)
            row = connection.execute(
                f"SELECT store_id, epoch, sequence, entry_id FROM {t.positions} WHERE store_id = ?",
                (store_id,),
            ).fetchone()
            if row is None or not is_behind(position, _position(row)):
                connection.execute(
                    f"INSERT OR REPLACE INTO {t.positions} (store_id, epoch, sequence, entry_id)"
                    " VALUES (?, ?, ?, ?)",
                    (store_id, *position[1:]),
                )

        self._medium.write(work, durable=False)

    def verified(self) -> dict[UUID, Position]:
        """Return up to where the journal of each store itself was read."""
        return self._all_of(self._tables.verified)

    def verify(self, position: Position) -> None:
        """Note that the journal showed *position*."""
        sql = f"INSERT OR REPLACE INTO {self._tables.verified} VALUES (?, ?, ?, ?)"
        row = (str(position.store_id), *position[1:])
        self._medium.write(lambda c: c.execute(sql, row), durable=False)

    def beat(self) -> None:
        """Vouch for the cache: count the beat up."""
        # Both columns are set from the row as it was.
        self._set_trust("beats = beats + 1, beat = beats + 1")

    def doubt(self) -> None:
        """Stop vouching."""
        self._set_trust("beat = NULL")

    def _set_trust(self, assignments: str) -> None:
        sql = f"UPDATE {self._tables.trust} SET {assignments}"
        self._medium.write(lambda c: c.execute(sql), durable=False)

    # -- The user's own writes -----------------------------------------------

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""
        sql = f"SELECT epoch, sequence, entry_id FROM {self._tables.bases} WHERE key = ?"
        row = self._medium.fetch_one(sql, (key,))
        return None if row is None else Version(row[0], row[1], bytes(row[2]))

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; None takes it back."""
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"DELETE FROM {t.bases} WHERE key = ?", (key,))
            if version is not None:
                connection.execute(
                    f"INSERT INTO {t.bases} (key, epoch, sequence, entry_id) VALUES (?, ?, ?, ?)",
                    (key, *version),
                )

        self._medium.write(work, durable=False)

    def note_push(self, key: str, note: bytes | None) -> None:
        """Note that a push of *key* begins, or with None that it is over."""
        t = self._tables
        sql = f"INSERT OR REPLACE INTO {t.pushes} (key, note) VALUES (?, ?)"
        if note is None:
            sql = f"DELETE FROM {t.pushes} WHERE key = ?"
        arguments = (key,) if note is None else (key, bytes(note))
        # A note that a power cut takes is of no use; that a push is over may be forgotten.
        self._medium.write(lambda c: c.execute(sql, arguments), durable=note is not None)

    def pushes(self) -> dict[str, bytes]:
        """Return the notes of the pushes that have begun and are not over."""
        sql = f"SELECT key, note FROM {self._tables.pushes}"
        rows = self._medium.read_one(lambda c: c.execute(sql).fetchall())
        return {key: bytes(note) for key, note in rows}

    # -- Room ----------------------------------------------------------------

    def evict(self, keys: Iterable[str]) -> int:
        """Drop the entries of *keys*, noting nothing; how many there were."""
        evicted = 0
        remaining = iter(keys)
        while some := list(islice(remaining, _AT_A_TIME)):
            # Without a version an entry is dropped whatever it is.
            drop = partial(self._entries.drop, changes=[(key, None) for key in some])
            evicted += sum(self._medium.write(drop, durable=False))
        self._values.collect()
        return evicted

    def sizes(self) -> Iterable[tuple[str, int]]:
        """Yield key and size of each entry."""
        return pages_of(self._medium, f"SELECT key, size FROM {self._tables.cache} WHERE", "key")

    def usage(self) -> Usage:
        """Return the room taken."""
        row = self._medium.fetch_one(f"SELECT entries, bytes FROM {self._tables.trust}", ())
        assert row is not None  # noqa: S101 - it is always there
        return Usage(*row)


def _position(row: Any) -> Position:
    store_id, epoch, sequence, entry_id = row
    return Position(UUID(store_id), epoch, sequence, bytes(entry_id))
