"""The stores that need no server pass the suite of all stores."""

import itertools
from pathlib import Path

import pytest

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.store_suite import MakeStore, StoreSuite


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
