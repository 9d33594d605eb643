"""The suite's part on doubt about everything (rules 4 to 6 of ``antiphon.storage.ledger``)."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import threading

from antiphon.storage.ledger import CacheLedger
from antiphon.testing.ledger_tests.base import (
    LedgerParts,
    fill_of,
    found,
    read,
    value,
    version,
)


class Doubting(LedgerParts):
    """suspect() and confirm()."""

    def test_suspected_entries_are_unchecked(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """They are there, for every handle, and say that they are to be confirmed."""
        filled = ledger.fill(ledger.reserve("a"), value(b"one", 1))
        before = found(other, "a")
        other.suspect()

        assert filled is not None
        assert filled.checked
        assert (b"one", True) == before
        assert (b"one", False) == found(ledger, "a")

    def test_an_entry_filled_after_the_doubt_is_checked(self, ledger: CacheLedger) -> None:
        """Doubt concerns what was there, and nothing that comes."""
        ledger.suspect()
        ledger.fill(ledger.reserve("a"), value(b"one", 1))

        assert (b"one", True) == found(ledger, "a")

    def test_what_has_its_very_version_is_confirmed(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """It is checked from then on, for every handle, and given back whole."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1, title="x"))
        ledger.suspect()
        confirmed = ledger.confirm(ledger.reserve("a"), version(1))

        assert confirmed is not None
        assert (b"one", {"title": "x"}, version(1), True, 1.0, 2.0, 3) == (
            read(confirmed),
            confirmed.metadata,
            confirmed.version,
            confirmed.checked,
            confirmed.created,
            confirmed.modified,
            confirmed.size,
        )
        assert (b"one", True) == found(other, "a")

    def test_doubt_may_come_again(self, ledger: CacheLedger) -> None:
        """What was confirmed is unchecked after the next doubt."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        for _ in range(3):
            ledger.suspect()
            unchecked = found(ledger, "a")
            ledger.confirm(ledger.reserve("a"), version(1))

            assert (b"one", False) == unchecked
            assert (b"one", True) == found(ledger, "a")

    def test_another_version_is_not_confirmed_and_goes(self, ledger: CacheLedger) -> None:
        """Not a later one, nor the same numbers of another history, nor none."""
        for answer in (version(2), version(1, history=1), version(1, epoch=2), None):
            ledger.fill(ledger.reserve("a"), value(b"one", 1))
            ledger.suspect()

            assert ledger.confirm(ledger.reserve("a"), answer) is None
            assert found(ledger, "a") is None

    def test_an_entry_without_version_cannot_be_confirmed(self, ledger: CacheLedger) -> None:
        """Nothing shows that it is what the source has now."""
        ledger.fill(ledger.reserve("a"), value(b"one", None))
        ledger.suspect()

        assert ledger.confirm(ledger.reserve("a"), None) is None
        assert found(ledger, "a") is None

    def test_a_checked_entry_of_another_version_stays(self, ledger: CacheLedger) -> None:
        """It came after the answer that tells of another one."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.suspect()
        reservation = ledger.reserve("a")
        ledger.fill(ledger.reserve("a"), value(b"two", 2))

        assert ledger.confirm(reservation, version(1)) is None
        assert (b"two", True) == found(ledger, "a")

    def test_what_is_checked_may_be_confirmed_again(self, ledger: CacheLedger) -> None:
        """Two readers asked; the second comes to the same."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.suspect()
        first, second = ledger.reserve("a"), ledger.reserve("a")

        assert b"one" == read(ledger.confirm(first, version(1)))
        assert b"one" == read(ledger.confirm(second, version(1)))

    def test_nothing_is_confirmed_where_nothing_is(self, ledger: CacheLedger) -> None:
        """A confirmation makes no entry."""
        assert ledger.confirm(ledger.reserve("a"), version(1)) is None
        assert found(ledger, "a") is None

    def test_a_confirmation_begun_before_an_invalidation_fails(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """The source may have answered before the change."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.suspect()
        by_key, by_prefix = ledger.reserve("a"), ledger.reserve("p/a")
        ledger.fill(ledger.reserve("p/a"), value(b"one", 1))
        other.void("a", version(1))
        other.void_prefix("p/", version(1))

        assert (b"one", False) == found(ledger, "a")
        assert ledger.confirm(by_key, version(1)) is None
        assert ledger.confirm(by_prefix, version(1)) is None
        assert (b"one", False) == found(ledger, "a")

    def test_a_confirmation_begun_before_the_doubt_fails(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """What was answered before says nothing about the history of now."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        reservation = ledger.reserve("a")
        other.suspect()

        assert ledger.confirm(reservation, version(1)) is None
        assert (b"one", False) == found(ledger, "a")

    def test_a_fill_begun_before_the_doubt_is_not_kept(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """It was read in a history that may be no more."""
        reservation = ledger.reserve("a")
        other.suspect()

        assert ledger.fill(reservation, value(b"old", 1)) is None
        assert found(ledger, "a") is None

    def test_a_confirmation_uses_its_reservation_up(self, ledger: CacheLedger) -> None:
        """Whether it succeeded or not: nothing is filled with it any more."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        for answer in (version(1), version(2)):
            reservation = ledger.reserve("a")
            ledger.confirm(reservation, answer)

            assert ledger.fill(reservation, value(b"two", 2)) is None

    def test_an_unchecked_entry_stands_in_no_fills_way(self, ledger: CacheLedger) -> None:
        """After a restored backup the present value has a smaller number."""
        ledger.fill(ledger.reserve("a"), value(b"lost", 900))
        ledger.suspect()
        kept = ledger.fill(ledger.reserve("a"), value(b"restored", 5))

        assert b"restored" == read(kept)
        assert (b"restored", True) == found(ledger, "a")

    def test_an_unchecked_entry_is_dropped_by_any_invalidation(self, ledger: CacheLedger) -> None:
        """Its number may be of a lost history: that it is greater shows nothing."""
        for key, prefix in (("a", None), ("b", "b")):
            ledger.fill(ledger.reserve(key), value(b"lost", 900))
            ledger.suspect()
            if prefix is None:
                dropped: int = ledger.void(key, version(5))
            else:
                dropped = ledger.void_prefix(prefix, version(5))

            assert 1 == dropped
            assert found(ledger, key) is None

    def test_an_unchecked_entry_outlives_the_news_of_itself(self, ledger: CacheLedger) -> None:
        """The invalidation of its own version does not drop it, nor does it check it."""
        ledger.fill(ledger.reserve("a"), value(b"one", 5))
        ledger.suspect()

        assert not ledger.void("a", version(5))
        assert (b"one", False) == found(ledger, "a")

    def test_the_same_numbers_of_another_history_drop_an_entry(self, ledger: CacheLedger) -> None:
        """A store that lost its last second counts them again, for another change."""
        ledger.fill(ledger.reserve("a"), fill_of(b"lost", version(5, history=1)))

        assert ledger.void("a", version(5, history=2))
        assert found(ledger, "a") is None

    def test_a_checked_entry_outlives_a_late_invalidation(self, ledger: CacheLedger) -> None:
        """The value was replaced since: the news is of what is there, or older."""
        ledger.fill(ledger.reserve("a"), value(b"new", 5))

        assert [False, False] == [ledger.void("a", version(5)), ledger.void("a", version(4))]
        assert (b"new", True) == found(ledger, "a")

    def test_doubt_leaves_the_users_own_and_the_notes(self, ledger: CacheLedger) -> None:
        """Own writes, pushes, position and noted invalidations stay as they were."""
        ledger.set_base("a", version(4))
        ledger.note_push("a", b"push")
        ledger.void("b", version(9))
        ledger.suspect()

        assert (version(4), {"a": b"push"}) == (ledger.base("a"), ledger.pushes())
        assert ledger.fill(ledger.reserve("b"), value(b"old", 8)) is None

    def test_many_threads_confirm_nothing_from_before_the_last_doubt(
        self, ledger: CacheLedger
    ) -> None:
        """Whatever the interleaving, what is checked was the source's after the doubt."""
        source = {"history": 0}
        lock = threading.Lock()
        stop = threading.Event()
        wrong: list[str] = []

        def look() -> None:
            while not stop.is_set():
                reservation = ledger.reserve("a")
                with lock:
                    at = version(7, history=source["history"])
                if ledger.confirm(reservation, at) is None:
                    ledger.fill(ledger.reserve("b"), value(b"x", None))
                    again = ledger.reserve("a")
                    with lock:
                        history = source["history"]
                    ledger.fill(again, fill_of(b"%d" % history, version(7, history=history)))

        def rewrite() -> None:
            try:
                for _ in range(60):
                    with lock:
                        source["history"] += 1
                        now = source["history"]
                    ledger.suspect()
                    entry = found(ledger, "a")
                    if entry is not None and entry[1] and int(entry[0]) < now:
                        wrong.append(f"{entry[0]!r} is checked in history {now}")
            finally:
                stop.set()

        threads = [threading.Thread(target=look) for _ in range(3)]
        threads.append(threading.Thread(target=rewrite))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == wrong
