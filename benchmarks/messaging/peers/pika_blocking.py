"""pika's ``BlockingConnection``, one event a message: what all others are compared with."""

from __future__ import annotations

import pika

from benchmarks.messaging.case import KEYS, PREFETCH, Case, SimpleSender, Tally

NAME = "raw pika"
SAYS = "BlockingConnection; persistent: waits for each confirm, acknowledges each delivery"
EXCHANGE = "bench.pika-blocking"


class _Sender(SimpleSender):
    def __init__(self, url: str, case: Case) -> None:
        self.keys = KEYS[: 1 + case.mixed]
        self._channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
        self._properties = None
        if case.persistent:
            self._properties = pika.BasicProperties(delivery_mode=2)
            self._channel.confirm_delivery()

    def publish(self, key: str, body: bytes) -> None:
        self._channel.basic_publish(EXCHANGE, key, body, self._properties)


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    handle = tally.of_body(is_timed=is_timed)
    channel = pika.BlockingConnection(pika.URLParameters(url)).channel()
    queue = declare(channel, EXCHANGE, case)

    def acknowledging(_channel: object, method: object, _properties: object, body: bytes) -> None:
        handle(body)
        channel.basic_ack(method.delivery_tag)

    if case.persistent:
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(queue, acknowledging)
    else:
        channel.basic_consume(queue, lambda _c, _m, _p, body: handle(body), auto_ack=True)
    tally.ready()
    channel.start_consuming()


def declare(
    channel: pika.adapters.blocking_connection.BlockingChannel, name: str, case: Case
) -> str:
    """Declare exchange and queue; return the name of the queue."""
    channel.exchange_declare(name, "topic", durable=True)
    if case.persistent:
        queue = f"{name}.{case.name}"
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    else:
        queue = channel.queue_declare("", exclusive=True, auto_delete=True).method.queue
    channel.queue_bind(queue, name, "#")
    return queue
