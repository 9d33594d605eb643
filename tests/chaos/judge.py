"""Judges a play again that was kept: ``python -m tests.chaos.judge FOLDER``.

Exit status 1 if a promise was broken.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.checker import check, summary
from tests.chaos.keeping import read
from tests.chaos.verdict import Verdict

#: Violations of one kind and subscription that are printed; the first few tell.
MAX_PRINTED = 5


def main() -> int:
    """Judge what the argument says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.judge", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the histories are kept")
    parser.add_argument("--all", action="store_true", help="print every violation")
    options = parser.parse_args()
    history = read(options.folder)
    verdict = check(history)
    print(summary(history, verdict))
    print_violations(verdict, len(verdict.violations) if options.all else MAX_PRINTED)
    return 1 if verdict.violations else 0


def print_violations(verdict: Verdict, limit: int = MAX_PRINTED) -> None:
    """Print at most *limit* violations of each kind and subscription, and how many there are."""
    printed: Counter[tuple[str, str]] = Counter()
    for violation in verdict.violations:
        printed[violation.kind, violation.subscription] += 1
        if printed[violation.kind, violation.subscription] <= limit:
            print(violation)
    for (kind, subscription), count in printed.items():
        print(f"{count} times {kind} [{subscription}]")


if __name__ == "__main__":
    sys.exit(main())
