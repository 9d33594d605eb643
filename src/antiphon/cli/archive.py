"""``antiphon archive``: what happened, and what happens."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from antiphon.archive import Event, EventStore
from antiphon.archive.tail import CAUGHT_UP, Tail, tail
from antiphon.cli.archive_choosing import (
    BEGINNING,
    Choice,
    archive_option,
    choosing_options,
    opened,
    tell_nothing_found,
)
from antiphon.cli.archive_moving import export, import_, replay
from antiphon.cli.archive_printing import archived_details, archived_json, archived_line
from antiphon.cli.broker import examples
from antiphon.cli.moments import told
from antiphon.cli.output import check_reader, has_reader, say, write_line, write_lines
from antiphon.cli.printing import to_json
from antiphon.terminal.tables import Column, table

#: Seconds between looks at whether anybody still reads the output.
LOOK_S = 0.5

#: Tags that ``stats`` shows to people.
TAGS_SHOWN = 20


@click.group()
def archive() -> None:
    """Search what happened, follow what happens, send it once more.

    An archive keeps the events of a system, as the recorder service saves them.
    """


@archive.command(
    epilog=examples(
        "antiphon archive search --since 2h",
        "antiphon archive search --class StoreModificationEvent --key prices/eur",
        "antiphon archive search --since yesterday --until today --match 'eur|usd'",
        "antiphon archive search --last 20 --json | jq .attributes",
    )
)
@choosing_options()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N of them.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The last N of them.")
@click.option("--reverse", is_flag=True, help="The latest first.")
@click.option("--json", "is_json", is_flag=True, help="Print lines of JSON.")
@archive_option
def search(
    archive_url: str | None,
    choice: Choice,
    limit: int | None,
    last: int | None,
    reverse: bool,
    is_json: bool,
) -> None:
    """Print events of the past, in the order of time.

    TIME is how long ago (2h, 1h30m, '3 days ago'), a time of day, a day (its first moment), both,
    ISO 8601, or seconds since 1970; in local time if it names no zone.
    """
    if limit is not None and last is not None:
        raise click.UsageError("give either --limit or --last")
    line_of = archived_json if is_json else archived_line
    with opened(archive_url) as store:
        if not write_lines(map(line_of, _found(store, choice, limit, last, reverse))):
            tell_nothing_found(store, choice)


@archive.command(
    name="tail",
    short_help="Print events as they are archived.",
    epilog=examples(
        "antiphon archive tail",
        "antiphon archive tail --since 10m --class myapp:Paid",
        "antiphon archive tail --since today --json | jq -r .class",
    ),
)
@choosing_options(has_end=False)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N events.")
@click.option("--json", "is_json", is_flag=True, help="Print lines of JSON.")
@archive_option
def tail_(
    archive_url: str | None,
    choice: Choice,
    count: int | None,
    is_json: bool,
) -> None:
    """Print events as they are archived; with --since first those from then on.

    Nothing is missing and nothing comes twice where the past ends and the present begins; there
    "caught up" stands on standard error.  It ends after Ctrl-C, SIGTERM, when its output is closed,
    or after --count events.
    """
    line_of = archived_json if is_json else archived_line
    with opened(archive_url) as store:
        since = None if choice.since == BEGINNING else choice.since
        items = tail(store, since=since, flags=choice.flags, match=choice.match)
        with _ended_with_reader(items):
            _follow(items, line_of, count)
        check_reader()


@archive.command(epilog=examples("antiphon archive show 0f6a91c2b3d4e5f60718293a-42"))
@click.argument("id")
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")
@archive_option
def show(archive_url: str | None, id: str, is_json: bool) -> None:
    """Show all that is known of one event.

    ID is as search --json, listen --json and the logs of the services have it.
    """
    with opened(archive_url) as store:
        event = store.get(id)
    for line in [archived_json(event)] if is_json else archived_details(event):
        write_line(line)


@archive.command(
    short_help="Show how much there is, and of what.",
    epilog=examples(
        "antiphon archive stats",
        "antiphon archive stats --json | jq .flags",
    ),
)
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")
@archive_option
def stats(archive_url: str | None, is_json: bool) -> None:
    """Show how much is archived, of which time, and the most frequent tags."""
    with opened(archive_url) as store:
        found = store.stats()
    if is_json:
        write_line(
            to_json(
                {
                    "events": found.events,
                    "oldest": found.oldest,
                    "newest": found.newest,
                    "bytes": found.bytes,
                    "flags": found.flags,
                }
            )
        )
        return
    write_line(f"{found.events} events in {found.bytes / 2**20:.1f} MiB")
    if found.events:
        write_line(f"from {told(found.oldest)} to {told(found.newest)}")
    if found.flags:
        rows = list(itertools.islice(found.flags.items(), TAGS_SHOWN))
        columns = (Column("tag", is_elastic=True), Column("events", is_number=True))
        write_line("")
        write_line(table(columns, rows))
        if len(found.flags) > len(rows):
            write_line(f"… and more; --json has {len(found.flags)}")


for command in (replay, export, import_):
    archive.add_command(command)


def _found(
    store: EventStore, choice: Choice, limit: int | None, last: int | None, reverse: bool
) -> Iterator[Event]:
    order = "desc" if reverse or last is not None else "asc"
    events = store.search(choice.since, choice.until, choice.flags, choice.match, order)
    most = min(limit or last or sys.maxsize, sys.maxsize)
    if last is None:
        return itertools.islice(events, most)
    newest = list(itertools.islice(events, most))
    return iter(newest if reverse else newest[::-1])


def _follow(items: Tail, line_of: Callable[[Event], str], count: int | None) -> None:
    done = 0
    for item in items:
        if item is CAUGHT_UP:
            say("caught up")
            continue
        write_line(line_of(item))
        done += 1
        if done == count:
            return


@contextmanager
def _ended_with_reader(items: Tail) -> Iterator[None]:
    """Stop *items* when nobody reads the output any more: no event may come to tell."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_S):
            if not has_reader():
                items.stop()
                return

    thread = threading.Thread(target=watch, name="antiphon reader", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
