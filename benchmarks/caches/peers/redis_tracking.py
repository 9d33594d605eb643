"""Redis client-side caching, as redis-py has it: no thread, but a look at the socket each read."""

from __future__ import annotations

import select

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

from benchmarks.caches.case import Servers, Write, stamped

NAME = "redis tracking"
SAYS = "redis-py's protocol 3 cache: SET; Redis tells who has read the key; who reads looks first"
REDIS_KEY = "bench.tracking"

# redis-py asks for Redis 7.4 for reasons of its own; what it sends is known from 6.0 on.
CacheProxyConnection.MIN_ALLOWED_VERSION = "6.0.0"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    client = redis.Redis.from_url(servers.redis)
    return lambda value: client.set(REDIS_KEY, value)


class _Reader:
    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, protocol=3, cache_config=CacheConfig())
        self._client.set(REDIS_KEY, stamped(-1))
        self._client.get(REDIS_KEY)
        pool = self._client.connection_pool
        connection = pool.get_connection()
        pool.release(connection)
        self._poll = select.poll()
        self._poll.register(connection._conn._sock, select.POLLIN)

    def read(self) -> bytes:
        return self._client.get(REDIS_KEY)  # type: ignore[return-value]

    def wait(self, timeout_s: float) -> None:
        self._poll.poll(timeout_s * 1000)


def open_reader(servers: Servers) -> _Reader:
    """Connect, and have the key in the cache."""
    return _Reader(servers.redis)
