"""A cached get of a mounted store beside the plain get of the store that holds the cache.

    python -m benchmarks.caches.cached_get [--turns 200] [--save]

For each medium one store holds the keys as its own, and another one of the same
kind holds them as the cache of a mounted store over a memory store.  Both read
the same keys in turns, in one process, so that what disturbs one disturbs both.
Nothing is changed meanwhile; the mounted store asks its source for its head
every second, and that is in the figures.  With "own keys" the mount store also
holds a thousand keys that the user wrote, which are looked for first.

A turn is a block of calls of each.  *Ratio* is the mounted store's time over the
plain one's, each of its quickest turn: what else the machine does is in the
others.  Beside it are the median of the turns' ratios, and between
which tenths these lie.  Percentiles are those of single calls, the clock's own time (some 0.1 µs)
taken off.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from antiphon import MountedStore, open_store
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import redis
from benchmarks.caches.report import parser, write_report

#: Keys that are read, one after the other.
KEYS = 1000

#: Bytes of each value.
VALUE_BYTES = 1024

METADATA = {"group": "group-7", "owner": "user-3", "weight": 2.5}

#: A cached get may cost so many times the plain one.  (Metadata alone are not
#: measured against it: a store of files has them in memory, its cache has not.)
TARGET = 3.0

#: Seconds that a block of calls should take.
_BLOCK_S = 0.0005

#: Single calls that are timed for the percentiles, of each.
_SINGLE = 5000

#: What is called, given a store: a get alone, one with its data, one with all.
Read = Callable[[AbstractStore, str], object]

READS: dict[str, Read] = {
    "get": lambda store, key: store.get(key),
    "get, data": lambda store, key: store.get(key).data.read(),
    "get, data, metadata": lambda store, key: _whole(store, key),
    "get_metadata": lambda store, key: store.get_metadata(key),
}


def _whole(store: AbstractStore, key: str) -> object:
    value = store.get(key)
    return value.data.read(), value.metadata


@dataclass
class Case:
    """One kind of read of two stores, and how long it took.

    Attributes:
        reads: the plain one and the cached one, called with a number.
        blocks: microseconds a call, in each turn, of each.
        singles: microseconds of single calls, of each.
    """

    name: str
    reads: tuple[Callable[[int], object], Callable[[int], object]]
    blocks: list[tuple[float, float]] = field(default_factory=list)
    singles: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    calls: int = 1

    @property
    def quickest(self) -> tuple[float, float]:
        """Microseconds a call in the quickest turn, of each."""
        plain, cached = (min(times) for times in zip(*self.blocks, strict=True))
        return plain, cached

    @property
    def ratio(self) -> float:
        """The cached one's time over the plain one's, of the quickest turns."""
        plain, cached = self.quickest
        return cached / plain

    @property
    def ratios(self) -> list[float]:
        """The cached one's time over the plain one's, of each turn, sorted."""
        return sorted(cached / plain for plain, cached in self.blocks)


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--turns", type=int, default=200)
    chosen = options.parse_args()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        # No broker is needed.
        server = chosen.redis or stack.enter_context(redis(given=False)).url
        cases = [
            case
            for medium, url in {
                "memory": "memory:",
                "sqlite": f"sqlite:///{folder}/%s.db",
                "files": f"file://{folder}/%s",
                "redis": f"{server}?namespace=bench-%s",
            }.items()
            for case in _cases(stack, medium, url)
        ]
        _measure(cases, chosen.turns)
    write_report("cached_get", list(_lines(cases, chosen.turns)), keep=chosen.save)


def _cases(stack: contextlib.ExitStack, medium: str, url: str) -> Iterator[Case]:
    plain = stack.enter_context(_opened(url, "plain"))
    _fill(plain, "")
    mounted = _mounted(stack, url, "cache")
    for name, read in READS.items():
        yield _case(f"{medium}: {name}", read, plain, mounted)
    crowded = _mounted(stack, url, "crowded")
    _fill(crowded.mount_store, "mine/")
    for name in ("get", "get, data"):
        yield _case(f"{medium}, own keys: {name}", READS[name], plain, crowded)


def _opened(url: str, name: str) -> AbstractStore:
    return open_store(url % name if "%s" in url else url)


def _mounted(stack: contextlib.ExitStack, url: str, name: str) -> MountedStore:
    """Return a mounted store that has all keys in its cache, and is trusted."""
    source = DictMemoryStore()
    _fill(source, "m/")
    store = stack.enter_context(_opened(url, name))
    mounted = MountedStore("m/", store, source, fill=True)
    mounted.connect()
    ledger = mounted.filling.ledger
    ledger.advance(source.head())
    ledger.beat()
    for number in range(KEYS):
        mounted.get(f"m/{number}")
    return mounted


def _fill(store: AbstractStore, prefix: str) -> None:
    for number in range(KEYS):
        store.set(f"{prefix}{number}", StringValue(bytes([number % 256]) * VALUE_BYTES, METADATA))


def _case(name: str, read: Read, plain: AbstractStore, mounted: MountedStore) -> Case:
    # The keys are made before the clock starts.
    short = [str(number) for number in range(KEYS)]
    long = [f"m/{number}" for number in range(KEYS)]
    return Case(
        name,
        (lambda n: read(plain, short[n % KEYS]), lambda n: read(mounted, long[n % KEYS])),
    )


# -- Measuring -----------------------------------------------------------------


def _measure(cases: Sequence[Case], turns: int) -> None:
    for case in cases:
        case.calls = max(20, int(_BLOCK_S / max(_block(case.reads[0], 50), 1e-7)))
    gc.collect()
    gc.disable()
    try:
        for turn in range(turns):
            for case in cases:
                # Who is first changes, so that neither is always.
                order = (0, 1) if turn % 2 else (1, 0)
                took = {which: _block(case.reads[which], case.calls) for which in order}
                case.blocks.append((took[0] * 1e6, took[1] * 1e6))
        for case in cases:
            for number in range(_SINGLE):
                for which in (0, 1):
                    case.singles[which].append(_single(case.reads[which], number))
    finally:
        gc.enable()


def _block(read: Callable[[int], object], calls: int) -> float:
    numbers = range(calls)
    began = time.perf_counter()
    for number in numbers:
        read(number)
    return (time.perf_counter() - began) / calls


def _single(read: Callable[[int], object], number: int) -> float:
    began = time.perf_counter_ns()
    read(number)
    return (time.perf_counter_ns() - began) / 1000


def _clock_us() -> float:
    """Return the microseconds that reading the clock takes, and the call of a lambda."""
    return statistics.median(_single(lambda n: None, number) for number in range(1000))


# -- Showing -------------------------------------------------------------------


def _lines(cases: Sequence[Case], turns: int) -> Iterator[str]:
    clock = _clock_us()
    yield f"{KEYS} keys of {VALUE_BYTES} bytes, 3 metadata entries; {turns} turns; target {TARGET}"
    yield ""
    yield (
        " " * 36
        + "".join(name.rjust(9) for name in ("plain", "cached", "ratio", "median", "10 %", "90 %"))
        + "  (µs a call)"
    )
    for case in cases:
        plain, cached = case.quickest
        ratios = case.ratios
        tenth = len(ratios) // 10
        yield (
            f"{case.name:36}{plain:9.2f}{cached:9.2f}{case.ratio:9.2f}"
            f"{statistics.median(ratios):9.2f}{ratios[tenth]:9.2f}{ratios[-1 - tenth]:9.2f}"
        )
    yield ""
    yield (
        " " * 44
        + "".join(name.rjust(9) for name in ("median", "p90", "p99", "max"))
        + "  (µs, single calls)"
    )
    for case in cases:
        for name, times in zip(("plain", "cached"), case.singles, strict=True):
            ordered = sorted(max(0.0, each - clock) for each in times)
            figures = [ordered[int(len(ordered) * share)] for share in (0.5, 0.9, 0.99)]
            yield f"{case.name:36}{name:8}" + "".join(
                f"{figure:9.2f}" for figure in (*figures, ordered[-1])
            )
    yield ""
    missed = [
        case.name for case in cases if "get_metadata" not in case.name and case.ratio > TARGET
    ]
    yield f"missed: {', '.join(missed)}" if missed else "All gets are within the target."


if __name__ == "__main__":
    main()
