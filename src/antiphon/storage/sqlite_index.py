"""Index columns of a sqlite store: metadata entries that a query finds quickly.

An index only proposes rows; whether one matches is always decided by its
metadata.  So a row that another program wrote, whose index columns are out of
date, is found all the same: such rows are marked and looked at one by one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from antiphon.errors import IncompatibleStore, StoreError
from antiphon.storage.metadata import decode, text_of
from antiphon.storage.sqlite_schema import COLUMNS, Tables, quoted

# ruff: noqa: S608 - names are quoted, values are bound

#: Index columns that a dynamic index adds at most: each makes writing slower.
MAX_DYNAMIC_COLUMNS = 64

#: Longest name of a column and longest text in it; a longer text is hashed.
_MAX_NAME = 64
_MAX_TEXT = 256

_RESERVED = frozenset({*COLUMNS, "rowid", "oid", "_rowid_"})


class Index:
    """Which metadata entries have a column, and what is in it.

    Args:
        tables: the names of the store's tables.
        table: name of the user's table.
        dynamic: whether an entry that is met gets a column.
    """

    def __init__(self, tables: Tables, table: str, *, dynamic: bool) -> None:
        self._tables = tables
        self._table = table
        self._dynamic = dynamic
        self._known: tuple[int, tuple[str, ...]] = (-1, ())

    def columns(self, connection: sqlite3.Connection) -> tuple[str, ...]:
        """Return the names that have a column, whoever added it."""
        schema = connection.execute("PRAGMA schema_version").fetchone()[0]
        if schema != self._known[0]:
            rows = connection.execute(f"SELECT name FROM {self._tables.columns} ORDER BY name")
            self._known = (schema, tuple(name for (name,) in rows))
        return self._known[1]

    def forget(self) -> None:
        """Look anew which columns there are: what was added may have been rolled back."""
        self._known = (-1, ())

    def add(self, connection: sqlite3.Connection, names: Iterable[str]) -> None:
        """Add columns for those of *names* that can have one, and fill them."""
        wanted = [name for name in names if name not in self.columns(connection)]
        if not wanted:
            return
        rows = connection.execute(f"PRAGMA table_info({self._tables.main})")
        taken = {str(row[1]).lower() for row in rows} | _RESERVED
        for name in wanted:
            if _can_be_column(name) and name.lower() not in taken:
                taken.add(name.lower())
                self._add(connection, name)
        self.forget()

    def add_met(self, connection: sqlite3.Connection, metadata: Mapping[str, Any]) -> None:
        """Add columns for entries of *metadata*, if the index is dynamic."""
        if not self._dynamic:
            return
        present = self.columns(connection)
        room = MAX_DYNAMIC_COLUMNS - len(present)
        missing = [name for name in metadata if name not in present]
        if missing and room > 0:
            self.add(connection, missing[:room])

    def _add(self, connection: sqlite3.Connection, name: str) -> None:
        t, column = self._tables, quoted(name)
        connection.execute(f"ALTER TABLE {t.main} ADD COLUMN {column} TEXT")
        connection.execute(
            f"CREATE INDEX {quoted(f'{self._table}.index {name}')} ON {t.main} ({column}, key)"
            f" WHERE {column} IS NOT NULL"
        )
        connection.execute(f"INSERT INTO {t.columns} (name) VALUES (?)", (name,))
        # Rows that were written when the entry had no column.
        rows = connection.execute(
            f"SELECT key, metadata FROM {t.main} WHERE instr(metadata, ?) > 0",
            (json.dumps(name) + ":",),
        ).fetchall()
        for key, text in rows:
            metadata = _decoded(text)
            if name in metadata:
                connection.execute(
                    f"UPDATE {t.main} SET {column} = ? WHERE key = ?",
                    (column_text(text_of(metadata[name])), key),
                )

    def values(self, columns: tuple[str, ...], metadata: Mapping[str, Any]) -> list[str | None]:
        """Return what belongs into *columns* for *metadata*."""
        return [
            column_text(text_of(metadata[name])) if name in metadata else None for name in columns
        ]

    def refresh(self, connection: sqlite3.Connection, limit: int) -> None:
        """Fill the columns of up to *limit* rows that other programs wrote."""
        t = self._tables
        rows = connection.execute(
            f"SELECT m.key, m.metadata FROM {t.versions} v JOIN {t.main} m ON m.key = v.key"
            " WHERE v.indexed = 0 LIMIT ?",
            (limit,),
        ).fetchall()
        columns = self.columns(connection)
        assignments = ", ".join(f"{quoted(name)} = ?" for name in columns)
        for key, text in rows:
            if columns:
                connection.execute(
                    f"UPDATE {t.main} SET {assignments} WHERE key = ?",
                    (*self.values(columns, _decoded(text)), key),
                )
            connection.execute(f"UPDATE {t.versions} SET indexed = 1 WHERE key = ?", (key,))


def column_text(encoded: str) -> str:
    """Return what stands in an index column for the text of a value."""
    if len(encoded) <= _MAX_TEXT:
        return encoded
    # No text of JSON begins so.
    return "#" + hashlib.sha256(encoded.encode()).hexdigest()


def is_hashed(column: str) -> bool:
    """Return whether what stands in an index column need not tell one value from another."""
    return column.startswith("#")


def _can_be_column(name: str) -> bool:
    # The rest is found without an index: it would need rules of its own for
    # signs and small letters, which sqlite does not tell apart in names.
    return name.isascii() and name.isidentifier() and len(name) <= _MAX_NAME


def _decoded(text: object) -> dict[str, Any]:
    try:
        return decode(text) if isinstance(text, str) else {}
    except (IncompatibleStore, StoreError):
        return {}
