"""Events out of an archive: once more to a subscription, into a file, and back."""

from __future__ import annotations

from collections.abc import Callable

import click

from antiphon.archive.exchange import Imported, export_lines, import_lines
from antiphon.archive.replay import Replayed
from antiphon.archive.replay import replay as send_again
from antiphon.cli.archive_choosing import (
    BEGINNING,
    Choice,
    archive_option,
    choosing_options,
    opened,
)
from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.moments import told
from antiphon.cli.output import say, write_line, write_lines
from antiphon.cli.printing import to_json
from antiphon.cli.store_output import STANDARD, opened_input, replaced_file
from antiphon.messaging.bus import BusOptions, open_bus
from antiphon.terminal.transfer_bars import batch
from antiphon.terminal.utils import on_terminal
from antiphon.wire.describing import shown_json


@click.command(
    short_help="Send events once more, to one subscription.",
    epilog=examples(
        "antiphon archive replay --to audit --since 2h",
        "antiphon archive replay --to audit --class myapp:Paid --all",
        "antiphon archive replay --to audit --since today --speed 60",
    ),
)
@choosing_options()
@click.option("--all", "is_all", is_flag=True, help="All that is archived.")
@click.option("--to", "subscription", metavar="NAME", help="To this durable subscription.")
@click.option("--queue", metavar="NAME", help="Instead, to the queue of this name at the broker.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    metavar="FACTOR",
    help="Keep the times between events; 60 makes an hour a minute.  Default: as fast as it goes.",
)
@click.option("--json", "is_json", is_flag=True, help="Print what was done as a line of JSON.")
@archive_option
@broker_options
def replay(
    archive_url: str | None,
    url: str | None,
    system: str,
    choice: Choice,
    is_all: bool,
    subscription: str | None,
    queue: str | None,
    speed: float | None,
    is_json: bool,
) -> None:
    """Send events of the past once more, to one subscription and nobody else, marked as replayed.

    They have their ids and times, in the order of time.  The subscription's listener is called also
    with those that it has handled before; each is confirmed by the broker.
    """
    if bool(subscription) == bool(queue):
        raise click.UsageError("say where to: --to SUBSCRIPTION, or --queue QUEUE")
    if choice.is_everything() and not is_all:
        raise click.UsageError("say which: --since, --class and the like; or --all")
    so_far = _SoFar()
    options = BusOptions(answers_roll_call=False)
    try:
        with (
            opened(archive_url) as store,
            open_bus(given_url(url), system=system, options=options) as bus,
            batch("replaying", None) as shown,
        ):
            done = send_again(
                store,
                choice.since,
                choice.until,
                choice.flags,
                choice.match,
                to=bus.replay_to(subscription, queue=queue),
                speed=speed,
                progress=so_far.shown_by(shown.step),
            )
    except BaseException:  # also Ctrl-C
        so_far.tell()
        raise
    _tell_replayed(done, subscription or queue or "", is_json)


@click.command(
    short_help="Write events as lines of JSON.",
    epilog=examples(
        "antiphon archive export 2026-11.jsonl --since 2026-11-01 --until 2026-12-01",
        "antiphon archive export --class myapp:Paid | gzip > paid.jsonl.gz",
    ),
)
@click.argument("file", required=False, metavar="[FILE]")
@choosing_options()
@archive_option
def export(archive_url: str | None, file: str | None, choice: Choice) -> None:
    """Write events to FILE, or to standard output, each as a line of JSON.

    It is all that is known of them: 'antiphon archive import' saves equal ones.  FILE is complete
    or not there.
    """
    start = None if choice.since == BEGINNING else choice.since
    count = 0
    with opened(archive_url) as store:
        lines = export_lines(store, start, choice.until, choice.flags, choice.match)
        if file is None or file == STANDARD:
            # A file is as it is; this may be one as well.
            show = shown_json if on_terminal() else str
            write_lines(show(line.rstrip("\n")) for line in lines)
            return
        with replaced_file(file) as opened_file, batch(f"export to {file}", None) as shown:
            for line in lines:
                opened_file.write(line.encode())
                shown.step(1)
                count += 1
    write_line(f"exported {_events(count)} to {file}")


@click.command(
    name="import",
    short_help="Save events from lines of JSON.",
    epilog=examples(
        "antiphon archive import 2026-11.jsonl",
        "zcat paid.jsonl.gz | antiphon archive import --archive sqlite:paid.db",
    ),
)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--json", "is_json", is_flag=True, help="Print what was done as a line of JSON.")
@archive_option
def import_(archive_url: str | None, file: str | None, is_json: bool) -> None:
    """Save the events of FILE, or of standard input, as 'antiphon archive export' writes them.

    What is archived already stays as it is, so that the same file can be imported again.  A line
    that is no event ends it; what came before it is saved.
    """
    done = Imported()
    with (
        opened(archive_url, read_only=False) as store,
        opened_input(file) as lines,
        batch(f"import {file or ''}".strip(), None) as shown,
    ):
        seen = 0

        def progress(so_far: Imported) -> None:
            nonlocal seen
            shown.step(so_far.events - seen)
            seen = so_far.events

        done = import_lines(store, lines, progress=progress)
    if is_json:
        write_line(to_json({"events": done.events, "saved": done.saved}))
    else:
        known = done.events - done.saved
        rest = f"; {known} of {done.events} were there" if known else ""
        write_line(f"imported {_events(done.saved)}{rest}")


class _SoFar:
    """How far a replay has come: who goes on later needs to know."""

    def __init__(self) -> None:
        self._done = Replayed()
        self._count = 0

    def shown_by(self, step: Callable[[int], None]) -> Callable[[Replayed], None]:
        """Return what takes note of what is done, and calls *step* with how much more that is."""

        def progress(done: Replayed) -> None:
            count = done.sent + done.skipped + done.unreadable
            step(count - self._count)
            self._done, self._count = done, count

        return progress

    def tell(self) -> None:
        """Say on standard error what was sent, if anything was."""
        latest = self._done.latest
        if latest is not None:
            where = f"{self._done.sent} events were sent, up to {told(latest)}"
            say(f"{where}; go on with --since @{latest!r}")


def _tell_replayed(done: Replayed, where: str, is_json: bool) -> None:
    if is_json:
        parts = {"sent": done.sent, "skipped": done.skipped, "unreadable": done.unreadable}
        write_line(to_json({**parts, "latest": done.latest}))
        return
    rest = [
        f"{_events(count)} {what}"
        for count, what in (
            (done.skipped, "did not come from a bus"),
            (done.unreadable, "could not be read"),
        )
        if count
    ]
    more = f"; {', '.join(rest)}" if rest else ""
    write_line(f"replayed {_events(done.sent)} to {where}: confirmed by the broker{more}")


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count} events"
