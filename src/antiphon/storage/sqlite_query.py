"""Searching a sqlite store, a page at a time.

No transaction stays open while the caller works on a page, so that keys may be
changed meanwhile; pages are in the order of the keys, so what is there all the
while is found once.
"""

from __future__ import annotations

import heapq
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from antiphon.errors import IncompatibleStore
from antiphon.storage.metadata import encode_conditions, matches
from antiphon.storage.sqlite_commit import decoded
from antiphon.storage.sqlite_index import Index, column_text, is_hashed
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables, quoted

# ruff: noqa: S608 - names are quoted, values are bound

logger = logging.getLogger(__name__)

#: Rows read at a time.
_PAGE = 500

_LAST_CHARACTER = chr(0x10FFFF)


def keys_of(medium: Medium, table: str) -> Iterator[str]:
    """Yield all keys in *table* (its quoted name), in order."""
    for (key,) in _pages(medium, f"SELECT key FROM {table} WHERE", "key", ()):
        yield key


def pages_of(medium: Medium, select: str, key: str) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of *select*, which ends with ``WHERE``, in the order of the column *key*."""
    return _pages(medium, select, key, ())


def key_range(prefix: str) -> tuple[str, tuple[str, ...]]:
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


class Search:
    """One query.

    Args:
        medium: the database.
        tables: the names of its tables.
        index: the index columns.
        conditions: metadata entries and the values that they must have.
    """

    def __init__(
        self, medium: Medium, tables: Tables, index: Index, conditions: Mapping[str, Any]
    ) -> None:
        self._medium = medium
        self._tables = tables
        self._index = index
        self._encoded = encode_conditions(conditions)

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and metadata of the rows that match, in order of the keys."""
        encoded = self._encoded
        for key, text in self._candidates():
            try:
                metadata = decoded(key, text)
            except IncompatibleStore as exc:
                # Another program wrote it; the rest of the store is none the worse.
                logger.warning("left out of a query: %s", exc)
                continue
            if matches(metadata, encoded):
                yield key, metadata

    def keys(self) -> Iterator[str]:
        """Yield the keys of the same rows; from the index alone, where it can tell."""
        wanted = self._wanted()
        after: str | None = None
        if len(wanted) == len(self._encoded) and not any(map(is_hashed, wanted.values())):
            while True:
                page, is_foreign = self._indexed_page("key", wanted, after)
                if is_foreign:
                    break
                for (key,) in page:
                    yield key
                if len(page) < _PAGE:
                    return
                after = page[-1][0]
        yield from (key for key, _ in self._rows_after(after))

    def _rows_after(self, after: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
        return (row for row in self.rows() if after is None or row[0] > after)

    def _wanted(self) -> dict[str, str]:
        """Return the conditions that have an index column, with what has to be in it."""
        if not self._encoded:
            return {}
        columns = self._medium.read_one(self._index.columns)
        return {name: column_text(text) for name, text in self._encoded.items() if name in columns}

    def _candidates(self) -> Iterator[tuple[str, str]]:
        t, wanted = self._tables, self._wanted()
        if not wanted:
            yield from _pages(self._medium, f"SELECT key, metadata FROM {t.main} WHERE", "key", ())
            return
        after: str | None = None
        while True:
            page, is_foreign = self._indexed_page("key, metadata", wanted, after)
            if is_foreign:
                break
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]
        yield from self._merged(wanted, after)

    def _indexed_page(
        self, what: str, wanted: Mapping[str, str], after: str | None
    ) -> tuple[list[Any], bool]:
        """Return rows that the index proposes, and whether there are any that it knows not of."""
        t = self._tables
        conditions = " AND ".join(f"{quoted(name)} = ?" for name in wanted)
        bound = "" if after is None else " AND key > ?"
        sql = f"SELECT {what} FROM {t.main} WHERE {conditions}{bound} ORDER BY key LIMIT {_PAGE}"
        arguments = (*wanted.values(), *(() if after is None else (after,)))
        # Asked after the page was read: what is written between the two is seen here.
        foreign = f"SELECT 1 FROM {t.versions} WHERE indexed = 0 LIMIT 1"

        def work(connection: sqlite3.Connection) -> tuple[list[Any], bool]:
            page = connection.execute(sql, arguments).fetchall()
            return page, connection.execute(foreign).fetchone() is not None

        return self._medium.read_one(work)

    def _merged(self, wanted: Mapping[str, str], after: str | None) -> Iterator[tuple[str, str]]:
        """Yield rows that the index proposes, and all that other programs wrote."""
        t = self._tables
        conditions = " AND ".join(f"{quoted(name)} = ?" for name in wanted)
        by_index = f"SELECT key, metadata FROM {t.main} WHERE {conditions} AND"
        # Rows that other programs wrote have index columns that say nothing.
        unindexed = (
            f"SELECT v.key, m.metadata FROM {t.versions} v JOIN {t.main} m ON m.key = v.key"
            " WHERE v.indexed = 0 AND"
        )
        last = after
        for key, text in heapq.merge(
            _pages(self._medium, by_index, "key", tuple(wanted.values()), after),
            _pages(self._medium, unindexed, "v.key", (), after),
            key=lambda row: row[0],
        ):
            # A row that another program writes just now may be in both halves.
            if last is None or key > last:
                last = key
                yield key, text


def _pages(
    medium: Medium, select: str, key: str, values: tuple[str, ...], after: str | None = None
) -> Iterator[tuple[Any, ...]]:
    while True:
        bound = "1" if after is None else f"{key} > ?"
        sql = f"{select} {bound} ORDER BY {key} LIMIT {_PAGE}"
        arguments = values if after is None else (*values, after)

        def work(
            connection: sqlite3.Connection, sql: str = sql, arguments: tuple[str, ...] = arguments
        ) -> list[tuple[Any, ...]]:
            return connection.execute(sql, arguments).fetchall()

        page = medium.read_one(work)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1][0]
