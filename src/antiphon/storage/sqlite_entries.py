"""The rows of cached values in a sqlite database, and how they are counted along.

Each function is a part of the caller's transaction.
"""

from __future__ import annotations

import sqlite3
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
        columns = (
            "e.era = t.era, e.data, e.generation, e.size, e.metadata, e.created, e.modified,"
            " e.epoch, e.sequence, e.entry_id"
        )
        source = f"FROM {t.trust} t LEFT JOIN {t.cache} e ON e.key = ?"
        #: The beat, then what ``entry`` takes, its first NULL if there is none.
        self.select_with_beat = f"SELECT t.beat, {columns} {source}"
        self._select = f"SELECT {columns} {source}"
        self._select_present = (
            "SELECT e.generation, e.size, e.epoch, e.sequence, e.entry_id, e.era = t.era"
            f" FROM {t.cache} e, {t.trust} t WHERE e.key = ?"
        )

    def entry(
        self,
        key: str,
        checked: int,
        data: bytes | None,
        generation: int | None,
        size: int,
        metadata: str,
        created: float | None,
        modified: float | None,
        *version: Any,
    ) -> CachedEntry:
        """Return an entry, made of the columns of its row."""
        return CachedEntry(
            data or b"" if generation is None else self._opener(key, generation),
            size,
            metadata,
            created,
            modified,
            _version(*version),
            checked != 0,
        )

    def _opener(self, key: str, generation: int) -> Callable[[int, int], BinaryIO]:
        return self._values.opener(generation, b"", f"the cached value of {key!r:.200}")

    def kept(self, key: str, value: Fill, data: bytes | Staged, metadata: str) -> CachedEntry:
        """Return the entry that ``put`` made of *value*."""
        return self.entry(
            key,
            1,
            None if isinstance(data, Staged) else data,
            int(data.token) if isinstance(data, Staged) else None,
            data.size if isinstance(data, Staged) else len(data),
            metadata,
            value.created,
            value.modified,
            *(value.version or (None, None, None)),
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
            f"INSERT OR REPLACE INTO {t.cache} (key, metadata, created, modified, epoch, sequence,"
            " entry_id, era, generation, size, data)"
            f" SELECT ?, ?, ?, ?, ?, ?, ?, era, ?, ?, ? FROM {t.trust}",
            (
                key,
                metadata,
                value.created,
                value.modified,
                *(value.version or (None, None, None)),
                generation,
                size,
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

    def _delete(self, connection: sqlite3.Connection, key: str, present: Present) -> None:
        self._values.release(connection, present.generation)
        connection.execute(f"DELETE FROM {self._tables.cache} WHERE key = ?", (key,))

    def _count(self, connection: sqlite3.Connection, entries: int, size: int) -> None:
        connection.execute(
            f"UPDATE {self._tables.trust} SET entries = entries + ?, bytes = bytes + ?",
            (entries, size),
        )


def _present(row: Any) -> Present:
    generation, size, epoch, sequence, entry_id, checked = row
    return Present(generation, size, _version(epoch, sequence, entry_id), bool(checked))


def _version(epoch: int | None, sequence: int | None, entry_id: bytes | None) -> Version | None:
    if epoch is None or sequence is None or entry_id is None:
        return None
    return Version(epoch, sequence, bytes(entry_id))


def _chain(head: bytes, following: bytes | None, rest: Iterable[bytes]) -> Iterable[bytes]:
    yield head
    if following is not None:
        yield following
    yield from rest
