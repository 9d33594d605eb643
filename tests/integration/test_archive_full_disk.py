"""An archive on a disk that is full."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_disk import SmallDisk, small_disk

from antiphon.archive import ArchiveFull, Event, EventStore, open_archive

BATCH = [Event(f"e{n}", "here", n, ["A"], "x" * 4000) for n in range(200)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A folder with room for 16 MB."""
    with small_disk(tmp_path) as disk:
        yield disk


@pytest.fixture
def archive(disk: SmallDisk) -> Iterator[EventStore]:
    """An archive on it."""
    with open_archive(f"sqlite://{disk.folder}/archive.db") as archive:
        yield archive


def test_a_full_disk_saves_nothing_and_keeps_what_is_there(
    archive: EventStore, disk: SmallDisk
) -> None:
    """The error says so, reading goes on, and with room the same call succeeds."""
    archive.save(Event("first", "here", -1.0))
    with disk.full(left=300_000):
        with pytest.raises(ArchiveFull, match="no room"):
            archive.save_many(BATCH)
        assert ["first"] == [event.id for event in archive.search(-10)]

    assert 200 == archive.save_many(BATCH)
    assert 201 == archive.stats().events


def test_purging_a_full_disk_makes_room(archive: EventStore, disk: SmallDisk) -> None:
    """What was deleted leaves its place to what comes."""
    archive.save_many(BATCH)
    with disk.full(left=1_500_000), contextlib.suppress(ArchiveFull):
        for number in range(100):
            archive.save_many(
                Event(f"{number}-{n}", "here", number + 300, ["A"], "x" * 4000) for n in range(50)
            )
    held = archive.stats().events
    with disk.full(left=1_500_000):
        assert 150 == archive.purge(keep=held - 150)
        assert 50 == archive.save_many(
            Event(f"new{n}", "here", 1000, ["A"], "x" * 4000) for n in range(50)
        )

    assert held - 100 == archive.stats().events
