"""Archives in chaos: ``python -m tests.chaos.archive --minutes 5 --seed 7``.

Publishers, recorders, tails, and replays, while broker, network, disk and they
themselves fail as a schedule says that is drawn from the seed; then everything
is left to drain, and what was written down is judged.  Exit status 1 if a promise
was broken; with ``--without`` 1 if none was.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path

from tests.chaos.archive.checker import check, summary
from tests.chaos.archive.companies import company, small
from tests.chaos.archive.faults import FAULTS, draw_schedule
from tests.chaos.archive.records import read
from tests.chaos.archive.sabotage import MECHANISMS
from tests.chaos.archive.stage import ArchiveStage
from tests.chaos.conducted import Hang
from tests.chaos.judge import print_violations


def main() -> int:
    """Give one play, or judge one again that was kept."""
    options = _options()
    if options.judge:
        records = read(options.judge)
        verdict = check(records)
        print(summary(records, verdict))
        print_violations(verdict)
        return int(bool(verdict.violations))
    seed = options.seed if options.seed is not None else secrets.randbelow(10**6)
    print(f"replay with: python -m tests.chaos.archive --seed {seed} --minutes "
          f"{options.minutes:g} --rate {options.rate:g}"
          + (f" --without {options.without}" if options.without else ""), flush=True)  # fmt: skip
    players = small(options.rate) if options.small else company(options.rate)
    with ArchiveStage(players, seed, without=options.without, report=_say) as stage:
        faults = options.only.split(",") if options.only else list(FAULTS)
        schedule = draw_schedule(seed, stage, options.minutes * 60, faults)
        try:
            stage.raise_curtain()
            stage.play(schedule)
            stage.drain()
        except (Hang, AssertionError) as exc:
            _say(f"FAILED: {exc}")
            stage.records()
            raise SystemExit(1) from None
        verdict, text = stage.judge()
        stage.is_kept = options.keep or bool(verdict.violations and not options.without)
        print(text)
        print_violations(verdict)
        if stage.is_kept:
            print(f"judge it again with: python -m tests.chaos.archive --judge {stage.folder}")
        return int(bool(verdict.violations) != bool(options.without))


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.archive", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="about how long it lasts")
    parser.add_argument("--seed", type=int, help="of the schedule and of all dice")
    parser.add_argument("--rate", type=float, default=40.0, help="events a second and publisher")
    parser.add_argument("--small", action="store_true", help="with the few that play in the tests")
    parser.add_argument("--keep", action="store_true", help="keep the histories in any case")
    parser.add_argument("--only", help="faults to draw from, with commas between")
    parser.add_argument("--without", choices=MECHANISMS, default="", help="what to take out")
    parser.add_argument("--judge", type=Path, help="only judge a play again that was kept there")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
