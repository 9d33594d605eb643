"""Judges a play that was kept: ``python -m tests.chaos.caches.judge FOLDER``.

Exit status 1 if a promise was broken.
"""

# ruff: noqa: T201 - a program that talks

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.caches.checker import Verdict, check, summary
from tests.chaos.caches.records import read

#: Violations of one kind and player that are printed; the first few tell.
MAX_PRINTED = 4


def main() -> int:
    """Judge what the argument says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.caches.judge", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the histories are kept")
    options = parser.parse_args()
    history = read(options.folder)
    verdict = check(history)
    print(summary(history, verdict))
    print_violations(verdict)
    return 1 if verdict.violations else 0


def print_violations(verdict: Verdict) -> None:
    """Print the first violations of each kind and player, and how many there are."""
    printed: Counter[tuple[str, str]] = Counter()
    for violation in verdict.violations:
        printed[violation.kind, violation.who] += 1
        if printed[violation.kind, violation.who] <= MAX_PRINTED:
            print(violation)
    for (kind, who), count in printed.items():
        print(f"{count} times {kind} [{who}]")


if __name__ == "__main__":
    sys.exit(main())
