"""The rows of cached values in a sqlite database, and how they are counted along.

Each function is a part of the caller's transaction.
"""

from __future__ import annotations

import math
import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, NamedTuple

from antiphon.storage.changes import STAGE_ABOVE_BYTES, Staged
from antiphon.storage.journal import Version
from antiphon.storage.ledger import CachedEntry, Fill, outlives
from antiphon.storage.sqlite_schema import Tables
from antiphon.storage.sqlite_values import Values
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import BUFFER_BYTES

# ruff: noqa: S608 - names are quoted, values are bound


# Epoch and sequence of the version, then created and modified; the entry id follows.
_STAMP = struct.Struct(">QQdd")

# The epoch of a value that has no version, and a time that is unknown.
_NO_EPOCH = 2**64 - 1
_NO_TIME = math.nan


class _RowEntry(CachedEntry):
    """An entry whose version and times are read when they are asked for."""

    # One field of one row for all of them: reading five takes a tenth longer.
    __slots__ = ("_stamp",)

    def __init__(
        self,
        source: bytes | Callable[[int, int], BinaryIO],
        size: int,
        metadata: str,
        stamp: bytes,
        checked: bool,
    ) -> None:
        # Not that of the base class: it would set what is a property here.
        self.content = source if type(source) is bytes else None
        self._open = source
        self.size = size
        self._metadata = metadata
        self._stamp = stamp
        self.checked = checked

    @property
    def version(self) -> Version | None:  # type: ignore[override]
        """Version in the backing store; None if that store has none."""
        return _version(self._stamp)

    @property
    def created(self) -> float | None:  # type: ignore[override]
        """Seconds since the Unix epoch, or None if unknown."""
        return _time(_STAMP.unpack_from(self._stamp)[2])

    @property
    def modified(self) -> float | None:  # type: ignore[override]
        """Seconds since the Unix epoch, or None if unknown."""
        return _time(_STAMP.unpack_from(self._stamp)[3])


class Present(NamedTuple):
    """What there is to know of an entry before it is changed."""

    generation: int | None
    size: int
    version: Version | None
    checked: bool


class Entries:
    """The cached values of one ledger.

    Args:
        tables: the names of the tables.
        values: where the large ones are.
    """

    def __init__(self, tables: Tables, values: Values) -> None:
        t = tables
        self._tables = tables
        self._values = values
        columns = "e.era = t.era, e.data, e.metadata, e.stamp, e.generation, e.size"
        source = f"FROM {t.trust} t LEFT JOIN {t.cache} e ON e.key = ?"
        #: The beat, then what ``entry`` takes, its first NULL if there is none.
        self.select_with_beat = f"SELECT t.beat, {columns} {source}"
        self._select = f"SELECT {columns} {source}"
        self._select_present = (
            "SELECT e.generation, e.size, e.stamp, e.era = t.era"
            f" FROM {t.cache} e, {t.trust} t WHERE e.key = ?"
        )

    def entry(
        self,
        key: str,
        checked: int,
        data: bytes | None,
        metadata: str,
        stamp: bytes,
        generation: int | None,
        size: int,
    ) -> CachedEntry:
        """Return an entry, made of the columns of its row."""
        source = (data or b"") if generation is None else self._opener(key, generation)
        return _RowEntry(source, size, metadata, stamp, checked != 0)

    def _opener(self, key: str, generation: int) -> Callable[[int, int], BinaryIO]:
        return self._values.opener(generation, b"", f"the cached value of {key!r:.200}")

    def kept(self, key: str, value: Fill, data: bytes | Staged, metadata: str) -> CachedEntry:
        """Return the entry that ``put`` made of *value*."""
        return self.entry(
            key,
            1,
            None if isinstance(data, Staged) else data,
            metadata,
            _stamp(value),
            int(data.token) if isinstance(data, Staged) else None,
            data.size if isinstance(data, Staged) else len(data),
        )

    def take_in(self, key: str, stream: object) -> bytes | Staged:
        """Read the data of *key* to their end; large ones are staged."""
        chunks = checked_chunks(key, stream, BUFFER_BYTES)
        head = next(chunks, b"")
        following = next(chunks, None)
        if following is None and len(head) <= STAGE_ABOVE_BYTES:
            return head
        return self._values.stage(_chain(head, following, chunks))

    def present(self, connection: sqlite3.Connection, key: str) -> Present | None:
        """Return what there is to know of the entry of *key*."""
        row = connection.execute(self._select_present, (key,)).fetchone()
        return None if row is None else _present(row)

    def put(
        self,
        connection: sqlite3.Connection,
        key: str,
        value: Fill,
        data: bytes | Staged,
        metadata: str,
        present: Present | None,
    ) -> None:
        """Write the entry of *key*, checked now, in place of the one that is *present*."""
        t = self._tables
        if present is not None:
            self._values.release(connection, present.generation)
        generation = self._values.take(connection, data) if isinstance(data, Staged) else None
        size = data.size if isinstance(data, Staged) else len(data)
        connection.execute(
            f"INSERT OR REPLACE INTO {t.cache} (key, era, generation, size, metadata, stamp, data)"
            f" SELECT ?, era, ?, ?, ?, ?, ? FROM {t.trust}",
            (
                key,
                generation,
                size,
                metadata,
                _stamp(value),
                None if isinstance(data, Staged) else data,
            ),
        )
        if present is None:
            self._count(connection, 1, size)
        else:
            self._count(connection, 0, size - present.size)

    def check(self, connection: sqlite3.Connection, key: str) -> tuple[Any, ...]:
        """Make the entry of *key*, which is there, a checked one, and return its columns."""
        t = self._tables
        connection.execute(
            f"UPDATE {t.cache} SET era = (SELECT era FROM {t.trust}) WHERE key = ?", (key,)
        )
        row: tuple[Any, ...] = connection.execute(self._select, (key,)).fetchone()
        return row

    def remove(self, connection: sqlite3.Connection, key: str, present: Present) -> None:
        """Remove the entry of *key*."""
        self._delete(connection, key, present)
        self._count(connection, -1, -present.size)

    def drop(
        self, connection: sqlite3.Connection, changes: Sequence[tuple[str, Version | None]]
    ) -> list[bool]:
        """Drop the entries that do not outlive these invalidations; which had one."""
        dropped: list[bool] = []
        freed = 0
        cursor = connection.cursor()
        for key, version in changes:
            row = cursor.execute(self._select_present, (key,)).fetchone()
            present = None if row is None else _present(row)
            if present is None or outlives(present.version, version, checked=present.checked):
                dropped.append(False)
                continue
            self._delete(connection, key, present)
            freed += present.size
            dropped.append(True)
        if any(dropped):
            self._count(connection, -sum(dropped), -freed)
        return dropped

    def drop_range(
        self,
        connection: sqlite3.Connection,
        condition: str,
        bounds: tuple[str, ...],
        version: Version | None,
    ) -> int:
        """Drop the entries whose ``key`` meets a condition and that do not outlive *version*."""
        t = self._tables
        if version is not None:
            rows = connection.execute(
                f"SELECT e.key, e.generation, e.size, e.stamp, e.era = t.era"
                f" FROM {t.cache} e, {t.trust} t WHERE {condition}",
                bounds,
            ).fetchall()
            entries = [(key, _present(row)) for key, *row in rows]
            gone = [
                (key, present)
                for key, present in entries
                if not outlives(present.version, version, checked=present.checked)
            ]
            for key, present in gone:
                self._delete(connection, key, present)
            count, freed = len(gone), sum(present.size for _, present in gone)
        else:
            # Nothing outlives an invalidation of unknown version: one statement for all.
            count, freed = connection.execute(
                f"SELECT count(*), coalesce(sum(size), 0) FROM {t.cache} WHERE {condition}", bounds
            ).fetchone()
            self._values.release_all(
                connection, f"SELECT generation FROM {t.cache} WHERE {condition}", bounds
            )
            connection.execute(f"DELETE FROM {t.cache} WHERE {condition}", bounds)
        if count:
            self._count(connection, -count, -freed)
        return int(count)

    def _delete(self, connection: sqlite3.Connection, key: str, present: Present) -> None:
        self._values.release(connection, present.generation)
        connection.execute(f"DELETE FROM {self._tables.cache} WHERE key = ?", (key,))

    def _count(self, connection: sqlite3.Connection, entries: int, size: int) -> None:
        connection.execute(
            f"UPDATE {self._tables.trust} SET entries = entries + ?, bytes = bytes + ?",
            (entries, size),
        )


def _present(row: Any) -> Present:
    generation, size, stamp, checked = row
    return Present(generation, size, _version(stamp), checked != 0)


def _stamp(value: Fill) -> bytes:
    """Return version and times of a value as one field."""
    epoch, sequence, entry_id = value.version or (_NO_EPOCH, 0, b"")
    created = _NO_TIME if value.created is None else value.created
    modified = _NO_TIME if value.modified is None else value.modified
    return _STAMP.pack(epoch, sequence, created, modified) + entry_id


def _version(stamp: bytes) -> Version | None:
    epoch, sequence, _, _ = _STAMP.unpack_from(stamp)
    return None if epoch == _NO_EPOCH else Version(epoch, sequence, stamp[_STAMP.size :])


def _time(moment: float) -> float | None:
    return None if math.isnan(moment) else moment


def _chain(head: bytes, following: bytes | None, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield head
    if following is not None:
        yield following
    yield from rest
