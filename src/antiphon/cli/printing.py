"""Events as lines of text, for people and for programs."""

from __future__ import annotations

from typing import Any

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

__all__ = ["as_json", "as_line", "event_parts", "jsonable", "to_json"]

#: What classes of this package are called on the wire; people may be spared it.
_OWN_PREFIX = "antiphon:"


def as_line(event: BaseEvent) -> str:
    """Return *event* as one line: time, class, origin, attributes, source.

    Characters that a terminal would obey are escaped: events come from anyone.
    """
    delivery = delivery_of(event)
    name = default_registry.name_of(type(event)).removeprefix(_OWN_PREFIX)
    parts = [f"{moment_of(delivery).astimezone():%H:%M:%S.%f}"[:-3], _safe(name)]
    if delivery is not None and delivery.origin is not None:
        parts.append(_safe(delivery.origin))
    if attributes := attributes_of(event):
        parts.append(" ".join(f"{_safe(k)}={_safe(repr(v))}" for k, v in attributes.items()))
    if event.source is not None:
        parts.append(f"[{_safe(_source_text(event.source))}]")
    if delivery is not None and delivery.replayed:
        parts.append("(replayed)")
    return "  ".join(parts)


def as_json(event: BaseEvent) -> str:
    """Return *event* as a line of JSON, with all that came with it."""
    return to_json(event_parts(event))


def _safe(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _source_text(source: Any) -> str:
    parts = source_parts(source)
    if not isinstance(parts, dict):
        return repr(source)
    name = parts["origin"] or parts["store_id"]
    return f"{parts['kind']}({name})" if name else str(parts["kind"])
