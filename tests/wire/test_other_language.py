"""An implementation made from the document alone agrees with ours, byte for byte."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from golden_cases import CASES, EVENT_ID, GOLDEN, TIME_NS
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import Prefix
from antiphon.wire import ClassRegistry, Codec, binding_keys, parse_routing_key, routing_key
from antiphon.wire.values import to_plain
from tests.wire import other_language as other

KEPT: dict[str, dict[str, Any]] = json.loads(GOLDEN.read_text())

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
_origins = st.none() | st.lists(st.text(max_size=40), max_size=9).map(".".join)
#: What keys are made of.
_WORDS = [
    *(
        other.ROOT,
        "!",
        "@",
        "+",
        "~",
        ".",
        ".",
        ".@",
        ".+",
        "#",
        " ",
        "ü",
        "\u2028",
        "a",
        "~cd0aa9856147b6c5",
    ),
    *("%2E", "%2e", "%41", "%ED%A0%80", "%FF", "%", "x" * 33, "z" * 250),
]
#: Bodies of golden cases, and what follows a few spoilt bytes.
_spoilt = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4)


@pytest.mark.parametrize("module", ["other_language", "other_values"])
def test_it_uses_nothing_of_ours(module: str) -> None:
    """What it shows would be worth nothing."""
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text())
    found = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert "antiphon" not in found


@pytest.mark.parametrize("name", KEPT)
def test_it_reads_the_golden_bytes(name: str) -> None:
    """Classes, origin, id, time, attributes, position, trace: as they were sent."""
    make_event, origin, more = CASES[name]
    sent, kept = make_event(), KEPT[name]

    (event,) = other.events_of(kept["routing_key"], kept["headers"], bytes.fromhex(kept["body"]))

    expected = {k: v for k, v in vars(sent).items() if k[0] != "_" and k != "source"}
    assert ClassRegistry().names_of(type(sent)) == event.classes
    assert (origin, *EVENT_ID, TIME_NS) == (
        event.origin,
        event.publisher,
        event.counter,
        event.time_ns,
    )
    assert expected == event.attributes
    assert (more.get("replayed", False), more.get("traceparent")) == (
        event.replayed,
        event.traceparent,
    )
    if sent._position is not None:
        store_id, epoch, sequence, entry_id = sent._position
        assert event.position == other.Position(
            store_id.bytes, epoch, sequence, entry_id[:8], entry_id[8:]
        )


@pytest.mark.parametrize("name", KEPT)
def test_it_writes_the_golden_bytes(name: str) -> None:
    """What it has read it writes again, as it was."""
    kept = KEPT[name]
    events = other.events_of(kept["routing_key"], kept["headers"], bytes.fromhex(kept["body"]))

    key, headers, body = other.message_of(events)

    assert (kept["routing_key"], kept["headers"] or {}) == (key, headers)
    assert kept["body"] == body.hex()


@given(st.lists(_names, min_size=1, max_size=12), _origins)
def test_it_makes_the_same_keys(names: list[str], origin: str | None) -> None:
    """Of any names and origins, those included that do not fit."""
    ours = routing_key(names, origin)

    assert (ours.key, ours.headers or {}) == other.routing_key(names, origin)
    assert (tuple(names), origin) == other.parse_key(ours.key, ours.headers or {})


@given(_names, _origins, st.booleans())
def test_it_binds_the_same(name: str, origin: str | None, is_prefix: bool) -> None:
    """A listener in another language gets what ours would."""
    spec = Prefix(origin) if is_prefix and origin is not None else origin

    assert binding_keys(name, spec) == other.bindings(
        name, origin, is_prefix=is_prefix and origin is not None
    )


@given(
    st.lists(st.sampled_from(_WORDS), max_size=8).map("".join),
    st.sampled_from(["classes", "origin", "n"]),
    st.sampled_from([None, 5, [], ["a", 5], ["a.b"], "x" * 40, [other.ROOT, "x" * 300]]),
)
def test_it_refuses_the_same_keys(key: str, header: str, value: Any) -> None:
    """Of keys and headers that nobody makes, too, both find the same, or nothing."""
    headers = {header: value}
    try:
        ours: Any = parse_routing_key(key, headers)
    except CorruptMessage:
        ours = None
    try:
        theirs: Any = other.parse_key(key, headers)
    except other.RefusedMessage:
        theirs = None

    assert ours == theirs


def _ours(key: str, headers: Any, body: bytes) -> list[tuple[Any, ...]] | None:
    """Return what we read of each event; None if we refuse the message."""
    try:
        events: list[BaseEvent] = Codec(ClassRegistry()).decode(key, headers, body)
    except CorruptMessage:
        return None
    found = []
    for event in events:
        delivery = event._delivery
        assert delivery is not None
        attributes = {k: v for k, v in vars(event).items() if k[0] != "_" and k != "source"}
        found.append((*delivery.event_id, delivery.time_ns, repr(attributes), delivery.replayed))
    return found


def _theirs(key: str, headers: Any, body: bytes) -> list[tuple[Any, ...]] | None:
    try:
        events = other.events_of(key, headers, body)
    except other.RefusedMessage:
        return None
    return [
        (event.publisher, event.counter, event.time_ns, repr(event.attributes), event.replayed)
        for event in events
    ]


@given(st.sampled_from(sorted(KEPT)), _spoilt)
def test_it_refuses_the_same(name: str, changes: list[tuple[int, int]]) -> None:
    """Of spoilt messages, too, both read the same, or both refuse."""
    kept = KEPT[name]
    body = bytearray.fromhex(kept["body"])
    for at, byte in changes:
        body[at % len(body)] = byte
    message = (kept["routing_key"], kept["headers"], bytes(body))

    assert _ours(*message) == _theirs(*message)


def test_our_values_are_its_values() -> None:
    """Both write the same bytes for what has several forms."""
    for value in ({3, 1, 2}, frozenset({"b", "a"}), {(1, 2): UUID(int=1)}, 2**64, -(2**63) - 1):
        ours = _packed(value)

        assert ours == other.packed(value)


def _packed(value: Any) -> bytes:
    from antiphon.wire.packing import library

    return library.pack(to_plain(value, library))
