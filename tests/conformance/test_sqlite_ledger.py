"""The ledger of the sqlite store passes the suite of all ledgers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.storage.ledger import CacheLedger
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.ledger_suite import LedgerSuite


class TestSqliteLedger(LedgerSuite):
    """Entries in a file, and a second connection to it."""

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[CacheLedger]:
        """A fresh ledger."""
        with SqliteStore(tmp_path / "cache.db") as store:
            yield store.cache_ledger()

    @pytest.fixture
    def other(self, tmp_path: Path, ledger: CacheLedger) -> Iterator[CacheLedger]:
        """A second handle on the same file."""
        with SqliteStore(tmp_path / "cache.db") as store:
            yield store.cache_ledger()


class TestSqliteLedgerInMemory(LedgerSuite):
    """Entries in a database in memory, which has one connection."""

    @pytest.fixture
    def ledger(self) -> Iterator[CacheLedger]:
        """A fresh ledger."""
        with SqliteStore() as store:
            yield store.cache_ledger()
