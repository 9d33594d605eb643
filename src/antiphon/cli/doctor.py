"""``antiphon doctor``: look at everything, and say what to do."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from antiphon import __version__
from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.colours import folded, painted
from antiphon.cli.doctor_archive import look_at_archive
from antiphon.cli.doctor_broker import (
    BUS_OPTIONS,
    look_at_delivery,
    look_at_nodes,
    look_at_rights,
    look_at_version,
)
from antiphon.cli.doctor_findings import Finding
from antiphon.cli.doctor_redis import look_at_redis
from antiphon.cli.doctor_services import look_at_service
from antiphon.cli.doctor_system import look_at_dead_letters, look_at_processes, look_at_queues
from antiphon.cli.management import Management
from antiphon.cli.output import check_reader, write_line
from antiphon.cli.overview import look_around
from antiphon.cli.printing import to_json
from antiphon.environment import AMQP_URL, read_variable
from antiphon.errors import AntiphonError
from antiphon.messaging.browser import QueueBrowser, open_browser
from antiphon.messaging.bus import open_bus
from antiphon.messaging.dead_letters import dead_queue
from antiphon.schemes import mask_url
from antiphon.terminal.utils import printable

#: Exit status if something is wrong.
WRONG = 1

#: Where a Redis is, and an archive, if no option says so.
REDIS_URL, ARCHIVE_URL = "ANTIPHON_REDIS_URL", "ANTIPHON_ARCHIVE_URL"

_COLOURS = {"ok": "green", "skipped": None, "warning": "yellow", "wrong": "red"}

#: Columns before what was found: the longest word, and spaces around it.
_INDENT = 11


@click.command(
    short_help="Look at broker, Redis, processes and services, and say what to do.",
    epilog=examples(
        "antiphon doctor",
        "antiphon doctor --management http://localhost:15672",
        "antiphon doctor --redis redis://localhost --health http://localhost:8080",
        "antiphon doctor --json | jq '.findings[] | select(.status == \"wrong\")'",
    ),
)
@click.option(
    "--management",
    metavar="URL",
    help="RabbitMQ's management plugin, as in http://user:password@host:15672: shows alarms, the "
    "broker's clock, and queues that no process has open.  User and password default to those of "
    "the broker.",
)
@click.option(
    "--subscription",
    "subscriptions",
    multiple=True,
    metavar="NAME",
    help="A durable subscription that there should be, whether a process has it open or not.  May "
    "be given several times.",
)
@click.option(
    "--redis",
    "redis_urls",
    multiple=True,
    metavar="URL",
    help="A Redis: redis://:password@host:6379/0.  May be given several times.  Default: the "
    f"environment variable {REDIS_URL}, if it is there.",
)
@click.option(
    "--archive",
    "archive_url",
    metavar="URL",
    help="An archive: sqlite:///path.db.  Default: the environment variable "
    f"{ARCHIVE_URL}, if it is there.",
)
@click.option(
    "--health",
    "health_urls",
    multiple=True,
    metavar="URL",
    help="Where a service says how it is: http://host:8080.  May be given several times.",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0.05, max=60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for processes to answer.",
)
@click.option("--strict", is_flag=True, help="A warning makes the exit status 1, too.")
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")
@broker_options
def doctor(
    url: str | None,
    system: str,
    management: str | None,
    subscriptions: tuple[str, ...],
    redis_urls: tuple[str, ...],
    archive_url: str | None,
    health_urls: tuple[str, ...],
    wait_s: float,
    strict: bool,
    is_json: bool,
) -> int:
    """Look at everything that a system needs, and say what is wrong and what to do about it.

    It changes nothing.  Exit status: 0 if nothing is wrong, else 1.

    Looked at are the broker (is it there, does it deliver, how quickly, what may this user do), the
    processes (their versions and clocks), durable queues that nobody consumes, dead letters, and
    what else is named: Redis, an archive, services.
    """
    redis_urls = redis_urls or tuple(filter(None, [read_variable(REDIS_URL)]))
    archive_url = archive_url or read_variable(ARCHIVE_URL)
    looks: list[Iterator[Finding]] = []
    if url or read_variable(AMQP_URL) or not (redis_urls or archive_url or health_urls):
        wanted = _Wanted(system, management, subscriptions, wait_s)
        looks.append(_look_at_system(given_url(url), wanted))
    looks += [look_at_redis(one) for one in redis_urls]
    looks += [look_at_archive(one) for one in filter(None, [archive_url])]
    looks += [look_at_service(one) for one in health_urls]
    tell = _teller() if not is_json else None
    findings = []
    with _quiet():
        for finding in itertools.chain.from_iterable(looks):
            findings.append(finding)
            if tell is not None:
                tell(finding)
            check_reader()
    wrong, warnings = (
        sum(one.status == status for one in findings) for status in ("wrong", "warning")
    )
    if is_json:
        write_line(_as_json(system, findings, wrong, warnings))
    else:
        write_line("")
        write_line(_verdict(wrong, warnings))
    return WRONG if wrong or (strict and warnings) else 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the library logs away from the findings, which say the same."""
    logger = logging.getLogger("antiphon")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be looked at of a system; see the options."""

    system: str
    management_url: str | None
    subscriptions: tuple[str, ...]
    wait_s: float


def _look_at_system(url: str, wanted: _Wanted) -> Iterator[Finding]:
    try:
        yield from _look_at_broker(url, wanted)
    except AntiphonError as exc:
        text, _, advice = str(exc).partition("; ")
        yield Finding("broker", "reachable", "wrong", text, advice, {"url": mask_url(url)})


def _look_at_broker(url: str, wanted: _Wanted) -> Iterator[Finding]:
    system = wanted.system
    management = None if wanted.management_url is None else Management(wanted.management_url, url)
    with open_browser(url, name=f"{system} doctor") as browser:
        yield look_at_version(browser, mask_url(url), system)
        with open_bus(url, system=system, options=BUS_OPTIONS) as bus:
            began, before = time.monotonic(), _count_dead(browser, system)
            delivery = look_at_delivery(bus)
            yield delivery
            known = None
            if management is not None:
                try:
                    known = management.queues()
                except AntiphonError as exc:
                    yield Finding("broker", "management", "wrong", str(exc), "mend --management")
                else:
                    yield from look_at_nodes(management)
            if delivery.status == "wrong":
                # Whoever is asked now could not answer, and a message would be waited for.
                text = "not asked, since the broker delivers nothing"
                yield Finding("processes", "present", "skipped", text)
                processes = []
            else:
                yield look_at_rights(browser, system)
                overview = look_around(bus, browser, wanted.wait_s, known, wanted.subscriptions)
                processes = overview.processes
                yield from look_at_processes(processes)
                yield from look_at_queues(overview)
            after, seconds = _count_dead(browser, system), time.monotonic() - began
            yield look_at_dead_letters(processes, before, after, seconds)


def _count_dead(browser: QueueBrowser, system: str) -> int:
    depth = browser.depth(dead_queue(system))
    return 0 if depth is None else depth.ready


def _teller() -> Callable[[Finding], None]:
    """Return what prints findings as they come, each below its subject."""
    subjects: list[str] = []

    def tell(finding: Finding) -> None:
        if finding.subject not in subjects[-1:]:
            if subjects:
                write_line("")
            subjects.append(finding.subject)
            write_line(painted(printable(finding.subject), bold=True))
        word = painted(f"{finding.status:8}", _COLOURS[finding.status], bold=True)
        write_line(f"  {word} {folded(printable(finding.text), _INDENT)}")
        if finding.advice:
            text = folded(printable(finding.advice), _INDENT + 3)
            write_line(" " * _INDENT + painted("→  ", dim=True) + text)

    return tell


def _as_json(system: str, findings: list[Finding], wrong: int, warnings: int) -> str:
    return to_json(
        {
            "system": system,
            "version": __version__,
            "wrong": wrong,
            "warnings": warnings,
            "findings": [one.as_dict() for one in findings],
        }
    )


def _verdict(wrong: int, warnings: int) -> str:
    told = []
    if wrong:
        told.append(painted(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong", "red"))
    if warnings:
        told.append(painted(f"{warnings} warning{'' if warnings == 1 else 's'}", "yellow"))
    return ", ".join(told) or painted("nothing is wrong", "green")
