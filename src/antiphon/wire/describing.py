"""Events as plain data and as lines of JSON, for people, programs and archives."""

from __future__ import annotations

import base64
import datetime
import json
import math
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import Delivery, delivery_of
from antiphon.wire.registry import default_registry

# ``json.dumps`` makes one for each call.
_ASCII = json.JSONEncoder(allow_nan=False)
_ANY = json.JSONEncoder(allow_nan=False, ensure_ascii=False)


def event_parts(event: BaseEvent) -> dict[str, Any]:
    """Return all that came with *event*, by the names that JSON has for it."""
    delivery = delivery_of(event)
    return {
        "time": moment_of(delivery).isoformat(),
        "class": default_registry.name_of(type(event)),
        "classes": default_registry.names_of(type(event)),
        "origin": None if delivery is None else delivery.origin,
        "id": None if delivery is None else str(delivery.event_id),
        "attributes": attributes_of(event),
        "source": source_parts(event.source),
        "position": event._position if delivery is None else delivery.position,
        "replayed": delivery is not None and delivery.replayed,
    }


def to_json(value: Any, *, ascii_only: bool = True) -> str:
    """Return *value* as a line of JSON; see ``jsonable``.

    Args:
        value: anything.
        ascii_only: escape all other characters; else control characters only.
    """
    return (_ASCII if ascii_only else _ANY).encode(jsonable(value))


def shown_json(line: str) -> str:
    """Return a line of JSON that says the same as *line*, with nothing that a terminal obeys.

    JSON escapes the control characters of ASCII only: others move the cursor, or turn text round.
    """
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else _as_escape(c) for c in line)


def jsonable(value: Any) -> Any:
    """Return *value* with nothing in it that JSON lacks.

    Bytes become ``{"base64": …}``, sets (sorted) and tuples lists, dates ISO
    8601, numbers that are none, and everything else, text; lone surrogates in
    text are escaped.
    """
    # What nearly everything is comes first: a recorder writes thousands of lines a second.
    if value is None or (type(value) is str and value.isascii()):
        return value
    if isinstance(value, dict):
        return {_key(key): jsonable(one) for key, one in value.items()}
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [jsonable(one) for one in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(one) for one in value), key=repr)
    return jsonable(str(value))


def _key(key: object) -> Any:
    return key if type(key) is str and key.isascii() else jsonable(str(key))


def attributes_of(event: BaseEvent) -> dict[str, Any]:
    """Return the attributes of *event* that travel, its source apart."""
    return {
        name: value
        for name, value in vars(event).items()
        if name != "source" and not name.startswith("_")
    }


def moment_of(delivery: Delivery | None) -> datetime.datetime:
    """Return when the event was emitted, in UTC; now for one of this process."""
    if delivery is None:
        return datetime.datetime.now(datetime.UTC)
    began = datetime.datetime.fromtimestamp(0, datetime.UTC)
    try:
        return began + datetime.timedelta(microseconds=round(delivery.time_ns / 1000))
    except OverflowError:
        return began  # the sender's clock is beyond all years


def source_parts(source: Any) -> Any:
    """Return kind, origin and store id of *source*, or itself if it is a plain value."""
    if source is None or isinstance(source, bool | int | float | str | bytes):
        return source
    return {
        "kind": getattr(source, "kind", type(source).__name__),
        "origin": getattr(source, "origin", None),
        "store_id": getattr(source, "store_id", None),
    }


def _as_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
