"""Tables that Encore made, taken over.

Encore's table has the columns of ours; its metadata are pickles.  Taking it over
is one transaction: killed at any moment, the file is either still Encore's or
ours entirely.  Encore's table stays in the file under another name.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from antiphon.errors import IncompatibleStore, InvalidValue
from antiphon.storage.changes import STAGE_ABOVE_BYTES, StoreIdentity
from antiphon.storage.journal import ENTRY_ID_BYTES, Version
from antiphon.storage.metadata import encode, normalise
from antiphon.storage.plain_pickle import RefusedPickle, read_pickle
from antiphon.storage.sqlite_index import Index
from antiphon.storage.sqlite_schema import COLUMNS, FIRST_EPOCH, STAMP, Tables, create, quoted
from antiphon.storage.sqlite_stamp import as_seconds, stamp_of
from antiphon.storage.sqlite_values import CHUNK_BYTES, Values

# ruff: noqa: S608 - names are quoted, values are bound

logger = logging.getLogger(__name__)

#: What is appended to the name of Encore's table when ours takes its place.
KEPT_SUFFIX = ".encore"


def is_encore_table(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether Encore made *table*: its columns in its order, metadata of its type."""
    rows = connection.execute(f"PRAGMA table_info({quoted(table)})").fetchall()
    names = tuple(row[1] for row in rows[: len(COLUMNS)])
    return names == COLUMNS and str(rows[1][2]).lower() == "dict"


class Takeover:
    """Makes a store of ours of one table of Encore's.

    Args:
        table: its name.
        index: the index columns of the store.
        values: the large values of the store.
        location: named in errors.
        is_indexed: whether the entries that Encore had indexed get an index.
    """

    def __init__(
        self, table: str, index: Index, values: Values, location: str, *, is_indexed: bool
    ) -> None:
        self._table = table
        self._kept = table + KEPT_SUFFIX
        self._tables = Tables.of(table)
        self._index = index
        self._values = values
        self._location = location
        self._is_indexed = is_indexed

    def run(self, connection: sqlite3.Connection) -> StoreIdentity:
        """Take the table over, in a transaction that the caller begins and ends.

        Raises:
            IncompatibleStore: a row cannot be taken over; the key is named.
        """
        t = self._tables
        if connection.execute(
            "SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?)", (self._kept,)
        ).fetchone():
            raise IncompatibleStore(
                f"{self._location} has a table {self._table!r} of Encore's and one that is called"
                f" {self._kept!r}, the name under which it would be kept: rename that one"
            )
        names = self._encore_index(connection)
        connection.execute(f"ALTER TABLE {t.main} RENAME TO {quoted(self._kept)}")
        identity = create(connection, self._table)
        connection.execute(f"UPDATE {t.writer} SET own = 1")
        if self._is_indexed:
            self._index.add(connection, names)
        count = 0
        for row in self._rows(connection):
            self._take(connection, *row)
            count += 1
        connection.execute(f"UPDATE {t.writer} SET own = 0")
        logger.info(
            "took over %d keys of Encore's table %r in %s; it is kept as %r",
            count,
            self._table,
            self._location,
            self._kept,
        )
        return identity

    def _encore_index(self, connection: sqlite3.Connection) -> list[str]:
        rows = connection.execute(f"PRAGMA table_info({self._tables.main})").fetchall()
        return [row[1] for row in rows[len(COLUMNS) :]]

    def _rows(self, connection: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
        # Large data are copied piece by piece, and not read here.
        size = """CASE typeof(data) WHEN 'blob' THEN length(data)
            ELSE length(CAST(data AS BLOB)) END"""
        return connection.execute(
            f"SELECT rowid, key, metadata, created, modified, {size},"
            f" CASE WHEN {size} <= {STAGE_ABOVE_BYTES} THEN CAST(data AS BLOB) END"
            f" FROM {quoted(self._kept)}"
        )

    def _take(
        self,
        connection: sqlite3.Connection,
        rowid: int,
        key: object,
        pickled: object,
        created: object,
        modified: object,
        size: int | None,
        data: bytes | None,
    ) -> None:
        if not isinstance(key, str):
            raise IncompatibleStore(
                f"table {self._table!r} of Encore's in {self._location} has the key {key!r:.80},"
                f" which is no text: nothing was changed; remove that row and connect again"
            )
        metadata = self._metadata(key, pickled)
        generation = None
        if data is None and size is not None:
            generation = self._copy_large(connection, rowid, size)
        elif data is None:
            data = b""
        # Of before the first journal entry: what Encore did it told nobody.
        version = Version(FIRST_EPOCH, 0, os.urandom(ENTRY_ID_BYTES))
        stamp = None
        if generation is None:
            stamp = stamp_of(version, as_seconds(created), as_seconds(modified))
        self._index.add_met(connection, metadata)
        columns = self._index.columns(connection)
        fields: dict[str, Any] = {
            "key": key,
            "metadata": encode(metadata),
            "created": created,
            "modified": modified,
            "data": data,
            STAMP: stamp,
            **dict(zip(columns, self._index.values(columns, metadata), strict=True)),
        }
        names = ", ".join(map(quoted, fields))
        t = self._tables
        connection.execute(
            f"INSERT INTO {t.main} ({names}) VALUES ({', '.join('?' * len(fields))})",
            tuple(fields.values()),
        )
        connection.execute(
            f"INSERT INTO {t.versions} (key, epoch, sequence, entry_id, indexed, generation, size)"
            " VALUES (?, ?, ?, ?, 1, ?, ?)",
            (key, *version, generation, None if generation is None else size),
        )

    def _metadata(self, key: str, pickled: object) -> dict[str, Any]:
        if pickled is None:
            return {}
        try:
            if not isinstance(pickled, bytes):
                raise RefusedPickle(f"it is no pickle, but {type(pickled).__name__}")
            return normalise(read_pickle(pickled))
        except (RefusedPickle, InvalidValue) as exc:
            raise IncompatibleStore(
                f"the metadata of {key!r:.200} in table {self._table!r} of Encore's in"
                f" {self._location} cannot be taken over: {exc}; nothing was run or changed: set"
                " them to plain data with Encore, or remove the row, and connect again"
            ) from exc

    def _copy_large(self, connection: sqlite3.Connection, rowid: int, size: int) -> int:
        with connection.blobopen(self._kept, "data", rowid, readonly=True) as blob:
            return self._values.put(connection, _pieces(blob, size))


def _pieces(blob: sqlite3.Blob, size: int) -> Iterable[bytes]:
    for _ in range(0, size, CHUNK_BYTES):
        yield blob.read(CHUNK_BYTES)
