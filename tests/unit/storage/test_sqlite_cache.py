"""The sqlite ledger's own behaviour: time, odd prefixes, large entries, reopening."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import StoreUnavailable
from antiphon.storage import sqlite_ledger, sqlite_notes, sqlite_values
from antiphon.storage.journal import Position
from antiphon.storage.ledger import NOTE_TTL_S, RESERVATION_TTL_S, Fill
from antiphon.storage.sqlite_ledger import SqliteLedger
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.ledger_suite import read, value, version
from antiphon.testing.store_tests.base import everything, journal_of, large_bytes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """The store beside whose keys the cache lies."""
    with SqliteStore(tmp_path / "store.db", timeout_s=0.2) as store:
        yield store


@pytest.fixture
def time() -> list[float]:
    """The time by the clock of the ledger, to be set."""
    return [1e9]


@pytest.fixture
def ledger(store: SqliteStore, time: list[float]) -> SqliteLedger:
    """A ledger with a clock that the test sets."""
    ledger = store.cache_ledger()
    assert isinstance(ledger, SqliteLedger)
    ledger._clock = ledger._values._clock = lambda: time[0]
    return ledger


def count(store: SqliteStore, table: str) -> int:
    """Return how many rows a table has."""
    sql = sqlite3.connect(store.location)
    found: int = sql.execute(f'SELECT count(*) FROM "store.{table}"').fetchone()[0]
    sql.close()
    return found


def test_a_reservation_ends_after_ten_minutes(ledger: SqliteLedger, time: list[float]) -> None:
    """A fill that took longer is not kept."""
    in_time, late = ledger.reserve("a"), ledger.reserve("b")
    time[0] += RESERVATION_TTL_S - 1
    assert b"data" == read(ledger.fill(in_time, value()))
    time[0] += 2

    assert ledger.fill(late, value()) is None


def test_what_outlived_its_time_is_removed(
    store: SqliteStore, ledger: SqliteLedger, time: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes of invalidations after an hour, reservations of the dead after ten minutes."""
    monkeypatch.setattr(sqlite_ledger, "_SWEEP_EVERY", 1)
    ledger._until_sweep = 1
    ledger.reserve("dead")
    ledger.void("a", version(1))
    ledger.void_prefix("p/", version(1))
    assert (2, 1) == (count(store, "notes"), count(store, "reservations"))
    time[0] += NOTE_TTL_S + 1
    ledger.void("b", version(2))

    assert (1, 0) == (count(store, "notes"), count(store, "reservations"))


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("", ["", "a", "\U0010ffff"], []),
        ("a", ["a", "a\U0010ffff", "a\x00"], ["b", "A", ""]),
        ("a\x00b", ["a\x00b", "a\x00bc"], ["a\x00", "a\x00c", "a"]),
        ("\ud7ff", ["\ud7ff", "\ud7ffx"], ["\ue000", "\ud7fe"]),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffffx"], ["\U0010fffe", "z"]),
        ("a\U0010ffff", ["a\U0010ffff", "a\U0010ffffb"], ["a", "a\U0010fffe"]),
        ("ü", ["ü", "üx"], ["u", "ý"]),
    ],
)
def test_a_prefix_is_exact(
    ledger: SqliteLedger, prefix: str, inside: list[str], outside: list[str]
) -> None:
    """Also at the ends of what characters there are, and beyond a NUL."""
    reservations = {key: ledger.reserve(key) for key in inside + outside}
    for key in inside + outside:
        ledger.fill(ledger.reserve(key), value())

    assert len(inside) == ledger.void_prefix(prefix, None)
    assert sorted(outside) == sorted(ledger.keys())
    for key, reservation in reservations.items():
        assert (key in inside) == (ledger.fill(reservation, value()) is None)


def test_metadata_that_cannot_be_kept_are_not(store: SqliteStore, ledger: SqliteLedger) -> None:
    """Another kind of store may have them; its value is served and not cached."""
    odd: dict[str, Any] = {"odd": object()}
    for data in (b"small", large_bytes()):
        fill = Fill(io.BytesIO(data), odd, None, None, version(1))
        assert ledger.fill(ledger.reserve("a"), fill) is None

    assert (0, 0) == (count(store, "cache"), count(store, "reservations"))
    assert 0 == count(store, "chunks")


def test_a_large_entry_goes_with_its_pieces(
    store: SqliteStore, ledger: SqliteLedger, time: list[float]
) -> None:
    """Replaced, refused or dropped: no piece stays longer than its readers."""
    ledger.fill(ledger.reserve("a"), value(large_bytes(), 1))
    ledger.fill(ledger.reserve("a"), value(large_bytes(), 2))
    ledger.fill(ledger.reserve("a"), value(large_bytes(), 1))
    reservation = ledger.reserve("a")
    ledger.void("a", version(3))
    ledger.fill(reservation, value(large_bytes(), 2))
    time[0] += sqlite_values.GRACE_S + 1
    ledger._values._collect_at = float("-inf")
    ledger._values.collect()

    assert (0, 0) == (count(store, "generations"), count(store, "chunks"))


def test_the_cache_is_no_part_of_the_store(store: SqliteStore, ledger: SqliteLedger) -> None:
    """Fills and drops are in no journal, and touch no key of the user's (P6)."""
    store.set("a", StringValue(b"mine"))
    ledger.fill(ledger.reserve("a"), value(b"theirs"))
    ledger.set_base("a", version(1))
    ledger.void_prefix("", version(9))

    assert {"a": (b"mine", {})} == everything(store)
    assert 1 == len(journal_of(store))
    assert version(1) == ledger.base("a")


def test_a_cache_is_there_after_a_restart(tmp_path: Path) -> None:
    """Entries, position, notes and bases; the beat goes on counting."""
    place = Position(UUID(int=7), 1, 5, b"12345678")
    with SqliteStore(tmp_path / "x.db") as store:
        ledger = store.cache_ledger()
        ledger.fill(ledger.reserve("a"), value(b"one", 3, n=1))
        ledger.void("b", version(5))
        ledger.advance(place)
        ledger.set_base("c", version(2))
        ledger.beat()
        before = ledger.lookup("a").beat
    with SqliteStore(tmp_path / "x.db") as store:
        ledger = store.cache_ledger()
        found = ledger.lookup("a")
        ledger.beat()

        assert found.entry is not None
        assert (b"one", {"n": 1}) == (read(found.entry), found.entry.metadata)
        assert (place, version(2)) == (ledger.position(), ledger.base("c"))
        assert ledger.fill(ledger.reserve("b"), value(b"old", 4)) is None
        assert before is not None
        assert (before, before + 1) == (found.beat, ledger.lookup("a").beat)


def test_a_cache_is_read_while_its_file_is_locked(store: SqliteStore, ledger: SqliteLedger) -> None:
    """Only what writes waits, and says that nothing was written."""
    ledger.fill(ledger.reserve("a"), value(b"one", 1))
    sql = sqlite3.connect(store.location, isolation_level=None)
    sql.execute("BEGIN IMMEDIATE")

    assert b"one" == read(ledger.lookup("a").entry)
    with pytest.raises(StoreUnavailable, match="locked"):
        ledger.void("a", version(2))
    sql.execute("ROLLBACK")
    sql.close()
    assert ledger.void("a", version(2))


def test_notes_are_bounded_by_number(
    store: SqliteStore, ledger: SqliteLedger, time: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are kept, of keys and of prefixes; a renewed one is new."""
    monkeypatch.setattr(sqlite_ledger, "_SWEEP_EVERY", 10)
    monkeypatch.setattr(sqlite_notes, "NOTES_KEPT", 100)
    monkeypatch.setattr(sqlite_notes, "PREFIX_NOTES_KEPT", 5)
    ledger._until_sweep = 10
    ledger.void("again", version(900))
    for number in range(10):
        ledger.void_many([(f"k{number}.{n}", version(number * 30 + n + 1)) for n in range(30)])
        ledger.void("again", None)
        ledger.void_prefix(f"p{number}/", version(number + 1))
        time[0] += 1
    ledger.void_many([(f"last{n}", version(500)) for n in range(10)])

    assert 100 <= count(store, "notes") <= 105
    assert ledger.fill(ledger.reserve("again"), value(b"old", 899)) is None
    assert ledger.fill(ledger.reserve("k9.29"), value(b"old", 1)) is None
    assert ledger.fill(ledger.reserve("p9/a"), value(b"old", 9)) is None
    assert b"old" == read(ledger.fill(ledger.reserve("k0.0"), value(b"old", 0)))


def test_many_large_entries_are_dropped_with_their_pieces(
    store: SqliteStore, ledger: SqliteLedger, time: list[float]
) -> None:
    """By prefix with and without version, in a batch, evicted, or found to be wrong."""
    for number in range(6):
        ledger.fill(ledger.reserve(f"p{number}"), value(large_bytes(), 1))
    ledger.void_prefix("p0", None)
    ledger.void_prefix("p1", version(2))
    ledger.void_many([("p2", version(2)), ("p2", version(3))])
    ledger.evict(["p3"])
    ledger.suspect()
    ledger.confirm(ledger.reserve("p4"), version(2))
    ledger.confirm(ledger.reserve("p5"), version(1))
    time[0] += sqlite_values.GRACE_S + 1
    ledger._values._collect_at = float("-inf")
    ledger._values.collect()

    assert ["p5"] == list(ledger.keys())
    assert (1, len(large_bytes())) == ledger.usage()
    assert 1 == count(store, "generations")


def test_doubt_costs_the_same_whatever_the_cache_holds(
    store: SqliteStore, ledger: SqliteLedger
) -> None:
    """No row of an entry or reservation is written."""
    for number in range(50):
        ledger.fill(ledger.reserve(f"k{number}"), value())
    ledger.reserve("a")
    with sqlite3.connect(store.location) as sql:
        before = sql.execute('SELECT key, era FROM "store.cache" ORDER BY key').fetchall()
        ledger.suspect()
        after = sql.execute('SELECT key, era FROM "store.cache" ORDER BY key').fetchall()
    sql.close()

    assert before == after
    assert 1 == count(store, "reservations")


def test_a_store_that_is_no_cache_has_no_tables_of_one(tmp_path: Path) -> None:
    """They are made when a ledger is first asked for."""
    with SqliteStore(tmp_path / "x.db") as store:
        store.set("a", StringValue(b"mine"))
        sql = sqlite3.connect(store.location)
        before = {name for (name,) in sql.execute("SELECT name FROM sqlite_master")}
        store.cache_ledger()
        after = {name for (name,) in sql.execute("SELECT name FROM sqlite_master")}
        sql.close()

    assert not {"store.cache", "store.notes"} & before
    assert {"store.cache", "store.notes", "store.pushes"} <= after


def test_a_cache_of_an_earlier_layout_is_dropped(store: SqliteStore) -> None:
    """Nothing of it is read; what belongs to the user stays, and large values are let go."""
    ledger = store.cache_ledger()
    ledger.fill(ledger.reserve("a"), value(b"one", 1))
    ledger.fill(ledger.reserve("large"), value(large_bytes(), 1))
    ledger.advance(Position(UUID(int=7), 1, 5, b"12345678"))
    ledger.set_base("b", version(2))
    ledger.note_push("b", b"push")
    ledger.beat()
    beat = ledger.lookup("a").beat
    with sqlite3.connect(store.location) as sql:
        sql.execute("""UPDATE "store.meta" SET value = 1 WHERE name = 'cache_format'""")
        sql.execute('ALTER TABLE "store.cache" RENAME COLUMN era TO earlier')
    sql.close()
    anew = store.cache_ledger()
    unsure = anew.lookup("a")
    anew.beat()

    assert (None, None) == unsure
    assert ({}, (0, 0)) == (anew.positions(), anew.usage())
    assert (version(2), {"b": b"push"}) == (anew.base("b"), anew.pushes())
    assert (beat or 0) < (anew.lookup("a").beat or 0)
    with sqlite3.connect(store.location) as sql:
        states = sql.execute('SELECT state FROM "store.generations"').fetchall()
    sql.close()
    assert [("replaced",)] == states


def test_a_note_of_a_push_waits_for_the_disk(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut must not take it; that the push is over may be forgotten."""
    waits: list[bool] = []
    write = ledger._medium.write

    def noting(work: Any, *, durable: bool = True) -> Any:
        waits.append(durable)
        return write(work, durable=durable)

    monkeypatch.setattr(ledger._medium, "write", noting)
    ledger.note_push("a", b"note")
    ledger.note_push("a", None)

    assert [True, False] == waits
