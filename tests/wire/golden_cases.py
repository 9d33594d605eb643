"""The events whose bytes are kept in golden.json, from the first release on.

``python tests/wire/golden_cases.py`` adds what is new here to the file.  It
changes nothing that stands there: bytes that were written once are in queues
and archives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.storage.events import StoreDeleteEvent, StoreSetEvent
from antiphon.storage.journal import Position, place_of
from antiphon.wire import ClassRegistry, Codec
from antiphon.wire.packing import Library, library

GOLDEN = Path(__file__).with_name("golden.json")
EVENT_ID = EventId(bytes.fromhex("8bfd7e451ecdc0a55fc4dae7"), 1234)
TIME_NS = 1_790_000_000_123_456_789
STORE_ID = UUID("784377e8-2cf1-4d70-a17e-00391584c210")
POSITION = Position(STORE_ID, 1, 123_456, bytes.fromhex("0011223344556677"))


class Saved(BaseEvent):
    """An event of a program."""

    wire_name = "golden:Saved"


class Spoken(BaseEvent):
    """A second branch."""

    wire_name = "golden:Spoken"


class SavedAndSpoken(Saved, Spoken):
    """Where the branches meet."""

    wire_name = "golden:SavedAndSpoken"


class Odd(Saved):
    """An event with a name that needs escaping."""

    wire_name = "golden:Odd. *#%@+!~\u00a0ü"


class VeryLong(SavedAndSpoken):
    """An event with a name that no key can hold."""

    wire_name = "golden:" + "VeryLong" * 40


class RedisStore:
    """A source with an identity."""

    store_id: UUID | None = STORE_ID
    origin: str | None = "catalogue"


class Wrapper(RedisStore):
    """A source whose event has another store's position."""

    store_id = UUID(int=5)
    origin = None


class Nameless:
    """A source with neither."""


class Broken(RedisStore):
    """A source whose origin is no UTF-8."""

    store_id = None
    origin = "file\udcff"


def stored(kind: type[BaseEvent], source: object, **attributes: Any) -> BaseEvent:
    """Return an event that tells of a change."""
    event = kind(source, **attributes)
    event._position = POSITION
    return event


def linked(kind: type[BaseEvent], source: object, **attributes: Any) -> BaseEvent:
    """Return an event that tells of a change, and what was before it."""
    event = kind(source, **attributes)
    event._position = place_of(STORE_ID, POSITION.version, bytes.fromhex("8899aabbccddeeff"))
    return event


METADATA = {
    "content-type": "text/csv",
    "rows": 5123,
    "currency": "eur",
    "valid": True,
    "ratio": 1.0825,
}
VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "false": False,
    "integers": [0, 1, 127, 128, 2**32, 2**64 - 1, -1, -32, -33, -(2**63)],
    "big_integers": [2**64, -(2**63) - 1, 10**40, -(10**40)],
    "floats": [0.0, -0.0, 1.5, 1e300, float("inf"), float("-inf")],
    "text": ["", "text", "ü", "\U0001f389", "x" * 40, "\0"],
    "bytes": [b"", b"\0\xff"],
    "lists": [[], [[]], [1, [2, [3]]]],
    "dicts": [{}, {"a": {"b": 1}}, {"": 0}],
    "keyed_dicts": [{1: 2}, {(1, "a"): [b"b"]}, {None: 1, "a": 2}, {UUID(int=1): 2**64}],
    "tuples": [(), (1, 2), ((1,), [2])],
    "sets": [set(), {1, 2, 300, "a", b"a", (1, 2)}],
    "frozensets": [frozenset(), frozenset({frozenset({1}), 2})],
    "datetimes": [
        datetime(1, 1, 1),
        datetime(2026, 11, 21, 9, 30, 15, 123456),
        datetime(2026, 10, 25, 2, 30, fold=1),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 11, 21, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
        datetime(1890, 1, 1, tzinfo=timezone(timedelta(minutes=53, seconds=28, microseconds=1))),
    ],
    "dates": [date(1, 1, 1), date(1970, 1, 1), date(9999, 12, 31)],
    "timedeltas": [timedelta(0), timedelta(days=-1, microseconds=1), timedelta.max],
    "uuids": [UUID(int=0), STORE_ID],
    "decimals": [Decimal("0"), Decimal("-1.50"), Decimal("1E+400"), Decimal("Infinity")],
}

#: name -> (event, origin, further arguments of encode)
CASES: dict[str, tuple[Callable[[], BaseEvent], str | None, dict[str, Any]]] = {
    "base event": (lambda: BaseEvent(), None, {}),
    "no attributes": (lambda: Saved(), "billing", {}),
    "store set": (
        lambda: stored(StoreSetEvent, RedisStore(), key="prices/eur", metadata=METADATA),
        "catalogue",
        {},
    ),
    "store delete, origin of its own": (
        lambda: stored(StoreDeleteEvent, RedisStore(), key="a", metadata={}, origin="x"),
        "x",
        {},
    ),
    "position of another store": (
        lambda: stored(StoreSetEvent, Wrapper(), key="a", metadata={}),
        "catalogue",
        {},
    ),
    "replayed": (
        lambda: stored(StoreSetEvent, RedisStore(), key="a", metadata={}),
        "catalogue",
        {"replayed": True},
    ),
    "traced": (
        lambda: Saved(),
        None,
        {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
    ),
    "all values": (lambda: Saved(None, **VALUES), "billing", {}),
    "diamond": (lambda: SavedAndSpoken(None, a=1), "a.b.c", {}),
    "source is text": (lambda: Saved("sensor 1"), "a", {}),
    "source is a UUID": (lambda: Saved(STORE_ID), "a", {}),
    "source without origin": (lambda: Saved(Nameless()), "a", {}),
    "source with broken origin": (lambda: Saved(Broken()), "file\udcff", {}),
    "source with another broken origin": (lambda: Saved(Broken()), "a", {}),
    "empty origin": (lambda: Saved(), "", {}),
    "origin of empty words": (lambda: Saved(), "..a.", {}),
    "origin of special characters": (lambda: Saved(), "a b.*.#.%41.@x.~!+\u3000ü", {}),
    "six origin words": (lambda: Saved(), "a.b.c.d.e.f", {}),
    "seven origin words": (lambda: Saved(), "a.b.c.d.e.f.g", {}),
    "nine origin words": (lambda: Saved(), "a.b.c.d.e.f.g.#.i", {}),
    "origin word of 32 bytes": (lambda: Saved(), "ü" * 16 + ".a", {}),
    "origin word of 33 bytes": (lambda: Saved(), "ü" * 16 + "x.a", {}),
    "origin of 1000 characters": (lambda: Saved(), ("word " * 20 + ".") * 10, {}),
    "escaped class": (lambda: Odd(), "a", {}),
    "class that does not fit": (lambda: VeryLong(), "a.b", {}),
    "nothing fits": (lambda: VeryLong(), "x" * 500 + ".b.c.d.e.f.g", {}),
    "store set, linked": (
        lambda: linked(StoreSetEvent, RedisStore(), key="prices/eur", metadata=METADATA),
        "catalogue",
        {},
    ),
}


def encoded_case(name: str, with_library: Library = library) -> dict[str, Any]:
    """Return what today's encoder writes for a case, as golden.json keeps it."""
    make_event, origin, more = CASES[name]
    codec = Codec(ClassRegistry(), library=with_library)
    encoded = codec.encode(make_event(), origin=origin, event_id=EVENT_ID, time_ns=TIME_NS, **more)
    return {
        "routing_key": encoded.routing_key,
        "headers": encoded.headers,
        "envelope": encoded.envelope.hex(),
        "body": codec.join([encoded.envelope]).hex(),
    }


def main() -> None:
    """Add new cases to golden.json."""
    kept = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    added = {name: encoded_case(name) for name in CASES if name not in kept}
    GOLDEN.write_text(json.dumps({**kept, **added}, indent=1, ensure_ascii=True) + "\n")
    print(f"added {len(added)} cases to {len(kept)}")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
