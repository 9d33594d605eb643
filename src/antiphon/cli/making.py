"""Events made of what a person or a program wrote down."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any
from uuid import UUID

import click

from antiphon.cli.choosing import known_classes, value_of
from antiphon.cli.output import escaped
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import Delivery
from antiphon.events.event_id import next_event_id
from antiphon.wire.registry import default_registry
from antiphon.wire.routing import ROOT_NAME
from antiphon.wire.source import RemoteSource

#: What a line of JSON may say; the rest of what ``antiphon listen --json`` prints is not
#: the writer's to choose.
_READ = frozenset({"class", "classes", "origin", "attributes", "source"})
_IGNORED = frozenset({"time", "id", "position", "replayed", "traceparent"})


class NoEvent(click.ClickException):
    """What was written down is no event that can be emitted."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so in one line."""
        click.echo(f"antiphon: {escaped(self.message)}", file=file, err=file is None)


def class_of(name: str, bases: Sequence[str] = ()) -> type[BaseEvent]:
    """Return the event class that *name* means, or one that stands for it.

    Args:
        name: as on the wire, or the bare name of a class that is known here.
        bases: names of base classes, the most general first, of a class that
            is not known here: listeners of those hear it, too.

    Raises:
        NoEvent: several classes have that name, or its events stay in their process.
    """
    cls = _known(name)
    if cls is None or bases:
        chain = [ROOT_NAME]
        for base in bases:
            chain += default_registry.names_of(class_of(base))
        own = name if cls is None else default_registry.name_of(cls)
        cls = default_registry.class_of(list(dict.fromkeys([*chain, own])))
    if not cls.travels:
        raise NoEvent(f"events of class {name} never leave the process that emits them")
    return cls


def _known(name: str) -> type[BaseEvent] | None:
    if not name:
        raise NoEvent("the name of a class is empty")
    known = known_classes()
    if name in known:
        return known[name]
    found = {full: cls for full, cls in known.items() if cls.__name__ == name}
    if len(found) > 1:
        raise NoEvent(f"'{name}' may be {' or '.join(sorted(found))}: give the whole name")
    return next(iter(found.values()), None)


def parse_attributes(texts: Sequence[str]) -> dict[str, Any]:
    """Return the attributes that *texts* give, each as ``NAME=VALUE``.

    A value is JSON where it can be, else text; ``{"base64": "…"}`` is bytes.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(
                f"'{text}' is not of the form NAME=VALUE", param_hint="attributes"
            )
        found[name] = value_of(value)
    return found


def parse_source(text: str) -> object:
    """Return what ``--source`` says: JSON where it can be, else text."""
    return _source(value_of(text))


def make_event(
    cls: type[BaseEvent], attributes: Mapping[str, Any], source: object, origin: str | None
) -> BaseEvent:
    """Return an event of *cls* that was never constructed, as those that arrive.

    Args:
        cls: its class, whose ``__init__`` is not called: it may want what no command has.
        attributes: all others are missing.
        source: as it travels.
        origin: where it comes from; None leaves that to the bus.

    Raises:
        NoEvent: an attribute has a name that cannot travel, or *cls* is abstract.
    """
    for name in attributes:
        if not name or name.startswith("_") or name == "source":
            raise NoEvent(f"an attribute cannot be called '{name}'; a source is given as --source")
    try:
        event: BaseEvent = BaseEvent.__new__(cls)
    except TypeError as exc:
        raise NoEvent(f"no event can be made of {cls.__name__}: {exc}") from None
    event.__dict__.update(_plain(dict(attributes)), source=source)
    if origin is not None:
        # What an arriving event has: it says where the event comes from, before the source
        # does, and is no attribute that would travel.
        event_id = next_event_id()
        delivery = Delivery(event_id, origin, time.time_ns())
        event.__dict__.update(_event_id=event_id, _delivery=delivery)
    return event


def event_of_line(
    line: str, cls: type[BaseEvent] | None, source: object, origin: str | None
) -> BaseEvent:
    """Return the event that a *line* of JSON tells of, as ``antiphon listen --json`` prints them.

    Args:
        line: an object with ``class``, ``classes``, ``origin``, ``attributes``
            and ``source``, or some of them.
        cls, source, origin: for what the line leaves out.

    Raises:
        NoEvent: it is no such line.
    """
    try:
        told = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise NoEvent(f"no JSON: {exc}") from None
    if not isinstance(told, dict):
        raise NoEvent("no JSON object")
    if unknown := sorted(told.keys() - _READ - _IGNORED):
        raise NoEvent(f"unknown: {', '.join(unknown)} (known: {', '.join(sorted(_READ))})")
    names = told.get("classes") or []
    if names and not _are_texts(names):
        raise NoEvent("'classes' is a list of names")
    name = told.get("class") or (names[-1] if names else None)
    if isinstance(name, str):
        cls = class_of(name, [one for one in names if one not in (name, ROOT_NAME)])
    if cls is None or not (name is None or isinstance(name, str)):
        raise NoEvent("'class' is missing, or no text")
    attributes = told.get("attributes")
    attributes = {} if attributes is None else attributes
    if not isinstance(attributes, dict):
        raise NoEvent("'attributes' is an object")
    own_origin = told.get("origin")
    if not (own_origin is None or isinstance(own_origin, str)):
        raise NoEvent("'origin' is text or null")
    own_source = _source(told["source"]) if told.get("source") is not None else source
    return make_event(cls, attributes, own_source, own_origin or origin)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _source(value: Any) -> object:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise NoEvent("a source is text, a number, or an object with kind, origin, store_id")
        return value
    parts = {"kind": None, "origin": None, "store_id": None} | value
    store_id = parts.pop("store_id")
    if parts.keys() != {"kind", "origin"} or not isinstance(parts["kind"], str):
        raise NoEvent("a source is text, a number, or an object with kind, origin, store_id")
    try:
        return RemoteSource(
            parts["kind"], parts["origin"], None if store_id is None else UUID(store_id)
        )
    except (ValueError, AttributeError, TypeError):
        raise NoEvent(f"'{store_id}' is no store id (a UUID)") from None


def _plain(value: Any) -> Any:
    """Return *value* with ``{"base64": …}`` turned into bytes."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"base64"} and isinstance(text := value["base64"], str):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise NoEvent(f"no base64: '{text[:80]}'") from None
    return {name: _plain(one) for name, one in value.items()}
