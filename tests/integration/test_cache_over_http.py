"""A cache of a store behind HTTP, in a program without a broker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from antiphon import CacheInvalidator, MountedStore, open_store
from antiphon.events.api import EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_server import serve

#: Seconds that anything here may take.
DEADLINE_S = 15.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait until *condition* holds, or fail naming *what* was waited for."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        time.sleep(0.002)


class Remote:
    """A store that is served, and a cache of it in a program that knows only its URL."""

    def __init__(self, store: AbstractStore, url: str) -> None:
        self.store = store
        self.client = open_store(url, event_manager=EventManager())
        own = DictMemoryStore()
        own.event_manager = EventManager()
        self.mounted = MountedStore("p/", own, self.client, fill=True)
        self.mounted.event_manager = EventManager()
        self.mounted.connect()

    def read(self, key: str) -> bytes:
        return self.mounted.get(key).data.read()

    def is_cached(self, key: str) -> bool:
        return key in set(self.mounted.filling.ledger.keys())


@pytest.fixture
def remote() -> Iterator[Remote]:
    """A served store in memory, with a cache of it."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.connect()
    with serve(store) as served:
        made = Remote(store, f"dynamic+{served.url}")
        yield made
        made.client.disconnect()
    store.disconnect()


def test_a_change_at_the_server_leaves_the_cache(remote: Remote) -> None:
    """The long poll tells of it, long before the bound would show it."""
    remote.store.set("p/a", StringValue(b"one"))
    with CacheInvalidator(remote.mounted) as invalidator:
        assert invalidator.is_trusted
        assert b"one" == remote.read("p/a")
        wait_until(lambda: remote.is_cached("p/a"), "it is cached")
        began = time.monotonic()
        remote.store.set("p/a", StringValue(b"two"))
        wait_until(lambda: not remote.is_cached("p/a"), "the entry is dropped")
        took_s = time.monotonic() - began

        assert b"two" == remote.read("p/a")
        assert took_s < 2.5
        assert 1 == invalidator.stats().applied


def test_an_own_write_over_http_is_read_back(remote: Remote) -> None:
    """What this program writes is dropped before the write returns."""
    remote.store.set("p/a", StringValue(b"one"))
    with CacheInvalidator(remote.mounted):
        remote.read("p/a")
        seen = []
        for data in (b"two", b"three", b"four"):
            remote.client.set("p/a", StringValue(data))
            seen.append(remote.read("p/a"))

        assert [b"two", b"three", b"four"] == seen
