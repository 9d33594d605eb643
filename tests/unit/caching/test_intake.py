"""Who applies a change that was heard of, and when: at once alone, together in a crowd."""

import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import FakeJournal
from gated import GatedLedger

from antiphon.caching import dropping as dropping_module
from antiphon.caching import intake as intake_module
from antiphon.caching.applier import Applier
from antiphon.caching.changes import Heard, Outcome
from antiphon.caching.intake import OWN_WAIT_S, Intake
from antiphon.storage.freshness import Freshness
from antiphon.storage.journal import JournalEntry
from antiphon.storage.ledger import Fill
from patience import wait_until

#: Seconds that anything here may take.
DEADLINE_S = 10.0


class Kept:
    """A cache behind a gate, what was applied to it, and why that failed."""

    def __init__(self) -> None:
        self.ledger = GatedLedger()
        self.journal = FakeJournal()
        self.applier = Applier(self.ledger, self.journal, "p/")  # type: ignore[arg-type]
        self.applier.catch_up(after_doubt=True)
        self.ledger.calls.clear()
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []
        self.intake = Intake(
            self.applier,
            is_instant=False,
            when_applied=self.outcomes.append,
            when_failed=self.failures.append,
        )
        self.threads: list[threading.Thread] = []

    def heard(self, key: str) -> Heard:
        (entry,) = self.journal.change(key)
        return self.of(entry)

    def of(self, entry: JournalEntry) -> Heard:
        return Heard(str(entry.key), self.journal.position_of(entry))

    def cache(self, *keys: str) -> None:
        for key in keys:
            fill = Fill(io.BytesIO(b"x"), {}, None, None, None)
            assert self.ledger.fill(self.ledger.reserve(key), fill) is not None

    def hold(self) -> None:
        """Have another thread apply a change, and stand still in it."""
        self.ledger.open.clear()
        self.ledger.entered.clear()
        first = self.heard("p/first")
        self.threads.append(threading.Thread(target=lambda: self.intake.take(first, is_own=False)))
        self.threads[-1].start()
        assert self.ledger.entered.wait(DEADLINE_S)

    def close(self) -> None:
        self.ledger.open.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
        self.intake.stop(DEADLINE_S)


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.close()


def test_a_single_change_is_applied_at_once_by_who_hears_it(kept: Kept) -> None:
    """Nothing is under way: no thread is waited for."""
    kept.cache("p/a")
    kept.intake.take(kept.heard("p/a"), is_own=False)

    assert [] == kept.ledger.keys()
    assert kept.journal.head() == kept.ledger.position()
    assert "antiphon-cache-intake" not in {thread.name for thread in threading.enumerate()}


def test_what_comes_meanwhile_is_applied_in_one_step(kept: Kept) -> None:
    """One transaction for all that waited, the newest version of each key, the position last."""
    kept.hold()
    for key in ("p/a", "p/b", "p/a", "q/c", "p/a"):
        kept.intake.take(kept.heard(key), is_own=False)
    kept.ledger.open.set()
    wait_until(lambda: len(kept.outcomes) == 2, "both steps are told")

    newest = {e.key: e.version for e in kept.journal.entries}
    told = [("p/a", newest["p/a"]), ("p/b", newest["p/b"]), ("q/c", None)]
    assert [told] == kept.ledger.calls_of("void_many")
    assert ["void_many", "advance"] == [name for name, _ in kept.ledger.calls[-2:]]
    assert kept.journal.head() == kept.ledger.position()
    assert [3, 1] == [done.changes for done in kept.outcomes[1].applied]
    assert 2 == kept.applier.counts.coalesced


def test_trap_6_a_change_that_is_being_applied_does_not_count(kept: Kept) -> None:
    """Whoever asks meanwhile does not hear of a position whose entry is still there."""
    freshness = Freshness(kept.ledger, kept.journal, max_staleness_s=3.0)  # type: ignore[arg-type]
    kept.cache("p/first")
    kept.ledger.beat()
    start = kept.ledger.position()
    kept.hold()
    kept.intake.take(kept.heard("p/second"), is_own=False)
    during = kept.ledger.position(), freshness.covers(1), list(kept.ledger.keys())
    kept.ledger.open.set()
    wait_until(lambda: kept.journal.head() == kept.ledger.position(), "both are applied")

    assert (start, False, ["p/first"]) == during
    assert [] == list(kept.ledger.keys())


def test_nothing_that_comes_is_left_waiting(kept: Kept) -> None:
    """What comes during the second step is applied in a third one, by the same thread."""
    again = iter([kept.heard("p/c"), None])

    def hear_more(outcome: Outcome) -> None:
        kept.outcomes.append(outcome)

    apply_many = kept.applier.apply_many

    def apply_while_others_come(changes: Any) -> Outcome:
        outcome = apply_many(changes)
        if (more := next(again, None)) is not None:
            # Just before the lock is given back: whoever hears leaves it to us.
            other = threading.Thread(target=lambda: kept.intake.take(more, is_own=False))
            other.start()
            other.join(DEADLINE_S)
        return outcome

    kept.intake._when_applied = hear_more
    kept.applier.apply_many = apply_while_others_come  # type: ignore[method-assign]
    kept.intake._waiting.append((kept.heard("p/b"), None))
    kept.intake._apply_waiting()

    assert [["p/b"], ["p/c"]] == [[one.key for one in step.applied] for step in kept.outcomes]


def test_who_hears_is_not_held_up_by_what_another_applies(kept: Kept) -> None:
    """The thread of the bus goes on with other listeners."""
    kept.hold()
    began = time.monotonic()
    kept.intake.take(kept.heard("p/a"), is_own=False)

    assert time.monotonic() - began < DEADLINE_S / 2
    assert [] == kept.failures


def test_a_crowd_is_left_to_the_worker(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a change at once is collected, so that a burst takes few transactions."""
    monkeypatch.setattr(intake_module, "_FIRST_PAUSE_S", 60.0)
    monkeypatch.setattr(intake_module, "_LONGEST_PAUSE_S", 60.0)
    for number in range(500):
        kept.intake.take(kept.heard(f"p/{number % 7}"), is_own=False)
    wait_until(lambda: kept.journal.head() == kept.ledger.position(), "all is applied")

    assert len(kept.ledger.calls_of("advance")) < 250


def test_an_own_write_is_applied_when_it_returns(kept: Kept) -> None:
    """A process reads its own writes."""
    kept.cache("p/a")
    kept.intake.take(kept.heard("p/a"), is_own=True)

    assert ([], []) == (kept.ledger.keys(), kept.failures)


def test_an_own_write_does_not_wait_for_a_locked_cache(kept: Kept) -> None:
    """It returns soon, with the cache in doubt, and its change is applied when that is possible."""
    kept.cache("p/a")
    kept.hold()
    began = time.monotonic()
    kept.intake.take(kept.heard("p/a"), is_own=True)
    took_s = time.monotonic() - began

    assert ["it does not take in changes in time"] == kept.failures
    assert OWN_WAIT_S * 0.9 <= took_s < OWN_WAIT_S + 2
    kept.ledger.open.set()
    wait_until(lambda: kept.journal.head() == kept.ledger.position(), "it is applied after all")
    assert [] == kept.ledger.keys()


def test_a_listener_may_write_while_it_is_told(kept: Kept) -> None:
    """The worker, which calls it, does not wait for itself."""
    written: list[str] = []

    def write_once(outcome: Outcome) -> None:
        if not written:
            written.append("p/b")
            kept.intake.take(kept.heard("p/b"), is_own=True)

    kept.intake._when_applied = write_once
    kept.intake.take(kept.heard("p/a"), is_own=True)
    wait_until(lambda: kept.journal.head() == kept.ledger.position(), "both are applied")

    assert [] == kept.failures


def test_the_worker_outlives_who_is_told(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """What raises when it is told of one change takes no other from the cache."""

    def fail(outcome: Outcome) -> None:
        raise RuntimeError("a listener")

    kept.intake._when_applied = fail
    kept.intake.take(kept.heard("p/a"), is_own=True)
    wait_until(lambda: "could not be told" in caplog.text, "it is logged")
    kept.intake.take(kept.heard("p/b"), is_own=True)

    assert kept.journal.head() == kept.ledger.position()
    assert [] == kept.failures


def test_a_cache_that_fails_is_doubted_and_its_position_stays(kept: Kept) -> None:
    """The journal has to tell again what could not be dropped."""
    start = kept.ledger.position()
    kept.ledger.fails = True
    kept.intake.take(kept.heard("p/a"), is_own=False)

    assert ["it cannot be written: the cache is away"] == kept.failures
    kept.ledger.fails = False
    assert start == kept.ledger.position()
    assert 1 == kept.applier.catch_up(after_doubt=True)


def test_too_many_that_wait_are_left_to_the_journal(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory that a stuck cache takes is bounded, and nothing is lost."""
    monkeypatch.setattr(intake_module, "MAX_WAITING", 10)
    kept.hold()
    for number in range(25):
        kept.intake.take(kept.heard(f"p/{number}"), is_own=False)

    assert ["more than 10 changes wait for it"] * 2 == kept.failures
    assert len(kept.intake._waiting) <= 10
    kept.ledger.open.set()
    wait_until(lambda: len(kept.outcomes) == 2, "the rest is applied")
    kept.applier.catch_up(after_doubt=True)
    assert kept.journal.head() == kept.ledger.position()


def test_more_changes_than_entries_drop_a_prefix(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bulk change costs a small cache one step, and no note keeps unchanged keys out."""
    monkeypatch.setattr(dropping_module, "PREFIX_ABOVE", 5)
    kept.cache("p/x/1", "p/x/9", "p/y")
    changes = [kept.of(entry) for entry in kept.journal.change(*(f"p/x/{n}" for n in range(8)))]
    outcome = kept.applier.apply_many(changes)

    assert ["p/x/"] == kept.ledger.calls_of("void_prefix")
    assert ["p/y"] == list(kept.ledger.keys())
    (done,) = outcome.applied
    assert ("p/x/", 2, 8) == (done.key, done.dropped, done.changes)
    assert {f"p/x/{n}" for n in range(8)} == set(done.covered or ())
    old = Fill(io.BytesIO(b"x"), {}, None, None, kept.journal.entries[0].version)
    assert kept.ledger.fill(kept.ledger.reserve("p/x/9"), old) is not None


def test_a_large_cache_keeps_what_did_not_change(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it holds more than what changed, keys are dropped one by one."""
    monkeypatch.setattr(dropping_module, "PREFIX_ABOVE", 5)
    kept.cache(*(f"p/x/{n}" for n in range(20)))
    changes = [kept.of(entry) for entry in kept.journal.change(*(f"p/x/{n}" for n in range(8)))]
    kept.applier.apply_many(changes)

    assert 12 == len(list(kept.ledger.keys()))


def test_what_was_applied_is_not_applied_again(kept: Kept) -> None:
    """Heard of twice, as own write and from the broker, it costs one transaction."""
    change = kept.heard("p/a")
    kept.applier.apply_many([change])
    calls = len(kept.ledger.calls)
    outcome = kept.applier.apply_many([change])

    assert calls == len(kept.ledger.calls)
    assert (True, []) == (outcome.is_consistent, outcome.applied)


def test_after_its_end_nobody_waits(kept: Kept) -> None:
    """A write that comes while the invalidator is stopped returns at once."""
    kept.intake.stop(DEADLINE_S)
    kept.intake.take(kept.heard("p/a"), is_own=True)

    assert ([], []) == (kept.failures, kept.outcomes)
    assert "antiphon-cache-intake" not in {thread.name for thread in threading.enumerate()}
