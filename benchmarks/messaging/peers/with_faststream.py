"""FastStream's RabbitMQ broker, one event a message."""

from __future__ import annotations

import asyncio
import itertools

from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.schemas.queue import QueueType

from benchmarks.messaging.case import KEYS, PREFETCH, Case, Tally, stamped

NAME = "FastStream"
SAYS = "over aio-pika; persistent: 500 publishes gathered at a time, acknowledges each delivery"
EXCHANGE = RabbitExchange("bench.faststream", type=ExchangeType.TOPIC, durable=True)

#: Publishes that are awaited together.
GATHERED = 500


def _broker(url: str, case: Case) -> RabbitBroker:
    channel = Channel(prefetch_count=PREFETCH, publisher_confirms=case.persistent)
    return RabbitBroker(url, default_channel=channel, logger=None)


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._case = case
        self._runner = asyncio.Runner()
        self._broker = _broker(url, case)
        self._runner.run(self._broker.start())

    def prepare(self, count: int) -> None:
        pass

    def send(self, count: int) -> None:
        self._runner.run(self._send(count))

    def pace(self, count: int, rate: float) -> None:
        self._runner.run(self._pace(count, rate))

    def _publish(self, key: str, body: bytes) -> object:
        return self._broker.publish(
            body, exchange=EXCHANGE, routing_key=key, persist=self._case.persistent
        )

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
    counted = tally.of_body(is_timed=is_timed)
    broker = _broker(url, case)
    if case.persistent:
        queue = RabbitQueue(
            f"bench.faststream.{case.name}",
            queue_type=QueueType.QUORUM,
            durable=True,
            routing_key="#",
        )
    else:
        queue = RabbitQueue(f"bench.faststream.{case.name}", exclusive=True, routing_key="#")

    async def handle(body: bytes) -> None:
        counted(body)

    policy = AckPolicy.REJECT_ON_ERROR if case.persistent else AckPolicy.ACK_FIRST
    broker.subscriber(queue, EXCHANGE, ack_policy=policy)(handle)
    await broker.start()
    tally.ready()
    await asyncio.Event().wait()
