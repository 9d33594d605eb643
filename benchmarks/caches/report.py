"""How results are shown and kept."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence

from antiphon.testing.servers import rabbitmq, redis
from benchmarks.messaging.report import percentiles as percentiles
from benchmarks.messaging.report import report_of

#: What is compared, for the record.
LIBRARIES = ("pika", "redis", "hiredis", "ZEO")


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
    report_of("caches", LIBRARIES, name, lines, keep=keep)


def load() -> str:
    """Return what else the machine does, for the record of a single figure."""
    return ", ".join(f"{number:.1f}" for number in os.getloadavg())
