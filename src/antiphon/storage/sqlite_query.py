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
from antiphon.storage.sqlite_index import Index, column_text
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables, quoted

# ruff: noqa: S608 - names are quoted, values are bound

logger = logging.getLogger(__name__)

#: Rows read at a time.
_PAGE = 500


def keys_of(medium: Medium, table: str) -> Iterator[str]:
    """Yield all keys in *table* (its quoted name), in order."""
    for (key,) in _pages(medium, f"SELECT key FROM {table} WHERE", "key", ()):
        yield key


def rows_of(
    medium: Medium, tables: Tables, index: Index, conditions: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and metadata of the rows that match *conditions*, in order of the keys."""
    encoded = encode_conditions(conditions)
    last: str | None = None
    for key, text in _candidates(medium, tables, index, encoded):
        # A row that another program writes just now may be in both halves.
        if last is not None and key <= last:
            continue
        last = key
        try:
            metadata = decoded(key, text)
        except IncompatibleStore as exc:
            # Another program wrote it; the rest of the store is none the worse.
            logger.warning("left out of a query: %s", exc)
            continue
        if matches(metadata, encoded):
            yield key, metadata


def _candidates(
    medium: Medium, t: Tables, index: Index, encoded: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    columns = medium.read_one(index.columns) if encoded else ()
    indexed = [name for name in encoded if name in columns]
    if not indexed:
        return _pages(medium, f"SELECT key, metadata FROM {t.main} WHERE", "key", ())
    wanted = " AND ".join(f"{quoted(name)} = ?" for name in indexed)
    values = tuple(column_text(encoded[name]) for name in indexed)
    by_index = f"SELECT key, metadata FROM {t.main} WHERE {wanted} AND"
    # Rows that other programs wrote have index columns that say nothing.
    unindexed = (
        f"SELECT v.key, m.metadata FROM {t.versions} v JOIN {t.main} m ON m.key = v.key"
        " WHERE v.indexed = 0 AND"
    )
    return heapq.merge(
        _pages(medium, by_index, "key", values),
        _pages(medium, unindexed, "v.key", ()),
        key=lambda row: row[0],
    )


def _pages(
    medium: Medium, select: str, key: str, values: tuple[str, ...]
) -> Iterator[tuple[Any, ...]]:
    after = ""
    comparison = ">="
    while True:
        sql = f"{select} {key} {comparison} ? ORDER BY {key} LIMIT {_PAGE}"
        arguments = (*values, after)

        def work(
            connection: sqlite3.Connection, sql: str = sql, arguments: tuple[str, ...] = arguments
        ) -> list[tuple[Any, ...]]:
            return connection.execute(sql, arguments).fetchall()

        page = medium.read_one(work)
        yield from page
        if len(page) < _PAGE:
            return
        after, comparison = page[-1][0], ">"
