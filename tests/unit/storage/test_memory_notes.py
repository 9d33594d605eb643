"""Notes of invalidations in memory: bounded by number and time, and the latest counts."""

from __future__ import annotations

import threading

import pytest

from antiphon.storage import memory_notes
from antiphon.storage.ledger import NOTE_TTL_S, RESERVATION_TTL_S
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.memory_notes import Notes, PrefixNotes
from antiphon.testing.ledger_suite import read, value, version


@pytest.fixture
def time() -> list[float]:
    """The time by the clock of the notes, to be set."""
    return [1000.0]


def test_the_newest_are_kept(time: list[float]) -> None:
    """However many names there are, a tenth more than the bound at most; a renewed one is new."""
    notes = Notes(lambda: time[0], kept=100)
    most = 0
    for number in range(1000):
        notes.add(f"k{number}", version(number + 1))
        notes.add("again", None if number else version(5000))
        most = max(most, len(notes))

    assert most <= 110
    assert version(5000)[:2] == (notes.of("again") or ())[:2]
    assert all(notes.of(f"k{number}") is not None for number in range(950, 1000))
    assert notes.of("k0") is None


def test_notes_end_after_their_time(time: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept for the hour, and are gone a tenth of it later."""
    monkeypatch.setattr(memory_notes, "_SWEEP_EVERY", 1)
    notes = Notes(lambda: time[0])
    notes.add("first", version(1))
    time[0] += NOTE_TTL_S / 2
    notes.add("later", version(2))
    time[0] += NOTE_TTL_S / 2 - 2
    notes.add("other", version(3))
    in_time = notes.of("first")
    time[0] += NOTE_TTL_S / 10 + 3
    notes.add("other", version(4))

    assert in_time is not None
    assert notes.of("first") is None
    assert notes.of("later") is not None


def test_the_latest_counts_whatever_the_order(time: list[float]) -> None:
    """Epochs before sequences; and an unknown version changes none that is known."""
    notes = Notes(lambda: time[0])
    for at in (version(9), version(2, epoch=2), version(8, epoch=1), None):
        notes.add("a", at)
    notes.add("unknown", None)

    assert (2, 2) == (notes.of("a") or ())[:2]
    assert notes.of("unknown") is None


def test_the_latest_of_all_prefixes_is_found(time: list[float]) -> None:
    """Also that of the empty one, and none of a prefix that is longer than the key."""
    notes = PrefixNotes(lambda: time[0])
    for prefix, sequence in (("p/", 5), ("", 3), ("p/a/b", 9), ("q", 7)):
        notes.add(prefix, version(sequence))

    assert [5, 3, 7, 9, 5] == [
        (notes.of_key(key) or version(0)).sequence for key in ("p/a", "x", "q", "p/a/bc", "p/a/")
    ]
    notes.clear()
    assert notes.of_key("p/a") is None


def test_prefixes_are_bounded_too(time: list[float]) -> None:
    """A fill looks at each length of prefix: there are few."""
    notes = PrefixNotes(lambda: time[0], kept=10)
    for number in range(100):
        notes.add(f"p{number}/", version(number + 1))

    assert len(notes) <= 11
    assert notes.of_key("p99/a") is not None


def test_a_reservation_ends_after_ten_minutes(time: list[float]) -> None:
    """A fill or confirmation that took longer is not kept."""
    ledger = MemoryLedger(lambda: time[0])
    ledger.fill(ledger.reserve("b"), value())
    ledger.suspect()
    in_time, late, confirming = (ledger.reserve(key) for key in "aab")
    time[0] += RESERVATION_TTL_S - 1
    assert b"data" == read(ledger.fill(in_time, value()))
    time[0] += 2

    assert ledger.fill(late, value()) is None
    assert ledger.confirm(confirming, version(1)) is None


def test_metadata_of_any_kind_are_kept_in_memory() -> None:
    """Another kind of store may have what ours could not keep; it is copied whole."""

    class Odd:
        def __init__(self) -> None:
            self.inner: list[int] = []

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd) and self.inner == other.inner

        __hash__ = None  # type: ignore[assignment]

    ledger = MemoryLedger()
    odd = Odd()
    kept = ledger.fill(ledger.reserve("a"), value(odd=odd))
    odd.inner.append(1)
    assert kept is not None
    kept.metadata["odd"].inner.append(2)
    ledger.suspect()
    entry = ledger.lookup("a").entry

    assert entry is not None
    assert ({"odd": Odd()}, False) == (entry.metadata, entry.checked)


def test_metadata_that_cannot_be_copied_are_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a backing store of somebody else's has there, its value can be read."""
    ledger = MemoryLedger()

    assert ledger.fill(ledger.reserve("a"), value(lock=threading.Lock())) is None
    assert "'a' is not cached" in caplog.text
    assert ledger.lookup("a").entry is None
