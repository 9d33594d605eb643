"""The suite's part on the room that a cache takes (rule 7), and on notes of pushes."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from antiphon.storage.ledger import CacheLedger, Usage
from antiphon.testing.ledger_tests.base import LedgerParts, found, read, value, version

_LARGE = b"x" * 3_000_000


class Room(LedgerParts):
    """evict(), sizes() and usage()."""

    def test_the_room_taken_is_known(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """Entries and bytes, whoever filled them; an empty cache takes none."""
        assert (0, 0) == ledger.usage()
        ledger.fill(ledger.reserve("a"), value(b"12345", 1))
        other.fill(other.reserve("b"), value(b"", 1))
        ledger.fill(ledger.reserve("c"), value(_LARGE, 1))

        assert Usage(3, 5 + len(_LARGE)) == other.usage()
        assert {"a": 5, "b": 0, "c": len(_LARGE)} == dict(ledger.sizes())

    def test_the_room_is_counted_along(self, ledger: CacheLedger) -> None:
        """Replacing, refusing, invalidating, doubting and confirming: it is always the sum."""

        def check() -> None:
            sizes = dict(ledger.sizes())

            assert (len(sizes), sum(sizes.values())) == ledger.usage()

        for key in ("a", "p/a", "p/b", "b", "c", "d"):
            ledger.fill(ledger.reserve(key), value(b"12345", 2))
        ledger.fill(ledger.reserve("a"), value(b"123", 3))
        check()
        ledger.fill(ledger.reserve("a"), value(b"1234567", 2))
        check()
        ledger.void("b", version(3))
        ledger.void_prefix("p/", None)
        check()
        ledger.void_many([("c", None), ("c", None), ("missing", None)])
        ledger.suspect()
        check()
        ledger.confirm(ledger.reserve("d"), version(2))
        ledger.confirm(ledger.reserve("a"), version(9))
        check()
        ledger.fill(ledger.reserve("d"), value(_LARGE, 4))
        check()
        ledger.evict(["d", "missing"])

        assert (0, 0) == ledger.usage()

    def test_evicted_entries_are_gone(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """Checked or not, large or small; others stay, and the number is told."""
        for key, data in (("a", b"a"), ("b", _LARGE), ("c", b"c")):
            ledger.fill(ledger.reserve(key), value(data, 1))
        ledger.suspect()
        ledger.fill(ledger.reserve("a"), value(b"a", 1))

        assert 2 == other.evict(iter(["a", "missing", "b", "a"]))
        assert ["c"] == list(ledger.keys())
        assert 0 == other.evict([])

    def test_evicting_is_no_invalidation(self, ledger: CacheLedger) -> None:
        """Nothing is noted: the same value may be filled again at once."""
        ledger.fill(ledger.reserve("a"), value(b"one", 5))
        ledger.evict(["a"])

        assert b"one" == read(ledger.fill(ledger.reserve("a"), value(b"one", 4)))

    def test_a_fill_goes_on_while_its_key_is_evicted(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """No reservation ends: nothing has changed in the source."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        reservation = ledger.reserve("a")
        other.evict(["a"])

        assert b"two" == read(ledger.fill(reservation, value(b"two", 2)))

    def test_what_was_evicted_cannot_be_confirmed(self, ledger: CacheLedger) -> None:
        """It is not there any more; the reader fills it."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.suspect()
        reservation = ledger.reserve("a")
        ledger.evict(["a"])

        assert ledger.confirm(reservation, version(1)) is None
        assert found(ledger, "a") is None

    def test_evicting_leaves_notes_and_own_writes(self, ledger: CacheLedger) -> None:
        """What holds back old fills, and what is the user's, is no entry."""
        ledger.void("a", version(5))
        ledger.set_base("a", version(4))
        ledger.note_push("a", b"note")
        ledger.evict(["a"])

        assert ledger.fill(ledger.reserve("a"), value(b"old", 4)) is None
        assert (version(4), {"a": b"note"}) == (ledger.base("a"), ledger.pushes())

    def test_a_reader_keeps_its_stream_through_an_eviction(self, ledger: CacheLedger) -> None:
        """A stream handed out is read to its end."""
        ledger.fill(ledger.reserve("a"), value(_LARGE, 1))
        entry = ledger.lookup("a").entry
        assert entry is not None
        with entry.data as stream:
            begin = stream.read(10)
            ledger.evict(["a"])
            rest = stream.read()

        assert _LARGE == begin + rest

    def test_an_entry_opens_any_part_and_as_often_as_asked(self, ledger: CacheLedger) -> None:
        """Each stream is one of its own; what is at hand is given as it is."""
        for data in (b"0123456789", _LARGE):
            kept = ledger.fill(ledger.reserve("a"), value(data, 1))
            for entry in (kept, ledger.lookup("a").entry):
                assert entry is not None
                with entry.open(2, 5) as part, entry.data as whole, entry.data as again:
                    parts = part.read(), whole.read(), again.read(1)

                assert (data[2:5], data, data[:1]) == parts
                assert entry.content in (None, data)


class OwnWrites(LedgerParts):
    """Notes of pushes."""

    def test_a_push_is_noted_until_it_is_over(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """The note is given back as it is, to every handle; a new one replaces it."""
        assert {} == ledger.pushes()
        ledger.note_push("a", b"first")
        ledger.note_push("ü\n\x00", bytes(range(256)))
        ledger.note_push("a", b"\x00second")

        assert {"a": b"\x00second", "ü\n\x00": bytes(range(256))} == other.pushes()
        other.note_push("a", None)
        other.note_push("missing", None)
        assert ["ü\n\x00"] == list(ledger.pushes())

    def test_no_rule_of_the_cache_touches_a_push(self, ledger: CacheLedger) -> None:
        """Invalidations, doubt, a new beginning and evictions leave it."""
        ledger.note_push("a", b"note")
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.void("a", version(5))
        ledger.void_prefix("", None)
        ledger.suspect()
        ledger.advance(None)
        ledger.evict(["a"])

        assert {"a": b"note"} == ledger.pushes()
