"""The file store passes the suite of all stores."""

import itertools
from pathlib import Path

import pytest

from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.testing.store_suite import MakeStore, StoreSuite


class TestFileSystemStore(StoreSuite):
    """A directory, used by several store objects."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """All stores of a test share one directory."""
        init_shared_store(tmp_path / "store")
        return lambda: FileSystemStore(tmp_path / "store", durable=False)

    @pytest.fixture
    def make_fresh_store(self, tmp_path: Path) -> MakeStore:
        """Each has a directory of its own."""
        numbers = itertools.count()

        def make() -> FileSystemStore:
            path = tmp_path / f"store{next(numbers)}"
            init_shared_store(path)
            return FileSystemStore(path, durable=False)

        return make
