"""The file store passes the suite of all stores."""

import itertools
from pathlib import Path

import pytest

from antiphon.storage import file_medium
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.opening import open_store
from antiphon.testing.store_suite import (
    Journalling,
    MakeStore,
    StoreSuite,
    Streaming,
    Transacting,
)


class TestFileSystemStoreOfShortLogs(Journalling, Transacting, Streaming):
    """Directories whose log begins anew every few commits."""

    @pytest.fixture(autouse=True)
    def _short_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file_medium, "CHECKPOINT_BYTES", 3000)
        # It waits for whatever else writes on this machine.
        monkeypatch.setattr(file_medium, "sync_all", lambda layout, log, end: None)

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """All stores of a test share one directory."""
        init_shared_store(tmp_path / "store")
        return lambda: FileSystemStore(tmp_path / "store", durable=False)


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
        return lambda: open_store(f"file://{tmp_path}/store{next(numbers)}?durable=no")
