"""What a bulk set costs the broker: messages, counted at the broker, time and memory.

    python -m benchmarks.caches.bulk [--keys 1000000] [--stores memory sqlite redis] [--save]

For each store: all keys new in one ``multiset``, then every second key new in
another.  A cache elsewhere that holds a tenth of the keys is kept right
meanwhile; shown is when it was done.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import pika

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.string_value import StringValue
from benchmarks.caches.report import parser, servers_of, write_report

#: Messages that a million keys may take.
TARGET = 2000

FLUSH_S = 300.0

_context = multiprocessing.get_context("spawn")


class Tap:
    """Counts messages with changes at the broker."""

    def __init__(self, amqp: str, system: str) -> None:
        parameters = pika.URLParameters(f"{amqp}?heartbeat=0")
        self._channel = pika.BlockingConnection(parameters).channel()
        self._queue = self._channel.queue_declare("", exclusive=True).method.queue
        pattern = "#.antiphon:StoreModificationEvent.#"
        self._channel.queue_bind(self._queue, f"{system}.events", pattern)

    def count(self) -> int:
        """Return how many came since the last time."""
        declared = self._channel.queue_declare(self._queue, passive=True)
        self._channel.queue_purge(self._queue)
        return int(declared.method.message_count)


def measure(amqp: str, kind: str, url: str, keys: int) -> Iterator[str]:
    """Yield the lines of one store."""
    system = f"bench-bulk-{kind}"
    cache = _Cache(amqp, system, url, keys) if kind != "memory" else None
    with open_bus(amqp, system=system) as bus:
        tap = Tap(amqp, system)
        store = open_store(url, event_manager=bus)
        store.connect()
        if cache is not None:
            cache.fill(store)
            tap.count()
        for what, names in (
            ("all new", (f"prices/{2 * number:07}" for number in range(keys))),
            ("half new", (f"prices/{number:07}" for number in range(keys))),
        ):
            began = time.perf_counter()
            store.multiset(names, (StringValue(b"1") for _ in range(keys)))
            set_s = time.perf_counter() - began
            bus.flush(FLUSH_S)
            flush_s = time.perf_counter() - began - set_s
            right = "" if cache is None else f"{cache.right_after(store.head().sequence):9.1f}"
            messages = tap.count()
            verdict = "met" if messages <= TARGET * keys / 1e6 else "MISSED"
            megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            yield (
                f"{kind:8} {what:10}{messages:10}{keys / messages:12.0f}{set_s:9.1f}"
                f"{flush_s:9.1f}{right:>9}{megabytes:9.0f}   {verdict}"
            )
        store.disconnect()
    if cache is not None:
        cache.close()


class _Cache:
    """A cache in a process of its own."""

    def __init__(self, amqp: str, system: str, url: str, keys: int) -> None:
        self._keys = keys
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_keep, args=(amqp, system, url, theirs), daemon=True
        )
        self._process.start()
        self._pipe.recv()

    def fill(self, store: Any) -> None:
        names = [f"prices/{20 * number:07}" for number in range(self._keys // 20)]
        store.multiset(names, (StringValue(b"0") for _ in names))
        self._pipe.send(names)
        self._pipe.recv()

    def right_after(self, sequence: int) -> float:
        """Return after how many seconds the cache has applied up to *sequence*."""
        began = time.perf_counter()
        self._pipe.send(sequence)
        self._pipe.recv()
        return time.perf_counter() - began

    def close(self) -> None:
        self._process.kill()
        self._process.join()


def _keep(amqp: str, system: str, url: str, pipe: Connection) -> None:
    with open_bus(amqp, system=system) as bus:
        source = open_store(url, event_manager=bus)
        source.connect()
        mounted = MountedStore("prices/", open_store("memory:"), source, fill=True)
        mounted.connect()
        with CacheInvalidator(mounted, bus):
            pipe.send("ready")
            for name in pipe.recv():
                mounted.get(name)
            pipe.send("filled")
            ledger = mounted.filling.ledger
            while True:
                sequence = pipe.recv()
                while (position := ledger.position()) is None or position.sequence < sequence:
                    time.sleep(0.01)
                pipe.send("right")


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=1_000_000)
    options.add_argument("--stores", nargs="+", default=["memory", "sqlite", "redis"])
    chosen = options.parse_args()
    lines = [f"{chosen.keys:,} keys; asked for: {TARGET} messages a million; seconds, MB", ""]
    heads = ("messages", "events each", "set", "flush", "cache", "memory")
    widths = (10, 12, 9, 9, 9, 9)
    lines.append(" " * 19 + "".join(h.rjust(w) for h, w in zip(heads, widths, strict=True)))
    with servers_of(chosen) as (amqp, redis), tempfile.TemporaryDirectory() as folder:
        urls = {
            "memory": "memory:",
            "sqlite": f"sqlite:///{folder}/store.db",
            "redis": f"{redis}?namespace=bench-bulk",
        }
        for kind in chosen.stores:
            for line in measure(amqp, kind, urls[kind], chosen.keys):
                print(line, flush=True)
                lines.append(line)
    lines += ["", "cache: seconds after the flush until a cache with a twentieth of it is right"]
    write_report("bulk", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
