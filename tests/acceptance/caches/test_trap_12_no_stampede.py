"""Trap 12: a reconnect must not empty every cache, nor ask the source for what nobody reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
import redis

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.ledger import Fill
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import RabbitMQ

CACHES, KEYS, CHANGED = 5, 4000, 5

#: Requests that the source may get: 1 % of a reload of all caches.
MOST_REQUESTS = CACHES * KEYS // 100

#: Seconds that a broker takes to restart, and requests of one cache in each further second:
#: a look at the journal, which is two or three.
RESTART_S, LOOK_REQUESTS = 10.0, 3

PATIENCE_S = 60.0
NAMESPACE = "origin"


def name_of(number: int) -> str:
    return f"prices/{number:05}"


class Requests:
    """Counts what goes to Redis, of whatever store in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        exchange = RedisClient._exchange

        def counted(client: RedisClient, *args: Any, **kwargs: Any) -> list[Any]:
            self.count += 1
            return exchange(client, *args, **kwargs)

        monkeypatch.setattr(RedisClient, "_exchange", counted)


class Cache:
    """A full cache with a bus and a connection to the source of its own."""

    def __init__(self, stack: contextlib.ExitStack, amqp: str, source_url: str, system: str):
        self.bus = stack.enter_context(open_bus(amqp, system=system))
        source = open_store(source_url, event_manager=self.bus)
        source.connect()
        stack.callback(source.disconnect)
        self.mounted = MountedStore("prices/", open_store("memory:"), source, fill=True)
        self.mounted.connect()
        self.invalidator = CacheInvalidator(self.mounted, self.bus)
        stack.callback(self.invalidator.stop)
        self.invalidator.start()
        self._fill()

    def _fill(self) -> None:
        ledger = self.mounted.filling.ledger
        version = self.mounted.backing_store.get(name_of(0)).version
        for number in range(KEYS):
            key = name_of(number)
            value = self.mounted.backing_store.get(key) if number <= CHANGED * 2 else None
            known = version if value is None else value.version
            entry = ledger.fill(ledger.reserve(key), Fill(BytesIO(b"1"), {}, 0.0, 0.0, known))
            assert entry is not None
            entry.data.close()

    @property
    def entries(self) -> int:
        return self.mounted.filling.ledger.usage().entries

    def read(self, number: int) -> bytes:
        with self.mounted.get(name_of(number)).data as stream:
            return stream.read()


@pytest.fixture
def source_url(redis_url: str) -> Iterator[str]:
    """A source whose every key is set, by a process without a bus."""
    url = f"{redis_url}?namespace={NAMESPACE}"
    writer = open_store(url)
    writer.connect()
    writer.multiset(map(name_of, range(KEYS)), (StringValue(b"1") for _ in range(KEYS)))
    yield url
    writer.disconnect()


def change(source_url: str) -> None:
    """Change some keys, without a word to the broker."""
    writer = open_store(source_url)
    writer.connect()
    for number in range(CHANGED):
        writer.set(name_of(number), StringValue(b"2"))
    writer.disconnect()


def truncate(redis_url: str) -> None:
    """Leave nothing in the journal but its newest entry."""
    with redis.Redis.from_url(redis_url) as client:
        client.xtrim(Layout.of(NAMESPACE).name("journal"), maxlen=1, approximate=False)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_restart_of_the_broker_costs_no_reload(
    broker: RabbitMQ, broker_url: str, source_url: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches that nobody reads keep what is right, and read the journal, not the values."""
    with contextlib.ExitStack() as stack:
        caches = [Cache(stack, broker_url, source_url, system) for _ in range(CACHES)]
        requests = Requests(monkeypatch)
        began = time.monotonic()
        broker.kill()
        wait_until(lambda: not any(cache.invalidator.is_trusted for cache in caches))
        change(source_url)
        broker.restart()
        wait_until(lambda: all(cache.invalidator.is_trusted for cache in caches))
        late_s = max(time.monotonic() - began - RESTART_S, 0)

        # A look a second is no reload, however long a busy machine takes for the broker.
        assert requests.count <= MOST_REQUESTS + LOOK_REQUESTS * CACHES * late_s
        assert [KEYS - CHANGED] * CACHES == [cache.entries for cache in caches]
        assert [b"2"] * CACHES == [cache.read(0) for cache in caches]


def test_a_truncated_journal_costs_no_reload(
    amqp_url: str, redis_url: str, source_url: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a journal to read entries are confirmed when they are read, and not before."""
    with contextlib.ExitStack() as stack:
        caches = [Cache(stack, amqp_url, source_url, system) for _ in range(CACHES)]
        for cache in caches:
            cache.invalidator.stop()
        change(source_url)
        truncate(redis_url)
        requests = Requests(monkeypatch)
        for cache in caches:
            cache.invalidator.start()
        wait_until(lambda: all(cache.invalidator.is_trusted for cache in caches))

        assert requests.count <= MOST_REQUESTS
        assert [KEYS] * CACHES == [cache.entries for cache in caches]
        assert [b"2"] * CACHES == [cache.read(0) for cache in caches]


def test_an_unchecked_entry_is_confirmed_by_one_read(
    amqp_url: str, redis_url: str, source_url: str, system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader asks the source once for each entry that it reads, and then no more."""
    with contextlib.ExitStack() as stack:
        cache = Cache(stack, amqp_url, source_url, system)
        cache.invalidator.stop()
        change(source_url)
        truncate(redis_url)
        cache.invalidator.start()
        wait_until(lambda: cache.invalidator.is_trusted)
        numbers = range(CHANGED, CHANGED * 2)
        for number in numbers:
            cache.read(number)
        before = cache.mounted.cache_stats()
        for number in numbers:
            cache.read(number)
        after = cache.mounted.cache_stats()

        assert (len(numbers), 0) == (after.hits - before.hits, after.misses - before.misses)
