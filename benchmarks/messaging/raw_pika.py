"""The peer: pika's ``BlockingConnection`` alone, one message an event, nothing confirmed.

Publishing it is ``basic_publish`` in the caller's thread, receiving it is a
callback in ``start_consuming`` with automatic acknowledgement: the least that
a program can do with pika.
"""

from __future__ import annotations

from collections.abc import Callable

import pika

EXCHANGE = "raw-pika"
KEY = (
    "antiphon:BaseEvent.antiphon:StoreEvent.antiphon:StoreModificationEvent.antiphon:StoreSetEvent"
)


class RawPublisher:
    """Publishes bodies of bytes."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.exchange_declare(EXCHANGE, "topic", durable=True)

    def publish(self, body: bytes) -> None:
        """Publish *body*."""
        self._channel.basic_publish(EXCHANGE, KEY, body)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def consume(url: str, ready: Callable[[], None], handle: Callable[[bytes], None]) -> None:
    """Call *handle* with each body until the process is ended; *ready* when it can come."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    queue = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
    channel.queue_bind(queue, EXCHANGE, "#")
    channel.basic_consume(queue, lambda _c, _m, _p, body: handle(body), auto_ack=True)
    ready()
    channel.start_consuming()
