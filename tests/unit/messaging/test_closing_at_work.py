"""Subscriptions that are closed while a listener is at work, and threads that must not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from subscription_helpers import wait_until

from antiphon import BaseEvent, BusOptions
from antiphon.errors import PublishBufferFull
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.room import doing_io

Opener = Callable[..., BrokerEventManager]


def test_closed_while_a_listener_is_at_work(
    bus_of: Opener, memory_broker: MemoryBroker, heard: Any
) -> None:
    """The event at work and those behind it come again, in order; what was handled does not."""
    sender, here, there = bus_of(), bus_of(), bus_of()
    handled: list[int] = []
    is_at_work, may_end = threading.Event(), threading.Event()

    def slow(event: Any) -> None:
        if event.number == 5:
            is_at_work.set()
            may_end.wait(10)
        handled.append(event.number)

    here.subscribe("books", BaseEvent, slow).close()
    memory_broker.hold_confirms()
    for number in range(40):  # the first go alone, the rest in one message
        sender.emit(BaseEvent(number=max(0, number - 28)))
    memory_broker.release_confirms()
    sender.flush(5)
    subscription = here.subscribe("books", BaseEvent, slow)
    assert is_at_work.wait(10)
    subscription.close(0)
    there.subscribe("books", BaseEvent, heard)
    heard.wait(7)
    may_end.set()
    wait_until(lambda: 5 in handled)

    assert list(range(5, 12)) == [event.number for event in heard.events]


def test_threads_of_a_bus_do_not_wait_for_room(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """A finalizer may emit on any of them: it is told at once that there is no room."""
    bus = bus_of(options=BusOptions(buffer_events=3, block_timeout_s=60))
    memory_broker.hold_confirms()
    for _ in range(3):
        bus.emit(BaseEvent())

    with doing_io(), pytest.raises(PublishBufferFull):
        bus.emit(BaseEvent())

    memory_broker.release_confirms()
