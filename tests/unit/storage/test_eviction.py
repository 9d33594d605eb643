"""The bounds of a cache: held, whoever fills, and what is read often stays."""

from __future__ import annotations

import bisect
import io
import itertools
import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import StoreUnavailable
from antiphon.storage.eviction import ASK_EVERY_S, Eviction
from antiphon.storage.ledger import CachedEntry, Fill, Reservation, Usage
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.testing.ledger_suite import value, version


class Ledger(MemoryLedger):
    """A memory ledger that remembers what was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.most = Usage(0, 0)
        self.calls = {"evict": 0, "usage": 0, "sizes": 0}

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        kept = super().fill(reservation, value)
        usage = super().usage()
        self.most = Usage(max(self.most.entries, usage.entries), max(self.most.bytes, usage.bytes))
        return kept

    def evict(self, keys: Iterable[str]) -> int:
        self.calls["evict"] += 1
        return super().evict(keys)

    def usage(self) -> Usage:
        self.calls["usage"] += 1
        return super().usage()

    def sizes(self) -> list[tuple[str, int]]:
        self.calls["sizes"] += 1
        return super().sizes()


class Cache:
    """Reads through a ledger as a mounted store does."""

    def __init__(self, ledger: MemoryLedger, eviction: Eviction, size: int = 10) -> None:
        self.ledger = ledger
        self.eviction = eviction
        self.size = size
        self.hits = 0

    def read(self, key: str, size: int | None = None) -> bool:
        """Read a key, from the cache or else filling it; whether it was there."""
        if self.ledger.lookup(key).entry is not None:
            self.hits += 1
            self.eviction.touched(key)
            return True
        size = self.size if size is None else size
        if self.eviction.admits(size):
            self.ledger.fill(self.ledger.reserve(key), value(b"x" * size, 1))
            self.eviction.added(key, size)
        return False


def zipf(exponent: float, keys: int, count: int, seed: int) -> list[str]:
    """Return keys drawn so that the n-th most wanted is wanted n ** -exponent as often."""
    draw = random.Random(seed)
    weights = list(itertools.accumulate((n + 1) ** -exponent for n in range(keys)))
    return [f"k{bisect.bisect(weights, draw.random() * weights[-1])}" for _ in range(count)]


def exact_lru_hits(trace: Iterable[str], entries: int) -> int:
    """Return how many reads of a trace a cache finds that drops exactly the least recent."""
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


@pytest.fixture
def ledger() -> Ledger:
    """A fresh ledger."""
    return Ledger()


@pytest.mark.parametrize(("exponent", "entries"), [(0.7, 300), (0.9, 300), (1.1, 300), (0.9, 30)])
def test_it_finds_what_exact_lru_finds(ledger: Ledger, exponent: float, entries: int) -> None:
    """On skewed reads the hit rate is within a hundredth of that of exact LRU, or above."""
    trace = zipf(exponent, 3000, 20_000, seed=1)
    cache = Cache(ledger, Eviction(ledger, max_entries=entries))
    for key in trace:
        cache.read(key)

    assert cache.hits / len(trace) >= exact_lru_hits(trace, entries) / len(trace) - 0.01


def test_what_is_read_again_and_again_survives_a_scan(ledger: Ledger) -> None:
    """Many keys that are read once do not drive out the few that are wanted."""
    cache = Cache(ledger, Eviction(ledger, max_entries=100))
    wanted = [f"wanted{number}" for number in range(20)]
    for number in range(5000):
        cache.read(wanted[number % 20])
        cache.read(f"once{number}")

    assert cache.hits >= 5000 - 2 * len(wanted)


@settings(max_examples=60, deadline=None)
@given(
    reads=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=150),
    max_bytes=st.none() | st.integers(1, 200),
    max_entries=st.none() | st.integers(1, 15),
    voids=st.sets(st.integers(0, 149)),
)
def test_the_bounds_hold_after_each_fill(
    reads: list[tuple[int, int]],
    max_bytes: int | None,
    max_entries: int | None,
    voids: set[int],
) -> None:
    """Whatever is read and invalidated; and what was filled just now is there."""
    ledger = Ledger()
    cache = Cache(ledger, Eviction(ledger, max_bytes=max_bytes, max_entries=max_entries))
    for number, (key, size) in enumerate(reads):
        cache.read(f"k{key}", size)
        if number in voids:
            ledger.void(f"k{key}", None)
            continue
        usage = ledger.usage()

        assert usage.entries <= (max_entries or 10**9)
        assert usage.bytes <= (max_bytes or 10**9)
        if size <= (max_bytes or 10**9):
            assert ledger.lookup(f"k{key}").entry is not None


def test_no_more_goes_than_has_to(ledger: Ledger) -> None:
    """A full cache stays full: above the bound but for a 64th of it."""
    cache = Cache(ledger, Eviction(ledger, max_entries=640, max_bytes=1_000_000))
    for number in range(3000):
        cache.read(f"k{number}")
        if number >= 640:
            assert 630 <= ledger.usage().entries <= 640


def test_a_value_larger_than_the_bound_is_not_kept(ledger: Ledger) -> None:
    """It is not admitted; if it was filled all the same, it goes, and no other for it."""
    eviction = Eviction(ledger, max_bytes=100)
    cache = Cache(ledger, eviction)
    cache.read("a", 60)
    cache.read("large", 101)
    ledger.fill(ledger.reserve("larger"), value(b"x" * 500, 1))
    eviction.added("larger", 500)

    assert [True, True, False] == [eviction.admits(size) for size in (None, 100, 101)]
    assert ["a"] == ledger.keys()


def test_a_value_as_large_as_the_bound_is_kept(ledger: Ledger) -> None:
    """Everything else goes for it, and it does not go itself."""
    cache = Cache(ledger, Eviction(ledger, max_bytes=1000))
    for number in range(5):
        cache.read(f"k{number}", 100)
    cache.read("whole", 1000)

    assert ["whole"] == ledger.keys()


def test_eight_threads_stay_within_one_value_each(ledger: Ledger) -> None:
    """Above the bound is only what is being added at the moment."""
    eviction = Eviction(ledger, max_entries=50, max_bytes=5000)

    def read(seed: int) -> None:
        cache = Cache(ledger, eviction, size=100)
        for key in zipf(0.5, 1000, 1500, seed):
            cache.read(key)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ledger.most.entries <= 50 + 8
    assert ledger.most.bytes <= 5000 + 8 * 100
    assert ledger.usage().entries <= 50


def test_evictions_come_in_batches(ledger: Ledger) -> None:
    """A fill seldom costs a call of the ledger, and never a walk through it."""
    cache = Cache(ledger, Eviction(ledger, max_entries=6400, clock=lambda: 0.0))
    for number in range(20_000):
        cache.read(f"k{number}")

    assert ledger.calls["evict"] <= 2 + (20_000 - 6400) // 100
    assert ledger.calls["usage"] <= 3 + 2 * ledger.calls["evict"]
    assert ledger.calls["sizes"] <= 1


def test_keys_that_come_again_cost_no_questions(ledger: Ledger) -> None:
    """What is invalidated and filled anew makes the cache no larger, and is not asked about."""
    cache = Cache(ledger, Eviction(ledger, max_entries=640, clock=lambda: 0.0))
    for number in range(640):
        cache.read(f"k{number}")
    before = ledger.calls["usage"]
    for number in range(2000):
        ledger.void(f"k{number % 640}", None)
        cache.read(f"k{number % 640}")

    assert ledger.calls["usage"] - before <= 2 * 2000 // 10 + 2
    assert 630 <= ledger.usage().entries <= 640


def test_what_was_there_before_goes_first(ledger: Ledger) -> None:
    """It has no recency; but what of it was read here meanwhile stays."""
    before = [f"before{number}" for number in range(50)]
    for key in before:
        ledger.fill(ledger.reserve(key), value())
    cache = Cache(ledger, Eviction(ledger, max_entries=60))
    cache.read("before7")
    for number in range(50):
        cache.read(f"k{number}")

    assert {"before7", *(f"k{number}" for number in range(50))} <= set(ledger.keys())
    assert 60 == ledger.usage().entries


def test_a_lowered_bound_is_held_at_once(ledger: Ledger) -> None:
    """A cache from before may be too large for a new bound."""
    for number in range(5000):
        ledger.fill(ledger.reserve(f"k{number}"), value(b"1234567890", 1))
    eviction = Eviction(ledger, max_bytes=1000)

    assert 4900 <= eviction.shrink() == eviction.evicted
    assert ledger.usage().bytes <= 1000
    assert 0 == eviction.shrink()


def test_what_others_fill_is_noticed(ledger: Ledger) -> None:
    """The bound holds for all processes together, a moment later."""
    time = [0.0]
    eviction = Eviction(ledger, max_entries=20, clock=lambda: time[0])
    Cache(ledger, eviction).read("mine")
    for number in range(100):
        ledger.fill(ledger.reserve(f"others{number}"), value())
    time[0] += ASK_EVERY_S
    Cache(ledger, eviction).read("mine too")

    assert ledger.usage().entries <= 20
    assert {"mine", "mine too"} <= set(ledger.keys())


def test_two_processes_do_not_empty_each_others_caches(ledger: Ledger) -> None:
    """One that reads few keys again and again keeps most of them beside one that scans."""
    quiet = Cache(ledger, Eviction(ledger, max_entries=400))
    busy = Cache(ledger, Eviction(ledger, max_entries=400))
    for number in range(4000):
        quiet.read(f"few{number % 20}")
        busy.read(f"scan{number}")

    assert quiet.hits >= 3400
    assert ledger.usage().entries <= 401


def test_keys_that_come_and_go_are_forgotten(ledger: Ledger) -> None:
    """What invalidations dropped takes no memory for ever."""
    time = [0.0]
    eviction = Eviction(ledger, max_entries=100, clock=lambda: time[0])
    cache = Cache(ledger, eviction)
    for number in range(10_000):
        cache.read(f"k{number}")
        cache.read(f"k{number}")
        ledger.void(f"k{number}", version(number + 2))
        time[0] += 0.01

    assert len(eviction._sizes) <= 2000
    assert len(eviction._marked) <= 2000


def test_what_is_told_to_be_gone_is_forgotten(ledger: Ledger) -> None:
    """And may come again."""
    eviction = Eviction(ledger, max_entries=2)
    cache = Cache(ledger, eviction)
    cache.read("a")
    cache.read("a")
    ledger.void("a", None)
    eviction.removed("a")
    eviction.removed("missing")
    for key in ("b", "c", "a"):
        cache.read(key)

    assert ["c", "a"] == ledger.keys()


def test_a_ledger_that_fails_fails_no_read(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the bound is held when the ledger is back."""

    class Failing(Ledger):
        is_away = False

        def usage(self) -> Usage:
            if self.is_away:
                raise StoreUnavailable("the medium is away")
            return super().usage()

    ledger = Failing()
    cache = Cache(ledger, Eviction(ledger, max_entries=2))
    cache.read("a")
    ledger.is_away = True
    with caplog.at_level(logging.WARNING):
        for key in ("b", "c", "d"):
            cache.read(key)
    above = MemoryLedger.usage(ledger).entries
    ledger.is_away = False
    cache.read("e")

    assert 4 == above
    assert "the medium is away" in caplog.text
    assert 2 == ledger.usage().entries


@pytest.mark.parametrize("bound", [0, -1])
def test_a_bound_is_one_or_more(ledger: Ledger, bound: int) -> None:
    """A cache that may hold nothing is none."""
    with pytest.raises(ValueError, match=f"max_bytes is {bound}"):
        Eviction(ledger, max_bytes=bound)
    with pytest.raises(ValueError, match=f"max_entries is {bound}"):
        Eviction(ledger, max_entries=bound)


def test_a_stream_is_no_part_of_the_accounting(ledger: Ledger) -> None:
    """What was evicted can be read on by who has it."""
    cache = Cache(ledger, Eviction(ledger, max_entries=1))
    ledger.fill(ledger.reserve("a"), Fill(io.BytesIO(b"data"), {}, None, None, None))
    entry = ledger.lookup("a").entry
    cache.read("b")

    assert entry is not None
    assert b"data" == entry.data.read()
    assert ["b"] == ledger.keys()
