"""A message as AMQP frames, most of which is remembered from the message before.

Events have few routing keys, and their properties differ by the length of the
body only.  pika builds five objects a message and encodes each field anew; here
its own encoding is kept, and the length and the body are put into it.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Body, Header
from pika.frame import Method as MethodFrame

from antiphon.messaging.transport import Message

#: Bytes of a body that fit into one frame in any case: AMQP lets nobody negotiate less.
LEAST_BODY_BYTES = spec.FRAME_MIN_SIZE - spec.FRAME_HEADER_SIZE - spec.FRAME_END_SIZE

#: Routing keys whose frames are remembered; a program uses few.
MAX_REMEMBERED = 4096

#: Where a header frame has the length of the body: after type, channel, size, class and weight.
_LENGTH_AT = 11
_length = struct.Struct(">Q")
_body = struct.Struct(">BHI")
_BODY = spec.FRAME_BODY
_END = bytes((spec.FRAME_END,))


def properties_of(message: Message) -> pika.BasicProperties:
    """Return the AMQP properties of *message*."""
    return pika.BasicProperties(
        app_id=message.publisher or None,
        delivery_mode=2 if message.persistent else None,
        headers=dict(message.headers) if message.headers else None,
    )


def frames_of(
    message: Message, exchange: str, channel: int, max_bytes: int = LEAST_BODY_BYTES
) -> bytes:
    """Return the frames that publish *message*, ``mandatory``, in one piece.

    Args:
        message: any message.
        exchange: where to publish it.
        channel: number of the channel.
        max_bytes: bytes of a body in one frame, as was negotiated (``body_bytes_of``).

    Raises:
        ShortStringTooLong, UnsupportedAMQPFieldException: pika cannot write the
            routing key, or a header.
    """
    body = message.body
    length = len(body)
    if message.headers:
        header: bytes = Header(channel, length, properties_of(message)).marshal()
    else:
        head, tail = _header(message.publisher, message.persistent, channel)
        header = head + _length.pack(length) + tail
    method = _publish(exchange, message.routing_key, channel)
    if length <= max_bytes:
        if not length:
            return method + header
        return b"".join((method, header, _body.pack(_BODY, channel, length), body, _END))
    parts = [body[at : at + max_bytes] for at in range(0, length, max_bytes)]
    return b"".join((method, header, *(Body(channel, part).marshal() for part in parts)))


def body_bytes_of(channel: Channel) -> int:
    """Return how many bytes of a body fit into one frame of *channel*."""
    return int(getattr(channel.connection, "_body_max_length", None) or LEAST_BODY_BYTES)


@lru_cache(MAX_REMEMBERED)
def _publish(exchange: str, routing_key: str, channel: int) -> bytes:
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return MethodFrame(channel, method).marshal()  # type: ignore[no-any-return]


@lru_cache(64)
def _header(publisher: str, persistent: bool, channel: int) -> tuple[bytes, bytes]:
    properties = properties_of(Message("", b"", None, publisher, persistent))
    frame = Header(channel, 0, properties).marshal()
    return frame[:_LENGTH_AT], frame[_LENGTH_AT + _length.size :]
