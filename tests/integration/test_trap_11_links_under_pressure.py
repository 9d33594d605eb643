"""Trap 11: slow listeners, many threads, alarms, forks and a frozen broker cost no event."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import pytest
from bus_helpers import BACK_WITHIN_S, Heard, Numbered, wait_until

from antiphon import BrokerEventManager, open_bus
from antiphon.errors import BusClosed
from antiphon.testing.broker_control import raise_alarm
from antiphon.testing.servers import RabbitMQ

THREADS = 50

#: Seconds that an emit may take among fifty threads on a busy machine.  What it must
#: never do is wait for the broker, which is away for longer.
MAX_EMIT_S = 2.0


class Crowd:
    """Fifty threads that emit numbered events until they are told to stop."""

    def __init__(self, bus: BrokerEventManager) -> None:
        self._bus = bus
        self._is_over = threading.Event()
        self.slowest_s = 0.0
        self.emitted: dict[int, int] = {}
        self._threads = [
            threading.Thread(target=self._emit, args=(name,)) for name in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def _emit(self, name: int) -> None:
        for number in itertools.count():
            began = time.monotonic()
            self._bus.emit(Numbered(thread=name, number=number))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.emitted[name] = number + 1
            if self._is_over.wait(0.05):
                return

    def count(self) -> int:
        return sum(self.emitted.values())

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def sender(broker_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(f"{broker_url}?heartbeat=2") as bus:
        yield bus


@pytest.fixture
def crowd(sender: BrokerEventManager) -> Iterator[Crowd]:
    crowd = Crowd(sender)
    yield crowd
    crowd.stop()


def check_series(heard: Heard, crowd: Crowd) -> None:
    """Everything that each thread emitted came once, in its order."""
    wait_until(lambda: len(heard.events) >= crowd.count(), "everything arrives")
    series: dict[int, list[int]] = defaultdict(list)
    for event in tuple(heard.events):
        series[event.thread].append(event.number)

    assert {name: list(range(count)) for name, count in crowd.emitted.items()} == dict(series)


def test_alarm_while_fifty_threads_emit(
    broker: RabbitMQ, broker_url: str, sender: BrokerEventManager
) -> None:
    """An alarm goes on and off: emit returns all the time, and nothing is lost or disordered."""
    heard = Heard()
    with open_bus(f"{broker_url}?heartbeat=2") as receiver:
        receiver.connect(Numbered, heard)
        crowd = Crowd(sender)
        try:
            raise_alarm(broker, is_on=True)
            wait_until(lambda: sender.stats().blocked_because is not None, "it is blocked")
            before = crowd.count()
            wait_until(lambda: crowd.count() > before + 10 * THREADS, "emits return")
        finally:
            raise_alarm(broker, is_on=False)
            crowd.stop()
        sender.flush(BACK_WITHIN_S)

        check_series(heard, crowd)
        assert crowd.slowest_s < MAX_EMIT_S
        assert (0, 0) == (sender.stats().reconnects, receiver.stats().reconnects)


def test_frozen_broker_while_fifty_threads_emit(
    broker: RabbitMQ, sender: BrokerEventManager, crowd: Crowd
) -> None:
    """With the broker stopped emit costs a local append; soon after its return all is out."""
    wait_until(lambda: sender.stats().confirmed > THREADS, "events flow")
    broker.pause()
    wait_until(lambda: not sender.is_connected, "the silence is noticed", BACK_WITHIN_S)
    before = crowd.count()
    wait_until(lambda: crowd.count() > before + 10 * THREADS, "emits return")
    broker.resume()
    crowd.stop()
    sender.flush(BACK_WITHIN_S)

    assert crowd.slowest_s < MAX_EMIT_S
    assert crowd.count() == sender.stats().confirmed


def test_fork_while_fifty_threads_emit(
    broker_url: str, sender: BrokerEventManager, crowd: Crowd
) -> None:
    """A child that was forked in mid-publish is told so, and the parent's frames stay whole."""
    heard = Heard()
    with open_bus(f"{broker_url}?heartbeat=2") as receiver:
        wait_until(lambda: sender.stats().confirmed > THREADS, "events flow")
        receiver.connect(Numbered, heard)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(_emit_in_child(sender))
            assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            before = len(heard.events)
            wait_until(lambda before=before: len(heard.events) > before, "events flow on")
        crowd.stop()
        sender.flush(BACK_WITHIN_S)

        assert 0 == sender.stats().reconnects
        assert crowd.count() == sender.stats().confirmed


def _emit_in_child(bus: BrokerEventManager) -> int:
    signal.alarm(20)  # a child that hangs is a failure, not a hanging test
    try:
        bus.emit(Numbered())
    except BusClosed:
        return 0
    return 1


def test_listener_that_takes_many_heartbeats(broker_url: str) -> None:
    """A listener that is at work for several heartbeats costs its link nothing."""
    begun, go_on, heard = threading.Event(), threading.Event(), Heard()

    def slow(event: Numbered) -> None:
        begun.set()
        go_on.wait(60)

    with (
        open_bus(broker_url) as sender,
        open_bus(f"{broker_url}?heartbeat=1") as receiver,
    ):
        receiver.connect(Numbered, slow, filter={"number": 0}, priority=1)
        receiver.connect(Numbered, heard)
        for number in range(100):
            sender.emit(Numbered(number=number))
        begun.wait(30)
        threading.Event().wait(3.5)  # time is what this is about
        assert [] == heard.events
        go_on.set()
        heard.wait(100)

        assert list(range(100)) == heard.numbers
        assert 0 == receiver.stats().reconnects
