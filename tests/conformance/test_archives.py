"""The archives of this package pass the suite of all archives."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from list_archive import ListArchive

from antiphon.archive import EventStore, open_archive
from antiphon.testing.archive_suite import ArchiveSuite


class TestSqliteArchive(ArchiveSuite):
    """A file, and a second connection to it."""

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Iterator[EventStore]:
        """A fresh archive."""
        with open_archive(f"sqlite://{tmp_path}/archive.db") as archive:
            yield archive

    @pytest.fixture
    def other(self, tmp_path: Path, archive: EventStore) -> Iterator[EventStore]:
        """A second one on the same file."""
        with open_archive(f"sqlite://{tmp_path}/archive.db") as archive:
            yield archive


class TestListArchive(ArchiveSuite):
    """A backend that knows nothing of the first one, as a third party would write it."""

    @pytest.fixture
    def archive(self) -> EventStore:
        """A fresh archive."""
        return ListArchive()
