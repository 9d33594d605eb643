"""The reference's table of kinds says what the classes have."""

from __future__ import annotations

import re
from pathlib import Path

from antiphon import notifications
from antiphon.notifications import Notification

DOCUMENT = Path(__file__).parents[3] / "docs/reference/notifications.md"


def rows() -> dict[str, tuple[str, str, str, set[str]]]:
    """Event: event id, message type, base, fields, as the document has them."""
    text = DOCUMENT.read_text().partition("## The kinds")[2].partition("\n## ")[0]
    found = {}
    for line in re.findall(r"^\| `.*\|$", text, re.M):
        event, event_id, msg_type, base, rest = (cell.strip() for cell in line.split("|")[1:6])
        fields = set(re.findall(r"`([a-z_]+)`", rest))
        if rest == "the same":
            fields = found["NewSubscription"][3]
        found[event.strip("`")] = (event_id, msg_type, base.strip("`"), fields)
    return found


def described(cls: type[Notification]) -> tuple[str, str, str, set[str]]:
    """The same of a class."""
    types = getattr(cls, "msg_types", None) or ([cls.msg_type] if cls.msg_type else [])
    base = cls.__bases__[0]
    assert issubclass(base, Notification)
    return (
        str(cls.event_id or "abstract"),
        ", ".join(map(str, types)),
        base.__name__.removesuffix("Event").removesuffix("Notification"),
        set(cls._fields) - set(base._fields),
    )


def test_the_table_of_kinds_is_true() -> None:
    """Ids, message types, bases and fields of each kind, and no kind is missing."""
    kinds = {
        name.removesuffix("Event"): described(getattr(notifications, name))
        for name in notifications.__all__
        if name.endswith("Event")
    }

    assert kinds == rows()
