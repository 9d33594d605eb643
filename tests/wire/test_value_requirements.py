"""The requirements of docs/reference/wire-format.md on values and their limits.

The sentence of a test begins with those that it shows.
"""

from __future__ import annotations

import itertools
import tracemalloc
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgpack
import pytest

from antiphon.errors import CorruptMessage, UnencodableAttribute
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.wire import ClassRegistry, Codec
from tests.wire import other_language as other
from tests.wire.crafted import ID, MIB, ROOT, envelope, read, refused, sent, value


@pytest.mark.parametrize("key", [1, None, b"a", True])
def test_keys_of_maps_are_text(key: Any) -> None:
    """V1: A map with other keys is an extension."""
    refused(envelope(a={key: 1}))
    assert {key: 1} == read(value(9, [key, 1]))[0].a


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"\xd3" + bytes(7) + b"\x01", 1),
        (b"\xcd\x00\x01", 1),
        (b"\xca\x3f\xc0\x00\x00", 1.5),
        (b"\xdb\x00\x00\x00\x01x", "x"),
        (b"\xc6\x00\x00\x00\x01x", b"x"),
        (b"\xdd\x00\x00\x00\x00", []),
        (b"\xdf\x00\x00\x00\x00", {}),
        (b"\xc9\x00\x00\x00\x01\x04\x05", 5),
    ],
)
def test_long_forms_are_read(raw: bytes, found: Any) -> None:
    """V2: Libraries of other languages may know no shorter ones."""
    head = msgpack.packb([1, envelope()])[:-1] + b"\x81\xa1a"

    assert found == read(body=head + raw)[0].a


def test_short_forms_are_written() -> None:
    """V2: Of integers and lengths; floats have 64 bits."""
    raw = Codec(ClassRegistry()).encode(
        BaseEvent(a=1, b=200, c=1.5), origin=None, event_id=ID, time_ns=9
    )

    assert b"\xa1a\x01\xa1b\xcc\xc8\xa1c\xcb\x3f\xf8" in raw.envelope


@pytest.mark.parametrize(
    ("code", "payload", "found"),
    [
        (1, [1, "a"], (1, "a")),
        (2, [1, 2], {1, 2}),
        (3, ["a"], frozenset({"a"})),
        (4, b"\x01" + bytes(8), 2**64),
        (4, b"\xff\x7f" + b"\xff" * 7, -(2**63) - 1),
        (6, b"\xff\xff\xff\xff", datetime(1969, 12, 31).date()),
        (7, bytes(15) + b"\x01", UUID(int=1)),
        (10, b"\xff", timedelta(microseconds=-1)),
    ],
)
def test_extensions_are_read(code: int, payload: Any, found: Any) -> None:
    """V3: As the table says."""
    got = read(value(code, payload))[0].a

    assert (found, type(found)) == (got, type(got))


def test_sets_are_sorted() -> None:
    """V4: Equal events are equal bytes, whatever order a process has."""
    # In Python's own table these three stand in the order in which they came.
    for order in itertools.permutations([0, 8, 16]):
        assert b"\x93\x00\x08\x10" == sent(BaseEvent(a=set(order)))[3]["a"].data


NOON = datetime(2026, 3, 1, 12, 0, 0, 5)


@pytest.mark.parametrize(
    ("moment", "rest"),
    [
        (NOON, b""),
        (NOON.replace(fold=1), b"\x01"),
        (NOON.replace(tzinfo=UTC), bytes(4)),
        (NOON.replace(tzinfo=timezone(timedelta(hours=-1))), b"\xff\xff\xf1\xf0"),
        (NOON.replace(tzinfo=timezone(timedelta(microseconds=3))), bytes(7) + b"\x03"),
    ],
)
def test_times_are_those_on_the_wall(moment: datetime, rest: bytes) -> None:
    """V5: Microseconds since 1970 by that clock, then what is known of the offset."""
    wall = (NOON - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    raw = wall.to_bytes(8, "big", signed=True) + rest
    got = read(value(5, raw))[0].a

    assert raw == sent(BaseEvent(a=moment))[3]["a"].data
    assert (moment, moment.utcoffset(), moment.fold) == (got, got.utcoffset(), got.fold)


def test_timestamps_are_read_and_not_written() -> None:
    """V6: Those of msgpack itself have no offset; they are cut to microseconds."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    stamp = msgpack.Timestamp(int(moment.timestamp()), 1_999)

    assert moment + timedelta(microseconds=1) == read(envelope(a=stamp))[0].a
    assert 5 == sent(BaseEvent(a=moment))[3]["a"].code


def test_text_that_is_none_is_not_sent() -> None:
    """V7: Lone surrogates have no UTF-8."""
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a="\udc80"))


@pytest.mark.parametrize(
    "fields",
    [
        *(value(code, b"") for code in (0, 11, 127)),
        value(1, {"a": 1}),
        value(2, [1, 1]),
        value(2, [1, 1.0]),
        value(2, [[1]]),
        value(3, [{}]),
        value(5, bytes(7)),
        value(5, bytes(8) + b"\x02"),
        value(6, bytes(3)),
        value(7, bytes(15)),
        *(value(8, text) for text in (b"1e2", b"x", b"sNaN", b" 1")),
        value(9, [1]),
        value(9, [[1], 2]),
        envelope(*[None] * 7, msgpack.ExtType(99, b"")),
        envelope(*[None] * 5, msgpack.ExtType(99, b"")),
    ],
    ids=repr,
)
def test_what_is_no_value_is_refused(fields: list[Any]) -> None:
    """V8, F2: Also where nobody looks at it."""
    refused(fields)


# -- Limits --------------------------------------------------------------------------


def nested(levels: int, inner: Any = 1) -> Any:
    """Return so many lists in each other."""
    found = inner
    for _ in range(levels):
        found = [found]
    return found


def tuples(levels: int) -> Any:
    """Return so many tuples in each other, the innermost empty."""
    found: Any = ()
    for _ in range(levels - 1):
        found = (found,)
    return found


def test_depth_is_limited() -> None:
    """L1: Two hundred levels travel, one more does not."""
    assert nested(200) == read(envelope(a=nested(200)))[0].a
    assert sent(BaseEvent(a=nested(200)))

    refused(envelope(a=nested(201)))
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a=nested(201)))


def test_extensions_in_each_other_are_limited() -> None:
    """L2: Thirty-two travel, one more does not."""
    raw = other.packed([1, [7, ID.publisher, 9, {"a": tuples(32)}]])
    assert tuples(32) == read(body=raw)[0].a

    refused(body=other.packed([1, [7, ID.publisher, 9, {"a": tuples(33)}]]))
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a=tuples(33)))


def test_integers_are_limited() -> None:
    """L3: To 1024 bytes."""
    largest = 2 ** (1024 * 8 - 1) - 1
    assert largest == read(value(4, largest.to_bytes(1024, "big")))[0].a

    refused(value(4, bytes(1) + largest.to_bytes(1024, "big")))
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a=largest + 1))


def test_containers_are_limited() -> None:
    """L4: To 200 000 in a body, of which the body, the envelope and its attributes are three."""
    many = [[]] * (200_000 - 4)
    codec = Codec(ClassRegistry())
    (event,) = codec.decode(ROOT, None, msgpack.packb([1, envelope(a=many)]))
    assert len(many) == len(event.a)

    with pytest.raises(CorruptMessage):
        codec.decode(ROOT, None, msgpack.packb([1, envelope(a=[*many, []])]))


def test_colliding_keys_are_refused() -> None:
    """L5: Numbers whose hashes Python makes equal, more than a few of them."""
    colliding = [number * (2**61 - 1) for number in range(1, 200)]

    with pytest.raises(CorruptMessage):
        Codec(ClassRegistry()).decode(
            ROOT, None, other.packed([1, [7, ID.publisher, 9, {"a": set(colliding)}]])
        )
    with pytest.raises(UnencodableAttribute):
        sent(BaseEvent(a=set(colliding)))


@pytest.mark.parametrize("head", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
def test_claims_allocate_nothing(head: bytes) -> None:
    """L6: A length of 4 GiB in a message of some bytes costs nothing."""
    body = msgpack.packb([1, envelope()])[:-1] + b"\x81\xa1a" + head + b"\xff\xff\xff\xff\x01"
    codec = Codec(ClassRegistry())
    tracemalloc.start()
    try:
        with pytest.raises(CorruptMessage):
            codec.decode(ROOT, None, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MIB
