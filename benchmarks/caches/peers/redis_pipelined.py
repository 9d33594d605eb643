"""Redis pub/sub into a dictionary, the write being one round trip instead of two."""

from __future__ import annotations

import redis

from benchmarks.caches.case import DictReader, Servers, Write
from benchmarks.caches.peers import redis_pubsub

NAME = "redis pipelined"
SAYS = "the same with SET and PUBLISH in one pipeline, without a transaction"
REDIS_KEY = "bench.pipelined"
CHANNEL = "bench.pipelined"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    client = redis.Redis.from_url(servers.redis)

    def write(value: bytes) -> None:
        pipe = client.pipeline(transaction=False)
        pipe.set(REDIS_KEY, value)
        pipe.publish(CHANNEL, value)
        pipe.execute()

    return write


def open_reader(servers: Servers) -> DictReader:
    """Connect, and begin to listen."""
    return redis_pubsub.open_reader(servers, CHANNEL)
