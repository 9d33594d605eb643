"""The sqlite archive where its file is not what it should be."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import antiphon
from antiphon.archive import (
    ArchiveBusy,
    ArchiveFull,
    ArchiveUnusable,
    Event,
    EventNotFound,
    EventReadException,
    EventStore,
    EventWriteException,
    InvalidEvent,
    open_archive,
)
from antiphon.archive import sqlite_reading as reading
from antiphon.archive.sqlite_archive import SqliteArchive
from antiphon.errors import AntiphonError, InvalidURL, UnknownScheme
from antiphon.testing.archive_suite import at_once, event, everything_since, ids


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the archive is."""
    return tmp_path / "archive.db"


@pytest.fixture
def archive(path: Path) -> Iterator[EventStore]:
    """An open archive."""
    with open_archive(f"sqlite://{path}") as archive:
        yield archive


def test_an_archive_is_opened_by_the_package_itself(path: Path) -> None:
    """``antiphon.open_archive`` is the one of ``antiphon.archive``."""
    assert antiphon.open_archive is open_archive


def test_an_archive_keeps_what_it_has(path: Path) -> None:
    """It is there when the file is opened again, with its places."""
    with open_archive(f"sqlite://{path}") as archive:
        archive.save_many(event(n, n, "A") for n in range(3))
        head = archive.head()

    with open_archive(f"sqlite://{path}") as again:
        assert head == again.head()
        assert ["e0", "e1", "e2"] == ids(again.search(0, flags=["A"]))


def test_a_commit_is_on_the_disk(archive: SqliteArchive, path: Path) -> None:
    """What was saved survives a power cut: sqlite waits for the disk at each commit."""
    (connection,) = archive._file._idle

    assert (2,) == connection.execute("PRAGMA synchronous").fetchone()
    assert ("wal",) == connection.execute("PRAGMA journal_mode").fetchone()


def test_a_relative_path_names_a_file_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one at the time of opening; later moves do not matter."""
    monkeypatch.chdir(tmp_path)
    with open_archive("sqlite:a b%23.db", timeout_s=1) as archive:
        monkeypatch.chdir("/")
        archive.save(event(1))

    assert (tmp_path / "a b#.db").exists()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("sqlit:///a", UnknownScheme),
        ("/tmp/archive.db", UnknownScheme),
        ("sqlite:", InvalidURL),
        ("sqlite://host/a", InvalidURL),
        ("sqlite:///a?readonly=1", InvalidURL),
        ("sqlite:///a?read_only=perhaps", InvalidURL),
        ("sqlite:///a?timeout_s=nan", InvalidURL),
        ("sqlite:///a?timeout_s=-1", InvalidURL),
        ("sqlite:///no/such/folder/a.db", ArchiveUnusable),
        ("sqlite:///no/such/folder/a.db?read_only=1", ArchiveUnusable),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(url: str, error: type[AntiphonError]) -> None:
    """With an error that says what would."""
    with pytest.raises(error):
        open_archive(url)


def test_reading_only_writes_nothing(archive: EventStore, path: Path) -> None:
    """It sees what others save, and cannot save itself."""
    archive.save(event(1, 1, "A"))
    with open_archive(f"sqlite://{path}?read_only=1") as reader:
        for call in (
            lambda: reader.save(event(2)),
            lambda: reader.delete("e1"),
            lambda: reader.purge(keep=0),
        ):
            with pytest.raises(EventWriteException, match="read_only"):
                call()
        archive.save(event(3, 3))

        assert ["e1", "e3"] == ids(reader.search(0))
        assert event(1, 1, "A") == reader.get("e1")
        assert archive.head() == reader.wait(1, 10)


def test_reading_only_makes_no_file(path: Path) -> None:
    """A name with a slip in it is an error, and no empty archive."""
    with pytest.raises(ArchiveUnusable, match="no archive"):
        open_archive(f"sqlite://{path}?read_only=1")
    assert not path.exists()
    path.touch()
    with pytest.raises(ArchiveUnusable, match="no archive"):
        open_archive(f"sqlite://{path}?read_only=1")


def test_who_may_not_make_files_beside_it_is_told(
    archive: EventStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sqlite calls it a database that cannot be written, even if nobody wants to write."""
    archive.save(event(1))
    refusal = sqlite3.OperationalError("attempt to write a readonly database")
    refusal.sqlite_errorcode = sqlite3.SQLITE_READONLY

    def refuse(*_arguments: object) -> None:
        raise refusal

    with open_archive(f"sqlite://{path}?read_only=1") as reader:
        monkeypatch.setattr("antiphon.archive.sqlite_archive.event_with_id", refuse)

        with pytest.raises(ArchiveUnusable, match="cannot be read by this user while nobody"):
            reader.get("e1")


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """And stays as it is."""
    path.write_bytes(b"no database at all" * 500)

    with pytest.raises(ArchiveUnusable, match="no sqlite database"):
        open_archive(f"sqlite://{path}")
    assert path.read_bytes().startswith(b"no database")


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    """Its tables are not touched."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs(a)")
    connection.close()

    with pytest.raises(ArchiveUnusable, match="another program"):
        open_archive(f"sqlite://{path}")
    with sqlite3.connect(path) as connection:
        assert [("theirs",)] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()


def test_an_archive_of_a_newer_version_is_refused(archive: EventStore, path: Path) -> None:
    """The message says to upgrade."""
    archive.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()

    with pytest.raises(ArchiveUnusable, match=r"format 2.*upgrade Antiphon"):
        open_archive(f"sqlite://{path}")


def test_a_broken_file_is_an_error_of_the_archive(archive: EventStore, path: Path) -> None:
    """Whatever bytes are wrong: no other error comes out, and nothing hangs."""
    archive.save_many(event(n, n, "A", f"é{n % 7}", content="ü" * 50) for n in range(300))
    archive.close()
    whole = path.read_bytes()
    told = 0
    for number in range(40):
        chance = random.Random(number)
        broken = bytearray(whole)
        for _ in range(chance.choice([1, 20, 400])):
            broken[chance.randrange(100, len(broken))] = chance.randrange(256)
        path.write_bytes(broken)
        told += use_broken(path)

    assert told > 40


def use_broken(path: Path) -> int:
    """Do all that can be done with an archive; return how often it said that it is broken."""
    told = 0
    with contextlib.suppress(ArchiveUnusable), open_archive(f"sqlite://{path}") as archive:
        for work in (
            lambda: list(archive.search(0)),
            lambda: list(archive.search(0, None, ["é3", "A"], "ü", "desc")),
            lambda: archive.since(0),
            lambda: [archive.get(f"e{n}") for n in range(0, 300, 10)],
            archive.stats,
            lambda: archive.save(event(1000, 1, "A", "B")),
            lambda: archive.purge(keep=30),
        ):
            try:
                work()
            except ArchiveUnusable:
                told += 1
            except EventNotFound:
                pass
        return told
    return 1


def test_a_locked_archive_can_be_read_and_says_that_it_is_busy(
    archive: EventStore, path: Path
) -> None:
    """Nothing is lost: the same call succeeds later."""
    archive.save(event(1))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with open_archive(f"sqlite://{path}?timeout_s=0.05") as other:
        with pytest.raises(ArchiveBusy, match="locked"):
            other.save(event(2))
        assert ["e1"] == ids(other.since(0).events)
        holder.close()
        other.save(event(2))

    assert ["e1", "e2"] == ids(everything_since(archive))


def test_busy_and_full_are_errors_of_writing_that_pass() -> None:
    """A recorder tries again after these two, and after no others."""
    assert issubclass(ArchiveBusy, EventWriteException)
    assert issubclass(ArchiveFull, EventWriteException)


def test_an_archive_without_room_says_so_and_goes_on(archive: SqliteArchive) -> None:
    """What did not fit is not there in parts; with room again it is saved."""
    archive.save_many(event(n, n, "A") for n in range(10))
    # The only connection: a limit is one's own.
    (connection,) = archive._file._idle
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages + 20}")
    large = [event(n, n, f"large:{n}", content="x" * 10_000) for n in range(100, 130)]

    with pytest.raises(ArchiveFull, match="no room"):
        archive.save_many(large)
    assert 10 == archive.stats().events
    assert {"A": 10} == archive.stats().flags
    archive.save(event(10, 10, "A"))
    connection.execute("PRAGMA max_page_count=1000000")

    assert 30 == archive.save_many(large)
    assert 41 == len(ids(archive.search(0)))


def test_flags_that_no_event_has_are_not_kept(archive: EventStore, path: Path) -> None:
    """Neither those of deleted events, nor those of events that were there already."""
    archive.save_many([event(1, 1, "A", "key:1"), event(2, 2, "A", "key:2")])
    archive.save(event(1, 1, "key:3"))
    archive.delete("e2")

    connection = sqlite3.connect(path)
    assert [("A", 1), ("key:1", 1)] == connection.execute(
        "SELECT name, events FROM names ORDER BY name"
    ).fetchall()
    connection.close()


def test_a_purge_that_takes_long_leaves_the_rest_to_the_next(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who want to write wait for a part of it only."""
    monkeypatch.setattr("antiphon.archive.sqlite_writing.PURGE_S", 0.0)
    archive.save_many(event(n, n) for n in range(1200))

    assert [500, 500, 195, 0] == [archive.purge(keep=5) for _ in range(4)]


def test_all_who_open_a_new_archive_at_once_find_one(path: Path) -> None:
    """One of them makes the tables."""

    def open_and_save(worker: int) -> None:
        with open_archive(f"sqlite://{path}") as archive:
            archive.save(event(worker))

    at_once(open_and_save, 4)

    with open_archive(f"sqlite://{path}") as archive:
        assert ["e0", "e1", "e2", "e3"] == sorted(ids(archive.search(0)))


def test_an_event_too_large_for_sqlite_is_refused(archive: SqliteArchive) -> None:
    """With the error of an event that cannot be saved; others can."""
    (connection,) = archive._file._idle
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000)

    with pytest.raises(InvalidEvent, match="too large"):
        archive.save_many([event(1), event(2, content="x" * 1_000_001)])
    archive.save(event(3))
    assert ["e3"] == ids(archive.search(0))


def test_a_file_that_was_replaced_is_not_written(archive: EventStore, path: Path) -> None:
    """What is saved into a file that nobody finds any more is lost, so it is an error."""
    archive.save(event(1))
    shutil.copy(path, path.with_suffix(".copy"))
    os.replace(path.with_suffix(".copy"), path)

    with pytest.raises(ArchiveUnusable, match="replaced"):
        archive.save(event(2))


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_was_replaced_is_not_read(
    archive: EventStore, path: Path, read_only: bool
) -> None:
    """Who follows it would wait for ever, and who searches it would find the past."""
    archive.save(event(1))
    with open_archive(f"sqlite://{path}", read_only=read_only) as reader:
        head = reader.head()
        path.unlink()
        with open_archive(f"sqlite://{path}") as anew:
            anew.save(event(2))

            for read in (
                reader.head,
                reader.stats,
                lambda: reader.get("e1"),
                lambda: reader.search(0),
                lambda: reader.wait(head, 30),
            ):
                with pytest.raises(ArchiveUnusable, match="removed or replaced"):
                    read()


def test_a_wait_for_no_number_of_seconds_ends(archive: EventStore) -> None:
    """At once; it is less than nothing, and not for ever."""
    assert 0 == archive.wait(0, float("nan"))


def test_a_path_that_no_file_can_have_is_told() -> None:
    """As what cannot be opened."""
    with pytest.raises(ArchiveUnusable, match="NUL"):
        SqliteArchive("a\0b.db")


def test_a_step_that_is_too_large_is_cut(
    archive: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large contents are read a few at a time, and none is left out."""
    monkeypatch.setattr(reading, "STEP_BYTES", 2500)
    archive.save_many(event(n, n, "A", content="x" * 1000) for n in range(20))
    sizes: list[int] = []
    step = SqliteArchive._step

    def counted(*arguments: object) -> object:
        found = step(*arguments)  # type: ignore[arg-type]
        sizes.append(len(found.events))
        return found

    monkeypatch.setattr(SqliteArchive, "_step", counted)

    assert [f"e{n}" for n in range(20)] == ids(archive.search(0, flags=["A"]))
    assert 3 == max(sizes)
    assert 3 == len(archive.since(0).events)
    assert [f"e{n}" for n in range(20)] == ids(everything_since(archive))


def test_a_search_holds_no_transaction_between_its_steps(archive: SqliteArchive) -> None:
    """Else a reader who pauses would make the log of the writer grow without bound."""
    archive.save_many(event(n, n, "A", "B") for n in range(100))
    begun = [archive.search(0, flags=["A"]), archive.search(0), archive.search(0, match="x")]
    for each in begun[:2]:
        next(each)
    archive.since(0, limit=3)

    # All frames are in the file, and the log is empty: nobody reads from it.
    (connection,) = archive._file._idle
    assert (0, 0, 0) == connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


class Counter:
    """Counts what sqlite does for the connection of an archive, in hundreds of its steps."""

    def __init__(self, archive: SqliteArchive) -> None:
        (connection,) = archive._file._idle
        self.count = 0
        connection.set_progress_handler(self._tick, 100)

    def _tick(self) -> int:
        self.count += 1
        return 0


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize(
    ("flags", "most"), [(None, 40), (["many"], 40), (["rare"], 20), (["many", "rare"], 20)]
)
def test_the_first_result_does_not_wait_for_what_does_not_match(
    archive: SqliteArchive, flags: list[str] | None, most: int, order: str
) -> None:
    """Time range and flags are sought in the index, from either end of time."""
    archive.save_many(
        event(n, n, *(["rare", "many"] if n % 600 == 300 else ["many"])) for n in range(6000)
    )
    counter = Counter(archive)

    found = next(archive.search(2000, 4000, flags, order=order))
    assert 2000 <= found.timestamp <= 4000
    assert counter.count < most


def test_stretches_without_one_of_the_flags_are_leapt_over(archive: SqliteArchive) -> None:
    """Flags that meet only in the end cost no walk over either of them."""
    archive.save_many(
        event(n, n, *["A"] * (n < 3000 or n == 5999), *["B"] * (n >= 2900)) for n in range(6000)
    )
    archive.purge(keep=1, flags=["A", "B"])
    counter = Counter(archive)

    assert ["e5999"] == ids(archive.search(0, flags=["A", "B"]))
    assert ["e5999"] == ids(archive.search(0, flags=["B", "A"], order="desc"))
    assert counter.count < 100


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_search_to_its_end_reads_each_key_once(archive: SqliteArchive, order: str) -> None:
    """Each step begins where the last one ended."""
    archive.save_many(event(n, n, "A" if n % 2 else "B") for n in range(5000))
    counter = Counter(archive)

    assert 2500 == len(ids(archive.search(0, None, ["A"], order=order)))
    once = counter.count
    assert [] == ids(archive.search(0, None, ["A", "B"], order=order))
    assert once < 1500
    assert counter.count - once < 1500


def test_a_read_error_is_one_of_reading(archive: EventStore) -> None:
    """Programs that know Theia's exceptions catch them all."""
    archive.close()

    with pytest.raises(EventReadException):
        archive.get("e1")
    with pytest.raises(EventWriteException):
        archive.save(Event("x", "s"))
