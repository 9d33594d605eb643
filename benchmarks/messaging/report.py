"""How results are worked out, shown and kept."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from antiphon.testing.servers import RabbitMQ, rabbitmq

#: What is compared, for the record.
LIBRARIES = ("pika", "kombu", "amqp", "aio-pika", "AMQPStorm", "faststream", "ormsgpack")

_BEGAN = time.monotonic()


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark here has."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--url", help="a broker to use, instead of a private one")
    made.add_argument("--save", action="store_true", help="keep the text in results/")
    return made


@contextlib.contextmanager
def broker_at(url: str | None) -> Iterator[str]:
    """Yield *url*, or that of a private broker that is there meanwhile."""
    if url is not None:
        yield url
        return
    with private_broker() as broker:
        yield broker.url


def private_broker() -> RabbitMQ:
    """Return a broker of our own, which may be hurt; to be used with ``with``."""
    return rabbitmq(given=False)


def percentiles(values: Sequence[float]) -> dict[int, float]:
    """Return the 50th, 90th, 99th and 100th percentile."""
    ordered = sorted(values)
    return {p: ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99, 100)}


def machine() -> str:
    """Return what ran the benchmark, in one line."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return f"{os.cpu_count()} x {model}, {platform.platform()}, load {load}"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def write_report(name: str, lines: Sequence[str], *, keep: bool) -> None:
    """Print *lines* under a heading; with *keep* also write them to ``results/``."""
    report_of("messaging", LIBRARIES, name, lines, keep=keep)


def report_of(
    part: str, libraries: Sequence[str], name: str, lines: Sequence[str], *, keep: bool
) -> None:
    """Print *lines* under a heading; with *keep* also write them to the results of *part*.

    Args:
        part: the package below ``benchmarks``.
        libraries: whose versions belong to the record.
        name: of the benchmark.
        lines: what was found.
        keep: whether a file is written.
    """
    changed = " with changes" if _git("status", "--porcelain", "--", "../../src") else ""
    versions = ", ".join(f"{library} {_version(library)}" for library in libraries)
    head = [
        f"command: python -m benchmarks.{part}.{name} {' '.join(sys.argv[1:])}".rstrip(),
        f"commit:  {_git('rev-parse', '--short', 'HEAD')}{changed}",
        f"machine: {machine()}",
        f"python:  {platform.python_version()}; {versions}",
        f"date:    {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, "
        f"{time.monotonic() - _BEGAN:.0f} s",
        "",
    ]
    text = "\n".join([*head, *lines, ""])
    print(text, flush=True)
    if keep:
        results = Path(__file__).parents[1] / part / "results"
        results.mkdir(exist_ok=True)
        (results / f"{name}.txt").write_text(text)


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "(none)"
