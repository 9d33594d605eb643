"""What a bus says of its own health."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from antiphon import BaseEvent
from antiphon.messaging import canary as canary_module
from antiphon.messaging.bus import BrokerEventManager, BusOptions
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.worker import Worker

Opener = Callable[..., BrokerEventManager]

QUICK = BusOptions(canary_interval_s=0.02)


def wait_until(condition: Callable[[], object], describe: Callable[[], object]) -> None:
    """Wait at most 10 s."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail(str(describe()))


def become_ready(bus: BrokerEventManager) -> None:
    """Wait for the first canary."""
    wait_until(lambda: bus.health().ready, bus.health)


def test_a_bus_that_works_is_ready(bus_of: Opener) -> None:
    """Connected, consumed, and a canary went round: nothing else is needed."""
    bus = bus_of()
    become_ready(bus)
    health = bus.health()

    assert (True, ()) == (health.ready, health.problems)
    assert (True, False, None) == (health.is_connected, health.is_broken, health.blocked_because)
    assert (1, 0, 0, 0) == (
        health.consumers,
        health.subscriptions,
        health.buffered,
        health.backlog,
    )
    assert health.canary_age_s is not None
    assert health.canary_age_s < 10
    assert health.canary_round_trip_s is not None


def test_canaries_are_nobody_s_events(bus_of: Opener, heard: Any) -> None:
    """Listeners of everything hear of none, and none is counted."""
    one, other = bus_of(options=QUICK), bus_of(options=QUICK)
    other.connect(BaseEvent, heard)
    wait_until(lambda: min(one._canary.returned, other._canary.returned) > 3, one.health)
    one.emit(BaseEvent(text="all"))

    assert ["all"] == [event.text for event in heard.wait()]
    stats = other.stats()
    assert (1, 0, 0, 0) == (stats.received, stats.corrupt, stats.echoes, stats.emitted)
    assert 0 == other.health().backlog


def test_without_canary_the_connection_is_enough(bus_of: Opener) -> None:
    """A program that wants none says so, and is ready when it is connected."""
    health = bus_of(options=BusOptions(canary_interval_s=0)).health()

    assert (True, None, None) == (
        health.ready,
        health.canary_age_s,
        health.canary_round_trip_s,
    )


def test_not_ready_without_a_broker(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """The problem is why it is not connected; it is not broken, and comes back."""
    bus = bus_of(options=QUICK)
    become_ready(bus)
    memory_broker.stop()
    wait_until(lambda: not bus.is_connected, bus.health)
    bus.emit(BaseEvent())
    health = bus.health()
    memory_broker.start()

    assert (False, False, False) == (health.ready, health.is_broken, health.is_connected)
    assert "the memory broker" in health.problems[0]
    assert (0, 1, None) == (health.consumers, health.buffered, health.canary_age_s)
    become_ready(bus)


def test_not_ready_while_blocked(bus_of: Opener) -> None:
    """A broker that takes nothing is a problem, whatever the canary did before."""
    bus = bus_of()
    become_ready(bus)

    bus._inbox.blocked("low on disk")
    assert ("the broker takes nothing: low on disk",) == bus.health().problems
    bus._inbox.blocked(None)

    become_ready(bus)


def test_a_deaf_bus_notices_and_heals(
    bus_of: Opener,
    memory_broker: MemoryBroker,
    heard: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bindings that somebody took away are there again, without any loss of connection before."""
    monkeypatch.setattr(canary_module, "LOOK_S", 0.02)
    monkeypatch.setattr(canary_module, "LATE_S", 0.1)
    sender, deaf = bus_of(), bus_of(options=QUICK)
    deaf.connect(BaseEvent, heard)
    become_ready(deaf)
    with memory_broker.lock:
        for table in memory_broker._exchanges.values():
            table.__init__()  # type: ignore[misc]

    wait_until(lambda: deaf.stats().reconnects, deaf.health)
    become_ready(deaf)
    sender.emit(BaseEvent(text="again"))

    missing, again = heard.wait(2)
    assert isinstance(missing, EventsMayBeMissing)
    assert "again" == again.text
    assert 1 == deaf._canary.renewals


def test_slow_listeners_are_named(
    bus_of: Opener, heard: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog is told as a number; alone it is no problem."""
    sender, receiver = bus_of(), bus_of()
    become_ready(receiver)
    go_on = threading.Event()
    receiver.connect(BaseEvent, lambda _: go_on.wait(10))
    receiver.connect(BaseEvent, heard)
    for _ in range(3):
        sender.emit(BaseEvent())
        sender.flush(5)

    wait_until(lambda: receiver.health().backlog == 3, receiver.health)
    assert receiver.health().ready
    go_on.set()
    heard.wait(3)
    wait_until(lambda: receiver.health().backlog == 0, receiver.health)


def test_a_closed_bus_is_broken(bus_of: Opener) -> None:
    """It does not come back, so only a restart helps."""
    bus = bus_of()
    bus.close()
    health = bus.health()

    assert (False, True, 0) == (health.ready, health.is_broken, health.consumers)
    assert "it was closed" in health.problems[0]


def test_a_dead_thread_is_noticed(bus_of: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus whose listeners nobody calls any more is broken, however well it is connected."""
    bus = bus_of()
    become_ready(bus)
    monkeypatch.setattr(Worker, "is_alive", lambda self: self is not bus._inbox._events)

    health = bus.health()
    assert (False, True) == (health.ready, health.is_broken)
    assert ("the bus's thread for its events has ended",) == health.problems


def test_a_dead_subscription_is_noticed(bus_of: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A durable subscription whose events nobody handles any more breaks the bus."""
    bus = bus_of()
    subscription = bus.subscribe("audit", BaseEvent, lambda event: None)
    become_ready(bus)
    assert 1 == bus.health().subscriptions
    assert subscription.is_alive()
    monkeypatch.setattr(
        subscription._runner, "_threads", [thread := threading.Thread(target=lambda: None)]
    )
    thread.start()
    thread.join()

    health = bus.health()
    assert ("the bus's thread for its subscription 'audit' has ended",) == health.problems
    assert health.is_broken


def test_the_timetable_tells_whether_it_lives(bus_of: Opener) -> None:
    """What retries wait for has a thread from its first entry on."""
    timetable = Timetable("t")
    assert timetable.is_alive()
    done = threading.Event()
    timetable.after(0, done.set)
    assert done.wait(10)
    assert timetable.is_alive()
    timetable.stop(5)
    assert timetable.is_alive()
    timetable._is_stopping = False

    assert not timetable.is_alive()


def test_workers_tell_whether_they_live() -> None:
    """One that has not begun, or was to stop, is no dead one."""
    worker = Worker("w")
    assert worker.is_alive()
    worker.start()
    assert worker.is_alive()
    worker.stop()
    worker.join(5)

    assert worker.is_alive()
    worker._is_stopping = False
    assert not worker.is_alive()
