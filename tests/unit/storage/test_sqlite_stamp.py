"""Rows of a sqlite store with a stamp, and without: both read the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage.sqlite_stamp import StampedValue
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import journal_of, large_bytes


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A store with one key."""
    with SqliteStore(tmp_path / "store.db", durable=False) as store:
        store.set("a", StringValue(b"a", {"n": 1, "list": [1]}))
        yield store


@pytest.fixture
def sql(store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Another program's connection, which commits each statement."""
    connection = sqlite3.connect(store.location, isolation_level=None, timeout=10)
    yield connection
    connection.close()


def is_stamped(store: SqliteStore) -> bool:
    """Return whether the row of ``a`` has a stamp."""
    return isinstance(store.get("a"), StampedValue)


def told(value: Any) -> tuple[Any, ...]:
    """Return all that a value tells."""
    return (
        value.data.read(),
        value.metadata,
        value.size,
        value.created,
        value.modified,
        value.version,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE store SET data = 'x'",
        "UPDATE store SET metadata = '{}'",
        "UPDATE store SET created = 5",
        "UPDATE store SET modified = 5",
        "REPLACE INTO store (key, data) VALUES ('a', x'00')",
        "REPLACE INTO store SELECT * FROM store",
        "UPDATE store SET key = 'a'",
    ],
)
def test_what_plain_sql_writes_loses_its_stamp(
    store: SqliteStore, sql: sqlite3.Connection, statement: str
) -> None:
    """Its version is that of the entry that the triggers wrote, its times those of the row."""
    assert is_stamped(store)
    sql.execute(statement)
    created, modified = sql.execute("SELECT created, modified FROM store").fetchone()
    value = store.get("a")

    assert not isinstance(value, StampedValue)
    assert journal_of(store)[-1].version == value.version
    assert (created or 0, modified or 0) == (value.created, value.modified)


def test_a_copied_row_has_no_stamp(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """A stamp that another program copies counts for nothing."""
    sql.execute("CREATE TEMP TABLE copy AS SELECT * FROM store")
    sql.execute("UPDATE copy SET key = 'b'")
    sql.execute("INSERT INTO store SELECT * FROM copy")

    assert [entry.version for entry in journal_of(store)] == [
        store.get("a").version,
        store.get("b").version,
    ]


@pytest.mark.parametrize("by_sql", [False, True], ids=["own", "foreign"])
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_a_value_is_the_same_by_all_ways(
    store: SqliteStore, sql: sqlite3.Connection, large: bool, by_sql: bool
) -> None:
    """One by one, many at a time, and inside a transaction."""
    store.set("a", StringValue(large_bytes() if large else b"a", {"n": 1, "list": [1]}))
    if by_sql:
        sql.execute("UPDATE store SET modified = 5")
    expected = told(store.get("a"))

    assert expected == told(next(iter(store.multiget(["a"]))))
    with store.transaction():
        assert expected == told(store.get("a"))
    assert expected[-1] == journal_of(store)[-1].version
    assert (not large and not by_sql) == is_stamped(store)


def test_own_changes_stamp_a_row_of_another_program(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Once data and metadata are ours; ``created`` stays what it was."""
    sql.execute("UPDATE store SET data = 'dätä', created = 7")
    store.set_metadata("a", {"n": 2})
    assert not is_stamped(store)
    assert ("dätä".encode(), {"n": 2}) == told(store.get("a"))[:2]
    store.set("a", StringValue(b"b", {"n": 3}))

    assert is_stamped(store)
    assert (b"b", {"n": 3}, 1, 7.0) == told(store.get("a"))[:4]
    assert journal_of(store)[-1].version == store.get("a").version


def test_missing_metadata_get_no_stamp(store: SqliteStore, sql: sqlite3.Connection) -> None:
    """A row is stamped only if there is text to read."""
    sql.execute("REPLACE INTO store (key, metadata, data) VALUES ('a', NULL, 'x')")
    store.disconnect()
    store.connect()  # which brings the index columns up to date
    store.set_data("a", StringValue(b"y").data)

    assert not is_stamped(store)
    assert (b"y", {}) == told(store.get("a"))[:2]


def test_a_large_value_replaced_by_a_small_one_has_a_stamp(store: SqliteStore) -> None:
    """Whether its metadata came with it or were there."""
    for write in (store.set_data, lambda key, data: store.set(key, (data, {"n": 1}))):
        store.set("a", StringValue(large_bytes(), {"n": 1}))
        assert not is_stamped(store)
        write("a", StringValue(b"small").data)

        assert is_stamped(store)
        assert (b"small", {"n": 1}, 5) == told(store.get("a"))[:3]


def test_metadata_are_copies_however_often_they_are_asked_for(store: SqliteStore) -> None:
    """What a caller changes in them, no other caller sees."""
    value = store.get("a")
    for _ in range(4):
        metadata = value.metadata
        assert {"n": 1, "list": [1]} == metadata
        metadata["list"].append(2)
        del metadata["n"]


def updates_of(store: SqliteStore, **metadata: Any) -> set[str]:
    """Return the statements that change the row of ``a`` when it gets *metadata*."""
    assert store._parts is not None
    seen: list[str] = []
    connections = list(store._parts.medium._idle)
    for connection in connections:
        connection.set_trace_callback(seen.append)
    store.set_metadata("a", metadata)
    for connection in connections:
        connection.set_trace_callback(None)
    return {statement for statement in seen if statement.startswith('UPDATE "store" ')}


def test_only_index_columns_that_change_are_written(store: SqliteStore) -> None:
    """Each that is set costs a write of its index."""
    store.set_metadata("a", {"n": 1, "m": 1, "gone": 1})
    (statement,) = updates_of(store, n=1, m=2)

    assert ('"m" =' in statement, '"gone" =' in statement) == (True, True)
    assert '"n" =' not in statement
    found = [list(store.query_keys(**each)) for each in ({"n": 1}, {"m": 2}, {"m": 1}, {"gone": 1})]
    assert [["a"], ["a"], [], []] == found


def test_all_index_columns_of_a_row_of_another_program_are_written(
    store: SqliteStore, sql: sqlite3.Connection
) -> None:
    """Its metadata say nothing of what is in them."""
    sql.execute("""UPDATE store SET metadata = '{"n":9}'""")
    store.set_metadata("a", {"n": 9})

    assert [(0,)] == sql.execute(
        'SELECT count(*) FROM "store.versions" WHERE indexed = 0'
    ).fetchall()
    assert (["a"], []) == (list(store.query_keys(n=9)), list(store.query_keys(n=1)))
