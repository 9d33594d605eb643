"""Redis pub/sub into a dictionary: the least that a cache in Python does."""

from __future__ import annotations

import threading

import redis

from benchmarks.caches.case import KEY, DictReader, Servers, Write

NAME = "redis pub/sub"
SAYS = "set, then publish, with redis-py; the value travels; a thread puts it into a dict"
REDIS_KEY = "bench.pubsub"
CHANNEL = "bench.changes"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    client = redis.Redis.from_url(servers.redis)

    def write(value: bytes) -> None:
        client.set(REDIS_KEY, value)
        client.publish(CHANNEL, value)

    return write


def open_reader(servers: Servers, channel: str = CHANNEL) -> DictReader:
    """Connect, and begin to listen."""
    reader = DictReader()
    pubsub = redis.Redis.from_url(servers.redis).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(channel)

    def listen() -> None:
        for message in pubsub.listen():
            reader.values[KEY] = message["data"]
            reader.changed()

    threading.Thread(target=listen, daemon=True).start()
    return reader
