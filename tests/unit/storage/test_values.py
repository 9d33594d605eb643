"""Values, and the events' derived attributes."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import InvalidValue
from antiphon.events.api import EventManager
from antiphon.storage.abstract_store import AuthorizationError
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreProgressStartEvent,
    StoreSetEvent,
)
from antiphon.storage.journal import Position, Version
from antiphon.storage.string_value import StringValue


def test_a_string_value_has_what_it_was_given() -> None:
    """Data, metadata, size and times."""
    value = StringValue(b"data", {"n": 1}, 1.0, 2.0)

    assert (b"data", {"n": 1}) == (value.data.read(), value.metadata)
    assert (4, 1.0, 2.0, None) == (value.size, value.created, value.modified, value.version)


def test_an_empty_string_value_was_made_now() -> None:
    """The defaults."""
    before = time.time()
    value = StringValue()

    assert (b"", {}, 0) == (value.data.read(), value.metadata, value.size)
    assert value.created is not None
    assert before <= value.created <= time.time()


def test_a_string_value_is_one_stream_and_many_ranges() -> None:
    """As any value is."""
    value = StringValue(b"0123456789", {"n": 1})
    value.metadata["n"] = 2

    assert value.data is value.data
    assert [b"23", b"89", b""] == [
        value.range(2, 4).read(), value.range(-2).read(), value.range(5, 2).read()
    ]  # fmt: skip
    assert {"n": 1} == value.metadata
    assert [b"0123", b"4567", b"89"] == list(value.iterdata(4))
    with pytest.raises(AuthorizationError):
        value.permissions


def test_a_value_unpacks_with_a_warning() -> None:
    """As a pair, and as no more than that."""
    value = StringValue(b"data", {"n": 1})
    with pytest.warns(DeprecationWarning, match="attributes"):
        data, metadata = value
    with pytest.warns(DeprecationWarning, match="attributes"):
        assert data is value[0]

    assert ({"n": 1}, 2) == (metadata, len(value))
    with pytest.raises(IndexError):
        value[2]


def test_an_event_tells_position_and_version() -> None:
    """Also if it came over the wire, as a plain tuple."""
    event = StoreSetEvent(None, key="a", metadata={})
    assert (None, None) == (event.position, event.version)
    event._position = (UUID(int=1), 2, 3, b"12345678")

    assert Position(UUID(int=1), 2, 3, b"12345678") == event.position
    assert Version(2, 3, b"12345678") == event.version
    assert isinstance(event.position, Position)


def test_attributes_of_the_users_win() -> None:
    """A program may emit events with a version or position of its own, and filter on it."""
    manager = EventManager()
    heard: list[StoreModificationEvent] = []
    manager.connect(StoreSetEvent, heard.append, filter={"version": "1.2"})
    manager.emit(StoreSetEvent(None, key="a", version="1.2", position=5))
    manager.emit(StoreSetEvent(None, key="b"))

    assert [("a", "1.2", 5)] == [(event.key, event.version, event.position) for event in heard]


def test_the_class_of_an_event_says_what_happened() -> None:
    """The action is no attribute of the event itself, and progress does not travel."""
    assert ("set", "delete") == (StoreSetEvent().action, StoreDeleteEvent().action)
    assert "action" not in vars(StoreSetEvent())
    assert StoreSetEvent.travels
    assert not StoreProgressStartEvent.travels


@pytest.mark.parametrize(
    ("data", "hint"),
    [("text", "encode"), (BytesIO(b"x"), "stream"), (None, "NoneType"), (5, "int"), ([1], "list")],
)
def test_a_string_value_of_what_are_no_bytes_is_refused(data: Any, hint: str) -> None:
    """At once, with a hint, not when it is stored."""
    with pytest.raises(InvalidValue, match=hint):
        StringValue(data)
    with pytest.raises(InvalidValue, match="dictionary, not str"):
        StringValue(b"", "title")  # type: ignore[arg-type]


def test_a_string_value_of_changeable_bytes_is_a_copy() -> None:
    """What is changed afterwards does not change the value."""
    given = bytearray(b"data")
    values = [StringValue(given), StringValue(memoryview(given)[1:])]  # type: ignore[arg-type]
    given[:] = b"xxxx"

    assert [b"data", b"ata"] == [value.data.read() for value in values]
    assert [4, 3] == [value.size for value in values]
