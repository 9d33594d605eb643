"""``antiphon dlq``: look at dead letters, send them back, drop them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, TypeVar

import click

from antiphon.cli.broker import broker_options, examples, given_url
from antiphon.cli.dead_letters import DeadLetter, DeadLetters, Fate
from antiphon.cli.output import say, write_line
from antiphon.cli.printing import to_json
from antiphon.errors import DeadLetterNotFound
from antiphon.messaging.browser import open_browser
from antiphon.terminal.tables import Column, columns_of_terminal, table
from antiphon.terminal.utils import printable

F = TypeVar("F", bound=Callable[..., Any])

#: Letters that ``ls`` shows, unless told otherwise.
SHOWN = 1000

#: Columns from which on a list is a table; below, each letter has two lines.
WIDE = 120

#: Exit status if some letters could not be sent back, or were not found.
FAILED = 1

COLUMNS = (
    Column("id"),
    Column("subscription"),
    Column("class"),
    Column("origin"),
    Column("died"),
    Column("reason"),
    Column("tries", is_number=True),
    Column("error", is_elastic=True),
)


@click.group()
def dlq() -> None:
    """See the dead letters, send them back, or drop them.

    A dead letter is an event that a subscription could not handle: its listener
    raised too often, or its process died with it.  It waits at the broker, in the
    queue <system>.dead, until someone decides.
    """


def _choice(command: F) -> F:
    for option in (
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        click.option("--all", "is_all", is_flag=True, help="All dead letters."),
        click.option("--subscription", metavar="NAME", help="Those of this subscription only."),
    ):
        command = option(command)
    return command


@dlq.command(
    epilog=examples(
        "antiphon dlq ls",
        "antiphon dlq ls --subscription audit --json | jq -r .error | sort | uniq -c",
    )
)
@click.option("--subscription", metavar="NAME", help="Those of this subscription only.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Look at so many letters at most.",
)
@click.option("--json", "is_json", is_flag=True, help="Print lines of JSON.")
@broker_options
def ls(url: str | None, system: str, subscription: str | None, limit: int, is_json: bool) -> None:
    """List the dead letters, the oldest first."""
    letters: list[DeadLetter] = []

    def look(letter: DeadLetter) -> Fate:
        if _is_of(letter, subscription):
            letters.append(letter)
        return Fate.KEEP

    with open_browser(given_url(url), name=f"{system} dlq") as browser:
        count = DeadLetters(browser, system).visit(look, limit)
    letters.sort(key=lambda letter: letter.dead_at or datetime.datetime.max.replace(tzinfo=_UTC))
    if is_json:
        for letter in letters:
            write_line(to_json(letter.summary()))
    else:
        _print_list(letters, subscription)
    if count > limit:
        say(f"looked at {limit} of {count}; --limit for more")


@dlq.command(epilog=examples("antiphon dlq show 0f6a91c2b3d4e5f60718293a-42"))
@click.argument("id")
@click.option("--subscription", metavar="NAME", help="That of this subscription.")
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON.")
@broker_options
def show(url: str | None, system: str, id: str, subscription: str | None, is_json: bool) -> None:
    """Show all that is known of one dead letter.

    ID is as ls prints it.  Several subscriptions may have failed on the same event.
    """
    found: list[DeadLetter] = []

    def look(letter: DeadLetter) -> Fate:
        if letter.id != id or not _is_of(letter, subscription):
            return Fate.KEEP
        found.append(letter)
        return Fate.KEEP if subscription is None else Fate.KEEP_AND_STOP

    with open_browser(given_url(url), name=f"{system} dlq") as browser:
        DeadLetters(browser, system).visit(look)
    if not found:
        raise DeadLetterNotFound(_nowhere([id], subscription, system))
    for number, letter in enumerate(found):
        if is_json:
            write_line(to_json(letter.details()))
            continue
        if number:
            write_line("")
        _print_details(letter)


@dlq.command(
    epilog=examples(
        "antiphon dlq replay 0f6a91c2b3d4e5f60718293a-42",
        "antiphon dlq replay --subscription audit",
        "antiphon dlq replay --all",
    )
)
@_choice
@click.option("--json", "is_json", is_flag=True, help="Print a line of JSON for each letter.")
@broker_options
def replay(
    url: str | None,
    system: str,
    ids: tuple[str, ...],
    is_all: bool,
    subscription: str | None,
    is_json: bool,
) -> int:
    """Send dead letters back to their own subscriptions.

    An event keeps its id, and is a dead letter until the broker has confirmed that the
    subscription's queue has it: if this command is killed in between, it may be in both.
    """
    chosen = _chosen(ids, is_all, subscription)
    seen: set[str] = set()
    failed = 0

    with open_browser(given_url(url), name=f"{system} dlq") as browser:
        letters = DeadLetters(browser, system)

        def send(letter: DeadLetter) -> Fate:
            nonlocal failed
            if not chosen(letter):
                return Fate.KEEP
            seen.add(letter.id)
            is_sent = letters.send_back(letter)
            failed += not is_sent
            _tell_replay(letter, is_sent, is_json)
            return Fate.REMOVE if is_sent else Fate.KEEP

        letters.visit(send)
    _check_found(ids, seen, subscription, system)
    if not seen and not is_json:
        write_line(f"nothing to replay: {_none_of(subscription)}")
    return FAILED if failed else 0


@dlq.command(
    epilog=examples(
        "antiphon dlq drop 0f6a91c2b3d4e5f60718293a-42",
        "antiphon dlq drop --subscription audit --yes",
    )
)
@_choice
@click.option("--yes", is_flag=True, help="Do not ask.")
@broker_options
def drop(
    url: str | None,
    system: str,
    ids: tuple[str, ...],
    is_all: bool,
    subscription: str | None,
    yes: bool,
) -> None:
    """Drop dead letters for good, after asking."""
    chosen = _chosen(ids, is_all, subscription)
    with open_browser(given_url(url), name=f"{system} dlq") as browser:
        letters = DeadLetters(browser, system)
        doomed: set[tuple[str, str | None]] = set()

        def look(letter: DeadLetter) -> Fate:
            if chosen(letter):
                doomed.add((letter.id, letter.subscription))
            return Fate.KEEP

        if not yes:
            letters.visit(look)
            _check_found(ids, {id for id, _ in doomed}, subscription, system)
            if not doomed:
                write_line(f"nothing to drop: {_none_of(subscription)}")
                return
            click.confirm(f"Drop {_letters(len(doomed))} for good?", abort=True, err=True)
        dropped: list[str] = []

        def remove(letter: DeadLetter) -> Fate:
            # What died since the question was not in its count.
            if not chosen(letter) or not (yes or (letter.id, letter.subscription) in doomed):
                return Fate.KEEP
            dropped.append(letter.id)
            return Fate.REMOVE

        letters.visit(remove)
    if yes:
        _check_found(ids, set(dropped), subscription, system)
    write_line(f"dropped {_letters(len(dropped))}")


_UTC = datetime.UTC


def _is_of(letter: DeadLetter, subscription: str | None) -> bool:
    return subscription is None or letter.subscription == subscription


def _chosen(
    ids: tuple[str, ...], is_all: bool, subscription: str | None
) -> Callable[[DeadLetter], bool]:
    """Return the test whether a letter is meant."""
    if is_all and ids:
        raise click.UsageError("give either IDs or --all")
    if not (ids or is_all or subscription):
        raise click.UsageError(
            "say which: IDs as 'antiphon dlq ls' shows them, --subscription, or --all"
        )
    wanted = set(ids)
    return lambda letter: _is_of(letter, subscription) and (not wanted or letter.id in wanted)


def _check_found(
    ids: tuple[str, ...], found: set[str], subscription: str | None, system: str
) -> None:
    if missing := [id for id in dict.fromkeys(ids) if id not in found]:
        raise DeadLetterNotFound(_nowhere(missing, subscription, system))


def _nowhere(ids: list[str], subscription: str | None, system: str) -> str:
    of = f" of subscription '{subscription}'" if subscription else ""
    which = ", ".join(f"'{id}'" for id in ids)
    return (
        f"system '{system}' has no dead letter {which}{of}; 'antiphon dlq ls' lists those that "
        "are there"
    )


def _none_of(subscription: str | None) -> str:
    return "no dead letters" + (f" of subscription '{subscription}'" if subscription else "")


def _letters(count: int) -> str:
    return "1 dead letter" if count == 1 else f"{count} dead letters"


def _tell_replay(letter: DeadLetter, is_sent: bool, is_json: bool) -> None:
    if is_json:
        told = {"id": letter.id, "subscription": letter.subscription, "replayed": is_sent}
        write_line(to_json(told))
    elif is_sent:
        write_line(f"replayed {letter.id} to {printable(letter.subscription)}")
    elif letter.subscription in (None, "broadcast"):
        # What every process got, and none could read.
        say(f"kept {letter.id}: it belongs to no subscription that it could be sent to")
    else:
        say(
            f"kept {letter.id}: subscription '{printable(letter.subscription)}' has no "
            "queue any more; subscribe again first"
        )


def _print_list(letters: list[DeadLetter], subscription: str | None) -> None:
    if not letters:
        write_line(_none_of(subscription))
    elif columns_of_terminal() >= WIDE:
        write_line(table(COLUMNS, map(_row, letters)))
    else:
        for letter in letters:
            id, subscription, cls, origin, died, reason, tries, error = _row(letter)
            write_line(
                "  ".join(printable(part) for part in (id, subscription, cls, origin) if part)
            )
            times = f" after {tries} tries" if tries else ""
            write_line(printable(f"    {died}  {reason}{times}" + (f": {error}" if error else "")))


def _row(letter: DeadLetter) -> tuple[str, ...]:
    died = "" if letter.dead_at is None else f"{letter.dead_at.astimezone():%Y-%m-%d %H:%M:%S}"
    count = len(letter.events)
    cls = (letter.cls or "?").removeprefix("antiphon:")
    return (
        letter.id if count < 2 else f"{letter.id} (and {count - 1} more)",
        letter.subscription or "?",
        cls,
        letter.origin or "",
        died,
        letter.reason,
        "" if letter.attempts is None else str(letter.attempts),
        letter.error or letter.problem or "",
    )


def _print_details(letter: DeadLetter) -> None:
    details = letter.details()
    events = details.pop("events")
    body = details.pop("body", None)
    width = max(map(len, details))
    for name, value in details.items():
        if value not in (None, "", {}):
            write_line(f"{name.replace('_', ' '):{width}}  {printable(value)}")
    for event in events:
        write_line(f"event {event['id']}")
        for name in ("time", "source", "position"):
            if event[name] is not None:
                write_line(f"  {name}: {printable(event[name])}")
        for name, value in event["attributes"].items():
            write_line(f"    {printable(name)} = {printable(repr(value))}")
    if body is not None:
        for start in range(0, min(len(letter.message.body), _DUMPED), 16):
            write_line(_dump(letter.message.body[start : start + 16], start))
        if len(letter.message.body) > _DUMPED:
            write_line("  … the rest with --json")


#: Bytes of an unreadable body that are shown.
_DUMPED = 1024


def _dump(part: bytes, start: int) -> str:
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"  {start:06x}  {part.hex(' '):47}  {text}"
