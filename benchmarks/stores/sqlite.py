"""Stores in sqlite.

    .venv/bin/python -m benchmarks.stores.sqlite [--keys 1000000] [--save]

The limit is sqlite3 by hand at the same journal mode and durability as ours
(write-ahead log, every commit synced: ``synchronous=FULL``), and with as much
memory for pages: one connection, used by one thread, and one table of key,
metadata as JSON, times, data and a column for each metadata entry, each with an
index of its own.  A ``set`` is one upsert in a transaction.  A ``get`` is one
SELECT of data and metadata, which gives the bytes, and the metadata parsed by
``json.loads``; ours gives a value, whose stream is read and whose metadata are
asked for.  The limit has no journal, no versions, no times of a value, no events
and no second thread or process in mind, and checks nothing.

minimalkv keeps values in sqlite through SQLAlchemy only, which is not compared.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import diskcache
import encore.events.api
import encore.storage.sqlite_store
import encore.storage.string_value

from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from benchmarks.stores import harness
from benchmarks.stores.harness import ByHand, Call, Item

_UPSERT = """INSERT INTO store (key, metadata, created, modified, data, "group", owner, weight)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET metadata = excluded.metadata, modified = excluded.modified,
    data = excluded.data, "group" = excluded."group", owner = excluded.owner,
    weight = excluded.weight"""


class Limit(ByHand):
    """sqlite3 by hand."""

    name = "by hand"

    def __init__(self, path: Path) -> None:
        self._connection = c = sqlite3.connect(path, isolation_level=None)
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("PRAGMA synchronous=FULL")
        c.execute("PRAGMA cache_size=-8192")  # what ours has
        c.execute(
            "CREATE TABLE store (key TEXT PRIMARY KEY, metadata TEXT, created FLOAT,"
            ' modified FLOAT, data BLOB, "group" TEXT, owner TEXT, weight TEXT)'
        )
        for name in ("group", "owner", "weight"):
            c.execute(f'CREATE INDEX "by {name}" ON store ("{name}", key)')

    def fill(self, items: Iterator[Item]) -> None:
        while some := list(itertools.islice(items, 1000)):
            self._write(some)

    def operations(self) -> Mapping[str, Call]:
        return {
            "set": lambda item: self._write([item]),
            "set, new key": lambda item: self._write([item]),
            "get": self._get,
            "get_metadata": self._get_metadata,
            "query": self._query,
            "query_keys": self._query_keys,
            "multiset": lambda item: self._write(item.bulk),
        }

    def _write(self, items: Any) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        now = time.time()
        for item in items:
            texts = [json.dumps(value) for value in item.metadata.values()]
            row = (item.key, json.dumps(item.metadata), now, now, item.data, *texts)
            self._connection.execute(_UPSERT, row)
        self._connection.execute("COMMIT")

    def _get(self, item: Item) -> object:
        data, metadata = self._connection.execute(
            "SELECT data, metadata FROM store WHERE key = ?", (item.key,)
        ).fetchone()
        return data, json.loads(metadata)

    def _get_metadata(self, item: Item) -> object:
        sql = "SELECT metadata FROM store WHERE key = ?"
        return json.loads(self._connection.execute(sql, (item.key,)).fetchone()[0])

    def _query(self, item: Item) -> object:
        rows = self._connection.execute(
            'SELECT key, metadata FROM store WHERE "group" = ? ORDER BY key',
            (json.dumps(item.group),),
        )
        return [(key, json.loads(metadata)) for key, metadata in rows]

    def _query_keys(self, item: Item) -> object:
        rows = self._connection.execute(
            'SELECT key FROM store WHERE "group" = ? ORDER BY key', (json.dumps(item.group),)
        )
        return [key for (key,) in rows]

    def close(self) -> None:
        self._connection.close()


class DiskCache(ByHand):
    """diskcache: sqlite, too; it does not sync its commits."""

    def __init__(self, path: Path, synchronous: int) -> None:
        self.name = "diskcache" if synchronous == 1 else "diskcache, synced"
        self._cache = diskcache.Cache(
            str(path), eviction_policy="none", cull_limit=0, sqlite_synchronous=synchronous
        )

    def fill(self, items: Iterator[Item]) -> None:
        while some := list(itertools.islice(items, 1000)):
            with self._cache.transact():
                for item in some:
                    self._set(item)

    def operations(self) -> Mapping[str, Call]:
        return {
            "set": self._set,
            "set, new key": self._set,
            "get": lambda item: self._cache[item.key],
            "multiset": self._multiset,
        }

    def _set(self, item: Item) -> None:
        self._cache[item.key] = (item.data, item.metadata)

    def _multiset(self, item: Item) -> None:
        with self._cache.transact():
            for each in item.bulk:
                self._set(each)

    def close(self) -> None:
        self._cache.close()


class EncoreStore(harness.StoreContender):
    """Encore's store."""

    def fill(self, items: Iterator[Item]) -> None:
        # Its own way takes two synced commits a key.
        self.store._connection.execute("PRAGMA synchronous=OFF")
        super().fill(items)
        self.store._connection.execute("PRAGMA synchronous=FULL")


def contenders(keys: int) -> list[harness.Contender]:
    """Return those who take part."""
    folder = harness.scratch_folder()
    ours = SqliteStore(folder / "ours.sqlite")
    ours.connect()
    theirs = encore.storage.sqlite_store.SqliteStore(
        str(folder / "encore.sqlite"), "store", "dynamic"
    )
    theirs.event_manager = encore.events.api.EventManager()
    theirs.connect()
    return [
        Limit(folder / "limit.sqlite"),
        harness.StoreContender("Antiphon", ours, StringValue),
        # Its query_keys fails on an indexed entry.
        EncoreStore(
            "Encore", theirs, encore.storage.string_value.StringValue, without=("query_keys",)
        ),
        DiskCache(folder / "diskcache", 1),
        DiskCache(folder / "diskcache-full", 2),
    ]


def main() -> None:
    """Measure."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("encore", "diskcache")
    )
    harness.main(
        "sqlite",
        contenders,
        harness.operations(set=0.5, get=0.9, query=0.8),
        libraries=f"Antiphon this commit, {versions}, sqlite {sqlite3.sqlite_version}",
        remarks=[
            "The limit: one table with an index for each metadata entry, one upsert and one synced",
            "commit (WAL, synchronous=FULL) a set, one SELECT of data and metadata a get, parsed;",
            "no journal, no versions, no times of a value, no events, no checks.",
        ],
    )


if __name__ == "__main__":
    main()
