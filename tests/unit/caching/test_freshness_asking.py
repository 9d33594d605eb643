"""Who asks the backing store for its head, who waits for it, and what an answer shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeJournal

from antiphon.errors import InvalidFreshness, StoreUnavailable
from antiphon.storage.freshness import ANSWER_WAIT_S, Freshness, available, bounded
from antiphon.storage.freshness_modes import STRICT, FreshnessMode
from antiphon.storage.journal import Position
from antiphon.storage.memory_ledger import MemoryLedger

DEADLINE_S = 20.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Store(FakeJournal):
    """A journal that answers when it is let, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_with: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.when_asked: Callable[[], None] = lambda: None

    def head(self) -> Position:
        head = super().head()
        self.when_asked()
        assert self.may_answer.wait(DEADLINE_S)
        if self.fails_with is not None:
            raise self.fails_with
        return head


class Cache:
    """The freshness of a cache at the head of its store."""

    def __init__(self, mode: FreshnessMode | None = None, *, journals: int = 1) -> None:
        self.clock = Clock()
        self.stores = [Store() for _ in range(journals)]
        self.store = self.stores[0]
        self.ledger = MemoryLedger()
        self.freshness = Freshness(self.ledger, self.stores, mode=mode, clock=self.clock)
        self.ledger.beat()
        for store in self.stores:
            store.change("a")
            self.ledger.advance(store.head())
            store.heads_asked = 0

    def catch_up(self) -> None:
        for store in self.stores:
            self.ledger.advance(FakeJournal.head(store))


@pytest.fixture
def cache() -> Cache:
    return Cache()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
        threading.Event().wait(0.001)


def in_threads(count: int, act: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=act, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


# -- What an answer shows ------------------------------------------------------


def test_a_lag_of_more_than_a_third_of_the_bound_is_no_reason_to_read_through(
    cache: Cache,
) -> None:
    """Each question is answered in the end, though newer ones are asked before it is."""
    cache.freshness.covers(1)
    heads = []
    shown = []
    for _ in range(100):
        heads.append(cache.store.position_of(cache.store.change("a")[-1]))
        cache.clock.now += 0.1
        if len(heads) > 15:
            # What was committed 1.5 s ago is applied now: half the bound.
            cache.ledger.advance(heads[-16])
        shown.append(cache.freshness.covers(1))

    assert [True] * 100 == shown
    assert cache.store.heads_asked <= 12  # one a second


def test_an_answer_counts_from_when_it_was_asked_for(cache: Cache) -> None:
    """What changed while the answer was on its way is not in it."""

    def slow() -> None:
        cache.clock.now += 2.5

    cache.store.when_asked = slow
    assert cache.freshness.covers(1)
    cache.store.fails_with = StoreUnavailable("nobody there")
    cache.clock.now += 0.6

    assert 100.0 == cache.freshness.shown.sent_at
    assert not cache.freshness.is_within(3)


def test_a_position_past_the_head_counts_once_another_head_confirms_it(cache: Cache) -> None:
    """Under steady change the position is seldom at a head that was asked for."""
    cache.store.change("a")
    assert not cache.freshness.covers(1)
    cache.store.change("a")
    cache.catch_up()
    cache.store.change("a")

    assert cache.freshness.covers(1)
    assert 100.0 == cache.freshness.shown.sent_at


def test_a_position_past_the_head_of_a_store_that_went_back_shows_nothing(cache: Cache) -> None:
    """Late events of the lost history move the position past the head of the new one."""
    cache.store.change("a", "a")
    late = FakeJournal.head(cache.store)
    cache.store.rewind(2)
    cache.store.change("a")
    assert not cache.freshness.covers(1)
    cache.ledger.advance(late)

    assert not cache.freshness.covers(1)
    assert "another history" in cache.freshness.doubts()


def test_a_cache_of_several_journals_is_as_fresh_as_the_one_that_is_behind() -> None:
    """Each has to be at its own head."""
    cache = Cache(journals=2)
    assert cache.freshness.covers(1)
    cache.stores[1].change("a")
    cache.clock.now += 3.1

    assert not cache.freshness.covers(1)
    cache.catch_up()
    assert cache.freshness.covers(1)
    assert 2 == len(cache.freshness.shown.heads)


def test_a_shorter_bound_of_one_read_is_asked_for(cache: Cache) -> None:
    """max_age_s of a read counts in place of the mode's, in both directions."""
    cache.freshness.covers(1)
    cache.store.change("a")
    cache.clock.now += 0.5

    assert cache.freshness.covers(1)
    assert not cache.freshness.covers(1, max_age_s=0.4)
    assert cache.freshness.covers(1, max_age_s=0.6)
    assert not cache.freshness.covers(1, max_age_s=0)


def test_strict_believes_only_what_is_asked_during_the_read() -> None:
    """An answer of a moment ago is none, although no time has passed."""
    cache = Cache(STRICT)
    assert cache.freshness.covers(1)
    assert cache.freshness.covers(1)
    cache.store.change("a")

    assert not cache.freshness.covers(1)
    assert 3 == cache.store.heads_asked


# -- Who asks, and who waits ---------------------------------------------------


def test_strict_readers_that_come_at_once_share_the_answers() -> None:
    """One question is under way, and all who came since share the next one."""
    cache = Cache(STRICT)
    cache.store.may_answer.clear()
    shown: list[bool] = []
    first = in_threads(1, lambda: shown.append(cache.freshness.covers(1)))
    wait_until(lambda: cache.store.heads_asked == 1, "the first asks")
    rest = in_threads(10, lambda: shown.append(cache.freshness.covers(1)))
    for _ in range(100):
        threading.Event().wait(0.001)
    cache.store.may_answer.set()
    for thread in first + rest:
        thread.join(DEADLINE_S)

    assert [True] * 11 == shown
    # Two where all ten had begun by the first answer; a slow starter asks anew.
    assert 2 <= cache.store.heads_asked <= 5


def test_within_the_bound_nobody_waits_for_the_one_who_asks(cache: Cache) -> None:
    """A store that hangs holds up one read, not all of them."""
    cache.freshness.covers(1)
    cache.clock.now += 1.5
    cache.store.may_answer.clear()
    (asker,) = in_threads(1, lambda: cache.freshness.covers(1))
    wait_until(lambda: cache.store.heads_asked == 2, "somebody asks")

    assert cache.freshness.covers(1)
    cache.store.may_answer.set()
    asker.join(DEADLINE_S)


def test_a_store_that_was_slow_is_asked_beside_the_reader(cache: Cache) -> None:
    """Within the bound not even the reader that asks waits for it twice."""

    def slow() -> None:
        cache.clock.now += 0.5

    cache.store.when_asked = slow
    cache.freshness.covers(1)
    cache.store.when_asked = lambda: None
    cache.clock.now += 1.5
    cache.store.may_answer.clear()

    assert cache.freshness.covers(1)
    wait_until(lambda: cache.store.heads_asked == 2, "it is asked beside")
    cache.store.may_answer.set()
    wait_until(lambda: cache.freshness.shown.sent_at > 101.9, "the answer is noted")


def test_a_store_that_does_not_answer_is_not_told_as_a_cache_that_is_behind() -> None:
    """Whoever reads why a value is unsure looks for the fault in the right place."""
    cache = Cache(available(3))
    assert cache.freshness.covers_soon(1)
    cache.store.may_answer.clear()
    cache.clock.now += 4
    cache.freshness.covers_soon(1)
    cache.clock.now += 2
    told = cache.freshness.doubts()
    cache.store.may_answer.set()
    wait_until(lambda: cache.freshness.is_within(3), "it was answered")

    assert "the backing store was asked 2.0 s ago, and has not answered" == told


def test_available_waits_no_longer_than_it_says() -> None:
    """A store that hangs costs each read less than a tenth of a second, and not twice."""
    cache = Cache(available(3))
    cache.freshness.covers_soon(1)
    cache.clock.now += 10
    cache.store.may_answer.clear()
    began = time.monotonic()
    shown = [cache.freshness.covers_soon(1) for _ in range(3)]
    took_s = time.monotonic() - began

    assert [False] * 3 == shown
    assert took_s < 20 * ANSWER_WAIT_S
    assert 2 == cache.store.heads_asked
    cache.store.may_answer.set()
    wait_until(lambda: cache.freshness.covers_soon(1), "the answer counts when it comes")


@pytest.mark.parametrize("mode", [STRICT, bounded(3)])
def test_past_the_bound_nobody_waits_for_ever(mode: FreshnessMode) -> None:
    """Three seconds after the question readers give up, whenever they came."""
    cache = Cache(mode)
    cache.store.may_answer.clear()
    (asker,) = in_threads(1, lambda: cache.freshness.covers(1))
    wait_until(lambda: cache.store.heads_asked == 1, "somebody asks")
    cache.clock.now += 3.1

    assert not cache.freshness.covers(1)
    assert 1 == cache.store.heads_asked
    cache.store.may_answer.set()
    asker.join(DEADLINE_S)


def test_a_store_that_is_away_is_asked_again_soon(cache: Cache) -> None:
    """While it is, what is within the bound is served, and after it nothing."""
    cache.freshness.covers(1)
    cache.store.fails_with = StoreUnavailable("nobody there")
    cache.clock.now += 1.5
    assert cache.freshness.covers(1)
    assert cache.freshness.covers(1)
    assert 2 == cache.store.heads_asked
    cache.clock.now += 1.6
    assert not cache.freshness.covers(1)
    cache.store.fails_with = None
    cache.clock.now += 1.1

    assert cache.freshness.covers(1)


def test_in_doubt_a_store_that_is_away_leaves_the_bound(cache: Cache) -> None:
    """What was shown lately remains true, whoever cannot be heard now."""
    cache.freshness.covers(1)
    cache.freshness.doubt("the broker is away")
    cache.store.fails_with = StoreUnavailable("nobody there")
    cache.clock.now += 1.0

    assert cache.freshness.covers(1)
    cache.clock.now += 2.1
    assert not cache.freshness.covers(1)


def test_a_doubt_is_told_and_lifted(cache: Cache) -> None:
    """In doubt every read asks; after it the third of the bound counts again."""
    cache.freshness.covers(1)
    assert cache.freshness.is_settled()
    cache.freshness.doubt("a change could not be applied")
    assert "a change could not be applied" == cache.freshness.doubts()
    assert not cache.freshness.is_settled()
    cache.freshness.lift()

    assert cache.freshness.is_settled()


def test_a_doubt_waits_for_no_medium_that_hangs(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who emits a change must not wait for a reader that looks into the cache."""
    cache.store.change("a")
    cache.freshness.covers(1)
    looking, may_look = threading.Event(), threading.Event()
    positions = cache.ledger.positions

    def hang() -> Any:
        looking.set()
        assert may_look.wait(DEADLINE_S)
        return positions()

    monkeypatch.setattr(cache.ledger, "positions", hang)
    (reader,) = in_threads(1, lambda: cache.freshness.covers(1))
    assert looking.wait(DEADLINE_S)
    (doubter,) = in_threads(1, lambda: cache.freshness.doubt("a change could not be applied"))
    doubter.join(DEADLINE_S)

    assert cache.freshness.is_doubted
    may_look.set()
    reader.join(DEADLINE_S)


# -- Waiting for a position ----------------------------------------------------


def test_a_reader_waits_until_the_position_is_there(cache: Cache) -> None:
    """advanced() wakes it; it need not look by itself."""
    entry = cache.store.change("a")[-1]
    wanted = cache.store.position_of(entry)
    reached: list[bool] = []
    (waiter,) = in_threads(1, lambda: reached.append(cache.freshness.wait_for(wanted, DEADLINE_S)))
    cache.catch_up()
    cache.freshness.advanced()
    waiter.join(DEADLINE_S)

    assert [True] == reached


def test_a_reader_looks_for_what_another_process_applied(cache: Cache) -> None:
    """Nobody here says that the position moved."""
    wanted = cache.store.position_of(cache.store.change("a")[-1])
    freshness = Freshness(cache.ledger, cache.store)
    reached: list[bool] = []
    (waiter,) = in_threads(1, lambda: reached.append(freshness.wait_for(wanted, DEADLINE_S)))
    cache.catch_up()
    waiter.join(DEADLINE_S)

    assert [True] == reached


def test_a_reader_does_not_wait_for_ever(cache: Cache) -> None:
    """What is never applied ends the wait with False."""
    wanted = cache.store.position_of(cache.store.change("a")[-1])
    freshness = Freshness(cache.ledger, cache.store)

    assert not freshness.wait_for(wanted, 0.02)


def test_a_version_names_a_position_where_there_is_one_journal(cache: Cache) -> None:
    """What a write returned can be asked for as it is."""
    entry = cache.store.change("a")[-1]

    assert cache.store.position_of(entry) == cache.freshness.position_of(entry.version)
    with pytest.raises(InvalidFreshness, match="2 journals: give a Position"):
        Cache(journals=2).freshness.position_of(entry.version)
    with pytest.raises(InvalidFreshness, match="of another store"):
        cache.freshness.position_of(FakeJournal().head())


def test_strict_without_a_journal_is_refused() -> None:
    """Nothing could ever be served; the error says what to use."""
    with pytest.raises(InvalidFreshness, match="has no journal; use 'bounded"):
        Freshness(MemoryLedger(), None, mode=STRICT)


def test_without_a_journal_no_age_can_be_asked_for() -> None:
    """It is believed as a whole, or not at all."""
    freshness = Freshness(MemoryLedger(), None, mode=bounded(3))
    freshness.vouch()

    assert freshness.covers(1)
    assert freshness.is_settled()
    assert not freshness.covers(1, max_age_s=100)
    freshness.doubt("away")
    assert not freshness.covers_soon(1)
