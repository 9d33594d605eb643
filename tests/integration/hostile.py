"""A client that publishes what nobody in his right mind would, frames included."""

from __future__ import annotations

import contextlib
import random
import struct
from collections.abc import Iterator

import pika
from pika.adapters.blocking_connection import BlockingChannel


class RawProperties(pika.BasicProperties):  # type: ignore[misc]
    """Properties that are nothing but a table of headers, given as bytes."""

    def __init__(self, table: bytes) -> None:
        super().__init__()
        self._table = table

    def encode(self) -> list[bytes]:
        return [b"\x20\x00", struct.pack(">I", len(self._table)), self._table]


def nested_tables(levels: int) -> bytes:
    """Return the inside of a table in a table in a table."""
    table = b"\x01zt\x01"
    for _ in range(levels):
        table = b"\x01aF" + struct.pack(">I", len(table)) + table
    return table


#: Headers that a broker passes on, and that take libraries down.  (A NaN it does not pass on.)
EVIL_TABLES = {
    "deep": nested_tables(100),
    "very deep": nested_tables(6000),
    "time": b"\x01aT" + b"\x7f" + bytes(7),
    "wide": b"".join(b"\x04%04xI\0\0\0\0" % i for i in range(10_000)),
}


#: Bytes of a body that is too long where the limit is a megabyte: RabbitMQ 4 takes
#: none that is too long for us.
LONG = 1024 * 1024 + 1


@contextlib.contextmanager
def hostile_channel(url: str) -> Iterator[BlockingChannel]:
    """A channel of pika's own to the broker at *url*."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def publish_all(
    channel: BlockingChannel, exchange: str, key: str, body: bytes, seed: int, count: int
) -> int:
    """Publish every kind of garbage, with *key* or worse; return how many messages that was.

    Args:
        body: a good one, to be spoilt.
    """
    rng = random.Random(seed)
    published = 0

    def publish(key: str | bytes, body: bytes, properties: object = None) -> None:
        nonlocal published
        channel.basic_publish(exchange, key, body, properties)  # type: ignore[arg-type]
        published += 1

    for table in EVIL_TABLES.values():
        publish(key, b"", RawProperties(table))
        publish(key, b"x" * 300_000, RawProperties(table))
    publish(key, bytes(LONG))
    publish(key, body, pika.BasicProperties(headers={"antiphon-key": 5, "classes": [[]]}))
    publish(key, b"\x92\x01" + b"\x91" * 100_000)
    publish(key, b"\xdd\xff\xff\xff\xff" * 1000)
    if exchange == "":
        return published
    for _ in range(count):
        publish(key, rng.randbytes(rng.randrange(200)))
        spoilt = bytearray(body)
        spoilt[rng.randrange(3)] ^= 1 << rng.randrange(8)
        publish(key, bytes(spoilt))
    return published
