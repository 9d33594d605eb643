"""The sqlite store's own behaviour: opening, errors, index, large values, journal length."""

from __future__ import annotations

import gc
import io
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import (
    AntiphonError,
    IncompatibleStore,
    InvalidValue,
    NotConnected,
    PositionLost,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.storage import sqlite_medium, sqlite_values
from antiphon.storage.journal import Position
from antiphon.storage.sqlite_index import MAX_DYNAMIC_COLUMNS
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import everything, journal_of, large_bytes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    """A connected store."""
    with SqliteStore(path, durable=False, timeout_s=0.2) as store:
        yield store


@pytest.fixture
def sql(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another connection to the file, which commits each statement."""
    connection = sqlite3.connect(store.location, isolation_level=None, timeout=0.2)
    yield connection
    connection.close()


def clock_of(store: SqliteStore) -> list[float]:
    """Let the store's large values live by a clock that the test sets."""
    assert store._parts is not None
    time = [1e9]
    store._parts.values._clock = lambda: time[0]
    return time


def collect(store: SqliteStore) -> None:
    """Remove what can go, now."""
    assert store._parts is not None
    store._parts.values._collect_at = float("-inf")
    store._parts.collect()


# -- Opening -----------------------------------------------------------------


def test_a_store_in_memory_ends_with_its_connection() -> None:
    """Encore's default: nothing is kept, nothing is shared."""
    store = SqliteStore()
    with store, SqliteStore() as other:
        store.set("a", StringValue())
        first = store.store_id

        assert not other.exists("a")
    with store:
        assert not store.exists("a")
        assert first != store.store_id


def test_a_file_keeps_everything(path: Path) -> None:
    """Data, journal and identity are there at the next connect."""
    with SqliteStore(path) as store:
        store.set("a", StringValue(b"data", {"n": 1}))
        before = (store.store_id, store.head(), journal_of(store))
    with SqliteStore(str(path)) as store:
        assert before == (store.store_id, store.head(), journal_of(store))
        assert {"a": (b"data", {"n": 1})} == everything(store)


def test_encores_constructor_works(path: Path) -> None:
    """The four arguments of Encore may be given by position."""
    store = SqliteStore(str(path), "mine", "static", ["n"])

    assert (str(path), "mine", {"n"}) == (store.location, store.table, store.index_columns)
    with store:
        info = store.info()
    assert (False, str(path), "mine") == (info["readonly"], info["location"], info["table"])


@pytest.mark.parametrize("arguments", [{"index": "other"}, {"journal_length": 0}])
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    """The error names the argument."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SqliteStore(**arguments)


@pytest.mark.parametrize("table", ["", "a\0b", "\ud800", None, 5])
def test_a_name_that_no_table_can_have_is_refused(table: Any) -> None:
    """At once, not at the first statement."""
    with pytest.raises(InvalidValue, match="table"):
        SqliteStore(table=table)


@pytest.mark.parametrize(
    ("step", "remedy"), [(1, "upgrade Antiphon"), (-1, "with the version that made it")]
)
def test_another_format_is_refused(path: Path, step: int, remedy: str) -> None:
    """What another version wrote is left alone, and the remedy is named."""
    with SqliteStore(path):
        pass
    with sqlite3.connect(path) as sql:
        sql.execute("""UPDATE "store.meta" SET value = value + ? WHERE name = 'format'""", (step,))
        before = list(sql.iterdump())
    with pytest.raises(IncompatibleStore, match=remedy):
        SqliteStore(path).connect()

    assert before == list(sql.iterdump())
    sql.close()


def test_a_table_of_another_program_is_refused(path: Path) -> None:
    """It is not touched; for Encore's see test_sqlite_encore.py."""
    with sqlite3.connect(path) as sql:
        sql.execute(
            "CREATE TABLE store (key text primary key, metadata text, created float,"
            " modified float, data blob)"
        )
        before = sql.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(IncompatibleStore, match="not of Antiphon's making"):
        SqliteStore(path).connect()

    assert before == sql.execute("SELECT * FROM sqlite_master").fetchall()
    sql.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """And left as it is."""
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(IncompatibleStore, match="no sqlite database"):
        SqliteStore(path).connect()

    assert path.read_bytes().startswith(b"something else")


@pytest.mark.parametrize("place", ["no/such/folder/store.db", "."])
def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path, place: str) -> None:
    """A missing folder, or a folder in place of a file."""
    with pytest.raises(StoreUnavailable, match="cannot open"):
        SqliteStore(tmp_path / place).connect()


def test_a_store_that_was_forgotten_closes_its_files(path: Path) -> None:
    """Dropping the last reference is as good as ``disconnect()``, if later."""
    store = SqliteStore(path)
    store.connect()
    store.set("a", StringValue())
    closed = store._parts.medium._idle if store._parts else []
    del store
    gc.collect()

    assert [] == closed


def test_a_disconnected_store_says_so_to_those_who_still_read(store: SqliteStore) -> None:
    """An iterator or a stream that is read on after ``disconnect()``."""
    for number in range(600):
        store.set_metadata(f"{number:04}", {})
    store.set("large", StringValue(large_bytes()))
    keys, stream = store.query_keys(), store.get_data("large")
    next(keys)
    store.disconnect()
    with pytest.raises(NotConnected, match="disconnected"):
        list(keys)
    with pytest.raises(NotConnected, match="disconnected"):
        stream.read()


def test_the_first_system_claims_the_store(store: SqliteStore) -> None:
    """It is recorded in the file once."""
    assert "blue" == store._claim("blue")
    assert "blue" == store._claim("green")
    store.disconnect()
    store.connect()

    assert store._identity is not None
    assert "blue" == store._identity.system


# -- Errors ------------------------------------------------------------------


def test_a_locked_file_is_tried_again_until_a_deadline(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Then the error says that nothing was written; reading goes on all the while."""
    store.set("a", StringValue(b"before"))
    sql.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        store.set("a", StringValue(b"after"))

    assert b"before" == store.to_bytes("a")
    sql.execute("ROLLBACK")
    store.set("a", StringValue(b"after"))
    assert b"after" == store.to_bytes("a")


def test_a_file_that_becomes_free_in_time_is_written(path: Path) -> None:
    """A short lock only makes it slower."""
    with SqliteStore(path, durable=False) as store:
        sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        sql.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.1, lambda: sql.execute("ROLLBACK"))
        timer.start()
        store.set("a", StringValue())
        timer.join()
        sql.close()

        assert store.exists("a")


@pytest.mark.parametrize("large", [False, True])
def test_a_full_disk_leaves_nothing_half_written(
    path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    """The error says that nothing was written, and nothing was; what is there can be read."""
    opened = sqlite_medium.Medium._open

    def small(self: sqlite_medium.Medium) -> sqlite3.Connection:
        connection = opened(self)
        connection.execute("PRAGMA max_page_count = 600")
        return connection

    monkeypatch.setattr(sqlite_medium.Medium, "_open", small)
    with SqliteStore(path, durable=False) as store:
        store.set("a", StringValue(b"before", {"n": 1}))
        data = large_bytes(4 << 20) if large else large_bytes(1 << 20)

        def fill() -> None:
            with store.transaction("too much"):
                for number in range(1 if large else 4):
                    store.set(f"b{number}", StringValue(data))
                store.set("a", StringValue(b"after"))

        for _ in range(3):
            with pytest.raises(StoreFull, match="nothing was written"):
                fill()
            assert {"a": (b"before", {"n": 1})} == everything(store)
            assert 1 == store.head().sequence
        store.set("a", StringValue(b"small"))
        assert b"small" == store.to_bytes("a")
        collect(store)
        with sqlite3.connect(path) as sql:
            assert 0 == sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
        sql.close()


def test_a_table_that_was_dropped_is_an_error_of_ours(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """No error of sqlite's comes through."""
    sql.execute("DROP TABLE store")
    with pytest.raises(AntiphonError, match="no such table"):
        store.get("a")
    with pytest.raises(StoreError, match="no such table"):
        store.set("a", StringValue())


def test_a_commit_waits_for_the_disk_unless_told_otherwise(path: Path) -> None:
    """``durable`` is sqlite's FULL; staging in between changes that only for itself."""
    modes = []
    for durable in (True, False):
        with SqliteStore(path, durable=durable) as store:
            store.set("a", StringValue(large_bytes()))
            assert store._parts is not None
            medium = store._parts.medium
            modes.append(medium.read_one(lambda c: c.execute("PRAGMA synchronous").fetchone()[0]))
            assert ("wal",) == medium.read_one(
                lambda c: c.execute("PRAGMA journal_mode").fetchone()
            )

    assert [2, 1] == modes


# -- Index -------------------------------------------------------------------


def test_an_indexed_entry_is_found_by_its_index(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Sqlite searches, and neither scans nor sorts."""
    store.set_metadata("a", {"n": 1})
    plan = sql.execute(
        'EXPLAIN QUERY PLAN SELECT key, metadata FROM store WHERE "n" = ? AND key > ?'
        " ORDER BY key LIMIT 500",
        ("1", ""),
    ).fetchall()

    assert 1 == len(plan)
    assert "USING INDEX store.index n" in plan[0][3]


def test_an_index_added_later_knows_what_was_there(path: Path) -> None:
    """Opening with more index columns fills them."""
    with SqliteStore(path, index=None) as store:
        for number in range(5):
            store.set_metadata(f"k{number}", {"n": number, "text": "x" * 500})
        store.set_metadata("other", {"m": 1, "text": '"n":'})
    with SqliteStore(path, index="static", index_columns=["n", "text"]) as store:
        assert ["k3"] == list(store.query_keys(n=3))
        assert 5 == len(list(store.query_keys(text="x" * 500)))
        assert 6 == store.head().sequence


def test_an_index_is_kept_by_stores_that_need_none(path: Path) -> None:
    """A process without an index does not hide its keys from one that has one."""
    with SqliteStore(path) as indexed, SqliteStore(path, index=None) as plain:
        indexed.set_metadata("a", {"n": 1})
        plain.set_metadata("b", {"n": 1, "m": 1})
        plain.set_metadata("a", {"n": 2})

        assert ["b"] == list(indexed.query_keys(n=1)) == list(plain.query_keys(n=1))
        assert ["a"] == list(indexed.query_keys(n=2))
        assert ["b"] == list(indexed.query_keys(m=1))


def test_a_dynamic_index_does_not_grow_without_end(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Entries beyond the limit are found without a column of their own."""
    names = [f"name{number}" for number in range(MAX_DYNAMIC_COLUMNS + 10)]
    for number, name in enumerate(names):
        store.set_metadata(f"k{number}", {name: number})
    for number, name in enumerate(names):
        assert [f"k{number}"] == list(store.query_keys(**{name: number}))

    assert 6 + MAX_DYNAMIC_COLUMNS == len(list(sql.execute("PRAGMA table_info(store)")))


def test_a_column_that_was_rolled_back_is_made_again(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """A failed commit that met new entries leaves no trace of them."""

    def fail() -> None:
        with store.transaction("fails at its commit"):
            store.set_metadata("a", {"fresh": 1})
            store.set_metadata("gone", {})
            assert store._overlay is not None
            store._overlay.changes[-1].must_exist = True

    with pytest.raises(KeyError):
        fail()
    # As many changes of the schema by others as were rolled back.
    sql.execute("CREATE TABLE another (x)")
    sql.execute("CREATE INDEX another_index ON another (x)")
    store.set_metadata("a", {"fresh": 1})

    assert ["a"] == list(store.query_keys(fresh=1))


# -- Large values ------------------------------------------------------------


def test_a_replaced_value_is_readable_for_a_while(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Open readers keep it; when nobody has read it lately it goes."""
    time = clock_of(store)
    data = large_bytes()
    store.set("a", StringValue(data))
    slow, forgotten = store.get("a").data, store.get("a")
    slow.read(1)
    store.set("a", StringValue(b"new"))
    for _ in range(4):
        time[0] += sqlite_values.GRACE_S * 0.6
        collect(store)
        slow.seek(2 << 20)
        assert data[2 << 20 : (2 << 20) + 9] == slow.read(9)
        slow.seek(0)
        assert data[:9] == slow.read(9)
    time[0] += sqlite_values.GRACE_S + 1
    collect(store)

    assert 0 == sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
    assert 0 == sql.execute('SELECT count(*) FROM "store.generations"').fetchone()[0]
    with pytest.raises(StoreError, match="get the key again"):
        forgotten.data.read()


def test_a_staged_value_that_nobody_committed_goes(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """What a killed process left is removed, what is still written is not."""
    time = clock_of(store)
    staged = store._stage(iter([large_bytes()]))
    time[0] += sqlite_values.STAGED_TTL_S - 1
    collect(store)
    assert 0 < sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
    time[0] += 2
    collect(store)

    assert 0 == sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
    with pytest.raises(StoreError, match="staged"):
        store._open_staged(staged, 0, 5).read()


def test_a_transaction_that_waited_too_long_fails_whole(store: SqliteStore) -> None:
    """A staged value that is gone is an error, not an empty value."""
    time = clock_of(store)

    def wait_too_long() -> None:
        with store.transaction("long"):
            store.set("b", StringValue(b"b"))
            store.set("a", StringValue(large_bytes()))
            time[0] += sqlite_values.STAGED_TTL_S + 1
            collect(store)

    with pytest.raises(StoreError, match="staged data are gone"):
        wait_too_long()
    assert {} == everything(store)


@pytest.mark.parametrize("write", ["set", "fail", "roll back", "conflict"])
def test_no_piece_outlives_its_value(
    store: SqliteStore, sql: sqlite3.Connection, write: str
) -> None:
    """However a large value ends, its pieces go."""
    time = clock_of(store)
    store.set("a", StringValue(large_bytes()))
    if write == "set":
        store.set("a", StringValue(large_bytes(seed=8)))
    elif write == "fail":
        source = io.BufferedRandom(io.BytesIO(large_bytes()))  # type: ignore[arg-type]
        source.detach()
        with pytest.raises(ValueError, match="detached"):
            store.set_data("b", source)
    elif write == "roll back":
        block = store.transaction("fails")
        block.__enter__()
        store.set("b", StringValue(large_bytes()))
        block.__exit__(KeyError, KeyError(), None)
    else:
        with pytest.raises(StoreError):
            store.set("b", StringValue(large_bytes()), expect=store.get("a").version)
    store.delete("a")
    time[0] += sqlite_values.GRACE_S + 1
    collect(store)

    assert 0 == sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
    assert 0 == sql.execute('SELECT count(*) FROM "store.generations"').fetchone()[0]


def test_a_value_of_many_pieces_is_removed_in_steps(
    store: SqliteStore, sql: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More pieces than one transaction removes all go."""
    monkeypatch.setattr(sqlite_values, "_CHUNKS_AT_A_TIME", 2)
    time = clock_of(store)
    store.set("a", StringValue(large_bytes(5 << 20)))
    store.set("b", StringValue(large_bytes()))
    store.delete("a")
    time[0] += sqlite_values.GRACE_S + 1
    collect(store)

    assert 4 == sql.execute('SELECT count(*) FROM "store.chunks"').fetchone()[0]
    assert large_bytes() == store.to_bytes("b")


# -- The journal -------------------------------------------------------------


def test_a_journal_has_a_length(path: Path) -> None:
    """The oldest entries go; whoever was there is told that its position is lost."""
    with SqliteStore(path, journal_length=100, durable=False) as store:
        store.set_metadata("first", {})
        old = store.head()
        for _ in range(4):
            with store.transaction("many"):
                for number in range(300):
                    store.set_metadata(f"k{number}", {})
        assert store.store_id is not None
        recent = store.head()
        store.set_metadata("last", {})

        assert ["last"] == [entry.key for entry in store.since(recent)]
        for lost in (old, old._replace(sequence=0, entry_id=b"")):
            with pytest.raises(PositionLost, match="was cut"):
                store.since(lost)
    with SqliteStore(path) as store:
        assert 1202 == store.head().sequence
        store.set_metadata("next", {})
        assert 1203 == store.head().sequence


def test_a_journal_cut_while_it_is_read_says_so(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """No entry is passed over in silence."""
    with store.transaction("many"):
        for number in range(2100):
            store.set_metadata(f"k{number % 9}", {})
    assert store.store_id is not None
    entries = iter(store.since(Position(store.store_id, 1, 0, b"")))
    next(entries)
    sql.execute('DELETE FROM "store.journal" WHERE sequence < 2050')
    with pytest.raises(PositionLost):
        list(entries)
