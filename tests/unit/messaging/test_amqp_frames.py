"""Messages as AMQP frames."""

from __future__ import annotations

from typing import Any

import pika
from hypothesis import given
from hypothesis import strategies as st
from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel

from antiphon.messaging.amqp_connection import CAN_WRITE
from antiphon.messaging.amqp_frames import (
    LEAST_BODY_BYTES,
    body_bytes_of,
    frames_of,
    properties_of,
)
from antiphon.messaging.transport import Message


class Connection(SelectConnection):  # type: ignore[misc]
    """pika's own way of making frames, kept in place of sent."""

    def __init__(self, max_bytes: int) -> None:
        self.written: list[bytes] = []
        self._body_max_length = max_bytes

    def _output_marshaled_frames(self, marshaled_frames: Any) -> None:
        self.written += marshaled_frames


def pikas(message: Message, exchange: str, channel: int, max_bytes: int) -> bytes:
    """Return the bytes that pika publishes *message* with."""
    connection = Connection(max_bytes)
    method = spec.Basic.Publish(exchange=exchange, routing_key=message.routing_key, mandatory=True)
    connection._send_method(channel, method, (properties_of(message), message.body))
    return b"".join(connection.written)


@given(
    st.text(max_size=60),
    st.binary(max_size=5000),
    st.none() | st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(), max_size=2),
    st.text(st.characters(codec="ascii"), max_size=20),
    st.booleans(),
    st.integers(1, 65535),
    st.sampled_from((LEAST_BODY_BYTES, 7, 100_000)),
)
def test_as_pika(
    key: str,
    body: bytes,
    headers: dict[str, Any] | None,
    publisher: str,
    persistent: bool,
    channel: int,
    max_bytes: int,
) -> None:
    """The frames are byte for byte those of pika, also when much of them is remembered."""
    for size in (len(body), 1, 0):
        message = Message(key, body[:size], headers, publisher, persistent)

        frames = frames_of(message, "x.events", channel, max_bytes)

        assert pikas(message, "x.events", channel, max_bytes) == frames


def test_frames_are_as_long_as_was_negotiated() -> None:
    """A frame takes what the connection allows, and little where that is not known."""

    class Open:
        _body_max_length = 131064

    channel = Channel.__new__(Channel)
    channel.connection = Open()
    nothing = Channel.__new__(Channel)
    nothing.connection = object()

    assert (131064, LEAST_BODY_BYTES) == (body_bytes_of(channel), body_bytes_of(nothing))


def test_properties() -> None:
    """Publisher, persistence and headers become properties; what is not there takes no room."""
    full = properties_of(Message("k", b"x", {"origin": "o"}, "me", True))
    bare = properties_of(Message("k", b"x"))

    assert ("me", 2, {"origin": "o"}) == (full.app_id, full.delivery_mode, full.headers)
    assert pika.BasicProperties() == bare


def test_this_pika_can_be_written_to() -> None:
    """The installed pika has what writing needs; if this fails, speed is lost and nothing else."""
    assert CAN_WRITE
