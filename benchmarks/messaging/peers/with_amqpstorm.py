"""amqpstorm, one event a message."""

from __future__ import annotations

import amqpstorm

from benchmarks.messaging.case import KEYS, PREFETCH, Case, SimpleSender, Tally

NAME = "amqpstorm"
SAYS = "persistent: confirm_deliveries waits for each, acknowledges each delivery"
EXCHANGE = "bench.amqpstorm"


class _Sender(SimpleSender):
    def __init__(self, url: str, case: Case) -> None:
        self.keys = KEYS[: 1 + case.mixed]
        self._channel = amqpstorm.UriConnection(url).channel()
        self._properties = {"delivery_mode": 2 if case.persistent else 1}
        if case.persistent:
            self._channel.confirm_deliveries()

    def publish(self, key: str, body: bytes) -> None:
        self._channel.basic.publish(body, key, EXCHANGE, properties=dict(self._properties))


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    handle = tally.of_body(is_timed=is_timed)
    channel = amqpstorm.UriConnection(url).channel()
    channel.exchange.declare(EXCHANGE, "topic", durable=True)
    queue = f"bench.amqpstorm.{case.name}"
    if case.persistent:
        channel.queue.declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    else:
        channel.queue.declare(queue, exclusive=True, auto_delete=True)
    channel.queue.bind(queue, EXCHANGE, "#")

    def acknowledging(message: amqpstorm.Message) -> None:
        handle(message._body)
        message.ack()

    channel.basic.qos(PREFETCH)
    channel.basic.consume(
        acknowledging if case.persistent else lambda message: handle(message._body),
        queue,
        no_ack=not case.persistent,
    )
    tally.ready()
    channel.start_consuming(auto_decode=False)
