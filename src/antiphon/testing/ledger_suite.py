"""Conformance suite for cache ledgers: subclass it and supply two fixtures.

A backend's test class overrides ``ledger`` with a fresh ledger, and
``other`` with a second handle on the same medium (another connection) where
the medium can have one::

    class TestMyLedger(LedgerSuite):
        @pytest.fixture
        def ledger(self, tmp_path):
            with open_store(f"mine:///{tmp_path}") as store:
                yield store.cache_ledger()

The suite needs pytest, and Hypothesis for random histories.
"""

from __future__ import annotations

import io
import threading
from typing import Any, ClassVar

import pytest

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    *(
        f"antiphon.testing.ledger_tests.{part}"
        for part in ("base", "doubting", "following", "model", "room")
    )
)

from antiphon.storage.journal import Position  # noqa: E402
from antiphon.storage.ledger import CacheLedger, Fill  # noqa: E402
from antiphon.testing.ledger_tests.base import (  # noqa: E402
    STORE_ID,
    LedgerParts,
    fill_of,
    found,
    position,
    read,
    value,
    version,
)
from antiphon.testing.ledger_tests.doubting import Doubting  # noqa: E402
from antiphon.testing.ledger_tests.following import Following  # noqa: E402
from antiphon.testing.ledger_tests.room import OwnWrites, Room  # noqa: E402

__all__ = [
    "Doubting",
    "Following",
    "LedgerParts",
    "LedgerSuite",
    "OwnWrites",
    "Room",
    "fill_of",
    "found",
    "position",
    "read",
    "value",
    "version",
]


class LedgerSuite(Doubting, Following, Room, OwnWrites):
    """What every ledger must do; see ``antiphon.storage.ledger`` for the rules.

    Attributes:
        histories: random histories that are tried.
    """

    histories: ClassVar[int] = 25

    def test_an_unknown_key_has_no_entry(self, ledger: CacheLedger) -> None:
        """A ledger that was never filled knows nothing, and says so."""
        found = ledger.lookup("a")

        assert (None, None) == (found.entry, found.beat)

    def test_a_fill_under_a_reservation_is_kept(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """What was filled is there for every handle, with all that was given."""
        kept = ledger.fill(ledger.reserve("a"), value(b"one", 3, title="x", n=1))
        entry = other.lookup("a").entry

        assert b"one" == read(kept)
        assert entry is not None
        assert ({"title": "x", "n": 1}, 3, 1.0, 2.0, version(3)) == (
            entry.metadata,
            entry.size,
            entry.created,
            entry.modified,
            entry.version,
        )
        assert b"one" == read(entry)

    def test_metadata_handed_out_is_a_copy(self, ledger: CacheLedger) -> None:
        """Changing what a lookup returned does not change the cache."""
        ledger.fill(ledger.reserve("a"), value(tags=[1]))
        entry = ledger.lookup("a").entry
        assert entry is not None
        entry.metadata["tags"].append(2)

        again = ledger.lookup("a").entry
        assert again is not None
        assert {"tags": [1]} == again.metadata

    def test_any_key_and_bytes_are_kept(self, ledger: CacheLedger) -> None:
        """Keys are any text, data any bytes, also none and also more than a piece."""
        for key in ("", "a/b", "../x", "ü\n\x00*?", "k" * 2000):
            for data in (b"", b"\x00\xff" * 5, b"x" * 3_000_000):
                ledger.fill(ledger.reserve(key), value(data, None))

                assert data == read(ledger.lookup(key).entry)
                ledger.void(key, None)

    def test_void_drops_the_entry(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """An invalidated key is no longer in the cache, for any handle."""
        ledger.fill(ledger.reserve("a"), value(b"one", 1))
        ledger.fill(ledger.reserve("b"), value(b"two", 2))

        assert other.void("a", version(3))
        assert not other.void("a", version(3))
        assert ledger.lookup("a").entry is None
        assert b"two" == read(ledger.lookup("b").entry)

    def test_a_fill_begun_before_an_invalidation_is_not_kept(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """The fill race: reserve, read the old value, hear the event, insert."""
        reservation = ledger.reserve("a")
        other.void("a", version(2))

        assert ledger.fill(reservation, value(b"old", 1)) is None
        assert ledger.lookup("a").entry is None

    def test_a_fill_of_unknown_version_is_also_voided(self, ledger: CacheLedger) -> None:
        """Stores without versions rely on the reservation alone."""
        reservation = ledger.reserve("a")
        ledger.void("a", None)

        assert ledger.fill(reservation, value(b"old", None)) is None

    def test_a_prefix_invalidation_voids_fills_below_it(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """Dropping a prefix ends the reservations of its keys and of no others."""
        inside, outside = ledger.reserve("p/a"), ledger.reserve("q/a")
        ledger.fill(ledger.reserve("p/b"), value(b"b", 1))

        assert 1 == other.void_prefix("p/", version(5))
        assert ledger.fill(inside, value(b"old", 1)) is None
        assert b"new" == read(ledger.fill(outside, value(b"new", 1)))
        assert ledger.lookup("p/b").entry is None

    @pytest.mark.parametrize("prefix", ["a", "a[", "%", "_", "a*"])
    def test_a_prefix_is_text_not_a_pattern(self, ledger: CacheLedger, prefix: str) -> None:
        """Signs that mean something to a medium mean nothing in a prefix."""
        inside, outside = prefix + "x", "b" + prefix
        for key in (inside, outside):
            ledger.fill(ledger.reserve(key), value())

        assert 1 == ledger.void_prefix(prefix, version(5))
        assert [outside] == list(ledger.keys())

    def test_a_lagging_source_cannot_bring_an_old_value_back(self, ledger: CacheLedger) -> None:
        """A fill reserved after the invalidation, with an older version, is not kept."""
        ledger.void("a", version(5))
        ledger.void_prefix("p/", version(5))

        assert ledger.fill(ledger.reserve("a"), value(b"old", 4)) is None
        assert ledger.fill(ledger.reserve("p/a"), value(b"old", 4)) is None
        assert b"new" == read(ledger.fill(ledger.reserve("a"), value(b"new", 5)))
        assert b"new" == read(ledger.fill(ledger.reserve("p/a"), value(b"new", 6)))

    def test_an_older_note_does_not_replace_a_newer_one(self, ledger: CacheLedger) -> None:
        """Invalidations may come out of order; the latest counts."""
        ledger.void("a", version(5))
        ledger.void("a", version(3))
        ledger.void("a", None)

        assert ledger.fill(ledger.reserve("a"), value(b"old", 4)) is None

    def test_an_earlier_epoch_is_older(self, ledger: CacheLedger) -> None:
        """A value of an earlier history is not kept after an invalidation of a later one."""
        ledger.void("a", version(2, epoch=2))

        old = Fill(io.BytesIO(b"old"), {}, None, None, version(900, epoch=1))
        assert ledger.fill(ledger.reserve("a"), old) is None

    def test_a_reservation_serves_once(self, ledger: CacheLedger) -> None:
        """A released or used reservation keeps nothing more."""
        used, released = ledger.reserve("a"), ledger.reserve("a")
        ledger.fill(used, value(b"one", 1))
        ledger.release(released)

        assert ledger.fill(used, value(b"two", 2)) is None
        assert ledger.fill(released, value(b"three", 3)) is None
        assert b"one" == read(ledger.lookup("a").entry)

    def test_two_readers_may_fill_at_once(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """Reservations of one key stand side by side; the later version wins."""
        first, second = ledger.reserve("a"), other.reserve("a")
        other.fill(second, value(b"new", 2))
        ledger.fill(first, value(b"old", 1))

        assert b"new" == read(ledger.lookup("a").entry)

    def test_a_source_that_fails_leaves_nothing(self, ledger: CacheLedger) -> None:
        """An error while the value is read comes through, and nothing is cached."""

        class Broken(io.RawIOBase):
            def readable(self) -> bool:
                return True

            def read(self, size: int = -1) -> bytes:
                raise OSError("the source failed")

        reservation = ledger.reserve("a")
        broken: Any = Broken()
        with pytest.raises(OSError, match="the source failed"):
            ledger.fill(reservation, Fill(broken, {}, None, None, version(1)))

        assert ledger.lookup("a").entry is None

    def test_a_reader_keeps_its_stream_through_a_drop(self, ledger: CacheLedger) -> None:
        """A stream handed out is read to its end although the entry was dropped."""
        ledger.fill(ledger.reserve("a"), value(b"x" * 3_000_000, 1))
        entry = ledger.lookup("a").entry
        assert entry is not None
        with entry.data as stream:
            begin = stream.read(10)
            ledger.void("a", version(2))
            rest = stream.read()

        assert 3_000_000 == len(begin + rest)

    def test_position_is_kept_and_does_not_go_back(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """A later position stays, whoever names an earlier one."""
        assert ledger.position() is None
        late, early = Position(STORE_ID, 1, 9, b"12345678"), Position(STORE_ID, 1, 4, b"abcdefgh")
        ledger.advance(late)
        other.advance(early)

        assert late == ledger.position()

    def test_a_new_epoch_or_store_may_begin_lower(self, ledger: CacheLedger) -> None:
        """Sequences of different histories are not compared."""
        ledger.advance(Position(STORE_ID, 1, 9, b"12345678"))
        ledger.advance(Position(STORE_ID, 2, 1, b"abcdefgh"))

        assert Position(STORE_ID, 2, 1, b"abcdefgh") == ledger.position()

    def test_forgetting_the_position_forgets_the_notes(self, ledger: CacheLedger) -> None:
        """After a rewritten history, numbers of the old one stop no fill."""
        ledger.void("a", version(900))
        ledger.void_prefix("", version(901))
        ledger.advance(Position(STORE_ID, 1, 901, b"12345678"))
        ledger.advance(None)

        assert ledger.position() is None
        assert b"new" == read(ledger.fill(ledger.reserve("a"), value(b"new", 5)))

    def test_beats_count_up_until_in_doubt(self, ledger: CacheLedger, other: CacheLedger) -> None:
        """Readers see the cache vouched for, again and again, and then not."""
        ledger.beat()
        first = other.lookup("a").beat
        ledger.beat()
        second = other.lookup("a").beat
        ledger.doubt()

        assert first is not None
        assert second is not None
        assert second > first
        assert other.lookup("a").beat is None

    def test_beats_go_on_counting_after_doubt(self, ledger: CacheLedger) -> None:
        """A beat seen before a time of doubt never comes again."""
        ledger.beat()
        before = ledger.lookup("a").beat
        ledger.doubt()
        ledger.beat()
        after = ledger.lookup("a").beat

        assert before is not None
        assert after is not None
        assert after > before

    def test_the_base_of_a_users_write_is_kept(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """The version that a user's own write began from is there until taken back."""
        ledger.set_base("a", version(4))

        assert version(4) == other.base("a")
        ledger.set_base("a", None)
        assert other.base("a") is None

    def test_an_invalidation_leaves_the_base_alone(self, ledger: CacheLedger) -> None:
        """A user's unpushed write is not a cache entry (P6)."""
        ledger.set_base("a", version(4))
        ledger.void("a", version(5))
        ledger.void_prefix("", version(6))

        assert version(4) == ledger.base("a")

    def test_many_threads_never_keep_a_value_older_than_its_invalidation(
        self, ledger: CacheLedger
    ) -> None:
        """Whatever the interleaving, no entry outlives the invalidation that concerns it."""
        source = {"version": 1}
        lock = threading.Lock()
        stop = threading.Event()
        wrong: list[str] = []

        def fill() -> None:
            while not stop.is_set():
                reservation = ledger.reserve("a")
                with lock:
                    seen = source["version"]
                ledger.fill(reservation, value(str(seen).encode(), seen))

        def write() -> None:
            try:
                for _ in range(150):
                    with lock:
                        source["version"] += 1
                        now = source["version"]
                    ledger.void("a", version(now))
                    kept = read(ledger.lookup("a").entry)
                    if kept is not None and int(kept) < now:
                        wrong.append(f"kept {kept!r} after the invalidation of {now}")
            finally:
                stop.set()

        threads = [threading.Thread(target=fill) for _ in range(3)]
        threads.append(threading.Thread(target=write))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert [] == wrong

    def test_random_histories_agree_with_a_plain_model(
        self, ledger: CacheLedger, other: CacheLedger
    ) -> None:
        """Whatever is done in whatever order, two handles show what the rules say."""
        from antiphon.testing.ledger_tests.model import check_against_model

        check_against_model(ledger, other, examples=self.histories)
