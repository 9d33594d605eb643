"""The text of metadata."""

from __future__ import annotations

import datetime
import enum
import math
from collections import OrderedDict, namedtuple
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import IncompatibleStore, InvalidValue
from antiphon.events.event_id import next_event_id
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.metadata import (
    MAX_TEXT,
    check_size,
    copied,
    decode,
    encode,
    encode_conditions,
    encode_value,
    matches,
    normalise,
)
from antiphon.testing.store_tests.base import LOOKALIKES
from antiphon.wire.codec import Codec

_PLUS_TWO = datetime.timezone(datetime.timedelta(hours=2, minutes=30, seconds=5))

ITEMS: list[Any] = [
    *LOOKALIKES, datetime.date(1, 1, 1), datetime.datetime(2024, 5, 6, tzinfo=_PLUS_TWO),
    datetime.datetime.max, datetime.datetime.min, UUID(int=0), 2**63 - 1, -(2**63), math.inf,
    -math.inf, 5e-324, -0.0, "\x00", "\U0001f600", {"!a": {"!!b": 1}}, {"": {"": ()}},
    frozenset({(1, (b"x",))}), {1, "1", 1.5}, [[[[]]]],
]  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_metadata_come_back_from_text(item: Any) -> None:
    """With value and type, alone and nested."""
    metadata = normalise({"item": item, "!deep": {"list": [item], "tuple": (item,)}})
    again = decode(encode(metadata))

    assert metadata == again
    for found in (again["item"], again["!deep"]["list"][0], again["!deep"]["tuple"][0]):
        assert isinstance(item, (set, frozenset)) or repr(item) == repr(found)
        assert type(item) is type(found)
    assert metadata == copied(metadata)


@pytest.mark.parametrize("item", ITEMS)
def test_metadata_that_are_stored_can_travel(item: Any) -> None:
    """Nothing passes the store's check that its event could not carry."""
    metadata = normalise({"item": item})
    codec = Codec()
    encoded = codec.encode(
        StoreSetEvent(None, key="k", metadata=metadata),
        origin=None,
        event_id=next_event_id(),
        time_ns=1,
    )
    (event,) = codec.decode(encoded.routing_key, encoded.headers, codec.join([encoded.envelope]))

    assert metadata == event.metadata
    assert type(metadata["item"]) is type(event.metadata["item"])


def test_equal_metadata_have_equal_text() -> None:
    """Whatever the order in which they were made."""
    one = encode(normalise({"b": {"y": 1, "x": {2, 1, 3}}, "a": 1}))

    assert one == encode(normalise({"a": 1, "b": {"x": {3, 1, 2}, "y": 1}}))
    # Equal sets that give their members in another order.
    assert list({0, 8}) != list({8, 0})
    assert encode(normalise({"x": {0, 8}})) == encode(normalise({"x": {8, 0}}))


def test_different_values_have_different_text() -> None:
    """Exact comparison is comparison of text."""
    texts = [encode_value(item) for item in LOOKALIKES]

    assert len(texts) == len(set(texts))


def test_text_that_no_number_is_equals_itself() -> None:
    """NaN can be stored, and found."""
    metadata = normalise({"x": math.nan})

    assert math.isnan(decode(encode(metadata))["x"])
    assert matches(metadata, encode_conditions({"x": math.nan}))
    assert not matches(metadata, encode_conditions({"x": math.inf}))


def test_subclasses_become_what_they_derive_from() -> None:
    """Whoever reads them needs none of the program that wrote them."""

    class Size(enum.IntEnum):
        BIG = 3

    class Name(str):
        pass

    Pair = namedtuple("Pair", "x y")
    plain = normalise(
        {
            Name("n"): Name("x"), "size": Size.BIG, "pair": Pair(1, 2), "d": OrderedDict(a=1),
            "array": bytearray(b"x"), "view": memoryview(b"y"),
        }
    )  # fmt: skip

    assert {
        "n": "x",
        "size": 3,
        "pair": (1, 2),
        "d": {"a": 1},
        "array": b"x",
        "view": b"y",
    } == plain
    assert [str, int, tuple, dict, bytes, bytes] == [type(item) for item in plain.values()]
    assert {str} == {type(name) for name in plain}


@pytest.mark.parametrize(
    "text",
    ["", "no json", "1", "[]", "null", '{"x":{"!unknown":1}}', '{"x":{"!bytes":"%"}}',
     '{"x":{"!bytes":5}}', '{"x":{"!date":"never"}}', '{"!x":1}', '{"x":{"!set":[[]]}}',
     "[" * 100_000, '{"x":{"!uuid":"5"}}', '{"x":{"!uuid":5}}', '{"x":{"!a":1,"b":2}}',
     '{"x":{"!float":1' + "0" * 400 + "}}"],
)  # fmt: skip
def test_text_of_others_is_refused(text: str) -> None:
    """One error, whatever it is; it is never guessed at."""
    with pytest.raises(IncompatibleStore):
        decode(text)


def test_plain_json_is_metadata() -> None:
    """Other programs may write them with no more than that."""
    assert {"a": [1, 2.5, True, None, {"b": "x"}]} == decode(
        '{"a": [1, 2.5, true, null, {"b": "x"}]}'
    )


def test_metadata_have_a_size() -> None:
    """The quick check and the exact one agree where it matters."""
    fits, too_long = {"x": "x" * (MAX_TEXT - 10)}, {"x": "x" * MAX_TEXT}
    check_size(fits)
    encode(fits)
    for check in (check_size, encode):
        with pytest.raises(InvalidValue, match="too much"):
            check(too_long)
    with pytest.raises(InvalidValue, match="too much"):
        check_size({"x": [{"y": "\U0001f600" * (MAX_TEXT // 12 + 1)}]})
