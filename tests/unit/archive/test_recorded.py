"""What an event of a bus becomes in an archive, and the way back."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.archive.event import Event
from antiphon.archive.recorded import (
    MAX_CONTENT,
    attribute_tag,
    class_tag,
    class_tags,
    decode_recorded,
    origin_tag,
    recorded,
    recorded_message,
)
from antiphon.errors import CorruptMessage
from antiphon.events.api import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.events.event_id import EventId
from antiphon.messaging.transport import Message
from antiphon.storage.events import StoreSetEvent
from antiphon.wire.codec import Codec
from antiphon.wire.source import RemoteSource

SOURCE = RemoteSource("RedisStore", "catalogue", UUID(int=5))
EVENT_ID = EventId(b"\x01" * 12, 7)
TIME_NS = 1_700_000_000_250_000_000

codec = Codec()


class RecordedSaved(BaseEvent):
    """A document was saved."""

    wire_name = "myapp:RecordedSaved"


def message_of(
    event: BaseEvent, origin: str | None = "catalogue", event_id: EventId = EVENT_ID, **more: Any
) -> Message:
    """Return *event* as it goes over the wire, alone."""
    encoded = codec.encode(event, origin=origin, event_id=event_id, time_ns=TIME_NS, **more)
    return Message(encoded.routing_key, Codec.join((encoded.envelope,)), encoded.headers)


def archived(event: BaseEvent, origin: str | None = "catalogue", **options: Any) -> Event:
    """Return what an archive keeps of *event*, once that has come from a broker."""
    message = message_of(event, origin)
    (came,) = codec.decode(message.routing_key, message.headers, message.body)
    return recorded(came, message, **options)


def test_an_event_is_kept_under_its_id_and_time() -> None:
    """Id, origin, time of publishing and time of receiving are fields of their own."""
    event = archived(StoreSetEvent(SOURCE, key="prices/eur"), received=1_700_000_001.5)

    assert (event.id, event.source, event.timestamp, event.received) == (
        str(EVENT_ID),
        "catalogue",
        1_700_000_000.25,
        1_700_000_001.5,
    )


def test_all_classes_of_an_event_are_tags() -> None:
    """A search for a base finds the events of its subclasses."""
    tags = archived(StoreSetEvent(SOURCE, key="prices/eur")).tags

    expected = {"BaseEvent", "StoreEvent", "StoreKeyEvent", "StoreModificationEvent"}
    assert expected | {"StoreSetEvent", "origin:catalogue", "key:prices/eur"} == set(tags)


def test_classes_of_others_have_their_wire_names_and_bare_names() -> None:
    """Two programs may have classes of one name; who looks for either need not know."""
    tags = archived(RecordedSaved(number=1), None).tags

    assert ["BaseEvent", "myapp:RecordedSaved", "RecordedSaved"] == tags


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("antiphon:StoreEvent", ["StoreEvent"]),
        ("Paid", ["Paid"]),
        ("shop:Paid", ["shop:Paid", "Paid"]),
        ("shop:Outer.Paid", ["shop:Outer.Paid", "Outer.Paid", "Paid"]),
        ("shop:BaseEvent", ["shop:BaseEvent"]),
        ("a:b:C", ["a:b:C", "C"]),
        ("shop:", ["shop:"]),
        (".", ["."]),
        ("shop:" + "x" * 9996, ["x" * 9996]),
        ("x" * 10_001, []),
        ("a:\ud800", ["a:\\ud800", "\\ud800"]),
    ],
)
def test_names_by_which_a_class_is_found(name: str, tags: list[str]) -> None:
    """Each is there once, and none is empty."""
    assert ("BaseEvent", *tags) == class_tags(("antiphon:BaseEvent", name))


@pytest.mark.parametrize(
    ("value", "tag"),
    [("a b", "key:a b"), (7, "key:7"), (UUID(int=1), f"key:{UUID(int=1)}"), (1.5, "key:1.5")],
)
def test_indexed_attributes_are_tags(value: Any, tag: str) -> None:
    """Text, numbers and UUIDs can be looked for."""
    event = archived(RecordedSaved(key=value))

    assert tag == event.tags[-1] == attribute_tag("key", value)


@pytest.mark.parametrize("value", [None, True, b"x", ["a"], {"a": 1}, "x" * 1001])
def test_other_values_are_no_tags(value: Any) -> None:
    """Nobody looks for a list by its text."""
    event = archived(RecordedSaved(key=value), indexed=("key", "missing"))

    assert "origin:catalogue" == event.tags[-1]


def test_what_is_indexed_can_be_chosen() -> None:
    """Each program has attributes of its own that matter."""
    event = archived(RecordedSaved(key="a", owner="ann"), indexed=("owner",))

    assert ["owner:ann"] == [tag for tag in event.tags if tag.startswith(("key:", "owner:"))]


def test_the_content_is_a_line_of_json_for_people() -> None:
    """It says all that came with the event, in the letters that people search for."""
    event = archived(RecordedSaved(SOURCE, title="Übersicht\nzwei", data=b"\x00"))

    assert "\n" not in event.content
    assert "Übersicht" in event.content
    assert {
        "class": "myapp:RecordedSaved",
        "origin": "catalogue",
        "attributes": {"title": "Übersicht\nzwei", "data": {"base64": "AA=="}},
        "source": {"kind": "RedisStore", "origin": "catalogue", "store_id": str(UUID(int=5))},
        "position": None,
        "replayed": False,
        "traceparent": None,
    } == json.loads(event.content)


@pytest.mark.parametrize(
    "attributes",
    [
        {"data": b"x" * 1_000_000, "key": "a"},
        {f"name{number}": "x" * 500 for number in range(1000)},
    ],
)
def test_long_content_is_cut(attributes: dict[str, Any]) -> None:
    """A search looks through descriptions, not through megabytes; the message has all."""
    event = archived(RecordedSaved(**attributes))

    assert len(event.content) < 1.5 * MAX_CONTENT
    assert json.loads(event.content)["cut"]
    assert vars(decode_recorded(event)).items() >= attributes.items()


def test_what_was_recorded_can_be_decoded() -> None:
    """The event is as if it had come from the broker just now."""
    event = decode_recorded(archived(StoreSetEvent(SOURCE, key="prices/eur", metadata={"n": 1})))

    delivery = delivery_of(event)
    assert isinstance(event, StoreSetEvent)
    assert (event.key, event.metadata, event.source) == ("prices/eur", {"n": 1}, SOURCE)
    assert delivery is not None
    assert (delivery.event_id, delivery.time_ns) == (EVENT_ID, TIME_NS)


def test_long_names_come_back_from_the_headers() -> None:
    """What does not fit a routing key is kept with it."""
    base: type[BaseEvent] = BaseEvent
    for number in range(12):
        name = f"RecordedWithAVeryLongNameIndeed{number}"
        base = type(name, (base,), {"wire_name": f"myapp:{name}"})
    event = archived(base(key="a"), "o" * 300)

    assert event.source == "o" * 300
    assert type(decode_recorded(event)) is base


def test_half_characters_are_escaped() -> None:
    """No archive can write them, and an origin may have them; the message has it as it was."""
    event = archived(RecordedSaved(key="a"), "o\udfff")
    delivery = delivery_of(decode_recorded(event))

    assert ("o\\udfff", origin_tag("o\udfff")) == (event.source, event.tags[3])
    assert event.source.encode()
    assert delivery is not None
    assert delivery.origin == "o\udfff"


def test_a_clock_beyond_all_years_is_no_error() -> None:
    """The sender's clock is the sender's."""
    message = message_of(RecordedSaved())
    (came,) = codec.decode(message.routing_key, message.headers, message.body)
    came._came = (*came._came[:3], 10**400, *came._came[4:])  # type: ignore[assignment]

    assert recorded(came, message).timestamp == 0.0


def test_headers_of_the_way_are_left_out() -> None:
    """Where a message was, and how often, is nothing of the event."""
    message = message_of(RecordedSaved())
    (came,) = codec.decode(message.routing_key, message.headers, message.body)
    message.headers = {"antiphon-crashes": 3, "x-death": [{}]}

    assert recorded_message(recorded(came, message)).headers is None


def test_what_came_from_elsewhere_cannot_be_decoded() -> None:
    """An event that a program saved itself has no message."""
    with pytest.raises(CorruptMessage, match="'7' of 'web' did not come from a bus"):
        decode_recorded(Event("7", "web", 1.0))


def test_an_event_of_this_process_has_no_id_yet() -> None:
    """Only what came from a broker can be recorded."""
    with pytest.raises(CorruptMessage, match="did not come from a broker"):
        recorded(RecordedSaved(), message_of(RecordedSaved()))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x01", b"\x90", b"\x91\x02", b"\x91\x01", b"\x94\x01\xa1a\xc0\xa1b"],
)
def test_other_bytes_are_no_message(data: bytes) -> None:
    """Whatever is in the archive, nothing else is raised."""
    with pytest.raises(CorruptMessage):
        decode_recorded(Event("7", "web", 1.0, message=data))


def test_names_of_tags() -> None:
    """They are made in one place, for who writes and who searches."""
    assert ("StoreEvent", "myapp:Saved", "origin:a") == (
        class_tag("antiphon:StoreEvent"),
        class_tag("myapp:Saved"),
        origin_tag("a"),
    )


def test_an_origin_too_long_for_a_tag_is_recorded() -> None:
    """As the source, and in the content."""
    event = archived(RecordedSaved(), "o" * 12_000)

    assert "o" * 12_000 == event.source
    assert all(not tag.startswith("origin:") for tag in event.tags)


_names = st.text(min_size=1, max_size=8).filter(lambda name: name[0] != "_" and name != "source")
_plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.uuids()
)
_values = st.recursive(
    _plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(attributes=st.dictionaries(_names, _values, max_size=4), origin=st.none() | st.text())
def test_whatever_travels_can_be_archived(attributes: dict[str, Any], origin: str | None) -> None:
    """Its content is a line of JSON, an archive can write it, and it comes back the same."""
    event = archived(RecordedSaved(**attributes), origin, indexed=tuple(attributes))
    came = decode_recorded(event)

    assert json.loads(event.content)["origin"] == origin
    assert "\n" not in event.content
    assert repr(attributes) == repr({name: getattr(came, name) for name in attributes})
