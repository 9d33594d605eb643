"""Chaos: ``python -m tests.chaos --minutes 5 --kills 100 --seed 7``.

Publishers and subscribers of all kinds, while the broker, the network and they
themselves fail as a schedule says that is drawn from the seed; then everything
is left to drain, and the histories are judged.  Exit status 1 if a promise was
broken: the seed, the schedule and the histories concerned are printed.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import secrets
import sys

from tests.chaos.companies import company
from tests.chaos.conducted import Hang
from tests.chaos.faults import Step, draw_schedule
from tests.chaos.judge import print_violations
from tests.chaos.stage import Stage

#: Seconds that a step takes on the average.
STEP_S = 4.5


def main() -> int:
    """Give one play."""
    options = _options()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    print(f"replay with: python -m tests.chaos --seed {seed} --minutes {options.minutes:g} "
          f"--kills {options.kills} --company {options.company}", flush=True)  # fmt: skip
    with Stage(
        company(options.company, options.rate, is_spooled=not options.no_spool), seed, report=_say
    ) as stage:
        others = max(0, round(options.minutes * 60 / STEP_S) - options.kills)
        schedule = draw_schedule(seed, stage.victims, options.kills, others)
        if options.only:
            schedule = [step for step in schedule if step.fault in options.only.split(",")]
        try:
            stage.raise_curtain()
            stage.play(schedule)
            stage.drain()
        except (Hang, AssertionError) as exc:
            _say(f"FAILED: {exc}")
            _print_schedule(schedule, seed)
            raise SystemExit(1) from None
        verdict, summary = stage.judge()
        stage.is_kept = options.keep
        print(summary)
        if verdict.violations:
            print_violations(verdict)
            _print_schedule(schedule, seed)
            raise SystemExit(1)
    return 0


def _print_schedule(schedule: list[Step], seed: int) -> None:
    print(f"seed {seed}; the schedule was:")
    for step in schedule:
        print(f"  {step}")


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="about how long it lasts")
    parser.add_argument("--kills", type=int, default=20, help="how often the broker is killed")
    parser.add_argument("--seed", type=int, help="of the schedule and of all dice")
    parser.add_argument("--rate", type=float, default=100.0, help="events a second and publisher")
    parser.add_argument("--company", default="all", help="who plays: broadcast, durable or all")
    parser.add_argument("--keep", action="store_true", help="keep the histories in any case")
    parser.add_argument("--no-spool", action="store_true", help="no publisher has a spool")
    parser.add_argument("--only", help="faults to keep of the schedule, with commas between")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
