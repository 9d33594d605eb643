"""aio-pika, one event a message."""

from __future__ import annotations

import asyncio
import itertools

import aio_pika

from benchmarks.messaging.case import KEYS, PREFETCH, Case, Tally, stamped

NAME = "aio-pika"
SAYS = "persistent: 500 publishes gathered at a time, acknowledges each delivery"
EXCHANGE = "bench.aio-pika"

#: Publishes that are awaited together.
GATHERED = 500


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._case = case
        self._mode = aio_pika.DeliveryMode(2 if case.persistent else 1)
        self._runner = asyncio.Runner()
        self._runner.run(self._connect(url))

    async def _connect(self, url: str) -> None:
        self._connection = await aio_pika.connect(url)
        channel = await self._connection.channel(publisher_confirms=self._case.persistent)
        self._exchange = await channel.declare_exchange(EXCHANGE, "topic", durable=True)

    def prepare(self, count: int) -> None:
        pass

    def send(self, count: int) -> None:
        self._runner.run(self._send(count))

    def pace(self, count: int, rate: float) -> None:
        self._runner.run(self._pace(count, rate))

    def _publish(self, key: str, body: bytes) -> object:
        return self._exchange.publish(aio_pika.Message(body, delivery_mode=self._mode), key)

    async def _send(self, count: int) -> None:
        body = stamped()
        keys = itertools.cycle(KEYS if self._case.mixed else KEYS[:1])
        if not self._case.persistent:
            for _ in range(count):
                await self._publish(next(keys), body)
            return
        for begin in range(0, count, GATHERED):
            some = range(min(GATHERED, count - begin))
            await asyncio.gather(*(self._publish(next(keys), body) for _ in some))

    async def _pace(self, count: int, rate: float) -> None:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for index in range(count):
            await asyncio.sleep(max(0.0, begin + index / rate - loop.time()))
            await self._publish(KEYS[0], stamped())


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    asyncio.run(_receive(url, case, tally, is_timed=is_timed))


async def _receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    handle = tally.of_body(is_timed=is_timed)
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    await channel.set_qos(PREFETCH)
    exchange = await channel.declare_exchange(EXCHANGE, "topic", durable=True)
    if case.persistent:
        name, arguments = f"{EXCHANGE}.{case.name}", {"x-queue-type": "quorum"}
        queue = await channel.declare_queue(name, durable=True, arguments=arguments)
    else:
        queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "#")

    async def acknowledging(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        handle(message.body)
        await message.ack()

    async def counting(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        handle(message.body)

    await queue.consume(acknowledging if case.persistent else counting, no_ack=not case.persistent)
    tally.ready()
    await asyncio.Event().wait()
