"""One cache over a real broker: a writer's bus, and a cache whose network can fall silent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bus_helpers import wait_until
from tcp_proxy import Node

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.string_value import StringValue

#: Seconds by which what the scene's cache calls fresh may be behind.
BOUND_S = 1.0


class Scene:
    """A store that is written by one bus, and a cache of it that hears of that by another.

    Args:
        amqp_url: of the broker.
        system: of both buses.
        url: of the store; opened twice.
        cache_url: of the store that holds the cache.
        check_interval_s: of the invalidator; long, where it is not to find anything by itself.
    """

    def __init__(
        self,
        amqp_url: str,
        system: str,
        url: str,
        *,
        cache_url: str = "memory:",
        check_interval_s: float = 60.0,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self.network = self._stack.enter_context(Node(amqp_url))
        host = amqp_url.partition("@")[2].partition("/")[0]
        slow = amqp_url.replace(host, f"127.0.0.1:{self.network.port}")
        separator = "&" if "?" in slow else "?"
        self.writers_bus = self._stack.enter_context(open_bus(amqp_url, system=system))
        self.bus = self._stack.enter_context(
            open_bus(f"{slow}{separator}heartbeat=2", system=system)
        )
        self.store = self._stack.enter_context(open_store(url, event_manager=self.writers_bus))
        self.source: Any = open_store(url, event_manager=self.bus)
        self._stack.enter_context(self.source)
        cache = self._stack.enter_context(open_store(cache_url))
        self.mounted = MountedStore(
            "p/", cache, self.source, fill=True, freshness=f"bounded({BOUND_S})"
        )
        self.mounted.connect()
        self._interval_s = check_interval_s

    def __enter__(self) -> Self:
        self.invalidator = self._stack.enter_context(
            CacheInvalidator(self.mounted, self.bus, check_interval_s=self._interval_s)
        )
        wait_until(lambda: self.invalidator.is_trusted, "the cache is vouched for")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.network.speak()
        self._stack.close()

    def write(self, key: str, text: str) -> None:
        """Write, by the writer's own store and bus."""
        self.store.set(key, StringValue(text.encode()))

    def read(self, key: str) -> str:
        """Read through the cache."""
        with self.mounted.get(key).data as stream:
            return bytes(stream.read()).decode()

    def cached(self, key: str) -> str | None:
        """Return what the cache has, whether it may be served or not."""
        entry = self.mounted.filling.ledger.lookup(key).entry
        if entry is None:
            return None
        with entry.data as stream:
            return stream.read().decode()

    def seconds_until(self, key: str, text: str) -> float:
        """Read *key* until it is *text*; return when the last read began that found another.

        In seconds since the call, so that it says nothing of how long reads take;
        0.0 if there was none.
        """
        first, last = time.monotonic(), 0.0

        def is_there() -> bool:
            nonlocal last
            began = time.monotonic() - first
            if self.read(key) == text:
                return True
            last = began
            return False

        wait_until(is_there, f"{key} is {text}")
        return last

    def warm(self, key: str, text: str) -> None:
        """Read *key* until it is *text*, and is served from the cache."""
        hits = self.mounted.cache_stats().hits
        self.seconds_until(key, text)
        wait_until(
            lambda: self.read(key) == text and self.mounted.cache_stats().hits > hits,
            f"{key} is served from the cache",
        )

    @contextlib.contextmanager
    def silence(self) -> Iterator[None]:
        """Let nothing through between the cache and the broker; nobody is told."""
        self.network.fall_silent()
        threading.Event().wait(0.1)  # what it had in hand is passed on
        yield
        self.network.speak()


def sqlite_url(folder: Path) -> str:
    """Return the URL of a sqlite store in *folder*."""
    return f"sqlite:///{folder}/store.db"


def cache_url(medium: str, folder: Path, redis_url: str) -> str:
    """Return the URL of a store for a cache: in memory, sqlite or redis."""
    return {
        "memory": "memory:",
        "sqlite": f"sqlite:///{folder}/cache.db",
        "redis": f"{redis_url}?namespace=cache",
    }[medium]
