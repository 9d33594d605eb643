"""What the tests of outboxes share."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import BrokerEventManager, open_store
from antiphon.events.api import EventManager
from antiphon.messaging.bus import BusOptions
from antiphon.messaging.bus import open_bus as open_plain_bus
from antiphon.outbox.opening import attach
from antiphon.outbox.options import Timing
from antiphon.storage.events import StoreModificationEvent

#: For tests that wait for a lease to end.
QUICK = Timing(lease_s=0.3, renew_s=0.1, tick_s=0.02, patience_s=0.1)

#: For tests in which no lease ends.
PATIENT = Timing(lease_s=3600, renew_s=0.1, tick_s=0.02, patience_s=0.05)

#: A look at the stores only when ``wake()`` says so.
ASLEEP = Timing(lease_s=3600, renew_s=0.1, tick_s=3600, patience_s=0.05)

_number = itertools.count()


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 20) -> None:
    """Wait until *condition*; fail with *what* if it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what}")
        time.sleep(0.005)


class Heard:
    """A listener that keeps the events of stores."""

    def __init__(self, bus: Any) -> None:
        self.events: list[Any] = []
        bus.connect(StoreModificationEvent, self.events.append)

    @property
    def keys(self) -> list[str]:
        return [event.key for event in self.events]

    @property
    def ids(self) -> list[Any]:
        return [event._event_id for event in self.events]

    def wait(self, count: int) -> list[str]:
        """Return the keys once there are *count* events."""
        wait_until(lambda: len(self.events) >= count, f"{count} events, not {self.keys}")
        return self.keys


class World:
    """Buses on one broker in this process, and stores of one kind; all are closed at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.broker = f"memory://outbox-{next(_number)}"
        self._undo: list[Callable[[], Any]] = []

    def bus(self, timing: Timing | None = None, **options: Any) -> BrokerEventManager:
        """Return a bus; with an outbox if there is a *timing*."""
        bus = open_plain_bus(self.broker, options=BusOptions(**options))
        self._undo.append(bus.close)
        if timing is not None:
            attach(bus, timing=timing)
        return bus

    def store(self, manager: Any = None, **options: Any) -> Any:
        """Return a connected store; without *manager* with one that reaches nobody."""
        store = open_store(self.url, event_manager=manager or EventManager(), **options)
        store.connect()
        self._undo.append(store.disconnect)
        return store

    def close(self) -> None:
        """Close what was opened, the newest first."""
        for undo in reversed(self._undo):
            undo()


def swept(store: Any) -> bool:
    """Return whether *store* is swept to its head."""
    return bool(store.outbox_ledger().swept() == store.head())


def wait_swept(store: Any) -> None:
    """Wait until *store* is swept to its head."""
    wait_until(lambda: swept(store), f"{store} is swept")
