"""``antiphon store watch``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep as pause
from typing import Any

import click

from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.listen import tell_missing
from antiphon.cli.output import check_reader, say, write_line
from antiphon.cli.store_changes import (
    Change,
    change_json,
    change_line,
    change_of_entry,
    change_of_event,
)
from antiphon.cli.store_opening import reading, shown_name, store_argument
from antiphon.cli.waiting import Waiting
from antiphon.errors import PositionLost, StoreError, StoreUnavailable
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_manager import EventManager
from antiphon.messaging.bus import open_bus
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import Journal, JournalEntry, Position
from antiphon.storage.journals import journals_of, wait_for_change

#: Seconds that a journal is waited for at a time; in between one looks for the reader.
LOOK_S = 1.0

#: Seconds between two tries while a store is away.
RETRY_S = 1.0


@click.command(
    short_help="Print changes as they come.",
    epilog=examples(
        "antiphon store watch sqlite:shop.db --prefix prices/",
        "antiphon store watch 'redis://localhost?namespace=shop' --json | jq .key",
        'antiphon store watch sqlite:shop.db --since "$(cat place)" --no-wait --json',
    ),
)
@store_argument()
@click.option("--prefix", default="", metavar="TEXT", help="Keys that begin with TEXT.")
@click.option(
    "--since",
    metavar="POSITION",
    help="All changes after this position, as the command prints it at its end, or with --json.",
)
@click.option(
    "--from-start", is_flag=True, help="All changes that the store remembers, if none is forgotten."
)
@click.option("--no-wait", is_flag=True, help="End when all is printed that happened until now.")
@click.option(
    "--events",
    "is_by_events",
    is_flag=True,
    help="Listen to events, at the broker (--url, --system), and leave the journal alone: they "
    "have the metadata, too.",
)
@click.option("--json", "is_json", is_flag=True, help="Print lines of JSON.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@broker_options
def watch(
    store: str,
    prefix: str,
    since: str | None,
    from_start: bool,
    no_wait: bool,
    is_by_events: bool,
    is_json: bool,
    count: int | None,
    url: str | None,
    system: str,
) -> None:
    """Print the changes of STORE as they come, one a line.

    They are read from the store's own journal: no broker is needed, and none is missed from the
    given position on.  At its end the command says from where to go on.

    It ends after Ctrl-C, SIGTERM, when its output is closed, or after --count changes.
    """
    _check_place(since, from_start, no_wait, is_by_events)
    begin = None if since is None else _parse_position(since)
    line_of = change_json if is_json else change_line
    name = shown_name(store)
    with reading(store) as opened:
        if is_by_events:
            _print_events(name, opened, given_url(url), system, prefix, line_of, count)
            return
        journal = _journal_of(opened)
        if journal is not None:
            place = _begin(journal, begin, from_start)
            _follow(name, journal, place, prefix, line_of, count, waits=not no_wait)
        elif begin or from_start or no_wait:
            raise StoreError(f"{opened!r} has no journal, so it can only be watched from now on")
        else:
            _print_polled(name, opened, prefix, line_of, count)


def _check_place(since: str | None, from_start: bool, no_wait: bool, is_by_events: bool) -> None:
    if since is not None and from_start:
        raise click.UsageError("give either --since or --from-start")
    if is_by_events and (since is not None or from_start or no_wait):
        raise click.UsageError(
            "events come from now on: --since, --from-start and --no-wait are about the journal"
        )


def _parse_position(text: str) -> Position:
    try:
        return Position.parse(text.strip())
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no position, as 'antiphon store watch' prints it at its end",
            param_hint="--since",
        ) from None


# -- By the journal ----------------------------------------------------------


def _journal_of(store: AbstractReadOnlyStore) -> Journal | None:
    journals = journals_of(store)
    if journals is None:
        return None
    if len(journals) != 1:
        raise StoreError(f"{store!r} has {len(journals)} journals; watch its stores one by one")
    return journals[0]


def _begin(journal: Journal, since: Position | None, from_start: bool) -> Position:
    if since is not None:
        return since
    head = journal.head()
    return Position(head.store_id, head.epoch, 0, b"") if from_start else head


def _follow(
    name: str,
    journal: Journal,
    place: Position,
    prefix: str,
    line_of: Callable[[Change], str],
    count: int | None,
    *,
    waits: bool,
) -> None:
    """Print what is in *journal* after *place*, and what comes."""
    _announce(f"{name}, from {place}")
    printed = _Printed(place)

    def catch_up() -> bool:
        """Print what there is; return whether that was all that was asked for."""
        for entry in journal.since(printed.upto):
            if entry.key is None or entry.key.startswith(prefix):
                write_line(line_of(change_of_entry(entry, place.store_id)))
                printed.count += 1
            printed.note(entry)
            if printed.count == count:
                return True
        return False

    patiently = _Patience()
    with _told_at_end(printed):
        if catch_up() or not waits:
            return
        while True:
            with patiently():
                wait_for_change(journal, printed.upto, LOOK_S)
                if catch_up():
                    return
            check_reader()


class _Printed:
    """How far it is printed.

    Attributes:
        upto: the place of the last change that is printed, or passed over.
        count: changes that are printed.
    """

    def __init__(self, place: Position) -> None:
        self.upto = place
        self.count = 0

    def note(self, entry: JournalEntry) -> None:
        """Take down that all is printed up to *entry*."""
        self.upto = Position(self.upto.store_id, *entry.version)


@contextmanager
def _told_at_end(printed: _Printed) -> Iterator[None]:
    is_lost = False
    try:
        yield
    except PositionLost as exc:
        is_lost = True
        raise PositionLost(
            f"{exc}; watch again without --since, and look at all keys (antiphon store ls --long)"
        ) from None
    finally:
        if not is_lost:
            say(f"go on with --since {printed.upto}")


class _Patience:
    """Waits while a store is away, and says so once."""

    def __init__(self) -> None:
        self._is_away = False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the block fail if that is why, and wait a little."""
        try:
            yield
        except StoreUnavailable as exc:
            if not self._is_away:
                say(f"{exc}; trying again")
            self._is_away = True
            pause(RETRY_S)
        else:
            if self._is_away:
                say("the store is back")
            self._is_away = False


# -- By events ---------------------------------------------------------------


def _print_events(
    name: str,
    store: AbstractReadOnlyStore,
    broker: str,
    system: str,
    prefix: str,
    line_of: Callable[[Change], str],
    count: int | None,
) -> None:
    """Print the changes of *store* that the broker tells of."""
    store_id = getattr(store, "store_id", None)
    if store_id is None:
        raise StoreError(f"{store!r} has no identity by which its events could be known")
    with open_bus(broker, system=system) as bus, Waiting() as waiting:
        bus.connect(EventsMayBeMissing, tell_missing, scope="local")
        listener = _listener(waiting, prefix)
        bus.connect(StoreModificationEvent, listener, {"source.store_id": store_id})
        _announce(f"the events of {name} on {bus.url}, system {bus.system}")
        waiting.print_all(_of_events(line_of), count)


def _print_polled(
    name: str,
    store: AbstractReadOnlyStore,
    prefix: str,
    line_of: Callable[[Change], str],
    count: int | None,
) -> None:
    """Print what *store* finds out about itself."""
    # Only here: it brings a library for HTTP along, which takes a while.
    from antiphon.storage.static_url_store import StaticURLStore

    if not isinstance(store, StaticURLStore) or store.poll <= 0:
        raise StoreError(
            f"{store!r} has no journal, so it cannot be watched; --events listens to a broker"
        )
    with Waiting() as waiting:
        store.event_manager = EventManager()
        store.event_manager.connect(StoreModificationEvent, _listener(waiting, prefix))
        _announce(f"{name}, looked at every {store.poll:g} s (?poll= in the URL)")
        waiting.print_all(_of_events(line_of), count)


def _listener(waiting: Waiting, prefix: str) -> Callable[[BaseEvent], None]:
    def hear(event: Any) -> None:
        # A digest begins like no key.
        if event.redacted or str(event.key).startswith(prefix):
            waiting.put(event)

    return hear


def _of_events(line_of: Callable[[Change], str]) -> Callable[[Any], str]:
    return lambda event: line_of(change_of_event(event))


def _announce(what: str) -> None:
    say(f"watching {what}")
