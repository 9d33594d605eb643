"""Trap 1: a publish that returned, or was confirmed, is gone after the broker crashed.

The short form of chaos (``make chaos``): publishers and subscribers of all kinds,
five kills of the broker at moments that a seed chose.
"""

from __future__ import annotations

import pytest

from tests.chaos.companies import company
from tests.chaos.faults import Step
from tests.chaos.stage import Stage

SEED = 1


def kills(count: int) -> list[Step]:
    """Return a schedule of *count* kills of the broker; some hit players as well."""
    meanwhile = {1: "named-1", 2: "group-2", 3: "pub-2"}
    return [
        Step(
            "broker-kill",
            seconds=0.1 * (number % 3),
            pause_s=0.3 + 0.23 * number,
            also=Step("kill", meanwhile[number], pause_s=0) if number in meanwhile else None,
        )
        for number in range(count)
    ]


@pytest.mark.timeout(300)  # a dozen processes, on a machine that may be busy; else 35 s
def test_five_kills_of_the_broker() -> None:
    """What flush returned for is handled by every subscription, once, in each publisher's order."""
    lines: list[str] = []
    with Stage(company("all", rate=80), SEED, report=lines.append) as stage:
        stage.raise_curtain()
        stage.play(kills(5))
        stage.drain()
        verdict, summary = stage.judge()

        problems = [str(violation) for violation in verdict.violations]
        assert [] == problems, "\n".join([*problems[:20], summary, *lines])
        confirmed = [one.confirmed for run in stage.history().publishers for one in run.emissions]
        assert len([at for at in confirmed if at is not None]) > 500
