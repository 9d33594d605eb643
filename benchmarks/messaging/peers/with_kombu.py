"""kombu over py-amqp, one event a message."""

from __future__ import annotations

import kombu

from benchmarks.messaging.case import KEYS, PREFETCH, Case, SimpleSender, Tally

NAME = "kombu"
SAYS = "py-amqp; persistent: confirm_publish waits for each, acknowledges each delivery"
EXCHANGE = kombu.Exchange("bench.kombu", "topic", durable=True)


class _Sender(SimpleSender):
    def __init__(self, url: str, case: Case) -> None:
        self.keys = KEYS[: 1 + case.mixed]
        connection = kombu.Connection(url, transport_options={"confirm_publish": case.persistent})
        self._producer = connection.Producer(exchange=EXCHANGE)
        self._mode = 2 if case.persistent else 1

    def publish(self, key: str, body: bytes) -> None:
        self._producer.publish(
            body,
            routing_key=key,
            delivery_mode=self._mode,
            content_type="application/octet-stream",
            content_encoding="binary",
        )


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    handle = tally.of_body(is_timed=is_timed)
    if case.persistent:
        queue = kombu.Queue(
            f"bench.kombu.{case.name}",
            EXCHANGE,
            routing_key="#",
            durable=True,
            queue_arguments={"x-queue-type": "quorum"},
        )
    else:
        queue = kombu.Queue(
            f"bench.kombu.{case.name}", EXCHANGE, routing_key="#", durable=False, exclusive=True
        )

    def acknowledging(message: kombu.Message) -> None:
        handle(message.body)
        message.ack()

    connection = kombu.Connection(url)
    with connection.Consumer(
        queue,
        on_message=acknowledging if case.persistent else lambda message: handle(message.body),
        no_ack=not case.persistent,
        prefetch_count=PREFETCH,
    ):
        tally.ready()
        while True:
            connection.drain_events()
