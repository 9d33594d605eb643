"""Buses on a memory broker of the test's own."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.memory import MemoryBroker


class Heard:
    """A listener that keeps what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._moved = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._moved:
            self.events.append(event)
            self._moved.notify_all()

    def wait(self, count: int = 1, timeout_s: float = 10) -> list[Any]:
        """Return the events once there are *count*; fail if they do not come."""
        with self._moved:
            if not self._moved.wait_for(lambda: len(self.events) >= count, timeout_s):
                pytest.fail(f"heard {len(self.events)} of {count} events within {timeout_s} s")
            return list(self.events)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def memory_url() -> str:
    """URL of a broker that no other test uses."""
    return f"memory://{secrets.token_hex(6)}"


@pytest.fixture
def memory_broker(memory_url: str) -> MemoryBroker:
    """The broker behind ``memory_url``."""
    return MemoryBroker.named(memory_url.removeprefix("memory://"))


@pytest.fixture
def bus_of(memory_url: str) -> Iterator[Callable[..., BrokerEventManager]]:
    """Open buses, and close them after the test."""
    buses: list[BrokerEventManager] = []

    def opened(origin: str | None = None, **options: Any) -> BrokerEventManager:
        buses.append(open_bus(memory_url, origin=origin, **options))
        return buses[-1]

    yield opened
    for bus in buses:
        bus.close(1)
