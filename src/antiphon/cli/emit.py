"""``antiphon emit``: emit events from a shell."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.choosing import import_modules, tell_slip
from antiphon.cli.making import (
    NoEvent,
    class_of,
    event_of_line,
    make_event,
    parse_attributes,
    parse_source,
)
from antiphon.cli.output import write_line
from antiphon.cli.printing import to_json
from antiphon.errors import FlushTimeout
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.wire.registry import default_registry

#: Events after which the broker's confirmation is waited for.
BATCH = 10_000

#: Exit status with ``--expect-listener`` if nobody listens.
NOBODY = 3


@click.command(
    short_help="Emit events, and say whether anybody listens.",
    epilog=examples(
        "antiphon emit myapp:Saved name=letter size=17",
        "antiphon emit StoreSetEvent key=prices/eur 'metadata={\"n\": 1}'",
        "antiphon emit myapp:Saved --base myapp:Changed name=letter  # unknown here",
        "antiphon listen --json > events; antiphon emit --stdin < events",
    ),
)
@click.argument("cls", metavar="[CLASS]", required=False)
@click.argument("attributes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--base",
    "bases",
    multiple=True,
    metavar="NAME",
    help="A base class of CLASS, if CLASS is not known here: its listeners hear it, too.  May be "
    "given several times, the most general first.",
)
@click.option("--origin", metavar="ORIGIN", help="Where the events come from: dotted words.")
@click.option(
    "--source",
    metavar="SOURCE",
    help="Their source: text, a number, or JSON such as "
    '\'{"kind": "RedisStore", "origin": "catalogue", "store_id": "…"}\'.',
)
@click.option("--count", type=click.IntRange(min=1), default=1, metavar="N", help="Emit N of them.")
@click.option(
    "--stdin",
    "is_stdin",
    is_flag=True,
    help="Emit an event for each line of standard input: JSON as 'antiphon listen --json' prints "
    "it.  CLASS, --origin and --source hold for lines that say nothing of it.",
)
@click.option("--json", "is_json", is_flag=True, help="Print what happened as a line of JSON.")
@click.option(
    "--expect-listener", is_flag=True, help=f"Exit with status {NOBODY} if nobody listens."
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for the broker's confirmation.",
)
@click.option(
    "--module",
    "modules",
    multiple=True,
    metavar="MODULE",
    help="Import this module first, so that its classes are known by their bare names.",
)
@broker_options
def emit(
    url: str | None,
    system: str,
    cls: str | None,
    attributes: tuple[str, ...],
    bases: tuple[str, ...],
    origin: str | None,
    source: str | None,
    count: int,
    is_stdin: bool,
    is_json: bool,
    expect_listener: bool,
    timeout_s: float,
    modules: tuple[str, ...],
) -> int:
    """Emit an event, wait until the broker has it, and say whether anybody listens.

    CLASS is its name on the wire (myapp:Saved), or the bare name of a class of Antiphon's or of
    --module; nothing else is imported, and a class that is not known here is emitted by its name.
    A VALUE is JSON where it can be (size=17, tags='["a"]'), else text; {"base64": "…"} is bytes.
    """
    if cls is None and not is_stdin:
        raise click.UsageError("say which CLASS, or --stdin")
    if is_stdin and (attributes or count != 1):
        raise click.UsageError("with --stdin, attributes and count come from its lines")
    import_modules(modules)
    own = None if cls is None else class_of(cls, bases)
    if cls is not None and not bases:
        tell_slip(cls)
    own_source = None if source is None else parse_source(source)
    events = _read(own, own_source, origin)
    if own is not None and not is_stdin:
        events = _made(own, parse_attributes(attributes), own_source, origin, count)
    with open_bus(given_url(url), system=system, origin=origin) as bus:
        try:
            last = _emit_all(bus, events, timeout_s)
        except FlushTimeout:
            raise _given_up(bus, timeout_s) from None
        _tell(bus, last, is_json)
        is_heard = bus.stats().returned == 0
    return NOBODY if expect_listener and not is_heard else 0


def _given_up(bus: BrokerEventManager, timeout_s: float) -> FlushTimeout:
    """Close *bus*, which has had its time, and return the error that says what became of it."""
    stats = bus.stats()
    why = stats.blocked_because or bus.last_error or "it answers slowly, or not at all"
    bus.close(0)
    return FlushTimeout(
        f"the broker has confirmed {stats.confirmed} of {stats.emitted} events within "
        f"{timeout_s:g} s ({why}); the others are given up, and may have arrived or not"
    )


def _made(
    cls: type[BaseEvent],
    attributes: Mapping[str, Any],
    source: object,
    origin: str | None,
    count: int,
) -> Iterator[BaseEvent]:
    for _ in range(count):
        yield make_event(cls, attributes, source, origin)


def _read(cls: type[BaseEvent] | None, source: object, origin: str | None) -> Iterator[BaseEvent]:
    for number, line in enumerate(sys.stdin, 1):
        if line.strip():
            try:
                yield event_of_line(line, cls, source, origin)
            except click.ClickException as exc:
                raise NoEvent(f"line {number}: {exc.message}") from None


def _emit_all(
    bus: BrokerEventManager, events: Iterable[BaseEvent], timeout_s: float
) -> BaseEvent | None:
    """Emit *events*, wait until the broker has them, and return the last."""
    last = None
    try:
        for emitted, last in enumerate(events, 1):
            bus.emit(last)
            if emitted % BATCH == 0:
                bus.flush(timeout_s)
    finally:
        bus.flush(timeout_s)  # also those before a line that is no event
    return last


def _tell(bus: BrokerEventManager, last: BaseEvent | None, is_json: bool) -> None:
    stats = bus.stats()
    event_id = None if last is None else str(last._event_id)
    if is_json:
        told = {
            "emitted": stats.emitted,
            "confirmed": stats.confirmed,
            "unheard": stats.returned,
            "last": event_id,
        }
        write_line(to_json(told))
        return
    if last is None:
        write_line("nothing to emit")
        return
    what = f"{stats.emitted} events"
    if stats.emitted == 1:
        what = f"{default_registry.name_of(type(last))} {event_id}"
    heard = {0: "", stats.emitted: "; nobody listens"}.get(
        stats.returned, f"; nobody listens to {stats.returned} of them"
    )
    write_line(f"emitted {what}: confirmed by the broker{heard}")
