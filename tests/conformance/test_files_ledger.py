"""The ledger of the file store passes the suite of all ledgers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.ledger import CacheLedger
from antiphon.testing.ledger_suite import LedgerSuite


class TestFilesLedger(LedgerSuite):
    """Entries in a directory, seen by two stores."""

    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Iterator[CacheLedger]:
        """A fresh ledger."""
        init_shared_store(tmp_path / "cache")
        with FileSystemStore(tmp_path / "cache") as store:
            yield store.cache_ledger()

    @pytest.fixture
    def other(self, tmp_path: Path, ledger: CacheLedger) -> Iterator[CacheLedger]:
        """A second store on the same directory."""
        with FileSystemStore(tmp_path / "cache") as store:
            yield store.cache_ledger()
