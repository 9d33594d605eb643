"""The suite's part on invalidations in batches and on several stores."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from antiphon.storage.ledger import CacheLedger
from antiphon.testing.ledger_tests.base import (
    OTHER_STORE_ID,
    STORE_ID,
    LedgerParts,
    found,
    position,
    read,
    value,
    version,
)


class Following(LedgerParts):
    """void_many(), positions() and advance()."""

    def test_many_changes_are_applied_like_one_after_the_other(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """The answer says of each whether an entry was dropped; late ones drop nothing."""
        for number, key in enumerate("abcd"):
            ledger.fill(ledger.reserve(key), value(key.encode(), number + 1))
        changes = [
            ("a", version(5)),
            ("b", None),
            ("missing", version(6)),
            ("a", version(7)),
            ("c", version(3)),
        ]

        assert [True, True, False, False, False] == other.void_many(changes)
        assert [None, None, (b"c", True), (b"d", True)] == [found(ledger, key) for key in "abcd"]

    def test_many_changes_end_reservations_and_are_noted(self, ledger: CacheLedger) -> None:
        """Each of them holds back fills that began before it, or that are older."""
        before = {key: ledger.reserve(key) for key in "abc"}
        ledger.void_many([("a", version(5)), ("b", None), ("a", version(4))])

        assert ledger.fill(before["a"], value(b"old", 9)) is None
        assert ledger.fill(before["b"], value(b"old", 9)) is None
        assert ledger.fill(ledger.reserve("a"), value(b"old", 4)) is None
        assert b"c" == read(ledger.fill(before["c"], value(b"c", 1)))
        assert b"new" == read(ledger.fill(ledger.reserve("b"), value(b"new", 1)))

    def test_no_changes_are_applied_too(self, ledger: CacheLedger) -> None:
        """An empty batch does nothing."""
        assert [] == ledger.void_many([])

    def test_a_large_batch_is_applied_whole(self, ledger: CacheLedger) -> None:
        """Also one that a medium cuts into pieces; any key may be in it."""
        odd = ["", "ü\n\x00*?", "k" * 2000]
        keys = odd + [f"k{number}" for number in range(6000)]
        filled = [*odd, "k0", "k1000", "k5999"]
        for key in filled:
            ledger.fill(ledger.reserve(key), value(b"x", 1))
        late = ledger.reserve("k5998")
        dropped = ledger.void_many([(key, version(2)) for key in keys])

        assert filled == [key for key, gone in zip(keys, dropped, strict=True) if gone]
        assert [] == list(ledger.keys())
        assert ledger.fill(late, value(b"old", 1)) is None

    def test_each_store_has_its_position(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """A cache over several stores follows each of them; none goes back."""
        one, two = position(4), position(9, store_id=OTHER_STORE_ID)
        assert {} == ledger.positions()
        ledger.advance(one)
        only = other.position()
        other.advance(two)
        ledger.advance(position(3))
        ledger.advance(position(2, store_id=OTHER_STORE_ID))

        assert one == only
        assert {STORE_ID: one, OTHER_STORE_ID: two} == other.positions()
        assert other.position() is None

    def test_a_new_epoch_of_one_store_leaves_the_other(self, ledger: CacheLedger) -> None:
        """Histories are compared with their own only."""
        ledger.advance(position(9))
        ledger.advance(position(5, store_id=OTHER_STORE_ID))
        ledger.advance(position(1, epoch=2))

        assert {
            STORE_ID: position(1, epoch=2),
            OTHER_STORE_ID: position(5, store_id=OTHER_STORE_ID),
        } == ledger.positions()

    def test_forgetting_forgets_the_positions_of_all(self, ledger: CacheLedger) -> None:
        """And the notes; a cache that followed another store before begins anew so."""
        ledger.advance(position(9))
        ledger.advance(position(5, store_id=OTHER_STORE_ID))
        ledger.void_many([("a", version(9))])
        ledger.advance(None)
        nothing = ledger.positions()
        ledger.advance(position(1, store_id=OTHER_STORE_ID))

        assert {} == nothing
        assert position(1, store_id=OTHER_STORE_ID) == ledger.position()
        assert b"new" == read(ledger.fill(ledger.reserve("a"), value(b"new", 1)))

    def test_what_the_journal_showed_is_kept_apart(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """An invalidator that was killed begins where the journal itself was read last."""
        assert {} == ledger.verified()
        ledger.advance(position(9))
        ledger.verify(position(4))
        other.verify(position(5, store_id=OTHER_STORE_ID))
        other.verify(position(3))

        assert {STORE_ID: position(9)} == other.positions()
        assert {
            STORE_ID: position(3),
            OTHER_STORE_ID: position(5, store_id=OTHER_STORE_ID),
        } == ledger.verified()

    def test_forgetting_ends_no_fill(self, ledger: CacheLedger) -> None:
        """Nothing is known to have changed: that is what suspect() is for."""
        reservation = ledger.reserve("a")
        ledger.advance(None)

        assert b"one" == read(ledger.fill(reservation, value(b"one", 1)))

    def test_what_was_voided_stays_voided_after_forgetting(self, ledger: CacheLedger) -> None:
        """A reservation that has ended does not stand again."""
        reservation = ledger.reserve("a")
        ledger.void("a", version(2))
        ledger.advance(None)

        assert ledger.fill(reservation, value(b"old", 1)) is None
