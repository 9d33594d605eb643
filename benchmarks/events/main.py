"""Compare dispatch within one process with five other libraries.

    .venv/bin/python benchmarks/events/main.py [--save] [--quick]

Everything is measured in one run, in turns: each repeat times every library at
every case once, each just after a loop that calls as many empty listeners, so
that what disturbs the machine disturbs all.  A ratio is the median of those to
the loop before.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from cases import CASES, Case, Timed, TooSlow, bare_loop
from libraries import ABILITIES, LIBRARIES

HERE = Path(__file__).parent

#: How long one sample should take: long for the clock, short for the scheduler.
SAMPLE_NS = 300_000


class Cell:
    """The samples of one case with one library, each with one of the bare loop before it."""

    def __init__(self, run: Timed, base: Cell | None = None) -> None:
        self.run = run
        self.base = base
        self.samples: list[float] = []
        self.ratios: list[float] = []
        for times in (1, 1, 10, 100):  # the first are cold
            started = time.perf_counter_ns()
            run(times)
            # By the clock on the wall: what a case does between its timings takes time, too.
            once = (time.perf_counter_ns() - started) // times
            if once > SAMPLE_NS:
                break
        self.times = max(1, min(4000, SAMPLE_NS // max(once, 1)))
        #: What takes milliseconds is not repeated as often.
        self.every = max(1, once // 5_000_000)

    def sample(self, repeat: int) -> None:
        if repeat % self.every == 0:
            # Clocks of processors change by the second: what is compared is timed together.
            base = self.base.run(self.base.times) / self.base.times if self.base else 0.0
            self.samples.append(self.run(self.times) / self.times)
            if self.base:
                self.base.samples.append(base)
                self.ratios.append(self.samples[-1] / base)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Measured:
    """Everything that was measured.

    Attributes:
        bases: the bare loops, by their number of listeners.
        cells: the cases, by their names and those of the libraries.
        too_slow: what could not be got ready in time, and how far it came.
    """

    def __init__(self, cases: list[Case]) -> None:
        self.cases = cases
        counts = sorted({case.base for case in cases})
        self.bases = {count: Cell(bare_loop(count)) for count in counts}
        self.cells: dict[tuple[str, str], Cell] = {}
        self.too_slow: dict[tuple[str, str], str] = {}
        # They hold what is half ready: letting it go may take longer than getting it ready.
        self.given_up: list[TooSlow] = []

    def ratio(self, case: Case, library: str) -> float | None:
        """Return the median of the ratios to the bare loop, None if there is no figure."""
        cell = self.cells.get((case.name, library))
        return None if cell is None else statistics.median(cell.ratios)


def measure(cases: list[Case], repeats: int) -> Measured:
    """Measure *cases* with all libraries, in turns."""
    measured = Measured(cases)
    gc.disable()  # or it goes through the listeners of all cases again and again
    for case in cases:
        for library in LIBRARIES:
            print(
                f"{time.monotonic():.0f} {case.name}: {library.name}", file=sys.stderr, flush=True
            )
            try:
                run = case.prepare(library)
            except TooSlow as exc:
                measured.too_slow[case.name, library.name] = str(exc)
                measured.given_up.append(exc)
                continue
            if run is not None:
                measured.cells[case.name, library.name] = Cell(run, measured.bases[case.base])
    gc.collect()
    gc.freeze()
    gc.enable()
    for repeat in range(repeats):
        for cell in measured.cells.values():
            cell.sample(repeat)
    return measured


def ratio_table(measured: Measured) -> list[str]:
    """Return how many times a bare loop's time each case takes, with each library."""
    lines = [
        "ratio to a bare loop".ljust(53)
        + "target".rjust(7)
        + "".join(library.name.rjust(14) for library in LIBRARIES)
    ]
    for case in measured.cases:
        line = case.name.ljust(53) + (f"{case.target:g}" if case.target else "").rjust(7)
        for library in LIBRARIES:
            ratio = measured.ratio(case, library.name)
            if (case.name, library.name) in measured.too_slow:
                text = "too slow"
            elif ratio is None:
                text = "-"
            else:
                text = f"{ratio:,.2f}" if ratio < 100 else f"{ratio:,.0f}"
            line += text.rjust(14)
        lines.append(line)
    lines += [
        f"too slow: {name} with {case}: {how_far}"
        for (case, name), how_far in measured.too_slow.items()
    ]
    return lines


def detail_table(measured: Measured) -> list[str]:
    """Return the distribution of Antiphon's samples, and of the bare loops'."""
    quantities = ("min", "median", "p90", "p99", "max", "samples")
    lines = ["ns an operation".ljust(53) + "".join(text.rjust(13) for text in quantities)]
    rows = [(f"bare loop of {count:,}", cell) for count, cell in measured.bases.items()]
    rows += [(case.name, measured.cells[case.name, "Antiphon"]) for case in measured.cases]
    for name, cell in rows:
        figures = (
            min(cell.samples),
            statistics.median(cell.samples),
            cell.quantile(0.9),
            cell.quantile(0.99),
            max(cell.samples),
        )
        line = name.ljust(53) + "".join(f"{figure:,.1f}".rjust(13) for figure in figures)
        lines.append(line + f"{len(cell.samples)} x {cell.times}".rjust(13))
    return lines


def verdict(measured: Measured) -> list[str]:
    """Say which targets were missed, and where another library was quicker."""
    lines = []
    for case in measured.cases:
        own = measured.ratio(case, "Antiphon")
        if case.target and own > case.target:
            lines.append(f"missed: {case.name}: {own:.2f}, not {case.target:g}")
        for library in LIBRARIES[1:]:
            ratio = measured.ratio(case, library.name)
            if ratio is not None and ratio < own:
                lines.append(f"quicker: {case.name}: {library.name} takes {ratio / own:.2f} of it")
    return lines or ["All targets are met, and no other library is quicker at anything."]


def circumstances(seconds: float) -> list[str]:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--", "../../src") else ""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    return [
        f"command: python benchmarks/events/main.py {' '.join(sys.argv[1:])}".rstrip(),
        f"commit: {git('rev-parse', '--short', 'HEAD')}{changed}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s",
        f"machine: {cpu}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        f"python: {platform.python_implementation()} {platform.python_version()}",
        "libraries: " + ", ".join(f"{library.name} {library.version}" for library in LIBRARIES),
    ]


def abilities() -> list[str]:
    widths = [max(len(row[column]) for row in ABILITIES) + 3 for column in range(len(ABILITIES[0]))]
    return [
        "".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in ABILITIES
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="keep the text in results/")
    parser.add_argument("--quick", action="store_true", help="a tenth of the repeats")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    started = time.monotonic()
    measured = measure(cases, 20 if options.quick else 200)
    tables = [
        circumstances(time.monotonic() - started),
        ["What each can do", "", *abilities()],
        ratio_table(measured),
        ["Antiphon in detail", "", *detail_table(measured)],
        verdict(measured),
    ]
    text = "\n\n".join("\n".join(table) for table in tables) + "\n"
    print(text)
    if options.save:
        path = HERE / "results" / f"{datetime.now(UTC):%Y-%m-%d}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    sys.stdout.flush()
    os._exit(0)  # to let 100 000 receivers go one by one takes blinker hours


if __name__ == "__main__":
    main()
