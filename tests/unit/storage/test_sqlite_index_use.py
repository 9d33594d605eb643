"""Queries of a sqlite store use its indexes, and no name is ever SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import InvalidValue
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue


def statements_of(store: SqliteStore, **conditions: object) -> list[str]:
    """Return the statements that a query and a query of keys make."""
    assert store._parts is not None
    seen: list[str] = []
    connections = list(store._parts.medium._idle)
    for connection in connections:
        connection.set_trace_callback(seen.append)
    try:
        list(store.query(**conditions))
        list(store.query_keys(**conditions))
    finally:
        for connection in connections:
            connection.set_trace_callback(None)
    return [statement for statement in seen if statement.startswith("SELECT")]


@pytest.fixture
def sql(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another connection to the file."""
    connection = sqlite3.connect(tmp_path / "store.db")
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "options",
    [{}, {"index": "static", "index_columns": ["n", "author"]}],
    ids=["dynamic", "static"],
)
def test_no_statement_of_a_query_scans_or_sorts(
    tmp_path: Path, sql: sqlite3.Connection, options: dict[str, object]
) -> None:
    """All that a query asks for is found by an index, in the order that it needs."""
    with SqliteStore(tmp_path / "store.db", **options) as store:
        for number in range(20):
            store.set_metadata(f"k{number}", {"n": number % 3, "author": "x", "rest": 1})
        asked = statements_of(store, n=1) + statements_of(store, n=1, author="x")
        plans = [
            row[3]
            for statement in asked
            for row in sql.execute("EXPLAIN QUERY PLAN " + statement)
            if "versions" not in statement and ".columns" not in statement
        ]

    assert plans
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
    assert any("COVERING INDEX" in plan for plan in plans), "keys come from the index alone"


def test_a_look_for_rows_of_other_programs_costs_nothing(
    tmp_path: Path, sql: sqlite3.Connection
) -> None:
    """They have an index of their own, which is mostly empty."""
    with SqliteStore(tmp_path / "store.db") as store:
        store.set_metadata("a", {"n": 1})
        (asked,) = {each for each in statements_of(store, n=1) if "versions" in each}
        plan = sql.execute("EXPLAIN QUERY PLAN " + asked).fetchall()

    assert [True] == ["USING" in row[3] and "store.unindexed" in row[3] for row in plan]


def test_keys_found_by_the_index_alone_are_those_of_the_query(tmp_path: Path) -> None:
    """Also where texts are so long that only their hashes stand in the index."""
    with SqliteStore(tmp_path / "store.db") as store:
        values = [1, 1.0, True, "1", None, "x" * 1000, "x" * 999, (1,), [1], b"1"]
        for number, value in enumerate(values):
            store.set_metadata(f"k{number}", {"v": value})
        for number, value in enumerate(values):
            assert [f"k{number}"] == list(store.query_keys(v=value))
            assert [(f"k{number}", {"v": value})] == list(store.query(v=value))


def test_more_hits_than_fit_a_page_are_all_found(tmp_path: Path) -> None:
    """And others may write between two pages, with plain SQL too."""
    path = tmp_path / "store.db"
    with SqliteStore(path, durable=False) as store:
        keys = [f"k{number:04}" for number in range(1200)]
        store.multiset_metadata(keys, [{"n": 1}] * len(keys))
        found = store.query_keys(n=1)
        first = [next(found) for _ in range(10)]
        sql = sqlite3.connect(path)
        sql.execute("""INSERT INTO store (key, metadata) VALUES ('k1100a', '{"n":1}')""")
        sql.commit()
        sql.close()
        rest = list(found)

    assert sorted([*keys, "k1100a"]) == first + rest


def test_many_keys_are_written_by_one_commit(tmp_path: Path) -> None:
    """Which is what takes long: it waits for the disk."""
    with SqliteStore(tmp_path / "store.db") as store:
        store.set_metadata("a", {"n": 1})
        assert store._parts is not None
        seen: list[str] = []
        for connection in store._parts.medium._idle:
            connection.set_trace_callback(seen.append)
        keys = [f"k{number}" for number in range(100)]
        store.multiset(keys, [StringValue(b"x", {"n": 1})] * 100)
        store.multiupdate_metadata(keys, [{"n": 2}] * 100)

    assert 2 == seen.count("COMMIT")


_HOSTILE = st.text(
    st.sampled_from("ab\"'`[];-.%?:@ \n\\ü😀/*()") | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40)
@given(table=_HOSTILE, column=_HOSTILE, name=_HOSTILE, value=_HOSTILE)
def test_any_text_may_be_a_name(table: str, column: str, name: str, value: str) -> None:
    """Of a table, an index column, a metadata entry: it is quoted, or refused, never run."""
    try:
        store = SqliteStore(table=table, index_columns=[column], index="static")
    except InvalidValue:
        assert "\0" in table
        return
    with store:
        store.set("a", StringValue(b"1", {name: value, column: value}))
        store.set("b", StringValue(b"2"))

        assert ["a"] == list(store.query_keys(**{name: value, column: value}))
        assert ["a"] == [key for key, _ in store.query(**{name: value})]
        assert {"a", "b"} == set(store.query_keys())
        store.update_metadata("b", {column: value})
        assert {"a", "b"} == set(store.query_keys(**{column: value}))


@settings(max_examples=25)
@given(st.lists(_HOSTILE, min_size=1, max_size=4, unique=True))
def test_a_dynamic_index_takes_any_names(names: list[str]) -> None:
    """What cannot be a column is found without one."""
    with SqliteStore() as store:
        metadata = {name: number for number, name in enumerate(names)}
        store.set("a", StringValue(b"", metadata))
        store.set("b", StringValue(b"", dict.fromkeys(names, -1)))

        for name, number in metadata.items():
            assert ["a"] == list(store.query_keys(**{name: number}))
