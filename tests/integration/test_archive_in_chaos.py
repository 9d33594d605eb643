"""The archive by a history checker: a short play of what ``make chaos`` plays for minutes."""

from __future__ import annotations

import pytest

from antiphon.testing.servers import RabbitMQ
from tests.chaos.archive.companies import small
from tests.chaos.archive.stage import ArchiveStage
from tests.chaos.faults import Step

#: One recorder is killed while the archive is locked, and the other has a full disk.
SCHEDULE = [
    Step("archive-lock", "", 0.3, 0.1, Step("kill", "rec-1", 0.0, 0.0)),
    Step("disk-full", "", 0.4, 0.1),
    Step("network-reset", "1", 0.3, 0.1),
    Step("freeze", "rec-2", 0.3, 0.0),
    Step("kill", "pub-2", 0.0, 0.1),
]


@pytest.mark.timeout(180)
def test_an_archive_has_all_and_its_readers_see_what_it_has(broker: RabbitMQ, system: str) -> None:
    """What is confirmed is archived once, in order; tails, replays and retention keep to it."""
    lines: list[str] = []
    with ArchiveStage(small(), 6, broker=broker, system=system, report=lines.append) as stage:
        stage.raise_curtain()
        stage.play(SCHEDULE)
        stage.drain()
        verdict, summary = stage.judge()
        archived = len(stage.records().told.entries)

    assert [] == [str(violation) for violation in verdict.violations[:9]], [summary, *lines]
    assert archived > 200, summary
