"""Ours: a store in Redis with its journal, and a mounted cache that an invalidator keeps right."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from benchmarks.caches.case import KEY, Servers, Write, stamped

NAME = "antiphon"
SAYS = "set on a Redis store (journal, version, event); MountedStore over memory, which fills again"
SYSTEM = "bench-caches"


def open_writer(servers: Servers, system: str = SYSTEM) -> Write:
    """Connect."""
    bus = open_bus(servers.amqp, system=system)
    store = open_store(f"{servers.redis}?namespace={system}", event_manager=bus)
    store.connect()
    return lambda value: store.set_data(KEY, BytesIO(value))


class MountReader:
    """A mounted cache, and an event that tells of its invalidations."""

    def __init__(self, servers: Servers, system: str = SYSTEM, **options: Any) -> None:
        self._bus = open_bus(servers.amqp, system=system)
        source = open_store(f"{servers.redis}?namespace={system}", event_manager=self._bus)
        source.connect()
        source.set_data(KEY, BytesIO(stamped(-1)))
        self._store = MountedStore("prices/", open_store("memory:"), source, fill=True)
        self._store.connect()
        self._seen = 0
        self._invalidator = CacheInvalidator(self._store, self._bus, **options).start()

    def read(self) -> bytes:
        return self._store.get(KEY).data.read()

    def wait(self, timeout_s: float) -> None:
        self._seen = self._store.wait_applied(self._seen, timeout_s)


def open_reader(servers: Servers) -> MountReader:
    """Connect, and begin to keep the cache right."""
    return MountReader(servers)
