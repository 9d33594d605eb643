"""Bytes that were written once are read for ever, and written again today."""

from __future__ import annotations

import json
from typing import Any

import pytest
from golden_cases import CASES, EVENT_ID, GOLDEN, TIME_NS, encoded_case

from antiphon.events.delivery import Delivery
from antiphon.wire import ClassRegistry, Codec, RemoteSource, parse_routing_key
from antiphon.wire.packing import Library, MsgpackLibrary, OrmsgpackLibrary

KEPT: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text())
LIBRARIES: list[Library] = [OrmsgpackLibrary(), MsgpackLibrary()]
each_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda lib: type(lib).__name__)


def test_every_case_has_its_bytes() -> None:
    """Who adds a case adds its bytes: python tests/wire/golden_cases.py."""
    assert list(CASES) == list(KEPT)


@pytest.mark.parametrize("name", KEPT)
@each_library
def test_todays_encoder_writes_the_golden_bytes(name: str, library: Library) -> None:
    """Routing key, headers, envelope and body are what they were in the first release."""
    assert KEPT[name] == encoded_case(name, library)


@pytest.mark.parametrize("name", KEPT)
@each_library
def test_golden_bytes_are_read(name: str, library: Library) -> None:
    """An event of the first release arrives with class, attributes, position and delivery."""
    make_event, origin, more = CASES[name]
    sent, kept = make_event(), KEPT[name]

    (event,) = Codec(ClassRegistry(), library=library).decode(
        kept["routing_key"], kept["headers"], bytes.fromhex(kept["body"])
    )

    position = None if sent._position is None else tuple(sent._position)
    assert type(sent) is type(event)
    assert EVENT_ID == event._event_id
    assert position == event._position
    delivered = position and (*position[:3], position[3][:8])
    assert event._delivery == Delivery(
        EVENT_ID, origin, TIME_NS, delivered, more.get("replayed", False), more.get("traceparent")
    )
    expected = {k: v for k, v in vars(sent).items() if k[0] != "_" and k != "source"}
    found = {k: v for k, v in vars(event).items() if k[0] != "_" and k != "source"}
    assert expected == found
    # repr shows the types, the offsets and the sign of zero, which == does not.
    assert _shown(expected) == _shown(found)


def _shown(attributes: dict[str, Any]) -> str:
    return repr({k: v for k, v in attributes.items() if "set" not in k})


@pytest.mark.parametrize("name", KEPT)
def test_golden_sources_are_read(name: str) -> None:
    """An object arrives as a RemoteSource of its kind, origin and store id; a value as itself."""
    make_event, _, _ = CASES[name]
    sent, kept = make_event().source, KEPT[name]

    (event,) = Codec(ClassRegistry()).decode(
        kept["routing_key"], kept["headers"], bytes.fromhex(kept["body"])
    )

    if hasattr(sent, "__dict__") and not hasattr(sent, "hex"):
        sent = RemoteSource(
            type(sent).__name__, getattr(sent, "origin", None), getattr(sent, "store_id", None)
        )
    assert sent == event.source


@pytest.mark.parametrize("name", KEPT)
def test_golden_keys_are_read(name: str) -> None:
    """The classes and the origin come back from a key of the first release."""
    make_event, origin, _ = CASES[name]
    kept = KEPT[name]

    names, found = parse_routing_key(kept["routing_key"], kept["headers"])

    assert ClassRegistry().names_of(type(make_event())) == names
    assert origin == found


@pytest.mark.parametrize("name", KEPT)
def test_golden_envelopes_join_to_their_bodies(name: str) -> None:
    """A body is the envelopes with a head before them; many read as one each."""
    kept = KEPT[name]
    envelope = bytes.fromhex(kept["envelope"])

    assert bytes.fromhex(kept["body"]) == Codec.join([envelope])
    for count in (1, 2, 14, 15, 16, 70_000):
        body = Codec.join([envelope] * count)
        if count <= 16:
            events = Codec(ClassRegistry()).decode(kept["routing_key"], kept["headers"], body)
            assert count == len(events)
        assert len(body) - count * len(envelope) <= 6


def test_a_store_event_takes_at_most_180_bytes() -> None:
    """DESIGN section 5: a StoreSetEvent with five metadata entries, position, link and source."""
    assert len(KEPT["store set, linked"]["body"]) / 2 <= 180
