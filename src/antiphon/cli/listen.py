"""``antiphon listen``: print events as they come."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.choosing import (
    described,
    import_modules,
    origin_spec,
    parse_filters,
    tell_slip,
    wire_names,
)
from antiphon.cli.output import say
from antiphon.cli.printing import as_json, as_line
from antiphon.cli.waiting import Waiting
from antiphon.events.abstract_event_manager import BaseEvent, Filter
from antiphon.events.origin import OriginSpec
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.matching import checked_origins, origin_test, portable
from antiphon.messaging.subscription_options import Mode
from antiphon.messaging.subscriptions import bindings_for
from antiphon.wire.registry import default_registry
from antiphon.wire.routing import ROOT_NAME

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@click.command(
    epilog=examples(
        "antiphon listen --class StoreModificationEvent --origin catalogue",
        "antiphon listen --filter n=5 --json | jq .attributes",
        "antiphon listen --subscription watcher --class myapp:Saved  # misses none",
    )
)
@click.argument("place", metavar="[URL]", required=False)
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
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import this module first, so that its classes are known by their bare names.",
)
@click.option(
    "--subscription",
    metavar="NAME",
    help="Listen under this name: events wait at the broker while the command does not run.",
)
@click.option(
    "--group",
    "is_group",
    is_flag=True,
    help="With --subscription: share the events with all who listen under that name.",
)
@broker_options
def listen(
    place: str | None,
    url: str | None,
    system: str,
    classes: tuple[str, ...],
    origins: tuple[str, ...],
    prefixes: tuple[str, ...],
    filters: tuple[str, ...],
    is_json: bool,
    count: int | None,
    modules: tuple[str, ...],
    subscription: str | None,
    is_group: bool,
) -> None:
    """Print events as they come, one a line.

    URL is where the broker is, as in amqp://user:password@host:5672/virtual-host; it may be given
    as --url, too.

    What is said about the connection, and about events that may be missing, goes to standard
    error.  It ends after Ctrl-C, SIGTERM, when its output is closed, or after --count events.
    """
    if place and url:
        raise click.UsageError("give the URL once: as URL, or as --url")
    _check_subscription(subscription, is_group)
    url = given_url(place or url, "antiphon listen URL")
    import_modules(modules)
    names = [name for given in classes for name in wire_names(given)] or [ROOT_NAME]
    chosen = tuple(dict.fromkeys(names))
    filter, origin = parse_filters(filters), origin_spec(origins, prefixes)
    # The bus is closed last: a thread of it may wait for the output.
    with open_bus(url, system=system) as bus, Waiting() as waiting:
        bus.connect(EventsMayBeMissing, tell_missing, scope="local")
        if subscription is None:
            for name in chosen:
                bus.connect_named(name, waiting.put, filter, origin=origin)
        else:
            mode: Mode = "group" if is_group else "broadcast"
            listener = waiting.put_and_wait
            _subscribe(bus, subscription, mode, chosen, listener, filter, origin)
        _announce(bus, subscription, described(classes, origins, prefixes, filters))
        for given in classes:
            tell_slip(given)
        waiting.print_all(as_json if is_json else as_line, count)


def _check_subscription(name: str | None, is_group: bool) -> None:
    if name is None and is_group:
        raise click.UsageError("--group shares a subscription: name it with --subscription")
    if name is not None and not _NAME.fullmatch(name):
        raise click.BadParameter(
            f"'{name}' is not 1 to 100 letters, digits, '_', '-' and '.', beginning with a letter "
            "or digit",
            param_hint="--subscription",
        )


def _subscribe(
    bus: BrokerEventManager,
    name: str,
    mode: Mode,
    classes: tuple[str, ...],
    listener: Callable[[Any], None],
    filter: Filter,
    origin: OriginSpec,
) -> None:
    """Subscribe to *classes*, by their names: they need not be known here."""
    origins = checked_origins(origin)
    queue = f"{bus.system}.sub.{name}"
    is_from = origin_test(origins, bus.origin)

    def passes(event: BaseEvent) -> bool:
        is_named = not set(classes).isdisjoint(default_registry.names_of(type(event)))
        return is_named and (is_from is None or is_from(event))

    bus.subscribe_queue(
        name,
        queue,
        bindings_for(classes, origins, queue),
        listener,
        mode=mode,
        filter=portable(filter),
        condition=passes,
    )


def tell_missing(event: EventsMayBeMissing) -> None:
    """Say on standard error that events may be missing, and why."""
    moment = "" if event.since is None else f" since {datetime.fromtimestamp(event.since):%H:%M:%S}"
    say(f"events may be missing{moment} ({event.subscription}): {event.reason}")


def _announce(bus: BrokerEventManager, subscription: str | None, what: str) -> None:
    # What happens to the connection from here on is logged by the bus, and so shown.
    under = f", subscription {subscription}" if subscription else ""
    say(f"listening on {bus.url}, system {bus.system}{under}: {what}")
