"""Walks over the index of an archive in sqlite, and what it counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.archive import Event, EventStore, open_archive


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EventStore]:
    """An archive without events."""
    with open_archive(f"sqlite://{tmp_path}/walked.db") as opened:
        yield opened


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_parts_of_a_walk_may_end_among_events_of_one_time(archive: EventStore, order: str) -> None:
    """Of thousands of events of one time, those with two flags come once each, in order."""
    archive.save_many(
        Event(f"{n}", "s", 5.0, ["one", "two"] if n % 7 == 0 else [("one", "two")[n % 2]])
        for n in range(5000)
    )

    found = [int(event.id) for event in archive.search(0, None, ["one", "two"], order=order)]

    assert sorted(range(0, 5000, 7), reverse=order == "desc") == found


def test_frequent_flags_are_counted_however_many_rare_ones_came_first(archive: EventStore) -> None:
    """A flag of a thousand events is first of all, behind twelve thousand others."""
    archive.save_many(Event(f"{n}", "s", 1.0, [f"rare:{n}"]) for n in range(12_000))
    archive.save_many(Event(f"more {n}", "s", 1.0, ["frequent"]) for n in range(1000))

    flags = archive.stats().flags

    assert ("frequent", 1000) == next(iter(flags.items()))
    assert 1000 == len(flags)
