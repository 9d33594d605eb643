"""The file store for shared disks passes the suite of all stores."""

import itertools
from pathlib import Path

import pytest

from antiphon.storage.filesystem_store import init_shared_store
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.testing.store_suite import MakeStore, StoreSuite


class TestLockingFileSystemStore(StoreSuite):
    """A directory, used by several store objects."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """All stores of a test share one directory."""
        init_shared_store(tmp_path / "store")
        return lambda: LockingFileSystemStore(tmp_path / "store", durable=False)

    @pytest.fixture
    def make_fresh_store(self, tmp_path: Path) -> MakeStore:
        """Each has a directory of its own."""
        numbers = itertools.count()

        def make() -> LockingFileSystemStore:
            path = tmp_path / f"store{next(numbers)}"
            init_shared_store(path)
            return LockingFileSystemStore(path, durable=False)

        return make
