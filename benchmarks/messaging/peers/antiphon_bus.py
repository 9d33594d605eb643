"""Ours: ``emit`` in one process, a listener in another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from antiphon import open_bus
from antiphon.events.event_id import next_event_id
from antiphon.messaging.bus import BrokerEventManager, BusOptions
from antiphon.storage.events import StoreDeleteEvent, StoreKeyEvent, StoreSetEvent
from antiphon.wire import Codec
from benchmarks.messaging.case import BODY_BYTES, Case, Tally, now_ns, paced

NAME = "antiphon"
SAYS = "emit, and a listener called with each decoded event; confirmed, in order, also if transient"

#: Seconds for a flush: more means that something hangs.
FLUSH_S = 120


def bus_options(case: Case, **more: Any) -> BusOptions:
    """Return the options of a bus for *case*."""
    known = {field.name for field in fields(BusOptions)}
    if case.single and "batch_events" in known:
        more["batch_events"] = 1
    return BusOptions(persistent=case.persistent, **more)


def open_case(url: str, case: Case, **more: Any) -> BrokerEventManager:
    """Return a bus for *case*."""
    return open_bus(url, system=f"bench-{case.name}", options=bus_options(case, **more))


def padding() -> int:
    """Return how much text an event needs so that its message has 200 bytes."""
    codec = Codec()
    size = 1
    while True:
        encoded = codec.encode(
            set_event(size), origin=None, event_id=next_event_id(), time_ns=now_ns()
        )
        if len(codec.join([encoded.envelope])) >= BODY_BYTES:
            return size
        size += 1


def set_event(size: int, cls: Callable[..., StoreKeyEvent] = StoreSetEvent) -> StoreKeyEvent:
    """Return an event to emit; the listener reads ``metadata["sent"]``."""
    return cls(None, key="prices/eur", metadata={"sent": now_ns(), "text": "x" * size, "size": 120})


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._size = padding()
        self._classes = (StoreSetEvent, StoreDeleteEvent if case.mixed else StoreSetEvent)
        self._bus = open_case(url, case)
        self._events: list[StoreKeyEvent] = []

    def prepare(self, count: int) -> None:
        self._events = [set_event(self._size, self._classes[n & 1]) for n in range(count)]

    def send(self, count: int) -> None:
        emit = self._bus.emit
        for event in self._events:
            emit(event)
        self._bus.flush(FLUSH_S)

    def pace(self, count: int, rate: float) -> None:
        paced(count, rate, lambda: self._bus.emit(set_event(self._size)))


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""

    def timed(event: StoreKeyEvent) -> None:
        tally.timed(event.metadata["sent"])

    bus = open_case(url, case)
    listener = timed if is_timed else tally.heard
    if case.persistent:
        bus.subscribe("bench", StoreKeyEvent, listener, mode="group").wait_ready(30)
    else:
        bus.connect(StoreKeyEvent, listener)
    tally.ready()
    threading.Event().wait()
