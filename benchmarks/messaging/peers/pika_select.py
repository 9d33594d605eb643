"""pika's ``SelectConnection``, one event a message, confirms pipelined."""

from __future__ import annotations

from collections.abc import Callable

import pika
from pika.channel import Channel

from benchmarks.messaging.case import ACK_EVERY, KEYS, PREFETCH, WINDOW, Case, Tally, stamped

NAME = "pika, pipelined"
SAYS = (
    f"SelectConnection, {WINDOW} unconfirmed at most; persistent: acknowledges {ACK_EVERY} at once"
)
EXCHANGE = "bench.pika-select"

#: Messages that are published before the loop gets to write and to read.
CHUNK = 100


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._keys = KEYS if case.mixed else KEYS[:1] * 2
        self._properties = pika.BasicProperties(delivery_mode=2 if case.persistent else 1)
        self._left = self._published = self._confirmed = 0
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda c: c.channel(on_open_callback=self._opened),
        )
        self._connection.ioloop.start()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.confirm_delivery(
            self._on_confirm, callback=lambda _: self._connection.ioloop.stop()
        )

    def prepare(self, count: int) -> None:
        pass

    def send(self, count: int) -> None:
        self._left = count
        self._body = stamped()
        loop = self._connection.ioloop
        loop.add_callback_threadsafe(self._pump)
        loop.start()

    def _pump(self) -> None:
        room = min(self._left, CHUNK, WINDOW - (self._published - self._confirmed))
        if room <= 0:
            return
        for index in range(room):
            self._channel.basic_publish(
                EXCHANGE, self._keys[index & 1], self._body, self._properties
            )
        self._published += room
        self._left -= room
        self._connection.ioloop.call_later(0, self._pump)

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        method = frame.method
        self._confirmed = method.delivery_tag if method.multiple else self._confirmed + 1
        if self._left:
            self._pump()
        elif self._confirmed == self._published:
            self._connection.ioloop.stop()


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    connection = pika.SelectConnection(
        pika.URLParameters(url),
        on_open_callback=lambda c: c.channel(
            on_open_callback=lambda channel: _consume(
                channel, case, tally.of_body(is_timed=is_timed), tally.ready
            )
        ),
    )
    connection.ioloop.start()


def _consume(
    channel: Channel, case: Case, handle: Callable[[bytes], None], ready: Callable[[], None]
) -> None:
    def acknowledging(_channel: object, method: object, _properties: object, body: bytes) -> None:
        handle(body)
        if not method.delivery_tag % ACK_EVERY:
            channel.basic_ack(method.delivery_tag, multiple=True)

    def declared(frame: pika.frame.Method) -> None:
        channel.queue_bind(frame.method.queue, EXCHANGE, "#")
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(
            frame.method.queue,
            acknowledging if case.persistent else lambda _c, _m, _p, body: handle(body),
            auto_ack=not case.persistent,
            callback=lambda _: ready(),
        )

    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    if case.persistent:
        arguments = {"x-queue-type": "quorum"}
        name = f"{EXCHANGE}.{case.name}"
        channel.queue_declare(name, durable=True, arguments=arguments, callback=declared)
    else:
        channel.queue_declare("", exclusive=True, auto_delete=True, callback=declared)
