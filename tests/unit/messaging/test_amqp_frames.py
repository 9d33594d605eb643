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
from antiphon.messaging.amqp_frames import MAX_BODY_BYTES, frames_of, properties_of
from antiphon.messaging.transport import Message


class Connection(SelectConnection):  # type: ignore[misc]
    """pika's own way of making frames, kept in place of sent."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._body_max_length = spec.FRAME_MAX_SIZE

    def _output_marshaled_frames(self, marshaled_frames: Any) -> None:
        self.written += marshaled_frames


def pikas(message: Message, exchange: str, channel: int) -> bytes:
    """Return the bytes that pika publishes *message* with."""
    connection = Connection()
    method = spec.Basic.Publish(exchange=exchange, routing_key=message.routing_key, mandatory=True)
    connection._send_method(channel, method, (properties_of(message), message.body))
    return b"".join(connection.written)


@given(
    st.text(max_size=60),
    st.binary(min_size=1, max_size=5000),
    st.text(st.characters(codec="ascii"), max_size=20),
    st.booleans(),
    st.integers(1, 65535),
)
def test_as_pika(key: str, body: bytes, publisher: str, persistent: bool, channel: int) -> None:
    """The frames are byte for byte those of pika, also when much of them is remembered."""
    for size in (len(body), 1):
        message = Message(key, body[:size], None, publisher, persistent)

        frames = frames_of(message, "x.events", channel)

        if size > MAX_BODY_BYTES:
            assert frames is None
        else:
            assert pikas(message, "x.events", channel) == frames


def test_left_to_pika() -> None:
    """What has headers, no body, or perhaps several body frames, is left to pika."""
    assert frames_of(Message("k", b"x", {"classes": ["a"]}), "e", 1) is None
    assert frames_of(Message("k", b""), "e", 1) is None
    assert frames_of(Message("k", b"x" * (MAX_BODY_BYTES + 1)), "e", 1) is None
    assert frames_of(Message("k", b"x" * MAX_BODY_BYTES), "e", 1) is not None


def test_properties() -> None:
    """Publisher, persistence and headers become properties; what is not there takes no room."""
    full = properties_of(Message("k", b"x", {"origin": "o"}, "me", True))
    bare = properties_of(Message("k", b"x"))

    assert ("me", 2, {"origin": "o"}) == (full.app_id, full.delivery_mode, full.headers)
    assert pika.BasicProperties() == bare


def test_this_pika_can_be_written_to() -> None:
    """The installed pika has what writing needs; if this fails, speed is lost and nothing else."""
    assert CAN_WRITE
    assert hasattr(Channel, "connection") or "connection" in Channel.__init__.__code__.co_names
