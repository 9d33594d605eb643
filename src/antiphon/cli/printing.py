"""Events as lines of text, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antiphon.cli.colours import painted
from antiphon.cli.output import escaped
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.wire.describing import (
    attributes_of,
    event_parts,
    jsonable,
    moment_of,
    source_parts,
    to_json,
)
from antiphon.wire.registry import default_registry

__all__ = [
    "as_json",
    "as_line",
    "attributes_line",
    "event_parts",
    "jsonable",
    "to_json",
]

#: What classes of this package are called on the wire; people may be spared it.
_OWN_PREFIX = "antiphon:"


def as_line(event: BaseEvent, *, has_date: bool = False) -> str:
    """Return *event* as one line: time, class, origin, attributes, source.

    Args:
        event: from anyone: characters that a terminal would obey are escaped.
        has_date: whether the time has its date.
    """
    delivery = delivery_of(event)
    name = default_registry.name_of(type(event)).removeprefix(_OWN_PREFIX)
    date = "%Y-%m-%d " if has_date else ""
    moment = f"{moment_of(delivery).astimezone():{date}%H:%M:%S.%f}"[:-3]
    parts = [painted(moment, dim=True), painted(escaped(name), "cyan", bold=True)]
    if delivery is not None and delivery.origin is not None:
        parts.append(painted(escaped(delivery.origin), "green"))
    if attributes := attributes_of(event):
        parts.append(attributes_line(attributes))
    if event.source is not None:
        parts.append(painted(f"[{escaped(_source_text(event.source))}]", dim=True))
    if delivery is not None and delivery.replayed:
        parts.append(painted("(replayed)", "yellow"))
    return "  ".join(parts)


def as_json(event: BaseEvent) -> str:
    """Return *event* as a line of JSON, with all that came with it."""
    return to_json(event_parts(event))


def attributes_line(attributes: Mapping[str, Any]) -> str:
    """Return *attributes* as a line has them."""
    return " ".join(f"{escaped(name)}={escaped(repr(one))}" for name, one in attributes.items())


def _source_text(source: Any) -> str:
    parts = source_parts(source)
    if not isinstance(parts, dict):
        return repr(source)
    name = parts["origin"] or parts["store_id"]
    return f"{parts['kind']}({name})" if name else str(parts["kind"])
