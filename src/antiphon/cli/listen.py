"""``antiphon listen``: print events as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import click

from antiphon.cli.broker import given_url
from antiphon.cli.choosing import import_modules, origin_spec, parse_filters, wire_names
from antiphon.cli.output import check_reader, write_line
from antiphon.cli.printing import as_json, as_line
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.wire.routing import ROOT_NAME

#: Events that wait for a slow terminal; then the broker keeps the rest.
MAX_WAITING = 1000

#: Seconds between looks at whether anybody still reads the output.
LOOK_S = 0.5


@click.command()
@click.argument("url", required=False)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="NAME",
    help="Events of this class and its subclasses: StoreSetEvent, myapp:Saved.  May be "
    "given several times.  Default: all.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Events from exactly this origin.  May be given several times.",
)
@click.option(
    "--origin-prefix",
    "prefixes",
    multiple=True,
    metavar="WORDS",
    help="Events from all origins that begin with these dotted words.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Events with an attribute of this value: key=prices/eur, n=5, to.city=Rome.  VALUE is "
    "JSON where it can be, else text.  Several must all hold.",
)
@click.option("--json", "is_json", is_flag=True, help="Print lines of JSON.")
@click.option(
    "--system",
    default="antiphon",
    show_default=True,
    metavar="NAME",
    help="The system whose events to hear.",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import this module first, so that its classes are known by their bare names.",
)
def listen(
    url: str | None,
    classes: tuple[str, ...],
    origins: tuple[str, ...],
    prefixes: tuple[str, ...],
    filters: tuple[str, ...],
    is_json: bool,
    system: str,
    count: int | None,
    modules: tuple[str, ...],
) -> None:
    """Print events as they come, one a line.

    URL is where the broker is, as in amqp://user:password@host:5672/virtual-host.
    Default: the environment variable ANTIPHON_AMQP_URL, or the file that ANTIPHON_AMQP_URL_FILE
    names.

    What is said about the connection goes to standard error.  It ends after Ctrl-C, SIGTERM, when
    its output is closed, or after --count events.
    """
    url = given_url(url, "antiphon listen URL")
    import_modules(modules)
    names = [name for given in classes for name in wire_names(given)] or [ROOT_NAME]
    filter = parse_filters(filters)
    with Waiting() as waiting, open_bus(url, system=system) as bus:
        for name in dict.fromkeys(names):
            bus.connect_named(name, waiting.put, filter, origin=origin_spec(origins, prefixes))
        _announce(bus, classes)
        waiting.print_all(as_json if is_json else as_line, count)


def _announce(bus: BrokerEventManager, classes: tuple[str, ...]) -> None:
    # What happens to the connection from here on is logged by the bus, and so shown.
    what = ", ".join(classes) or "all events"
    click.echo(f"antiphon: listening on {bus.url}, system {bus.system}: {what}", err=True)


class Waiting:
    """Events between the bus, whose thread must not wait, and the output, which may be slow."""

    def __init__(self) -> None:
        self._queue: queue.Queue[BaseEvent] = queue.Queue(MAX_WAITING)
        self._is_over = threading.Event()
        self._last: Any = None

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def put(self, event: BaseEvent) -> None:
        """Take over *event*; wait for room unless all is over."""
        if event is self._last:  # it has two of the names that were asked for
            return
        self._last = event
        while not self._is_over.is_set():
            try:
                self._queue.put(event, timeout=LOOK_S)
            except queue.Full:
                continue
            return

    def print_all(self, line_of: Callable[[BaseEvent], str], count: int | None) -> None:
        """Print events until there were *count*."""
        printed = 0
        while count is None or printed < count:
            try:
                event = self._queue.get(timeout=LOOK_S)
            except queue.Empty:
                check_reader()
                continue
            write_line(line_of(event))
            printed += 1
        self._is_over.set()
