"""The stores that need no server pass the suite of all stores."""

import contextlib
import itertools
import sqlite3
from pathlib import Path
from typing import ClassVar

import pytest

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.metadata import decode, encode
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.store_suite import Content, MakeStore, Peek, Seed, StoreSuite


class TestDictMemoryStore(StoreSuite):
    """A dictionary."""

    shared = False
    needs_connecting = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each store is its own medium."""
        return DictMemoryStore


class TestSqliteStore(StoreSuite):
    """A file, used by several connections."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """All stores of a test share one file."""
        return lambda: SqliteStore(tmp_path / "store.db", durable=False)

    @pytest.fixture
    def make_fresh_store(self, tmp_path: Path) -> MakeStore:
        """Each has a file of its own."""
        numbers = itertools.count()
        return lambda: SqliteStore(tmp_path / f"store{next(numbers)}.db", durable=False)

    internal_names: ClassVar[list[str]] = ["store", "store.journal", "sqlite_master", "rowid"]

    @pytest.fixture
    def seed(self, store: SqliteStore) -> Seed:
        """As another program writes: plain SQL."""

        def put(contents: Content) -> None:
            with contextlib.closing(sqlite3.connect(store.location)) as raw, raw:
                raw.executemany(
                    "INSERT INTO store (key, metadata, created, modified, data)"
                    " VALUES (?, ?, 0, 0, ?)",
                    [(key, encode(metadata), data) for key, (data, metadata) in contents.items()],
                )

        return put

    @pytest.fixture
    def peek(self, store: SqliteStore) -> Peek:
        """As another program reads: what is in the row, or in chunks."""

        def look() -> Content:
            with contextlib.closing(sqlite3.connect(store.location)) as raw:
                rows = raw.execute(
                    'SELECT key, metadata, data, (SELECT generation FROM "store.versions" v'
                    " WHERE v.key = m.key) FROM store m"
                ).fetchall()
                chunks = raw.execute('SELECT id >> 24, data FROM "store.chunks" ORDER BY id')
                large: dict[int, bytes] = {}
                for generation, chunk in chunks:
                    large[generation] = large.get(generation, b"") + chunk
            return {
                key: (data if number is None else large[number], decode(metadata))
                for key, metadata, data, number in rows
            }

        return look


class TestSqliteStoreInMemory(StoreSuite):
    """A database in memory, without an index."""

    shared = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each store is its own medium."""
        return lambda: SqliteStore(index=None)


class TestSqliteStoreStaticIndex(StoreSuite):
    """A database in memory, with some entries indexed."""

    shared = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each store is its own medium."""
        return lambda: SqliteStore(index="static", index_columns=["n", "x", "item"])
