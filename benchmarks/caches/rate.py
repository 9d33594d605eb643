"""How many invalidations a second reach a cache, beside what the transport itself carries.

    python -m benchmarks.caches.rate [--keys 60000] [--rounds 5] [--save]

One process sets all keys of a store in Redis in one ``multiset``.  Measured is from
the end of the transaction, when the first event is emitted, until another process

- has called a listener that only counts with the last event: the transport's own rate;
- has a cache in memory, full before, that applied the last change;
- has such a cache in sqlite, with a hundredth of the keys in it.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
import uuid
from io import BytesIO
from multiprocessing.connection import Connection

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.events import StoreModificationEvent, StoreTransactionEndEvent
from antiphon.storage.ledger import Fill
from antiphon.storage.string_value import StringValue
from benchmarks.caches.report import parser, servers_of, write_report

SYSTEM = "bench-rate"
GIVE_UP_S = 120.0

KINDS = ("listener", "memory", "sqlite")

_context = multiprocessing.get_context("spawn")


def listen(amqp: str, _url: str, _medium: str, pipe: Connection) -> None:
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
        target = pipe.recv()
        pipe.send("ready")
        reached.wait(GIVE_UP_S)
        pipe.send(time.monotonic())


def hold(amqp: str, url: str, medium: str, pipe: Connection) -> None:
    """Keep a cache, and tell when it has come so far."""
    with open_bus(amqp, system=SYSTEM) as bus:
        source = open_store(url, event_manager=bus)
        source.connect()
        mounted = MountedStore("prices/", open_store(medium), source, fill=True)
        mounted.connect()
        ledger = mounted.filling.ledger
        with CacheInvalidator(mounted, bus):
            pipe.send("ready")
            keys = pipe.recv()
            version = source.head().version
            for number in range(keys if medium == "memory:" else keys // 100):
                name = f"prices/{number:06}"
                ledger.fill(ledger.reserve(name), Fill(BytesIO(b"1"), {}, 0.0, 0.0, version))
            target = version.sequence + keys
            pipe.send("ready")
            seen, deadline = 0, time.monotonic() + GIVE_UP_S
            while (at := ledger.position()) is None or at.sequence < target:
                if time.monotonic() > deadline:
                    break
                seen = mounted.wait_applied(seen, 0.1)
            pipe.send(time.monotonic())


def measure(kind: str, amqp: str, url: str, folder: str, keys: int) -> float:
    """Return changes a second that reach one of ``KINDS``."""
    ours, theirs = _context.Pipe()
    medium = "memory:" if kind == "memory" else f"sqlite:///{folder}/{uuid.uuid4().hex}.db"
    target = listen if kind == "listener" else hold
    process = _context.Process(target=target, args=(amqp, url, medium, theirs), daemon=True)
    with open_bus(amqp, system=SYSTEM) as bus:
        store = open_store(url, event_manager=bus)
        store.connect()
        store.set("begin", StringValue(b"0"))
        bus.flush(GIVE_UP_S)
        process.start()
        ours.recv()
        ours.send(keys)
        ours.recv()
        began: list[float] = []
        bus.connect(StoreTransactionEndEvent, lambda _: began.append(time.monotonic()))
        store.multiset(
            (f"prices/{number:06}" for number in range(keys)),
            (StringValue(b"2") for _ in range(keys)),
        )
        ended = ours.recv()
        store.disconnect()
    process.kill()
    process.join()
    return float(keys / (ended - began[0]))


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=60_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with servers_of(chosen) as (amqp, redis), tempfile.TemporaryDirectory() as folder:
        for number in range(chosen.rounds):
            for kind in KINDS:
                url = f"{redis}?namespace=bench-rate-{kind}-{number}"
                rates[kind].append(measure(kind, amqp, url, folder, chosen.keys))
    first = rates["listener"]
    lines = [f"{chosen.keys:,} keys in one multiset, medians of {chosen.rounds} rounds", ""]
    for kind, found in rates.items():
        share = statistics.median(own / other for own, other in zip(found, first, strict=True))
        lines.append(f"{kind:10}{statistics.median(found):12,.0f} a second{share:8.2f}")
    write_report("rate", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
