"""Events of an archive as lines of text, for people and for programs."""

from __future__ import annotations

import contextlib
import datetime
import json
from typing import Any

from antiphon.archive import Event
from antiphon.archive.recorded import class_tag, decode_recorded
from antiphon.cli.colours import painted
from antiphon.cli.moments import told
from antiphon.cli.output import escaped
from antiphon.cli.printing import as_line, attributes_line, event_parts, to_json
from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent


def archived_line(event: Event) -> str:
    """Return *event* as one line: time, class, origin, attributes, source.

    One that did not come from a bus has its time, source, tags and content.
    """
    found = _decoded(event)
    if found is not None:
        return as_line(found, has_date=True)
    parts = [painted(told(event.timestamp), dim=True)]
    if (noted := _noted(event)) is not None:
        parts.append(painted(escaped(class_tag(noted["class"])), "cyan", bold=True))
        parts.append(attributes_line(noted["attributes"]))
    else:
        parts.append(painted(escaped(event.source), "green"))
        parts.append(painted(escaped(" ".join(event.tags)), "cyan"))
        parts.append(escaped(event.content))
    return "  ".join(filter(None, parts))


def archived_json(event: Event) -> str:
    """Return *event* as a line of JSON."""
    return to_json(archived_parts(event))


def archived_parts(event: Event) -> dict[str, Any]:
    """Return all that is known of *event*, by the names that JSON has for it.

    They are those of ``antiphon listen --json``, and more.  One that did not come
    from a bus has no class, and its content and source as they are.
    """
    found = _decoded(event)
    more = {"timestamp": event.timestamp, "received": event.received, "tags": event.tags}
    if found is not None:
        return {**event_parts(found), **more}
    noted = _noted(event) or {"class": None, "attributes": {}}
    return {
        "time": _iso(event.timestamp),
        "class": noted["class"],
        "classes": [],
        "origin": None,
        "id": event.id,
        "attributes": noted["attributes"],
        "source": event.source,
        "position": None,
        "replayed": False,
        **more,
        "content": event.content,
    }


def archived_details(event: Event) -> list[str]:
    """Return all that is known of *event* as lines for people."""
    parts = archived_parts(event)
    attributes, tags = parts.pop("attributes"), parts.pop("tags")
    for name in ("time", "timestamp", "received", "classes"):
        del parts[name]
    shown = {
        "id": parts.pop("id"),
        "time": told(event.timestamp),
        "received": None if event.received is None else told(event.received),
        **parts,
        "tags": ", ".join(tags),
        "bytes": None if event.message is None else len(event.message),
    }
    lines = [
        f"{painted(f'{name:8}', dim=True)}  {escaped(str(value))}"
        for name, value in shown.items()
        if value not in (None, "", False)
    ]
    return lines + [
        f"    {escaped(name)} = {escaped(repr(one))}" for name, one in attributes.items()
    ]


def _decoded(event: Event) -> BaseEvent | None:
    if event.message is None:
        return None
    try:
        return decode_recorded(event)
    except CorruptMessage:
        return None  # its content tells what it was


def _noted(event: Event) -> dict[str, Any] | None:
    """Return class and attributes of what a recorder noted of itself, and no bus has carried."""
    try:
        told = json.loads(event.content)
        to_json(told)  # what is nested too deeply for that cannot be shown, either
    except (ValueError, RecursionError):
        return None
    if isinstance(told, dict) and isinstance(told.get("class"), str):
        attributes = told.get("attributes")
        if isinstance(attributes, dict):
            return {"class": told["class"], "attributes": attributes}
    return None


def _iso(seconds: float) -> str | None:
    with contextlib.suppress(ValueError, OverflowError, OSError):
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
    return None
