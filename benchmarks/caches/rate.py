"""How many invalidations a second reach a cache, beside what the transport itself carries.

    python -m benchmarks.caches.rate [--events 60000] [--rounds 5] [--save]

One process emits the events of changes of one store, as fast as it goes, to

- a listener that only counts: the transport's own rate;
- a cache in memory that holds the keys, every one of which is changed once;
- a cache in sqlite.

The events are made ahead, so that no store is in the way; they bear positions
that go on without a gap.  A round's time is from before the first is emitted until the last is
counted, or the cache's position has reached it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
import uuid
from io import BytesIO
from multiprocessing.connection import Connection
from typing import Any

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.events import StoreModificationEvent, StoreUpdateEvent
from antiphon.storage.journal import Position, Version, new_entry_id
from antiphon.storage.ledger import Fill
from antiphon.storage.string_value import StringValue
from benchmarks.caches.report import parser, servers_of, write_report

SYSTEM = "bench-rate"
FLUSH_S = 120.0

KINDS = ("listener", "memory", "sqlite")

_context = multiprocessing.get_context("spawn")


def listen(amqp: str, pipe: Connection) -> None:
    """Count."""
    heard, target, reached = 0, 0, threading.Event()

    def count(_event: object) -> None:
        nonlocal heard
        heard += 1
        if heard == target:
            reached.set()

    with open_bus(amqp, system=SYSTEM) as bus:
        bus.connect(StoreModificationEvent, count)
        pipe.send("ready")
        while True:
            begun, number = pipe.recv()
            target, heard = number, 0
            reached.clear()
            pipe.send("ready")
            reached.wait(FLUSH_S)
            pipe.send(time.monotonic())
            del begun


def hold(amqp: str, url: str, medium: str, pipe: Connection) -> None:
    """Keep a cache, and tell when it has come so far."""
    with open_bus(amqp, system=SYSTEM) as bus:
        source = open_store(url, event_manager=bus)
        source.connect()
        mounted = MountedStore("prices/", open_store(medium), source, fill=True)
        mounted.connect()
        ledger = mounted.filling.ledger
        with CacheInvalidator(mounted, bus, check_interval_s=3600.0) as invalidator:
            pipe.send("ready")
            while True:
                begin, number = pipe.recv()
                if medium == "memory:":
                    _fill(ledger, number, begin)
                applied = invalidator.stats().applied + number
                pipe.send("ready")
                deadline = time.monotonic() + FLUSH_S
                while invalidator.stats().applied < applied and time.monotonic() < deadline:
                    time.sleep(0.001)
                pipe.send(time.monotonic())


def _fill(ledger: Any, number: int, sequence: int) -> None:
    version = Version(1, sequence, new_entry_id())
    for index in range(number):
        entry = ledger.fill(
            ledger.reserve(f"prices/{index:06}"), Fill(BytesIO(b"1"), {}, 0.0, 0.0, version)
        )
        if entry is not None:
            entry.data.close()


class Receiver:
    """One of those that hear, in a process of its own."""

    def __init__(self, kind: str, amqp: str, url: str, folder: str) -> None:
        self._pipe, theirs = _context.Pipe()
        medium = "memory:" if kind == "memory" else f"sqlite:///{folder}/cache.db"
        target = (
            (listen, (amqp, theirs)) if kind == "listener" else (hold, (amqp, url, medium, theirs))
        )
        self._process = _context.Process(target=target[0], args=target[1], daemon=True)
        self._process.start()
        self._pipe.recv()
        self.rates: list[float] = []

    def round(self, bus: Any, events: list[StoreUpdateEvent], begin: int) -> None:
        self._pipe.send((begin, len(events)))
        self._pipe.recv()
        began = time.monotonic()
        for event in events:
            bus.emit(event)
        ended = self._pipe.recv()
        bus.flush(FLUSH_S)
        self.rates.append(len(events) / (ended - began))

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=60_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    rates: dict[str, list[float]] = {}
    with servers_of(chosen) as (amqp, redis), tempfile.TemporaryDirectory() as folder:
        # Each kind hears alone, so they are not all under way at once: one after the other,
        # in turns, with a store of its own.
        for number in range(chosen.rounds):
            for kind in KINDS:
                url = f"{redis}?namespace=bench-rate-{kind}-{number}"
                rate = _measure(kind, amqp, url, f"{folder}", chosen.events)
                rates.setdefault(kind, []).append(rate)
    first = rates["listener"]
    lines = [f"{chosen.events:,} events of one class, medians of {chosen.rounds} rounds", ""]
    for kind, found in rates.items():
        share = statistics.median(own / other for own, other in zip(found, first, strict=True))
        lines.append(f"{kind:10}{statistics.median(found):12,.0f} a second{share:8.2f}")
    write_report("rate", lines, keep=chosen.save)


def _measure(kind: str, amqp: str, url: str, folder: str, count: int) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        store = open_store(url)
        store.connect()
        store.set("prices/000000", StringValue(b"0"))
        head = store.head()
        receiver = Receiver(kind, amqp, url, own)
        with open_bus(amqp, system=SYSTEM) as bus:
            source = open_store(url, event_manager=bus)
            source.connect()
            events = _events(source, head.store_id, head.epoch, head.sequence + 1, count)
            receiver.round(bus, events, head.sequence)
            source.disconnect()
        receiver.close()
        store.disconnect()
    return receiver.rates[0]


def _events(
    source: Any, store_id: uuid.UUID, epoch: int, begin: int, count: int
) -> list[StoreUpdateEvent]:
    made = []
    for number in range(count):
        event = StoreUpdateEvent(source, key=f"prices/{number:06}", metadata={"size": 120})
        event._position = Position(store_id, epoch, begin + number, new_entry_id())
        made.append(event)
    return made


if __name__ == "__main__":
    sys.exit(main())
