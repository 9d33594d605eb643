"""The sqlite archive in several processes, and in processes that are killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from archive_writer import BATCH, batch

from antiphon.archive import Event, EventStore, open_archive
from antiphon.archive import sqlite_archive as module
from antiphon.archive.sqlite_archive import SqliteArchive
from antiphon.archive.sqlite_file import SETTLE_S, _Underway
from antiphon.testing.archive_suite import event, everything_since, ids
from tests.patience import wait_until

WRITER = Path(__file__).with_name("archive_writer.py")

#: Times that a writer is killed; ANTIPHON_CHAOS=1 makes it many.
KILLS = 100 if os.environ.get("ANTIPHON_CHAOS") else 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the archive is."""
    return tmp_path / "archive.db"


@pytest.fixture
def archive(path: Path) -> Iterator[EventStore]:
    """An open archive."""
    with open_archive(f"sqlite://{path}") as archive:
        yield archive


class Lock:
    """Another program that holds the lock for writing."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("BEGIN IMMEDIATE")

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def check_whole(path: Path) -> None:
    """Check that all tables of an archive tell the same."""
    connection = sqlite3.connect(path)
    assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    with open_archive(f"sqlite://{path}") as archive:
        everything = everything_since(archive)
        stats = archive.stats()
        assert len(everything) == stats.events == len(list(archive.search(0)))
        for flag, count in stats.flags.items():
            tagged = [each.id for each in everything if flag in each.tags]
            assert count == len(tagged)
            assert sorted(tagged) == sorted(ids(archive.search(0, flags=[flag])))


def test_a_killed_writer_leaves_whole_batches(path: Path) -> None:
    """Kill -9 at any point leaves all events of a batch or none, and all that was confirmed."""
    chance = random.Random(6)
    confirmed = -1
    for _ in range(KILLS):
        command = [sys.executable, str(WRITER), f"sqlite://{path}", str(confirmed + 2)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chance.randrange(1, 20)):
                confirmed = int(process.stdout.readline())
            threading.Event().wait(chance.random() * 0.005)
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            confirmed = int(rest[-1]) if rest else confirmed

        check_whole(path)
        with open_archive(f"sqlite://{path}") as archive:
            sizes = {flag: n for flag, n in archive.stats().flags.items() if flag != "all"}
            assert {BATCH} >= set(sizes.values())
            # The last one may have been purged, or not.
            for number in (confirmed, confirmed - 1):
                if number % 3 != 2 and number >= 0 and f"batch:{number}" in sizes:
                    assert batch(number) == list(archive.search(0, flags=[f"batch:{number}"]))
            if confirmed % 3 != 2:
                assert f"batch:{confirmed}" in sizes


def test_get_waits_for_a_save_that_was_begun_before(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this process: however long it takes, whoever asks after it began meets it."""
    monkeypatch.setattr("antiphon.archive.sqlite_file.SETTLE_S", 0.01)
    began, go_on = threading.Event(), threading.Event()
    insert = module.insert

    def slow(*arguments: object) -> object:
        began.set()
        assert go_on.wait(30)
        return insert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "insert", slow)
    found: list[object] = []
    saver = threading.Thread(target=lambda: archive.save(event(1, 5)))
    saver.start()
    assert began.wait(30)
    readers = [
        threading.Thread(target=lambda: found.append(archive.get("e1"))),
        threading.Thread(target=lambda: found.extend(archive.search(0))),
    ]
    for reader in readers:
        reader.start()
    readers[0].join(0.05)
    assert [] == found
    go_on.set()
    for thread in (saver, *readers):
        thread.join(30)

    assert [event(1, 5), event(1, 5)] == found


def test_readers_are_not_kept_waiting_by_writes_that_begin_later() -> None:
    """However many writers there are, a reader waits for those before it."""
    underway = _Underway()
    later = contextlib.ExitStack()
    with underway.one_more():
        reader = threading.Thread(target=underway.wait)
        reader.start()
        wait_until(lambda: underway._changed._waiters, "the reader")
        later.enter_context(underway.one_more())
    reader.join(30)

    assert not reader.is_alive()
    later.close()


def test_get_waits_for_a_save_of_another_process(archive: EventStore, path: Path) -> None:
    """While it holds the lock, and no longer."""
    archive.save(event(1))
    with Lock(path) as other:
        other.connection.execute("UPDATE events SET source = 'changed'")
        found: list[Event] = []
        reader = threading.Thread(target=lambda: found.append(archive.get("e1")))
        reader.start()
        reader.join(0.05)
        assert [] == found
        other.connection.execute("COMMIT")
        reader.join(SETTLE_S / 2)

    assert ["changed"] == [each.source for each in found]


def test_a_commit_seen_is_enough_although_the_lock_is_taken_again(
    archive: EventStore, path: Path
) -> None:
    """A reader does not wait for a moment in which nobody writes."""
    archive.save(event(1))
    with Lock(path) as other:
        found: list[Event] = []
        reader = threading.Thread(target=lambda: found.append(archive.get("e1")))
        reader.start()
        reader.join(0.05)
        assert [] == found
        other.connection.execute("UPDATE events SET source = 'changed'")
        other.connection.execute("COMMIT")
        other.connection.execute("BEGIN IMMEDIATE")
        wait_until(lambda: found, "the event", SETTLE_S * 0.75)
        reader.join(30)

    assert ["changed"] == [each.source for each in found]


def test_a_lock_held_for_long_delays_reading_only_for_a_while(
    archive: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then what is committed is read: somebody may sit before an open transaction."""
    monkeypatch.setattr("antiphon.archive.sqlite_file.SETTLE_S", 0.1)
    archive.save(event(1))
    with Lock(path):
        assert event(1) == archive.get("e1")
        assert ["e1"] == ids(archive.search(0))


def test_an_archive_may_be_used_after_a_fork(archive: EventStore, path: Path) -> None:
    """The child has connections of its own, and both go on."""
    archive.save(event(1))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            archive.save(event(2))
            status = 0 if ["e1", "e2"] == ids(archive.search(0)) else 2
        finally:
            os._exit(status)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    archive.save(event(3))
    assert ["e1", "e2", "e3"] == ids(archive.search(0))


def test_a_fork_while_a_lock_is_held(archive: SqliteArchive) -> None:
    """The child has locks of its own."""
    with archive._names._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            status = 1
            try:
                archive.save(event(1, 1, "A"))
                status = 0
            finally:
                os._exit(status)

        assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ["e1"] == ids(archive.search(0))


def test_a_fork_in_the_middle_of_a_write(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child does not wait for a thread that it does not have."""
    monkeypatch.setattr("antiphon.storage.sqlite_forking.FORK_TIMEOUT_S", 0.01)
    monkeypatch.setattr("antiphon.archive.sqlite_file.SETTLE_S", 0.1)
    archive.save(event(1))
    began, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> object:
        began.set()
        assert go_on.wait(30)
        return insert(*arguments)  # type: ignore[arg-type]

    insert = module.insert
    monkeypatch.setattr(module, "insert", slow)
    saver = threading.Thread(target=lambda: archive.save(event(2)))
    saver.start()
    assert began.wait(30)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        status = 1
        try:
            status = 0 if event(1) == archive.get("e1") else 2
        finally:
            os._exit(status)
    go_on.set()
    saver.join(30)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ["e1", "e2"] == ids(archive.search(0))


def test_a_writer_forgets_numbers_of_flags_that_another_deleted(
    archive: EventStore, path: Path
) -> None:
    """Flags that went away with their last event come back with another number."""
    archive.save(event(1, 1, "A", "B"))
    with open_archive(f"sqlite://{path}") as other:
        other.delete("e1")
        other.save(event(2, 2, "B"))
        archive.save(event(3, 3, "A", "B"))

        assert ["e3"] == ids(other.search(0, flags=["A"]))
        assert ["e2", "e3"] == ids(archive.search(0, flags=["B"]))
        assert [["B"], ["A", "B"]] == [each.tags for each in archive.search(0)]
    archive.close()
    check_whole(path)
