"""A cache that says fresh is fresh: it asks, it does not assume (P5)."""

import pytest
from fakes import FakeJournal

from antiphon.storage.freshness import Freshness
from antiphon.storage.memory_ledger import MemoryLedger


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A cache at the head of its journal."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.journal = FakeJournal()
        self.ledger = MemoryLedger()
        self.freshness = Freshness(self.ledger, self.journal, max_staleness_s=3.0, clock=self.clock)
        self.journal.change("a")
        self.ledger.advance(self.journal.head())
        self.journal.heads_asked = 0


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_cache_at_the_head_is_fresh(watched: Watched) -> None:
    """Position and head are the same: entries may be served."""
    assert watched.freshness.covers(1)


def test_the_head_is_not_asked_for_at_every_read(watched: Watched) -> None:
    """One question serves all reads of a third of the bound."""
    for _ in range(100):
        watched.freshness.covers(1)
    watched.clock.now += 1.1
    watched.freshness.covers(1)

    assert 2 == watched.journal.heads_asked


def test_a_cache_that_fell_behind_is_not_fresh_after_the_bound(watched: Watched) -> None:
    """No read older than the bound: an invalidator that died is noticed."""
    watched.freshness.covers(1)
    watched.journal.change("a")
    watched.clock.now += 3.01

    assert not watched.freshness.covers(1)


def test_a_cache_is_served_until_the_bound_while_events_are_under_way(watched: Watched) -> None:
    """Within the bound a store under steady change does not empty its caches of use."""
    watched.freshness.covers(1)
    watched.journal.change("a")
    watched.clock.now += 2.0

    assert watched.freshness.covers(1)


def test_an_earlier_question_is_answered_when_the_events_come(watched: Watched) -> None:
    """A head asked for at t and reached later makes the cache fresh as of t."""
    watched.journal.change("a")
    asked = watched.journal.head()
    assert not watched.freshness.covers(1)
    watched.journal.change("a")
    watched.ledger.advance(asked)

    assert watched.freshness.covers(1)


def test_in_doubt_every_read_asks(watched: Watched) -> None:
    """Without an invalidator that vouches, only the head itself is believed."""
    assert watched.freshness.covers(1)
    assert watched.freshness.covers(None)
    watched.journal.change("a")

    assert not watched.freshness.covers(None)


def test_a_cache_that_nobody_ever_checked_is_not_fresh() -> None:
    """Without a position nothing is known."""
    freshness = Freshness(MemoryLedger(), FakeJournal())

    assert not freshness.covers(None)
    assert not freshness.covers(1)


def test_a_store_that_went_back_in_time_is_not_fresh(watched: Watched) -> None:
    """A head behind the position is a restored backup, not an answer."""
    watched.journal.change("b")
    watched.ledger.advance(watched.journal.head())
    watched.journal.rewind(1)

    assert not watched.freshness.covers(1)


def test_the_same_number_of_another_history_is_not_fresh(watched: Watched) -> None:
    """Numbers alone identify nothing."""
    watched.journal.rewind(1)
    watched.journal.change("b")

    assert not watched.freshness.covers(1)


def test_without_a_journal_only_an_invalidator_here_counts() -> None:
    """A store that cannot be asked is believed while its events are heard in this process."""
    freshness = Freshness(MemoryLedger(), None)
    assert not freshness.covers(1)
    freshness.vouch()

    assert freshness.covers(1)
    assert not freshness.covers(None)


def test_a_bound_of_nothing_is_refused() -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match="max_staleness_s is 0"):
        Freshness(MemoryLedger(), None, max_staleness_s=0)
