"""How results are worked out, shown and kept."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """Return the 50th, 90th, 99th and 100th percentile."""
    ordered = sorted(values)
    return {p: ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99, 100)}


def machine() -> str:
    """Return what ran the benchmark, in one line."""
    model = "unknown processor"
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return f"{os.cpu_count()} x {model}, {platform.platform()}, load {load}"


def commit() -> str:
    """Return the commit that was measured, with a plus if files were changed."""
    here = Path(__file__).parent
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "../../src/antiphon"],
            cwd=here,
            capture_output=True,
            text=True,
        ).stdout.strip()
    except OSError:
        return "unknown"
    return name + ("+" if changed else "")


def write_report(name: str, lines: Sequence[str], *, keep: bool) -> None:
    """Print *lines* under a heading; with *keep* also write them to ``results/``."""
    head = [
        f"command: python {' '.join(sys.argv)}",
        f"commit:  {commit()}",
        f"machine: {machine()}",
        f"python:  {platform.python_version()}",
        f"date:    {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        "",
    ]
    text = "\n".join([*head, *lines, ""])
    print(text)
    if keep:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.txt").write_text(text)
