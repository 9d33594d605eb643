"""Files that Encore made are taken over, or left as they are."""

from __future__ import annotations

import datetime
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import encore.events.api
import encore.storage.sqlite_store
import encore.storage.string_value
import pytest

from antiphon.errors import IncompatibleStore, StoreFull
from antiphon.storage import sqlite_encore
from antiphon.storage.journal import Position
from antiphon.storage.opening import open_store
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import large_bytes

METADATA = {
    "letters/1": {"author": "Scheherazade", "page": 1, "at": datetime.datetime(2020, 1, 2)},
    "letters/2": {"author": "Scheherazade", "tags": {"a", "b"}, "raw": b"\xff"},
    "empty": {},
}


def encore_store(path: Path, **options: Any) -> encore.storage.sqlite_store.SqliteStore:
    """Return Encore's store of a file, connected."""
    store = encore.storage.sqlite_store.SqliteStore(str(path), **options)
    store.event_manager = encore.events.api.EventManager()
    store.connect()
    return store


def contents(store: Any) -> dict[str, Any]:
    """Return everything in a store of Encore's or ours."""
    return {
        key: (value.data.read(), value.metadata, value.created, value.modified)
        for key in list(store.query_keys())
        for value in [store.get(key)]
    }


def made_by_encore(path: Path, **options: Any) -> dict[str, Any]:
    """Make a file with Encore itself; return what is in it."""
    store = encore_store(path, **options)
    for key, metadata in METADATA.items():
        value = encore.storage.string_value.StringValue(key.encode(), metadata)
        store.set(key, value)
    present = contents(store)
    store.disconnect()
    return present


def put_row(path: Path, key: object, pickled: object, data: object = b"") -> None:
    """Write a row as Encore does, with whatever as its metadata."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "INSERT INTO store (key, metadata, created, modified, data) VALUES (?, ?, 1.5, 2.5, ?)",
            (key, pickled, data),
        )
    connection.close()


@pytest.mark.parametrize("index", ["dynamic", "static", None])
@pytest.mark.parametrize("encore_index", ["dynamic", None])
def test_everything_that_encore_kept_is_there(
    tmp_path: Path, index: str | None, encore_index: str | None
) -> None:
    """Data, metadata and times, whatever either of them indexes."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path, index=encore_index)

    with SqliteStore(path, index=index, index_columns=["author"]) as store:
        assert present == contents(store)
        assert ["letters/1", "letters/2"] == sorted(store.query_keys(author="Scheherazade"))
        assert ["letters/1"] == list(store.query_keys(page=1))


def test_what_was_taken_over_is_a_store_like_any_other(tmp_path: Path) -> None:
    """It can be written, has versions, and a journal that begins now."""
    path = tmp_path / "encore.db"
    made_by_encore(path)

    with SqliteStore(path) as store:
        start = store.head()
        old = store.get("empty").version
        new = store.set("empty", StringValue(b"new"), expect=old)
        store.delete("letters/1")

        assert Position(store.store_id, 1, 0, b"") == start
        assert old < new
        assert ["empty", "letters/1"] == [entry.key for entry in store.since(start)]
    with SqliteStore(path) as store:
        assert b"new" == store.to_bytes("empty")


def test_another_table_is_left_alone(tmp_path: Path) -> None:
    """An Encore file may hold several stores; the others stay Encore's."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    present = made_by_encore(path, table="other", index=None)

    with SqliteStore(path, table="other") as store:
        assert present == contents(store)
    theirs = encore_store(path)
    try:
        assert set(METADATA) == set(theirs.query_keys())
    finally:
        theirs.disconnect()


def test_encores_table_is_kept(tmp_path: Path) -> None:
    """Encore opens it under its other name."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)
    SqliteStore(path).connect()
    connection = sqlite3.connect(path)
    connection.execute('ALTER TABLE "store.encore" RENAME TO old')
    connection.close()

    theirs = encore_store(path, table="old")
    try:
        assert present == contents(theirs)
    finally:
        theirs.disconnect()


def test_large_data_are_taken_over_in_chunks(tmp_path: Path) -> None:
    """As if they had been set here, and empty ones too."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    data = large_bytes(3_000_001)
    put_row(path, "large", pickle.dumps({"n": 1}, 2), data)
    put_row(path, "none", None, None)
    put_row(path, "text", pickle.dumps({}, 2), "écrit")

    with SqliteStore(path) as store:
        large = store.get("large")

        assert (data, 3_000_001, 1.5, 2.5) == (
            large.data.read(),
            large.size,
            large.created,
            large.modified,
        )
        assert data[2_000_000:2_000_010] == large.range(2_000_000, 2_000_010).read()
        assert b"" == store.to_bytes("none")
        assert "écrit".encode() == store.to_bytes("text")
        store.delete("large")


def test_rows_of_python_2_are_taken_over(tmp_path: Path) -> None:
    """Its text was ``str``."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    put_row(path, "old", b"\x80\x02}q\x01(U\x05titleU\x07GenesisU\x01n\x8a\x01\x05u.", b"old")

    with SqliteStore(path) as store:
        assert {"title": "Genesis", "n": 5} == store.get_metadata("old")
        assert ["old"] == list(store.query_keys(title="Genesis"))


class _Runs:
    """Its pickle makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("pickled", "named"),
    [
        (pickle.dumps({"x": Path("a")}, 2), "Path"),
        (pickle.dumps({"n": 2**70}, 2), "71 bits"),
        (pickle.dumps({"n": 2**63}, 2), "64 bits"),
        (pickle.dumps(["no", "dictionary"], 2), "list"),
        (pickle.dumps({"x": {1: 2}}, 2), "no text"),
        ('{"json": 1}', "str"),
        (b"", "broken"),
    ],
    ids=["class", "71 bits", "64 bits", "list", "number as name", "text", "empty"],
)
def test_what_cannot_be_taken_over_changes_nothing(
    tmp_path: Path, pickled: object, named: str
) -> None:
    """The key and what is wrong are named, and Encore goes on with its file."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)
    put_row(path, "letters/3", pickled)

    with pytest.raises(IncompatibleStore, match=rf"(?s)'letters/3'.*{named}"):
        SqliteStore(path).connect()

    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM store WHERE key = 'letters/3'")
    connection.commit()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert not any("." in name for name in tables)
    theirs = encore_store(path)
    try:
        assert present == contents(theirs)
    finally:
        theirs.disconnect()


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """A pickle that would run something is refused by the name of the function."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    put_row(path, "trap", pickle.dumps({"x": _Runs(tmp_path / "was-run")}, 2))

    with pytest.raises(IncompatibleStore, match=r"'trap'.*posix\.mkdir"):
        SqliteStore(path).connect()

    assert not (tmp_path / "was-run").exists()


def test_a_key_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Sqlite lets any program put bytes there."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    put_row(path, b"\xff", pickle.dumps({}, 2))

    with pytest.raises(IncompatibleStore, match=r"b'\\xff'"):
        SqliteStore(path).connect()


def test_taking_over_can_be_forbidden(tmp_path: Path) -> None:
    """Also by the URL; the file stays Encore's."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)

    with pytest.raises(IncompatibleStore, match="migrate=False"):
        open_store(f"sqlite://{path}?migrate=no").connect()

    theirs = encore_store(path)
    try:
        assert present == contents(theirs)
    finally:
        theirs.disconnect()


def test_a_table_of_any_other_program_is_refused(tmp_path: Path) -> None:
    """Even with the same names of columns."""
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE store (key, metadata TEXT, created, modified, data)")
    connection.close()

    with pytest.raises(IncompatibleStore, match="not of Antiphon's making"):
        SqliteStore(path).connect()


def test_a_name_that_is_taken_is_told(tmp_path: Path) -> None:
    """Encore's table could not be kept."""
    path = tmp_path / "encore.db"
    made_by_encore(path)
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "Store.Encore" (x)')
    connection.close()

    with pytest.raises(IncompatibleStore, match="rename that one"):
        SqliteStore(path).connect()


_KILLED = """
import os, signal, sys
from antiphon.storage import sqlite_encore
from antiphon.storage.sqlite_store import SqliteStore

take, left = sqlite_encore.Takeover._take, [int(sys.argv[2])]

def dying(*args):
    take(*args)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

sqlite_encore.Takeover._take = dying
SqliteStore(sys.argv[1]).connect()
"""


@pytest.mark.parametrize("rows", [1, 3])
def test_killed_half_way_the_file_is_still_encores(tmp_path: Path, rows: int) -> None:
    """And the next who opens it takes it over."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path), str(rows)], check=False)

    assert -signal.SIGKILL == done.returncode
    theirs = encore_store(path)
    assert present == contents(theirs)
    theirs.disconnect()
    with SqliteStore(path) as store:
        assert present == contents(store)


def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking over needs about as much room again."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)
    run = sqlite_encore.Takeover.run

    def run_out(self: Any, connection: sqlite3.Connection) -> Any:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 3}")
        return run(self, connection)

    monkeypatch.setattr(sqlite_encore.Takeover, "run", run_out)

    with pytest.raises(StoreFull):
        SqliteStore(path).connect()

    theirs = encore_store(path)
    assert present == contents(theirs)
    theirs.disconnect()


def test_of_two_that_open_it_at_once_one_takes_it_over(tmp_path: Path) -> None:
    """The other finds the store that is there then."""
    path = tmp_path / "encore.db"
    present = made_by_encore(path)
    code = (
        "import sys; from antiphon.storage.sqlite_store import SqliteStore;"
        " s = SqliteStore(sys.argv[1]); s.connect(); print(s.store_id)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    ids = {process.communicate(timeout=60)[0] for process in both}

    with SqliteStore(path) as store:
        assert {f"{store.store_id}\n".encode()} == ids
        assert present == contents(store)
