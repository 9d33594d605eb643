"""What plain SQL of other programs does to a sqlite store."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.errors import IncompatibleStore
from antiphon.storage.journal import Position
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything, journal_of, large_bytes

INSERT = "INSERT INTO store (key, metadata, data) VALUES "


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with two keys; their journal entries are 1 and 2."""
    with SqliteStore(tmp_path / "store.db", durable=False) as store:
        store.set("a", StringValue(b"a", {"n": 1}))
        store.set("b", StringValue(b"b", {"n": 2}))
        yield store


@pytest.fixture
def sql(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another program's connection, which commits each statement."""
    connection = sqlite3.connect(store.location, isolation_level=None, timeout=10)
    yield connection
    connection.close()


def told(store: SqliteStore) -> list[tuple[str, str]]:
    """Return key and action of what was journalled after the fixture's two keys."""
    return [(entry.key, entry.action) for entry in journal_of(store)[2:]]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (INSERT + "('c', '{}', x'00')", [("c", "set")]),
        (INSERT + "('c', '{}', 'x'), ('d', NULL, NULL)", [("c", "set"), ("d", "set")]),
        ("INSERT OR REPLACE INTO store (key, data) VALUES ('a', 'x')", [("a", "update")]),
        ("REPLACE INTO store (key, data) VALUES ('c', 'x')", [("c", "set")]),
        ("INSERT OR IGNORE INTO store (key) VALUES ('a'), ('c')", [("c", "set")]),
        (INSERT + "('a', '{}', 'x') ON CONFLICT DO UPDATE SET data = 'y'", [("a", "update")]),
        (INSERT + "('a', '{}', 'x') ON CONFLICT DO NOTHING", []),
        ("UPDATE store SET data = 'x' WHERE key = 'a'", [("a", "update")]),
        ("UPDATE store SET metadata = '{}'", [("a", "update"), ("b", "update")]),
        ("UPDATE store SET key = 'c' WHERE key = 'a'", [("a", "delete"), ("c", "set")]),
        (
            "UPDATE OR REPLACE store SET key = 'b' WHERE key = 'a'",
            [("a", "delete"), ("b", "update")],
        ),
        ("UPDATE OR IGNORE store SET key = 'b' WHERE key = 'a'", []),
        ("UPDATE OR IGNORE store SET data = 'x' WHERE key = 'a'", [("a", "update")]),
        ("DELETE FROM store WHERE key = 'a'", [("a", "delete")]),
        ("DELETE FROM store", [("a", "delete"), ("b", "delete")]),
        ("UPDATE store SET n = 'anything' WHERE key = 'a'", []),
    ],
)
def test_every_statement_is_journalled(
    store: SqliteStore,
    sql: sqlite3.Connection,
    statement: str,
    expected: list[tuple[str, str]],
) -> None:
    """The triggers write what the statement did, and keep the versions of all keys."""
    before = {key: store.get(key).version for key in ("a", "b")}
    sql.execute(statement)

    assert sorted(expected) == sorted(told(store))
    versions = {entry.key: entry.version for entry in journal_of(store) if entry.action != "delete"}
    for key in store.query_keys():
        assert versions[key] == store.get(key).version
    for entry in journal_of(store)[2:]:
        assert (None, b"", 8) == (entry.event_id, entry.owner, len(entry.version.entry_id))
        assert entry.version != before.get(entry.key)
        assert 1.5e18 < entry.time_ns < 1e20


def test_a_replaced_row_is_journalled_with_recursive_triggers(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Where a program switched them on, the replaced row is deleted first."""
    sql.execute("PRAGMA recursive_triggers = ON")
    sql.execute("REPLACE INTO store (key, data) VALUES ('a', 'x')")

    assert [("a", "delete"), ("a", "set")] == told(store)
    assert (b"x", {}) == content(store, "a")


def test_a_renamed_key_is_one_commit(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """No reader of the journal sees the old key's end without the new one."""
    sql.execute("UPDATE store SET key = 'c' WHERE key = 'a'")

    assert [False, True] == [entry.last for entry in journal_of(store)[2:]]


def test_what_was_rolled_back_leaves_no_gap(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Numbers of a transaction that came to nothing are given again."""
    sql.execute("BEGIN")
    sql.execute("DELETE FROM store")
    sql.execute("ROLLBACK")
    store.set("c", StringValue())

    assert [1, 2, 3] == [entry.version.sequence for entry in journal_of(store)]


def test_own_and_foreign_changes_are_in_one_journal(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Whoever writes, positions go on counting, and a stale expectation is found out."""
    version = store.get("a").version
    sql.execute("UPDATE store SET data = 'sql' WHERE key = 'a'")
    position = store.head()
    store.set("c", StringValue())
    sql.execute("DELETE FROM store WHERE key = 'c'")

    assert [("c", "set"), ("c", "delete")] == [(e.key, e.action) for e in store.since(position)]
    assert version != store.get("a").version
    assert isinstance(position, Position)


def test_a_row_of_another_program_is_read(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Plain JSON is metadata; what is missing is empty; text is taken as UTF-8."""
    sql.execute(INSERT + """('c', '{"title": "x", "deep": {"y": [1, 2.5, true, null]}}', 'dätä')""")
    sql.execute("INSERT INTO store (key) VALUES ('d')")
    sql.execute("INSERT INTO store (key, data, created) VALUES (5, 7, 'x')")

    deep = {"y": [1, 2.5, True, None]}
    assert ("dätä".encode(), {"title": "x", "deep": deep}) == content(store, "c")
    assert (b"", {}) == content(store, "d")
    assert (b"7", {}) == content(store, "5")
    assert {"c"} == set(store.query_keys(deep=deep))


def test_a_row_that_makes_no_sense_is_named(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Metadata that are none are an error of that key alone."""
    sql.execute(INSERT + "('bad', 'no json', 'x')")
    with pytest.raises(IncompatibleStore, match="'bad'"):
        store.get("bad")

    assert b"a" == store.to_bytes("a")
    store.delete("a")


@pytest.mark.parametrize("key", ["NULL", "x'00'"])
def test_a_key_that_is_no_text_is_refused(
    store: SqliteStore, sql: sqlite3.Connection, key: str
) -> None:
    """The table takes nothing that no store could have written as a key."""
    with pytest.raises(sqlite3.IntegrityError):
        sql.execute(f"{INSERT} ({key}, '{{}}', '')")


def test_a_query_sees_what_was_changed_behind_its_index(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Index columns that plain SQL left out of date hide nothing and add nothing."""
    sql.execute("""UPDATE store SET metadata = '{"n":2}' WHERE key = 'a'""")
    sql.execute("""UPDATE store SET metadata = '{"n":9}' WHERE key = 'b'""")
    sql.execute(INSERT + """('c', '{"n":2}', '')""")

    for _ in range(2):
        assert ["a", "c"] == list(store.query_keys(n=2))
        assert ["b"] == list(store.query_keys(n=9))
        assert [] == list(store.query_keys(n=1))
        # Connecting brings the columns up to date.
        store.disconnect()
        store.connect()
    assert 0 == sql.execute('SELECT count(*) FROM "store.versions" WHERE indexed = 0').fetchone()[0]
    assert 5 == store.head().sequence


def test_a_row_that_matches_twice_is_found_once(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """By its index column, and as a row whose columns say nothing."""
    sql.execute("""UPDATE store SET metadata = '{"n":1,"m":5}' WHERE key = 'a'""")

    assert [("a", {"n": 1, "m": 5})] == list(store.query(n=1))


def test_a_large_value_may_be_replaced_by_sql(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """The row's own data count, and the pieces become free."""
    store.set("a", StringValue(large_bytes()))
    before = store.get("a")
    sql.execute("UPDATE store SET data = 'short' WHERE key = 'a'")

    assert b"short" == store.to_bytes("a")
    assert large_bytes() == before.data.read()
    states = sql.execute('SELECT state FROM "store.generations"').fetchall()
    assert [("replaced",)] == states


def test_a_large_value_may_be_renamed_by_sql(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Its pieces go with it, and with other metadata as well."""
    store.set("a", StringValue(large_bytes()))
    sql.execute("UPDATE store SET key = 'c' WHERE key = 'a'")
    sql.execute("""UPDATE store SET metadata = '{"x":1}' WHERE key = 'c'""")

    assert (large_bytes(), {"x": 1}) == content(store, "c")
    assert not store.exists("a")


def test_a_large_value_may_be_deleted_by_sql(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """Its pieces become free, also when it is replaced by another row."""
    store.set("a", StringValue(large_bytes()))
    store.set("c", StringValue(large_bytes()))
    sql.execute("DELETE FROM store WHERE key = 'a'")
    sql.execute("UPDATE OR REPLACE store SET key = 'c' WHERE key = 'b'")

    assert {"c": (b"b", {"n": 2})} == everything(store)
    states = sql.execute('SELECT state FROM "store.generations"').fetchall()
    assert [("replaced",), ("replaced",)] == states


def test_the_columns_are_in_encores_order(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """What is ours alone follows the five that every row of Encore's has."""
    store.set_metadata("a", {"title": "x"})
    names = [row[1] for row in sql.execute("PRAGMA table_info(store)")]

    theirs = ["key", "metadata", "created", "modified", "data"]
    assert [*theirs, "antiphon.stamp", "n", "title"] == names


def test_a_column_of_another_program_is_left_alone(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """A metadata entry of its name is found, and not written into it."""
    sql.execute("ALTER TABLE store ADD COLUMN note TEXT DEFAULT 'theirs'")
    store.set_metadata("a", {"note": "ours"})
    store.set_data("c", io.BytesIO())

    assert {("theirs",)} == set(sql.execute("SELECT note FROM store"))
    assert ["a"] == list(store.query_keys(note="ours"))


def test_nothing_in_a_name_is_sql(tmp_path: Path) -> None:
    """Names of tables and entries are quoted, whatever is in them."""
    path = tmp_path / "store.db"
    names = ['x"; DROP TABLE store; --', "select", "a.b", "ü ö", "'", "[x]", '""']
    with SqliteStore(path, table="store") as first:
        first.set("a", StringValue(b"first"))
        for number, name in enumerate(names):
            with SqliteStore(path, table=name, index_columns=[name, "n"]) as store:
                store.set("a", StringValue(b"", {name: number, "n": number}))
                with sqlite3.connect(path) as sql:
                    quoted = name.replace('"', '""')
                    sql.execute(f"""UPDATE "{quoted}" SET metadata = '{{"n":99}}'""")
                sql.close()

                assert ["a"] == list(store.query_keys(n=99))
                assert 2 == store.head().sequence
                assert store.store_id != first.store_id
        assert {"a": (b"first", {})} == everything(first)


def test_a_row_that_makes_no_sense_harms_no_other(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Queries leave it out, and it can be replaced or deleted."""
    sql.execute("INSERT INTO store (key, data, metadata) VALUES ('m', 'x', 'no metadata')")
    sql.execute("INSERT INTO store (key, data, metadata) VALUES ('n', 'x', 'no metadata')")

    assert {"m", "n"} & {key for key, _ in store.query()} == set()
    store.set("m", StringValue(b"", {"well": True}))
    store.delete("n")
    assert {"well": True} == store.get_metadata("m")
    assert not store.exists("n")


def test_a_key_that_is_not_utf8_does_not_stop_the_journal(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """What other programs write there cannot keep caches from being repaired."""
    head = store.head()
    sql.execute("INSERT INTO store (key, data) VALUES (CAST(x'61ff' AS TEXT), 'x')")
    sql.execute("DELETE FROM store WHERE key = CAST(x'61ff' AS TEXT)")

    assert ["a\\xff", "a\\xff"] == [entry.key for entry in store.since(head)]
