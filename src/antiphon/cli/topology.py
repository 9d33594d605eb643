"""``antiphon topology``: what is declared, who listens, and how far behind."""

from __future__ import annotations

from time import sleep as pause

import click

from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.listening_words import all_in_words
from antiphon.cli.management import list_queues
from antiphon.cli.output import check_reader, write_line
from antiphon.cli.overview import Overview, Queue, called, look_around
from antiphon.cli.printing import to_json
from antiphon.messaging.browser import open_browser
from antiphon.messaging.bus import BusOptions, open_bus
from antiphon.messaging.roll_call import Presence
from antiphon.terminal.tables import Branch, Column, table, tree
from antiphon.terminal.utils import on_terminal

COLUMNS = (
    Column("queue"),
    Column("mode"),
    Column("ready", is_number=True),
    Column("in hand", is_number=True),
    Column("consumers", is_number=True),
    Column("listens to", is_elastic=True),
)

#: Clears a terminal.
CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@click.command(
    short_help="Show who listens to what, and what waits.",
    epilog=examples(
        "antiphon topology",
        "antiphon topology --watch 2",
        "antiphon topology --management http://guest:guest@localhost:15672 --json",
    ),
)
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0.05, max=60),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for processes to answer.",
)
@click.option(
    "--watch",
    "watch_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Look again after so many seconds, until Ctrl-C.",
)
@click.option(
    "--management",
    metavar="URL",
    help="RabbitMQ's management plugin, as in http://user:password@host:15672: shows queues that "
    "no process has open, too.  User and password default to those of the broker.",
)
@broker_options
def topology(
    url: str | None,
    system: str,
    is_json: bool,
    wait_s: float,
    watch_s: float | None,
    management: str | None,
) -> None:
    """Show the queues of a system, which processes listen to what, and what waits for them.

    Every process answers for itself; one that hangs, or has switched it off, is not seen.  Queues
    of subscriptions that nobody has open are seen with --management only.
    """
    url = given_url(url)
    options = BusOptions(answers_roll_call=False, canary_interval_s=0)
    with (
        open_browser(url, name=f"{system} topology") as browser,
        open_bus(url, system=system, options=options) as bus,
    ):
        while True:
            known = None if management is None else list_queues(management, url)
            overview = look_around(bus, browser, wait_s, known)
            text = to_json(overview.as_dict()) if is_json else as_text(overview)
            is_cleared = watch_s is not None and not is_json and on_terminal()
            write_line(CLEAR + text if is_cleared else text)
            if watch_s is None:
                return
            pause(watch_s)
            check_reader()


def as_text(overview: Overview) -> str:
    """Return *overview* for people."""
    root = Branch(f"system {overview.system}, exchange {overview.system}.events")
    for process in overview.processes:
        _hang(root, process)
    if not overview.processes:
        root.add("no process has answered")
    parts = [tree(root), ""]
    if overview.queues:
        parts += [table(COLUMNS, map(_row, overview.queues)), ""]
    else:
        # A queue whose processes are all away is the one that somebody looks for.
        rest = "" if overview.is_complete else " are open; --management shows those that wait"
        parts += [f"no durable subscriptions{rest}", ""]
    dead = overview.dead
    told = f"{dead or 'no'} dead letter{'' if dead == 1 else 's'}"
    return "\n".join([*parts, told + ("; see antiphon dlq ls" if dead else "")])


def _hang(root: Branch, process: Presence) -> None:
    origin = f", origin {process.origin}" if process.origin else ""
    branch = root.add(f"{called(process)}{origin}, up {_duration(process.up_s)}")
    counts = f"{process.emitted} emitted, {process.received} received"
    if process.buffered:
        counts += f", {process.buffered} not confirmed"
    branch.add(counts)
    words = all_in_words(process.bindings)
    if words:
        more = f", and {process.bindings_left_out} more" if process.bindings_left_out else ""
        branch.add(f"listens to {', '.join(words)}{more}")
    for one in process.subscriptions:
        trouble = "".join(
            f", {count} {what}"
            for count, what in ((one.failures, "failures"), (one.dead, "dead"))
            if count
        )
        branch.add(
            f"subscription {one.name} ({one.mode}): {', '.join(all_in_words(one.bindings))}; "
            f"{one.handled} handled{trouble}"
        )


def _row(queue: Queue) -> tuple[str, ...]:
    return (
        queue.name,
        queue.mode or "",
        "gone" if queue.ready is None else str(queue.ready),
        "?" if queue.unacknowledged is None else str(queue.unacknowledged),
        "" if queue.consumers is None else str(queue.consumers),
        ", ".join(queue.listens_to),
    )


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
