"""An archive of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.archive import EventStore, open_archive


@pytest.fixture
def archive_url(tmp_path: Path) -> str:
    """The URL of an archive that nobody has opened yet."""
    return f"sqlite:///{tmp_path / 'archive.db'}"


@pytest.fixture
def archive(archive_url: str) -> Iterator[EventStore]:
    """That archive, open."""
    with open_archive(archive_url) as store:
        yield store
