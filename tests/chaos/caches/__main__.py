"""Caches in chaos: ``python -m tests.chaos.caches --minutes 5 --seed 7``.

Writers, and caches of all kinds, while broker, network, stores and they
themselves fail as a schedule says that is drawn from the seed; then nothing is
written any more, everything heals, and the histories are judged.  Exit status 1
if a promise was broken; with ``--without`` 1 if none was.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import secrets
import sys

from tests.chaos.caches.faults import draw_schedule, only
from tests.chaos.caches.judge import print_violations
from tests.chaos.caches.parts import COMPANIES
from tests.chaos.caches.sabotage import MECHANISMS
from tests.chaos.caches.stage import Stage
from tests.chaos.conducted import Hang


def main() -> int:
    """Give one play."""
    options = _options()
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    company = options.company or ("few" if options.without else "all")
    print(f"replay with: python -m tests.chaos.caches --seed {seed} --minutes "
          f"{options.minutes:g} --company {company}"
          + (f" --without {options.without}" if options.without else ""), flush=True)  # fmt: skip
    with Stage(COMPANIES[company], seed, without=options.without, report=_say) as stage:
        schedule = draw_schedule(seed, stage, options.minutes * 60)
        if options.only:
            schedule = only(schedule, options.only)
        try:
            stage.raise_curtain()
            stage.play(schedule)
            stage.finish()
        except (Hang, AssertionError) as exc:
            _say(f"FAILED: {exc}")
            raise SystemExit(1) from None
        verdict, summary = stage.judge()
        stage.is_kept = options.keep or bool(verdict.violations and not options.without)
        print(summary)
        print_violations(verdict)
        return int(bool(verdict.violations) != bool(options.without))


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.caches", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="about how long it lasts")
    parser.add_argument("--seed", type=int, help="of the schedule and of all dice")
    parser.add_argument("--company", choices=sorted(COMPANIES), help="who plays")
    parser.add_argument("--keep", action="store_true", help="keep the histories in any case")
    parser.add_argument("--only", help="faults to keep of the schedule, with commas between")
    parser.add_argument("--without", choices=MECHANISMS, default="", help="what to take out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
