"""P5 and P6 by a history checker: short plays of what ``make chaos`` plays for minutes."""

from __future__ import annotations

import pytest

from antiphon.testing.servers import RabbitMQ
from tests.chaos.caches.faults import Step
from tests.chaos.caches.parts import REDIS, SHORT, Part
from tests.chaos.caches.stage import Stage

#: The shared cache's keeper is away for longer than the bound, and for a while nobody hears.
LOCAL = [
    Step("network-silence", "1", 2.0, 0.2),
    Step("kill", "keeper", 2.0, 0.5),
    Step("restore", "sqlite", 0.5, 0.5),
    Step("truncate", "sqlite", 0.2, 0.5),
    Step("clock-jump", "guest", 0.5, 0.1),
]

#: Both servers go away, one with all that it knows.
SERVERS = [
    Step("broker-kill", "", 0.0, 0.2),
    Step("broker-freeze", "", 2.0, 0.2),
    Step("redis-kill", "", 0.2, 1.0),
    Step("freeze", "redis-keeper", 2.0, 0.2),
    Step("restore", "redis", 0.5, 0.5),
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("company", "schedule"), [(SHORT, LOCAL), (REDIS, SERVERS)], ids=["sqlite", "redis"]
)
def test_what_is_called_fresh_is_fresh_and_what_is_ones_own_stays(
    company: tuple[Part, ...], schedule: list[Step], broker: RabbitMQ
) -> None:
    """Writers, caches and faults; the last change of each key is one that no event tells of."""
    with Stage(company, 5, broker=broker) as stage:
        stage.raise_curtain()
        stage.play(schedule)
        stage.finish()
        verdict, summary = stage.judge()
        stage.is_kept = bool(verdict.violations)
        hits = sum(player.hits for player in stage.read().players)

    assert [] == [str(violation) for violation in verdict.violations[:5]], summary
    assert hits > 100, summary
