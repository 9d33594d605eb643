"""The proof that every test ran: what a run says of itself, judged by what there is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MINIMUM_FILE = TESTS / "collected_minimum.txt"


class Completeness:
    """Checks a run of everything: nothing was forgotten, deselected or skipped."""

    def __init__(self) -> None:
        self.collected = 0
        self.deselected = 0
        self.files: set[Path] = set()
        self.outcomes: dict[str, str] = {}

    def note(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a test: of its call, or of the phase that prevented it."""
        if report.when == "call" or report.outcome != "passed":
            is_expected = hasattr(report, "wasxfail")
            outcome = "expected to fail" if is_expected else report.outcome
            self.outcomes[report.nodeid] = outcome

    def problems(self) -> list[str]:
        """Return what is missing, one sentence each."""
        minimum = int(MINIMUM_FILE.read_text())
        found = []
        if self.collected < minimum:
            found.append(f"{self.collected} tests were collected; {MINIMUM_FILE} says {minimum}")
        for path in sorted(_test_files() - self.files):
            found.append(f"{path} has no test that was collected")
        if self.deselected:
            found.append(f"{self.deselected} tests were deselected")
        if len(self.outcomes) < self.collected:
            found.append(f"only {len(self.outcomes)} of {self.collected} tests ran")
        for nodeid, outcome in self.outcomes.items():
            if outcome not in ("passed", "failed"):
                found.append(f"{nodeid} was {outcome}")
        return found

    def counts(self) -> str:
        """Return how many tests ended how: ``1 failed, 99 passed``."""
        counted = sorted(Counter(self.outcomes.values()).items())
        return ", ".join(f"{count} {outcome}" for outcome, count in counted) or "no tests ran"

    def write(self, path: Path) -> None:
        """Write down what is known of this run, for :meth:`add` of another process."""
        known = {
            "collected": self.collected,
            "deselected": self.deselected,
            "files": sorted(str(file) for file in self.files),
            "outcomes": self.outcomes,
        }
        path.write_text(json.dumps(known), encoding="utf-8")

    def add(self, path: Path) -> None:
        """Add what another process wrote of its part; raise OSError, ValueError if there is none.

        A test that ran in two parts counts once: too few are found then.
        """
        known = json.loads(path.read_text(encoding="utf-8"))
        again = self.outcomes.keys() & known["outcomes"].keys()
        self.collected += known["collected"] - len(again)
        self.deselected += known["deselected"]
        self.files |= {Path(file) for file in known["files"]}
        self.outcomes |= known["outcomes"]


def _test_files() -> set[Path]:
    return {path for pattern in ("test_*.py", "*_test.py") for path in TESTS.rglob(pattern)}
