"""Which archive, and which of its events: what the commands of ``antiphon archive`` share."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import click

from antiphon.archive import EventStore, open_archive
from antiphon.archive.recorded import attribute_tag, class_tag, origin_tag
from antiphon.cli.moments import FORMS, Moment, told
from antiphon.cli.output import say
from antiphon.environment import read_variable, slip_hint
from antiphon.errors import AntiphonError
from antiphon.schemes import scheme_of

F = TypeVar("F", bound=Callable[..., Any])

#: Where the archive is, if no option says so.
ARCHIVE_URL = "ANTIPHON_ARCHIVE_URL"

#: What tags of an origin, and of the key of a store, begin with.
_ORIGIN, _KEY = origin_tag(""), attribute_tag("key", "")

#: The beginning of time.
BEGINNING = float("-inf")


@dataclass(frozen=True, slots=True)
class Choice:
    """Events of an archive.

    Attributes:
        since: seconds since the epoch; ``BEGINNING`` for all.
        until: likewise, inclusive; None is the end of time.
        flags: all of them must be among an event's tags.
        match: a regular expression for the content; None for any.
        names: the tags that classes stand for, which may be mistyped.
    """

    since: float
    until: float | None
    flags: tuple[str, ...]
    match: str | None
    names: tuple[str, ...]

    def is_everything(self) -> bool:
        """Return whether nothing was chosen."""
        nothing = (BEGINNING, None, (), None)
        return (self.since, self.until, self.flags, self.match) == nothing


def archive_option(command: F) -> F:
    """Add ``--archive`` to a command."""
    return click.option(
        "--archive",
        "archive_url",
        metavar="URL",
        help="Where the archive is: sqlite:///path.db.  Default: the environment variable "
        f"{ARCHIVE_URL}.",
    )(command)


def choosing_options(*, has_end: bool = True) -> Callable[[F], F]:
    """Add the options that choose events to a command, which gets them as ``choice``.

    Args:
        has_end: whether ``--until`` is one of them.
    """

    def decorate(command: F) -> F:
        @functools.wraps(command)
        def call(**given: Any) -> Any:
            return command(choice=_choice(given), **given)

        wrapped: Any = call
        for option in reversed(_options(has_end)):
            wrapped = option(wrapped)
        return cast(F, wrapped)

    return decorate


def _options(has_end: bool) -> list[Callable[[F], F]]:
    since = f"Events from then on: {FORMS}."
    until = click.option("--until", type=Moment(), metavar="TIME", help="Events up to then.")
    return [
        click.option("--since", type=Moment(), metavar="TIME", help=since),
        *([until] if has_end else []),
        click.option(
            "--class",
            "cls",
            metavar="NAME",
            help="Events of this class and its subclasses: StoreSetEvent, Saved, myapp:Saved.",
        ),
        click.option("--origin", metavar="ORIGIN", help="Events from exactly this origin."),
        click.option("--key", metavar="KEY", help="Events about this key of a store."),
        click.option(
            "--flag",
            "flags",
            multiple=True,
            metavar="TAG",
            help="Events with this tag.  May be given several times: all must be there.",
        ),
        click.option(
            "--match",
            metavar="PATTERN",
            help="Events in whose content this regular expression is found.",
        ),
    ]


def _choice(given: dict[str, Any]) -> Choice:
    """Take out of *given* what choosing options have put there."""
    since, until = given.pop("since"), given.pop("until", None)
    cls, origin, key = given.pop("cls"), given.pop("origin"), given.pop("key")
    names = () if cls is None else (class_tag(cls),)
    tags = [*names, *given.pop("flags")]
    if origin is not None:
        tags.append(origin_tag(origin))
    if key is not None:
        tags.append(attribute_tag("key", key))
    if since is not None and until is not None and until < since:
        raise click.UsageError(f"--until ({told(until)}) is before --since ({told(since)})")
    flags = tuple(dict.fromkeys(tags))
    return Choice(BEGINNING if since is None else since, until, flags, given.pop("match"), names)


def opened(url: str | None, *, read_only: bool = True) -> EventStore:
    """Return the archive at *url*, or where the environment says.

    Raises:
        click.UsageError: neither says where it is, or it is no URL.
    """
    found = url or read_variable(ARCHIVE_URL)
    if not found:
        raise click.UsageError(
            f"say where the archive is: --archive, or {ARCHIVE_URL}{slip_hint(ARCHIVE_URL)}"
        )
    if not scheme_of(found):
        raise click.UsageError(
            f"'{found}' is no URL; that of a file is sqlite://{os.path.abspath(found)}"
        )
    return open_archive(found, **({"read_only": True} if read_only else {}))


def tell_nothing_found(store: EventStore, choice: Choice) -> None:
    """Say on standard error that nothing was found, and what may have been meant."""
    say(f"no such events{_hint(store, choice)}")


def _hint(store: EventStore, choice: Choice) -> str:
    try:
        known = store.stats().flags
    except AntiphonError:
        return ""
    for tag in choice.flags:
        if tag not in known:
            return f": no event has {_described(tag, choice)}{_near(tag, known)}"
    return ""


def _described(tag: str, choice: Choice) -> str:
    """Return a tag as the user has given it."""
    if tag in choice.names:
        return f"the class '{tag}'"
    if tag.startswith(_ORIGIN):
        return f"the origin '{tag.removeprefix(_ORIGIN)}'"
    if tag.startswith(_KEY):
        return f"the key '{tag.removeprefix(_KEY)}'"
    return f"the tag '{tag}'"


def _near(tag: str, known: Iterable[str]) -> str:
    """Return a question after a tag of the same kind that is like *tag*."""
    kind = next((kind for kind in (_ORIGIN, _KEY) if tag.startswith(kind)), "")
    names = [each.removeprefix(kind) for each in known if each.startswith(kind)]
    if not kind:
        names = [name for name in names if not name.startswith((_ORIGIN, _KEY))]
    near = difflib.get_close_matches(tag.removeprefix(kind), names, 1, 0.75)
    return f"; did you mean '{near[0]}'?" if near else ""
