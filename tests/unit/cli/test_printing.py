"""Events on a terminal: readable, on one line, and harmless."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from antiphon.cli.printing import as_json, as_line, jsonable
from antiphon.events.api import BaseEvent
from antiphon.events.delivery import Delivery
from antiphon.events.event_id import EventId
from antiphon.storage.events import StoreSetEvent
from antiphon.wire.source import RemoteSource

SOURCE = RemoteSource("RedisStore", "catalogue", UUID(int=5))


def arrived(event: BaseEvent, origin: str | None = "catalogue") -> BaseEvent:
    """Give *event* what it has after it came from the broker."""
    event._event_id = EventId(b"\x01" * 12, 7)
    event._delivery = Delivery(
        event_id=event._event_id,
        origin=origin,
        time_ns=1_700_000_000_123_456_789,
        position=None,
        replayed=False,
        traceparent=None,
    )
    return event


def test_a_line_says_what_happened_to_what() -> None:
    """Class, origin, attributes and source are there, the time in front."""
    line = as_line(arrived(StoreSetEvent(SOURCE, key="prices/eur", metadata={"n": 1})))

    assert line.endswith(
        "  StoreSetEvent  catalogue  key='prices/eur' metadata={'n': 1}  [RedisStore(catalogue)]"
    )


def test_a_line_is_one_line_and_steers_no_terminal() -> None:
    """Text from elsewhere cannot break the line, colour it or clear the screen."""
    event = arrived(BaseEvent(RemoteSource("K\x1b[2J", "o\n"), text="a\nb\x1b[31m"), "bad\x1b[2J\n")
    line = as_line(event)

    assert "\n" not in line
    assert "\x1b" not in line


def test_json_has_everything() -> None:
    """One object with the documented keys."""
    told = json.loads(as_json(arrived(StoreSetEvent(SOURCE, key="a", metadata={}))))

    assert {
        "time": "2023-11-14T22:13:20.123457+00:00",
        "class": "antiphon:StoreSetEvent",
        "origin": "catalogue",
        "id": "01" * 12 + "-7",
        "attributes": {"key": "a", "metadata": {}},
        "source": {"kind": "RedisStore", "origin": "catalogue", "store_id": str(UUID(int=5))},
        "position": None,
        "replayed": False,
    } == {name: value for name, value in told.items() if name != "classes"}
    assert ["antiphon:BaseEvent", "antiphon:StoreEvent"] == told["classes"][:2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\xff", {"base64": "AP8="}),
        ({3, 1}, [1, 3]),
        ((1, "a"), [1, "a"]),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        ({1: {"a": b""}}, {"1": {"a": {"base64": ""}}}),
        ("\ud800", "\\ud800"),
        (2**80, 2**80),
    ],
)
def test_values_that_json_lacks(value: object, expected: object) -> None:
    """Every type that travels has a form in JSON."""
    assert expected == jsonable(value)
    json.dumps(jsonable(value), allow_nan=False).encode()
