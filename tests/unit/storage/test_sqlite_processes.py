"""The sqlite store in several processes, and in processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from antiphon.errors import IncompatibleStore, NotConnected
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, journal_of

WRITER = Path(__file__).with_name("sqlite_writer.py")

#: Times that a writer is killed; ANTIPHON_CHAOS=1 makes it many.
KILLS = 200 if os.environ.get("ANTIPHON_CHAOS") else 8


def start(task: str, path: Path, amount: int) -> subprocess.Popen[str]:
    """Start a process that works on the store at *path*."""
    command = [sys.executable, str(WRITER), task, str(path), str(amount)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "store.db"


def check_journal(store: SqliteStore, seen: list[JournalEntry]) -> None:
    """Check that the journal is whole, goes on from what was seen, and is what the store holds."""
    entries = journal_of(store)
    assert list(range(1, len(entries) + 1)) == [entry.version.sequence for entry in entries]
    assert seen == entries[: len(seen)]
    assert not entries or entries[-1].last
    newest = {entry.key: entry for entry in entries}
    present = {key for key, entry in newest.items() if entry.action != "delete"}
    assert present == set(store.query_keys())
    for key in present:
        data, metadata = content(store, key)
        assert newest[key].version == store.get(key).version
        assert metadata.get("size", 0) == len(data)
        assert len(set(data)) <= 1
        assert [key] == [k for k, _ in store.query(n=metadata["n"]) if k == key]
    # Three keys that are only ever changed together.
    assert len({store.get_metadata(key)["n"] for key in present if key[0] == "t"}) <= 1


def test_a_killed_writer_leaves_store_and_journal_alike(path: Path) -> None:
    """Trap 7: kill -9 at any point leaves a change and its journal entry, or neither."""
    chance = random.Random(4711)
    seen: list[JournalEntry] = []
    for attempt in range(KILLS):
        with start("write", path, attempt) as writer:
            assert writer.stdout is not None
            for _ in range(chance.randrange(1, 25)):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
            writer.stdout.read()
        with SqliteStore(path) as store:
            check_journal(store, seen)
            seen = journal_of(store)

    assert len(seen) > KILLS
    with sqlite3.connect(path) as connection:
        assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()


def test_a_confirmed_commit_survives_the_kill(path: Path) -> None:
    """What a process told of before it was killed is there."""
    with start("write", path, 1) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(20)]
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout]
    with SqliteStore(path) as store:
        # Each line tells of a commit of at least one change.
        assert store.head().sequence > told[-1]


def test_processes_count_together(path: Path) -> None:
    """Conditional writes of several processes lose no count."""
    with SqliteStore(path) as store:
        store.set("counter", StringValue(b"", {"n": 0}))
        processes = [start("count", path, 25) for _ in range(3)]
        codes = [process.communicate(timeout=60) and process.returncode for process in processes]

        assert [0, 0, 0] == codes
        assert {"n": 75} == store.get_metadata("counter")
        assert 76 == store.head().sequence


def test_a_journal_read_while_others_write_has_no_gap(path: Path) -> None:
    """A reader that follows the journal sees every change, each commit whole."""
    with SqliteStore(path) as store, start("write", path, 5) as writer:
        position = store.head()
        followed: list[JournalEntry] = []
        while len(followed) < 60:
            entries = list(store.since(position))
            assert not entries or entries[-1].last
            followed += entries
            if entries:
                position = Position(position.store_id, *entries[-1].version)
        writer.kill()
        writer.communicate()

    assert list(range(1, len(followed) + 1)) == [entry.version.sequence for entry in followed]


def test_a_store_may_be_used_after_a_fork(path: Path) -> None:
    """Parent and child each go on with connections of their own."""
    with SqliteStore(path) as store:
        store.set("a", StringValue(b"before"))
        assert store._parts is not None
        parents = list(store._parts.medium._idle)
        child = os.fork()
        if child == 0:
            try:
                store.set("child", StringValue(store.to_bytes("a")))
                used = store._parts.medium._idle
                # Sqlite forbids to use a connection on the other side of a fork.
                os._exit(0 if used and not any(each in parents for each in used) else 2)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        store.set("parent", StringValue(store.to_bytes("child")))

        assert 0 == status
        assert {"a", "child", "parent"} == set(store.query_keys())
        owners = [entry.owner for entry in journal_of(store)]
        assert owners[0] == owners[2] != owners[1]


def test_a_fork_in_the_middle_of_a_write(path: Path) -> None:
    """What a thread of the parent has locked just then is not locked for ever in the child."""
    with SqliteStore(path, timeout_s=3) as store:
        store.set("a", StringValue(b"before"))
        assert store._parts is not None
        medium, is_inside = store._parts.medium, threading.Event()

        def slow(_: object) -> None:
            is_inside.set()
            threading.Event().wait(0.3)  # until the fork is tried, and waits

        writer = threading.Thread(target=medium.write, args=(slow,))
        writer.start()
        is_inside.wait(10)
        child = os.fork()
        if child == 0:
            try:
                store.set("child", StringValue(b""))
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        writer.join()
        store.set("parent", StringValue(b""))

        assert 0 == status
        assert {"a", "child", "parent"} == set(store.query_keys())


@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_file_that_was_replaced_is_not_written(path: Path, is_replaced: bool) -> None:
    """It would go into a file that nobody finds; after another connect all is well."""
    with SqliteStore(path) as store:
        store.set("a", StringValue(b"1"))
    copy = path.read_bytes()
    store = SqliteStore(path)
    store.connect()
    store.set("b", StringValue(b"2"))
    for name in ("", "-wal", "-shm"):
        path.with_name(path.name + name).unlink()
    if is_replaced:
        path.with_name("copy").write_bytes(copy)
        path.with_name("copy").rename(path)
    for attempt in (lambda: store.set("c", StringValue(b"3")), store.head):
        with pytest.raises(IncompatibleStore, match="connect again"):
            attempt()
    store.disconnect()
    assert is_replaced == path.exists()
    store.connect()
    store.set("d", StringValue(b"4"))
    found = set(store.query_keys())
    store.disconnect()

    assert ({"a", "d"} if is_replaced else {"d"}) == found


def test_a_relative_path_stays_where_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for connections that are made after the process has moved elsewhere."""
    monkeypatch.chdir(path.parent)
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir()
    with SqliteStore(path.name) as store:
        store.set("a", StringValue(b"1"))
        monkeypatch.chdir(elsewhere)
        assert store._parts is not None
        store._parts.medium._idle.clear()
        store.set("b", StringValue(b"2"))

        assert [] == list(elsewhere.iterdir())
    with SqliteStore(path) as store:
        assert {"a", "b"} == set(store.query_keys())


def test_a_store_is_disconnected_while_threads_read_it(path: Path) -> None:
    """Each of them finishes what it does, or is told; no connection stays open."""
    for _ in range(20):
        store = SqliteStore(path)
        store.connect()
        store.set("a", StringValue(b"x"))
        surprises: list[BaseException] = []

        def read(store: SqliteStore = store, surprises: list[BaseException] = surprises) -> None:
            try:
                while True:
                    store.get("a")
            except NotConnected:
                pass
            except BaseException as exc:  # told by the assertion
                surprises.append(exc)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        store.disconnect()
        for reader in readers:
            reader.join()

        assert [] == surprises
