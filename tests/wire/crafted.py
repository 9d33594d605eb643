"""Messages by hand, for the tests of the requirements."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.wire import ClassRegistry, Codec
from tests.wire import other_language as other

ROOT = "antiphon:BaseEvent"

ID = EventId(bytes(range(12)), 7)

MIB = 2**20


def sent(event: BaseEvent, **more: Any) -> list[Any]:
    """Return the fields of the envelope that our codec writes."""
    encoded = Codec(ClassRegistry()).encode(event, origin="a", event_id=ID, time_ns=9, **more)
    found: list[Any] = msgpack.unpackb(encoded.envelope, strict_map_key=False)
    return found


def envelope(*fields: Any, **attributes: Any) -> list[Any]:
    """Return an envelope with further fields."""
    return [7, ID.publisher, 9, attributes, *fields]


def read(*envelopes: Any, body: bytes | None = None) -> list[Any]:
    """Return what our codec and the other one read; both must say the same."""
    raw = msgpack.packb([1, *envelopes]) if body is None else body
    ours = Codec(ClassRegistry()).decode(f"{ROOT}.@a", None, raw)
    theirs = other.events_of(f"{ROOT}.@a", None, raw)
    for event, another in zip(ours, theirs, strict=True):
        attributes = {k: v for k, v in vars(event).items() if k[0] != "_" and k != "source"}
        assert attributes == another.attributes
    return ours


def refused(*envelopes: Any, body: bytes | None = None) -> None:
    """Check that both refuse a message."""
    raw = msgpack.packb([1, *envelopes]) if body is None else body
    with pytest.raises(CorruptMessage):
        Codec(ClassRegistry()).decode(f"{ROOT}.@a", None, raw)
    with pytest.raises(other.RefusedMessage):
        other.events_of(f"{ROOT}.@a", None, raw)


def value(code: int, payload: Any) -> list[Any]:
    """Return an envelope with an attribute of an extension type."""
    raw = payload if isinstance(payload, bytes) else msgpack.packb(payload)
    return envelope(a=msgpack.ExtType(code, raw))
