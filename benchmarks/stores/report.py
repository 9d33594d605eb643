"""How what was measured is shown: shares of the limit, percentiles, circumstances."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.stores.items import BULK, VALUE_BYTES

if TYPE_CHECKING:
    from benchmarks.stores.harness import Measured

HERE = Path(__file__).parent


def report(measured: Measured) -> Iterator[str]:
    """Yield the lines of the tables."""
    width = max(map(len, measured.names)) + 2
    yield f"{measured.keys:,} keys, {VALUE_BYTES} bytes, 3 metadata entries"
    yield from _shares(measured, "share of the limit", width, whole=False)
    yield from _shares(measured, "of all calls", width, whole=True)
    yield ""
    yield (
        "microseconds a call".ljust(20)
        + "".ljust(width)
        + "".join(text.rjust(12) for text in ("min", "median", "p90", "p99", "max", "calls"))
    )
    for operation in measured.operations:
        for name in measured.names:
            cell = measured.cells.get((operation.name, name))
            if cell is not None:
                yield operation.name.ljust(20) + name.ljust(width) + _figures(cell.calls)
    yield ""
    yield "filling: " + ", ".join(
        f"{name} {seconds:.1f} s ({seconds / measured.keys * 1e6:.1f} us a key)"
        for name, seconds in measured.fill_s.items()
    )
    yield from _bulk(measured)
    yield ""
    yield from _verdict(measured)


def _shares(measured: Measured, title: str, width: int, *, whole: bool) -> Iterator[str]:
    yield ""
    yield title.ljust(20) + "target".rjust(8) + "".join(n.rjust(width) for n in measured.names)
    for operation in measured.operations:
        line = operation.name.ljust(20)
        line += ("" if operation.target is None else f"{operation.target:g}").rjust(8)
        for name in measured.names:
            share = measured.share(operation.name, name, whole=whole)
            line += (
                "-" if share is None else f"{share:.2g}" if share < 0.1 else f"{share:.2f}"
            ).rjust(width)
        yield line


def _figures(calls: Sequence[float]) -> str:
    ordered = sorted(calls)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    figures = (ordered[0], quantile(0.5), quantile(0.9), quantile(0.99), ordered[-1])
    return "".join(f"{each:,.1f}".rjust(12) for each in figures) + f"{len(ordered):,}".rjust(12)


def _bulk(measured: Measured) -> Iterator[str]:
    for name in measured.names:
        for one_by_one, together in (("set", "multiset"), ("get", "multiget")):
            single = measured.cells.get((one_by_one, name))
            bulk = measured.cells.get((together, name))
            if single is not None and bulk is not None:
                ratios = [
                    one * BULK / many
                    for one, many in zip(single.turns, bulk.turns, strict=True)
                    if one is not None and many is not None
                ]
                ratio = statistics.median(ratios)
                yield f"{name}: {BULK} keys by {together} are {ratio:.1f} x as quick"


def _verdict(measured: Measured) -> Iterator[str]:
    ours = measured.names[1]
    missed = [
        f"missed: {each.name} {measured.share(each.name, ours):.2f}, not {each.target:g}"
        for each in measured.operations
        if each.target is not None and (measured.share(each.name, ours) or 0) < each.target
    ]
    yield from missed or ["All targets are met."]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def circumstances(module: str, libraries: str, seconds: float) -> list[str]:
    """Return command, commit, machine and versions."""
    info = Path("/proc/cpuinfo")
    models = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in models if "model name" in line), "")
    changed = " with changes" if _git("status", "--porcelain", "--", "../../src") else ""
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return [
        f"command: python -m benchmarks.stores.{module} {' '.join(sys.argv[1:])}".rstrip(),
        f"commit: {_git('rev-parse', '--short', 'HEAD')}{changed}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s",
        f"machine: {model or platform.machine()}, {os.cpu_count()} CPUs, load {load},"
        f" {platform.system()} {platform.release()}",
        f"python: {platform.python_implementation()} {platform.python_version()}",
        f"libraries: {libraries}",
        "",
    ]
