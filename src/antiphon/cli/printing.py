"""Events as lines of text, for people and for programs."""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import Delivery, delivery_of
from antiphon.wire.registry import default_registry

#: What classes of this package are called on the wire; people may be spared it.
_OWN_PREFIX = "antiphon:"


def as_line(event: BaseEvent) -> str:
    """Return *event* as one line: time, class, origin, attributes, source.

    Characters that a terminal would obey are escaped: events come from anyone.
    """
    delivery = delivery_of(event)
    name = default_registry.name_of(type(event)).removeprefix(_OWN_PREFIX)
    parts = [f"{_moment_of(delivery).astimezone():%H:%M:%S.%f}"[:-3], _safe(name)]
    if delivery is not None and delivery.origin is not None:
        parts.append(_safe(delivery.origin))
    if attributes := _attributes(event):
        parts.append(" ".join(f"{_safe(k)}={_safe(repr(v))}" for k, v in attributes.items()))
    if event.source is not None:
        parts.append(f"[{_safe(_source_text(event.source))}]")
    if delivery is not None and delivery.replayed:
        parts.append("(replayed)")
    return "  ".join(parts)


def as_json(event: BaseEvent) -> str:
    """Return *event* as a line of JSON, with all that came with it."""
    return to_json(event_parts(event))


def event_parts(event: BaseEvent) -> dict[str, Any]:
    """Return all that came with *event*, by the names that JSON has for it."""
    delivery = delivery_of(event)
    return {
        "time": _moment_of(delivery).isoformat(),
        "class": default_registry.name_of(type(event)),
        "classes": default_registry.names_of(type(event)),
        "origin": None if delivery is None else delivery.origin,
        "id": None if delivery is None else str(delivery.event_id),
        "attributes": _attributes(event),
        "source": _source_parts(event.source),
        "position": event._position if delivery is None else delivery.position,
        "replayed": delivery is not None and delivery.replayed,
    }


def to_json(value: Any) -> str:
    """Return *value* as a line of JSON; see ``jsonable``."""
    return json.dumps(jsonable(value), allow_nan=False)


def jsonable(value: Any) -> Any:
    """Return *value* with nothing in it that JSON lacks.

    Bytes become ``{"base64": …}``, sets (sorted) and tuples lists, dates ISO
    8601, numbers that are none, and everything else, text; lone surrogates in
    text are escaped.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {jsonable(str(key)): jsonable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(one) for one in value), key=repr)
    return jsonable(str(value))


def _attributes(event: BaseEvent) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(event).items()
        if name != "source" and not name.startswith("_")
    }


def _moment_of(delivery: Delivery | None) -> datetime.datetime:
    """Return when the event was emitted, in UTC; now for one of this process."""
    if delivery is None:
        return datetime.datetime.now(datetime.UTC)
    began = datetime.datetime.fromtimestamp(0, datetime.UTC)
    try:
        return began + datetime.timedelta(microseconds=round(delivery.time_ns / 1000))
    except OverflowError:
        return began  # the sender's clock is beyond all years


def _safe(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _source_text(source: Any) -> str:
    parts = _source_parts(source)
    if not isinstance(parts, dict):
        return repr(source)
    name = parts["origin"] or parts["store_id"]
    return f"{parts['kind']}({name})" if name else str(parts["kind"])


def _source_parts(source: Any) -> Any:
    if source is None or isinstance(source, bool | int | float | str | bytes):
        return source
    return {
        "kind": getattr(source, "kind", type(source).__name__),
        "origin": getattr(source, "origin", None),
        "store_id": getattr(source, "store_id", None),
    }
