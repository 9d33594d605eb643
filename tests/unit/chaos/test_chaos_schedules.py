"""Schedules of faults are drawn from a seed, and can be drawn again."""

from __future__ import annotations

from tests.chaos.faults import FAULTS, Victims, draw_schedule

VICTIMS = Victims(["pub-1"], ["sub-1", "sub-2"], ["sub"], 2)


def test_same_seed() -> None:
    """The same seed gives the same schedule; another one another."""
    one, again, other = (draw_schedule(seed, VICTIMS, 5, 40) for seed in (7, 7, 8))

    assert one == again
    assert one != other


def test_counts() -> None:
    """As many kills of the broker as asked for, and every other fault in the long run."""
    schedule = draw_schedule(1, VICTIMS, 5, 400)

    faults = [step.fault for step in schedule]
    assert 5 == faults.count("broker-kill")
    assert set(FAULTS) == set(faults)


def test_targets() -> None:
    """Each fault hits somebody who is there."""
    for step in draw_schedule(1, VICTIMS, 5, 400):
        for one in (step, step.also):
            if one is not None:
                known = {"", "0", "1", "sub", "pub-1", "sub-1", "sub-2"}
                assert one.target in known
                assert one.fault != "freeze" or one.target.startswith("sub-")
