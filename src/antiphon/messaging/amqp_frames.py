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
from pika.frame import Body, Header
from pika.frame import Method as MethodFrame

from antiphon.messaging.transport import Message

#: Bytes of the longest body that is sure to fit into one frame: AMQP lets nobody negotiate less.
MAX_BODY_BYTES = spec.FRAME_MIN_SIZE - spec.FRAME_HEADER_SIZE - spec.FRAME_END_SIZE

#: Routing keys whose frames are remembered; a program uses few.
MAX_REMEMBERED = 4096

#: Where a header frame has the length of the body: after type, channel, size, class and weight.
_LENGTH_AT = 11
_length = struct.Struct(">Q")


def properties_of(message: Message) -> pika.BasicProperties:
    """Return the AMQP properties of *message*."""
    return pika.BasicProperties(
        app_id=message.publisher or None,
        delivery_mode=2 if message.persistent else None,
        headers=dict(message.headers) if message.headers else None,
    )


def frames_of(message: Message, exchange: str, channel: int) -> bytes | None:
    """Return the frames that publish *message*, ``mandatory``, in one piece.

    Returns:
        None for a message that is not of the common kind (headers, or a body that
        may need several frames): pika is to publish it.
    """
    body = message.body
    length = len(body)
    if message.headers or not 0 < length <= MAX_BODY_BYTES:
        return None
    head, tail = _header(message.publisher, message.persistent, channel)
    return b"".join(
        (
            _publish(exchange, message.routing_key, channel),
            head,
            _length.pack(length),
            tail,
            Body(channel, body).marshal(),
        )
    )


@lru_cache(MAX_REMEMBERED)
def _publish(exchange: str, routing_key: str, channel: int) -> bytes:
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=True)
    return MethodFrame(channel, method).marshal()  # type: ignore[no-any-return]


@lru_cache(64)
def _header(publisher: str, persistent: bool, channel: int) -> tuple[bytes, bytes]:
    properties = properties_of(Message("", b"", None, publisher, persistent))
    frame = Header(channel, 0, properties).marshal()
    return frame[:_LENGTH_AT], frame[_LENGTH_AT + _length.size :]
