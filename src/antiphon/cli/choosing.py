"""What the user asked for, turned into what the bus understands."""

from __future__ import annotations

import difflib
import importlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import click

from antiphon.cli.output import say
from antiphon.errors import AntiphonError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import OriginSpec, Prefix
from antiphon.wire.placeholder import is_placeholder
from antiphon.wire.registry import default_registry

#: Modules of this package that define events; users' own are imported on request only.
OWN_EVENTS = (
    "antiphon.events.api",
    "antiphon.storage.events",
    "antiphon.caching.events",
)


def import_modules(names: Sequence[str]) -> None:
    """Import the users' modules *names*, and our own, so that their classes are known."""
    for name in OWN_EVENTS:
        importlib.import_module(name)
    if names and "" not in sys.path:
        sys.path.insert(0, "")  # as ``python -m`` does
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as exc:
            # Whatever the users' module does: it is one line, and the wrong argument.
            raise click.BadParameter(
                f"cannot import '{name}': {type(exc).__name__}: {exc}", param_hint="--module"
            ) from exc


def wire_names(name: str) -> list[str]:
    """Return the names on the wire that the user may mean by *name*.

    A name with a colon is meant as it is.  A bare one means each class of that
    name that is known here, and one of a main program.
    """
    if not name:
        raise click.BadParameter("the name of a class is empty", param_hint="--class")
    if ":" in name:
        return [name]
    known = [full for full, cls in known_classes().items() if cls.__name__ == name]
    return [*dict.fromkeys([*known, name])]


def tell_slip(name: str) -> None:
    """Say on standard error if *name* is nearly that of a known class (``near_class``)."""
    if near := near_class(name):
        say(f"no class '{name}' is known here; did you mean '{near}'?")


def near_class(name: str) -> str | None:
    """Return the class that may have been meant by a bare *name* that no known class has.

    It may be right all the same: a class of a main program has a bare name, too.
    """
    known = {cls.__name__ for cls in known_classes().values()}
    if ":" in name or name in known:
        return None
    return next(iter(difflib.get_close_matches(name, known, 1, 0.8)), None)


def known_classes() -> dict[str, type[BaseEvent]]:
    """Return the event classes of this process by their names on the wire."""
    found: dict[str, type[BaseEvent]] = {}
    for cls in _subclasses(BaseEvent):
        try:
            found.setdefault(default_registry.name_of(cls), cls)
        except (AntiphonError, ValueError, TypeError):
            continue  # a class with an unusable name cannot travel
    return found


def _subclasses(cls: type[BaseEvent]) -> Iterator[type[BaseEvent]]:
    yield cls
    for derived in type.__subclasses__(cls):
        if not is_placeholder(derived):
            yield from _subclasses(derived)


def parse_filters(texts: Sequence[str]) -> dict[str, Any]:
    """Return the filter that *texts* say, each as ``NAME=VALUE``.

    A value is JSON where it can be (``n=5``, ``is_new=true``, ``code="5"``),
    else text; that of ``source.store_id`` is a UUID.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"'{text}' is not of the form NAME=VALUE", param_hint="--filter"
            )
        found[name] = _store_id(value) if name == "source.store_id" else value_of(value)
    return found


def value_of(text: str) -> Any:
    """Return what *text* is as JSON where it can be, else *text* itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _store_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise click.BadParameter(
            f"'{text}' is no store id (a UUID)", param_hint="--filter"
        ) from None


def origin_spec(origins: Sequence[str], prefixes: Sequence[str]) -> OriginSpec:
    """Return what ``--origin`` and ``--origin-prefix`` ask for together; None for all."""
    for option, given in (("--origin", origins), ("--origin-prefix", prefixes)):
        for origin in given:
            _check_origin(option, origin)
    return [*origins, *map(Prefix, prefixes)] or None


def described(
    classes: Sequence[str],
    origins: Sequence[str],
    prefixes: Sequence[str],
    filters: Sequence[str],
) -> str:
    """Return what is listened to, in words."""
    what = ", ".join(classes) or "all events"
    if sources := ", ".join([*origins, *(f"{prefix}.*" for prefix in prefixes)]):
        what += f" from {sources}"
    return what + (f" with {', '.join(filters)}" if filters else "")


def _check_origin(option: str, origin: str) -> None:
    words = origin.split(".")
    if "*" not in words and "#" not in words:
        return
    begin = ".".join(itertools.takewhile(lambda word: word not in ("*", "#"), words))
    hint = f"--origin-prefix {begin} means all that begin so" if begin else "without it, all count"
    raise click.BadParameter(f"'*' and '#' in '{origin}' mean nothing; {hint}", param_hint=option)
