"""The requirements of docs/reference/wire-format.md on bodies and envelopes.

The sentence of a test begins with those that it shows.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgpack
import pytest

from antiphon.errors import UnencodableAttribute
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.journal import Position
from antiphon.wire import ClassRegistry, Codec, RemoteSource
from tests.wire import other_language as other
from tests.wire.crafted import ID, MIB, ROOT, envelope, read, refused, sent

STORE_ID = UUID(int=5)


class Thing:
    """A source that is told of."""

    origin: str | None = "shop"
    store_id: UUID | None = STORE_ID


# -- Body and envelope ---------------------------------------------------------------


def test_a_body_is_a_number_and_envelopes() -> None:
    """D1: In the order in which they were emitted."""
    codec = Codec(ClassRegistry())
    parts = [
        codec.encode(BaseEvent(n=n), origin=None, event_id=ID, time_ns=9).envelope for n in range(3)
    ]
    version, *envelopes = msgpack.unpackb(codec.join(parts))

    assert (1, [0, 1, 2]) == (version, [fields[3]["n"] for fields in envelopes])


@pytest.mark.parametrize(
    "body", [[], [1], [2, envelope()], [0, envelope()], [True, envelope()], ["1", envelope()], 1]
)
def test_other_bodies_are_refused(body: Any) -> None:
    """D2, F3: Another number, something else than a number, or no envelope."""
    refused(body=msgpack.packb(body))


def test_what_follows_a_body_is_ignored() -> None:
    """D3: Whatever it is."""
    (event,) = read(body=msgpack.packb([1, envelope(n=1)]) + b"\xc1\xff")

    assert 1 == event.n


def test_long_bodies_are_refused() -> None:
    """D4: Above 16 MiB neither written nor read."""
    refused(body=msgpack.packb([1, envelope(a=b"x" * (16 * MIB))]))
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a=b"x" * (16 * MIB)))


def test_a_message_is_read_whole_or_not_at_all() -> None:
    """D5: The good events beside a bad one are refused with it."""
    refused(envelope(), envelope()[:3])


@pytest.mark.parametrize("count", range(4))
def test_four_fields_must_be_there(count: int) -> None:
    """E1: A shorter envelope is refused."""
    refused(envelope()[:count])


def test_fields_left_out_are_nil() -> None:
    """E2: Eight are written, four are enough."""
    (event,) = read(envelope(n=1))

    assert (None, None, False) == (event.source, event._position, event._delivery.replayed)
    assert [7, ID.publisher, 9, {"n": 1}, None, None, None, None] == sent(BaseEvent(n=1))


def test_later_fields_are_ignored() -> None:
    """E3, F1: A later version may append some."""
    (event,) = read(envelope(*[None] * 7, "new", {"a": [1]}, n=1))

    assert 1 == event.n


@pytest.mark.parametrize(("replayed", "trace"), [(1, b"x"), ("yes", 7), ([], {}), (False, None)])
def test_marks_of_another_type_are_ignored(replayed: Any, trace: Any) -> None:
    """E4: An archive's mark is true, a trace is text; anything else is none."""
    (event,) = read(envelope(*[None] * 5, replayed, trace))

    assert (False, None) == event._delivery[4:]


def test_without_an_epoch_there_is_no_position() -> None:
    """E4: What stands in the other fields of a position is not looked at."""
    (event,) = read(envelope(None, None, "x", "y", 7))

    assert event._position is None


@pytest.mark.parametrize(
    ("at", "wrong"),
    [
        *((0, each) for each in (None, True, 1.0, "7", b"7")),
        *((1, each) for each in (None, "x" * 12, bytes(11), bytes(13))),
        *((2, each) for each in (None, False, 9.5)),
        *((3, each) for each in (None, [], b"")),
        *((4, each) for each in ("text", 5, [], ["a", "b"], [None], [[1]], {})),
    ],
)
def test_fields_of_another_type_are_refused(at: int, wrong: Any) -> None:
    """E5: A boolean is no integer, and text is no source."""
    fields = envelope(None)
    fields[at] = wrong
    refused(fields)


def test_an_event_that_is_sent_again_keeps_its_id() -> None:
    """E6: Sending it on, from an archive or an outbox, changes neither publisher nor counter."""
    (event,) = read(envelope(n=1))
    again = Codec(ClassRegistry()).encode(
        event, origin=None, event_id=event._event_id, time_ns=9, replayed=True
    )

    assert [ID.counter, ID.publisher] == msgpack.unpackb(again.envelope)[:2]


@pytest.mark.parametrize("name", ["", "_private", "source"])
def test_names_that_no_attribute_may_have_are_refused(name: str) -> None:
    """E7: Nobody sets from afar what belongs to the process."""
    refused([7, ID.publisher, 9, {name: 1}])
    assert name not in sent(BaseEvent(_private=1, source="x"))[3]


def test_what_a_class_has_does_not_travel() -> None:
    """E8: Whoever knows the class knows that."""
    assert "action" not in sent(StoreSetEvent(key="k", metadata={}))[3]


# -- Source and position -------------------------------------------------------------


@pytest.mark.parametrize("source", ["text", 7, 1.5, True, b"raw", UUID(int=3)])
def test_plain_sources_travel_themselves(source: Any) -> None:
    """S1: In an array of one."""
    field = sent(BaseEvent(source))[4]
    (event,) = read(envelope(field))

    assert (1, source, type(source)) == (len(field), event.source, type(event.source))


@pytest.mark.parametrize(
    ("own", "told"),
    [("a", None), (None, False), ("b", "b"), ("b\udc80", b"b\xed\xb2\x80")],
)
def test_other_sources_are_told_of(own: str | None, told: Any) -> None:
    """S2: By kind, origin and store id; the origin in as few words as possible."""
    source = Thing()
    source.origin = own
    field = sent(BaseEvent(source))[4]
    (event,) = read(envelope(field))

    assert ["Thing", told, STORE_ID.bytes] == msgpack.unpackb(field)
    assert RemoteSource("Thing", own, STORE_ID) == event.source
    assert event.source == read(envelope(_longer(field)))[0].source


def _longer(field: bytes) -> bytes:
    raw: bytes = msgpack.packb([*msgpack.unpackb(field), "new"])
    return raw


@pytest.mark.parametrize(
    "parts",
    [[], ["T", None], [1, None, None], ["T", 1, None], ["T", None, b"x"], ["T", b"\xff", None]],
)
def test_sources_with_wrong_items_are_refused(parts: list[Any]) -> None:
    """S2, E5: Each item has its type."""
    refused(envelope(msgpack.packb(parts)))


def test_long_sources_are_refused() -> None:
    """S3: Above 64 KiB neither written nor read."""
    source = Thing()
    source.origin = "x" * 65_536

    refused(envelope(msgpack.packb(["T", "x" * 65_536, None])))
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(source))


@pytest.mark.parametrize(
    "fields",
    [
        [1, None, bytes(8), STORE_ID.bytes],
        [1, 2, None, STORE_ID.bytes],
        [1, 2, bytes(8), None],
        [1, 2, bytes(8), bytes(15)],
        [True, 2, bytes(8), STORE_ID.bytes],
        [1, 2, "entry id", STORE_ID.bytes],
    ],
)
def test_half_a_position_is_refused(fields: list[Any]) -> None:
    """J1: Whoever applied it would be at no place at all."""
    refused(envelope(None, *fields))


def test_the_store_of_a_position_is_the_sources_unless_said() -> None:
    """J1: Field 8 is written only where it differs."""
    event = BaseEvent(Thing())
    event._position = Position(STORE_ID, 1, 2, bytes(8))
    assert [1, 2, bytes(8)] == sent(event)[5:]

    event._position = Position(UUID(int=6), 1, 2, bytes(8))
    assert [1, 2, bytes(8), UUID(int=6).bytes] == sent(event)[5:]


def test_what_follows_the_entry_id_is_the_link() -> None:
    """J2: Eight bytes of the entry, then those of the one before."""
    raw = bytes(range(12))
    (event,) = read(envelope(None, 1, 2, raw, STORE_ID.bytes))
    (theirs,) = other.events_of(
        ROOT, None, msgpack.packb([1, envelope(None, 1, 2, raw, STORE_ID.bytes)])
    )

    assert raw[:8] == event._delivery.position[3]
    assert other.Position(STORE_ID.bytes, 1, 2, raw[:8], raw[8:]) == theirs.position
