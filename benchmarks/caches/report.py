"""How results are shown and kept."""

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

from antiphon.testing.servers import rabbitmq, redis
from benchmarks.messaging.report import machine
from benchmarks.messaging.report import percentiles as percentiles

RESULTS = Path(__file__).parent / "results"

#: What is compared, for the record.
LIBRARIES = ("pika", "redis", "hiredis", "ZEO")

_BEGAN = time.monotonic()


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark here has."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--amqp", help="a broker to use, instead of a private one")
    made.add_argument("--redis", help="a Redis to use, instead of a private one")
    made.add_argument("--save", action="store_true", help="keep the text in results/")
    return made


@contextlib.contextmanager
def servers_of(chosen: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Yield the URLs of RabbitMQ and Redis: those given, or private ones that end with it."""
    with contextlib.ExitStack() as stack:
        amqp = chosen.amqp or stack.enter_context(rabbitmq(given=False)).url
        yield amqp, chosen.redis or stack.enter_context(redis(given=False)).url


def write_report(name: str, lines: Sequence[str], *, keep: bool) -> None:
    """Print *lines* under a heading; with *keep* also write them to ``results/``."""
    changed = " with changes" if _git("status", "--porcelain", "--", "../../src") else ""
    versions = ", ".join(f"{library} {_version(library)}" for library in LIBRARIES)
    head = [
        f"command: python -m benchmarks.caches.{name} {' '.join(sys.argv[1:])}".rstrip(),
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
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.txt").write_text(text)


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "(none)"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def load() -> str:
    """Return what else the machine does, for the record of a single figure."""
    return ", ".join(f"{number:.1f}" for number in os.getloadavg())
