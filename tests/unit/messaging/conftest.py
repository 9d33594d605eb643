"""Buses on a memory broker of the test's own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from subscription_helpers import Heard

from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.memory import MemoryBroker


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
