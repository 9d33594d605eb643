"""100 opaque events in one message of pika's ``BlockingConnection``: what packing alone gives."""

from __future__ import annotations

import struct

import pika

from benchmarks.messaging.case import BODY_BYTES, KEYS, PREFETCH, Case, Tally, stamped
from benchmarks.messaging.peers.pika_blocking import declare

NAME = "pika, 100 packed"
SAYS = "raw pika, 100 bodies in each message, cut out and handed over one by one, never decoded"
EXCHANGE = "bench.pika-packed"
PACKED = 100

_length = struct.Struct(">I")


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self._properties = pika.BasicProperties(delivery_mode=2 if case.persistent else 1)
        if case.persistent:
            self._channel.confirm_delivery()

    def prepare(self, count: int) -> None:
        pass

    def send(self, count: int) -> None:
        event = stamped()
        for _ in range(count // PACKED):
            parts: list[bytes] = []
            for _ in range(PACKED):
                parts += (_length.pack(len(event)), event)
            self._channel.basic_publish(EXCHANGE, KEYS[0], b"".join(parts), self._properties)


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    handle, unpack = tally.of_body(is_timed=is_timed), _length.unpack_from
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()

    def cut(body: bytes) -> None:
        at = 0
        while at < len(body):
            end = at + 4 + unpack(body, at)[0]
            handle(body[at + 4 : end])
            at = end

    def acknowledging(_channel: object, method: object, _properties: object, body: bytes) -> None:
        cut(body)
        channel.basic_ack(method.delivery_tag)

    queue = declare(channel, EXCHANGE, case)
    if case.persistent:
        channel.basic_qos(prefetch_count=PREFETCH * BODY_BYTES // 1000)
        channel.basic_consume(queue, acknowledging)
    else:
        channel.basic_consume(queue, lambda _c, _m, _p, body: cut(body), auto_ack=True)
    tally.ready()
    channel.start_consuming()
