"""What the ledger of a cache costs: look-ups, batches, notes, doubt, room.

    python -m benchmarks.caches.ledgers [--keys 1000000] [--save]

Look-ups are compared with a ``get`` of the store that holds the ledger, in turns
in one process.  Memory is what ``tracemalloc`` counts, the texts of the keys
included.
"""

from __future__ import annotations

import bisect
import contextlib
import gc
import io
import itertools
import random
import tempfile
import time
import tracemalloc
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

from antiphon import open_store
from antiphon.storage.eviction import Eviction
from antiphon.storage.journal import Version, new_entry_id
from antiphon.storage.ledger import CacheLedger, Fill
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import redis
from benchmarks.caches.report import parser, write_report

METADATA = {"title": "x" * 20, "n": 1, "price": 2.5}

#: Entries that a cache holds while it is measured.
HELD = 2000


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--keys", type=int, default=1_000_000, help="changes in the large batch")
    chosen = options.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        # No broker is needed.
        server = chosen.redis or stack.enter_context(redis(given=False)).url
        urls = {
            "memory": "memory:",
            "sqlite": f"sqlite:///{folder}/store.db",
            "redis": f"{server}?namespace=bench-ledgers",
        }
        lines = [
            " " * 8 + "get".rjust(9) + "lookup".rjust(9) + "ratio".rjust(8) + "  (µs, medians)"
        ]
        lines += [line for name, url in urls.items() for line in _look_ups(name, url)]
        lines.append("")
        for name, url in urls.items():
            # A tenth for Redis: the rest of it is like the first.
            lines += _batches(name, url, chosen.keys // (10 if name == "redis" else 1))
    lines += ["", *_note_memory(), *_eviction_memory(), "", *_hit_rates()]
    write_report("ledgers", lines, keep=chosen.save)


def _look_ups(name: str, url: str) -> Iterator[str]:
    with open_store(url) as store:
        ledger = _filled(store)
        get = lambda: store.get("k7")  # noqa: E731
        look = lambda: ledger.lookup("k7")  # noqa: E731
        turns = [(_micros(get), _micros(look)) for _ in range(15)]
        got, looked = (sorted(times)[len(times) // 2] for times in zip(*turns, strict=True))
        yield f"{name:8}{got:9.2f}{looked:9.2f}{looked / got:8.2f}"


def _filled(store: Any) -> CacheLedger:
    ledger: CacheLedger = store.cache_ledger()
    ledger.beat()
    for number in range(HELD):
        store.set(f"k{number}", StringValue(b"x" * 100, METADATA))
        fill = Fill(io.BytesIO(b"x" * 100), METADATA, 1.0, 2.0, Version(1, 1, b"12345678"))
        ledger.fill(ledger.reserve(f"k{number}"), fill)
    return ledger


def _micros(call: Callable[[], object], times: int = 2000) -> float:
    begin = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begin) / times * 1e6


def _batches(name: str, url: str, keys: int) -> Iterator[str]:
    with open_store(url) as store:
        ledger = _filled(store)
        changes = [(f"k{number}", Version(1, number + 2, new_entry_id())) for number in range(keys)]
        seconds = _micros(lambda: ledger.void_many(changes), 1) / 1e6
        one = _micros(lambda: ledger.void("one", Version(1, keys, b"12345678")), 200)
        doubt = _micros(ledger.suspect, 200)
        yield (
            f"{name}: void_many of {keys} keys {seconds:.2f} s, {seconds / keys * 1e6:.2f} µs a"
            f" key; void {one:.1f} µs; suspect {doubt:.1f} µs"
        )


def _note_memory() -> Iterator[str]:
    ledger = MemoryLedger()
    with _Traced() as traced:
        for number in range(100_000):
            ledger.void(f"some/prefix/{number:08}", Version(1, number + 1, new_entry_id()))
    yield f"a note of an invalidation in memory: {traced.bytes / 100_000:.0f} bytes"


def _eviction_memory() -> Iterator[str]:
    keys = [f"some/prefix/{number:08}" for number in range(100_000)]
    eviction = Eviction(MemoryLedger(), max_entries=10**9, clock=lambda: 0.0)
    with _Traced() as traced:
        for number, key in enumerate(keys):
            eviction.added(key, 1000 + number)
            eviction.touched(key)
    touch = _micros(lambda: eviction.touched("some/prefix/00000007"), 100_000)
    yield (
        f"eviction: {traced.bytes / len(keys):.0f} bytes an entry beside its key;"
        f" touched() {touch:.3f} µs"
    )


class _Traced:
    bytes = 0

    def __enter__(self) -> _Traced:
        gc.collect()
        tracemalloc.start()
        return self

    def __exit__(self, *exc: object) -> None:
        gc.collect()
        self.bytes = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()


def _hit_rates(keys: int = 10_000, reads: int = 200_000) -> Iterator[str]:
    for exponent, entries in itertools.product((0.7, 0.9, 1.1), (100, 1000)):
        trace = _zipf(exponent, keys, reads)
        ours, lru = _our_hits(trace, entries), _lru_hits(trace, entries)
        yield (
            f"hit rate, Zipf {exponent} of {keys} keys, {entries} kept:"
            f" {ours / reads:.4f}, exact LRU {lru / reads:.4f}"
        )


def _zipf(exponent: float, keys: int, count: int) -> list[str]:
    draw = random.Random(1)
    weights = list(itertools.accumulate((n + 1) ** -exponent for n in range(keys)))
    return [f"k{bisect.bisect(weights, draw.random() * weights[-1])}" for _ in range(count)]


def _our_hits(trace: list[str], entries: int) -> int:
    ledger = MemoryLedger()
    eviction = Eviction(ledger, max_entries=entries)
    hits = 0
    for key in trace:
        if ledger.lookup(key).entry is not None:
            hits += 1
            eviction.touched(key)
            continue
        ledger.fill(ledger.reserve(key), Fill(io.BytesIO(b"x"), {}, None, None, None))
        eviction.added(key, 1)
    return hits


def _lru_hits(trace: list[str], entries: int) -> int:
    held: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key in trace:
        if key in held:
            held.move_to_end(key)
            hits += 1
            continue
        held[key] = None
        if len(held) > entries:
            held.popitem(last=False)
    return hits


if __name__ == "__main__":
    main()
