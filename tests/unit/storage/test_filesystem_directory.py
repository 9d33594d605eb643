"""What the file store does besides what all stores do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import (
    IncompatibleStore,
    InvalidURL,
    PositionLost,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.storage import file_commit, file_durability, file_medium, filesystem_store
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.directory_lock import DirectoryLock
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.file_durability import is_on_network
from antiphon.storage.file_layout import print_of
from antiphon.storage.file_log import Log
from antiphon.storage.file_record import Print
from antiphon.storage.file_value import FileValue
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.opening import open_store
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything, journal_of, listen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that is a store."""
    path = tmp_path / "store"
    init_shared_store(path)
    return path


@pytest.fixture
def store(path: Path) -> Iterator[FileSystemStore]:
    """A connected store in it."""
    with FileSystemStore(path, durable=False) as store:
        yield store


def value(data: bytes = b"data", **metadata: Any) -> StringValue:
    """Return a value to be stored."""
    return StringValue(data, metadata)


def begin_log(store: FileSystemStore) -> None:
    """Make *store* begin a new generation of its log."""
    assert store._parts is not None
    with store._parts.medium.locked():
        store._parts.medium.checkpoint()


def change(file: Path, content: bytes) -> None:
    """Write a file as another program does, some time later."""
    file.write_bytes(content)
    times = file.stat()
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 5 * 10**9))


# -- The files -----------------------------------------------------------------


def test_files_are_what_people_expect(store: FileSystemStore, path: Path) -> None:
    """The data as they are, the metadata as JSON, under a name that is the key."""
    store.set("report.txt", value(b"\x00\xff\n", title="é", n=1))

    assert b"\x00\xff\n" == (path / "report.txt.data").read_bytes()
    assert {"title": "é", "n": 1} == json.loads((path / "report.txt.metadata").read_bytes())
    assert {".FSStore", ".antiphon", "report.txt.data", "report.txt.metadata"} == set(
        os.listdir(path)
    )


@pytest.mark.parametrize("size", [0, 1000, 1 << 16, (1 << 16) + 1, 1 << 20, (1 << 20) + 1])
def test_data_of_any_size_are_exactly_in_the_file(
    store: FileSystemStore, path: Path, size: int
) -> None:
    """Whether they rode in the log or had a file of their own from the start."""
    store.set("a", value(b"x" * size))

    assert b"x" * size == (path / "a.data").read_bytes()
    assert [] == os.listdir(path / ".antiphon" / "staged")
    assert [] == os.listdir(path / ".antiphon" / "new")


def test_no_key_leaves_the_directory(store: FileSystemStore, path: Path, tmp_path: Path) -> None:
    """Neither by dots nor by slashes nor by an absolute path."""
    before = set(os.listdir(tmp_path))
    for key in ("../out", "..", "/etc/x", "a/../../out", "\0", "", "x" * 10_000, "con", "a\\b"):
        store.set(key, value(key.encode()))

        assert key.encode() == store.to_bytes(key)
    assert before == set(os.listdir(tmp_path))
    assert all(file.is_file() for file in path.iterdir() if file.name != ".antiphon")


def test_a_deleted_key_leaves_no_file(store: FileSystemStore, path: Path) -> None:
    """Nor does one whose name was cut, which has a third file."""
    for key in ("a", "x" * 500):
        store.set(key, value())
        store.delete(key)

    assert [".FSStore", ".antiphon"] == sorted(os.listdir(path))


def test_the_key_of_a_cut_name_lies_beside_it(store: FileSystemStore, path: Path) -> None:
    """So that the directory alone says what is in it."""
    key = "Ü" * 500 + "\r\n"
    store.set(key, value())

    assert [key.encode()] == [file.read_bytes() for file in path.glob("*.key")]


def test_metadata_that_stay_the_same_are_not_written_again(
    store: FileSystemStore, path: Path
) -> None:
    """New data alone replace one file."""
    store.set("a", value(b"1", n=1))
    before = (path / "a.metadata").stat().st_ino
    store.set("a", value(b"2", n=1))
    store.set_data("a", io.BytesIO(b"3"))

    assert before == (path / "a.metadata").stat().st_ino
    assert (b"3", {"n": 1}) == content(store, "a")


# -- Directories that are none -------------------------------------------------


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """As is what makes one."""
    with pytest.raises(StoreUnavailable, match="nowhere does not exist; init_shared_store"):
        FileSystemStore(tmp_path / "nowhere")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """The error says what it is."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(StoreUnavailable, match="file is not a directory"):
        FileSystemStore(tmp_path / "file")
    with pytest.raises(StoreError, match="file"):
        init_shared_store(tmp_path / "file")


def test_a_directory_without_the_magic_file_is_no_store(tmp_path: Path) -> None:
    """A wrong path harms no other directory; Encore's name of the error is kept."""
    with pytest.raises(IncompatibleStore, match=r"\.FSStore"):
        FileSystemStore(tmp_path)
    with pytest.raises(filesystem_store.FileSystemStoreError):
        FileSystemStore(tmp_path)
    assert [] == os.listdir(tmp_path)


def test_the_magic_file_may_have_another_name(tmp_path: Path) -> None:
    """As in Encore."""
    init_shared_store(tmp_path / "s", "here")
    with FileSystemStore(tmp_path / "s", "here") as store:
        store.set("a", value())
    with pytest.raises(IncompatibleStore):
        FileSystemStore(tmp_path / "s")


def test_making_a_store_twice_changes_nothing(path: Path) -> None:
    """Keys and identity stay."""
    with FileSystemStore(path) as store:
        store.set("a", value())
        identity = store.store_id
    init_shared_store(path)
    with FileSystemStore(path) as store:
        assert (identity, True) == (store.store_id, store.exists("a"))


def test_a_directory_that_cannot_be_written_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the directory and what is needed; nothing stays open."""
    real = os.open

    def refuse(file: str, flags: int, *rest: Any, **more: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(errno.EACCES, "Permission denied", file)
        return real(file, flags, *rest, **more)

    store = FileSystemStore(path)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ReadOnlyStore, match="store: Permission denied"):
        store.connect()
    monkeypatch.undo()
    store.connect()
    store.disconnect()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("identity.json", b'{"format": 99, "store_id": "x"}'),
        ("identity.json", b"{"),
        ("log-2", b"something else, and longer than the beginning of a log"),
        ("snapshot-2", b"[]\n0\n"),
        ("snapshot-2", b""),
    ],
)
def test_a_damaged_or_newer_directory_is_refused(path: Path, file: str, text: bytes) -> None:
    """The error names the file; nothing is overwritten."""
    with FileSystemStore(path) as store:
        store.set("a", value())
        begin_log(store)
    (path / ".antiphon" / file).write_bytes(text)
    with pytest.raises(IncompatibleStore, match=file):
        FileSystemStore(path).connect()

    assert text == (path / ".antiphon" / file).read_bytes()


def test_without_the_hidden_directory_the_files_are_taken_up(path: Path) -> None:
    """As those of Encore are: all keys are there, only their history is not."""
    with FileSystemStore(path) as store:
        for key in ("a", "B/c", "", "x" * 500, "é\n"):
            store.set(key, value(key.encode(), n=1))
        expected = dict(everything(store))
    for file in sorted((path / ".antiphon").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    with FileSystemStore(path) as store:
        assert expected == everything(store)
        assert [None] * 5 == [entry.event_id for entry in journal_of(store)]


# -- The disk is full ----------------------------------------------------------


@pytest.mark.parametrize("size", [10, 100_000, 3 << 20])
def test_a_full_disk_changes_nothing(
    store: FileSystemStore, path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The error says what to do, the old value stays, nothing is left of the new one."""
    store.set("a", value(b"old", n=1))
    head = store.head()
    heard = listen(store, StoreModificationEvent)

    def refuse(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(StoreFull, match="No space left"):
        store.set("a", value(b"x" * size, n=2))
    monkeypatch.undo()

    assert {"a": (b"old", {"n": 1})} == everything(store)
    assert (head, []) == (store.head(), heard)
    assert [] == os.listdir(path / ".antiphon" / "staged")
    assert [] == os.listdir(path / ".antiphon" / "new")


def test_a_log_that_cannot_begin_anew_goes_on(
    store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is done; room for a snapshot can be made later."""
    monkeypatch.setattr(file_medium, "CHECKPOINT_BYTES", 10)

    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_medium, "write_snapshot", refuse)
    store.set("a", value())
    monkeypatch.undo()
    store.set("b", value())

    assert {"a", "b"} == set(store.query_keys())


# -- Several stores on one directory -------------------------------------------


def test_a_store_follows_through_any_number_of_logs(store: FileSystemStore, path: Path) -> None:
    """One that looked last several generations ago reads the snapshot."""
    with FileSystemStore(path, durable=False) as other:
        store.set("a", value(b"1"))
        assert other.exists("a")
        for rounds in (1, 2, 5):
            for number in range(rounds):
                store.set("a", value(str(number).encode(), n=number, rounds=rounds))
                begin_log(store)
            store.set(f"k{rounds}", value())

            assert everything(store) == everything(other)
            assert [("a", {"n": rounds - 1, "rounds": rounds})] == list(other.query(rounds=rounds))
            assert journal_of(store) == journal_of(other)
            other.set("b", value(str(rounds).encode()))
            assert other.head() == store.head()


def test_the_journal_keeps_its_length(path: Path) -> None:
    """What is older is lost, and says so, also after the log began anew."""
    with FileSystemStore(path, durable=False, journal_length=5) as store:
        start = store.head()
        positions = []
        for number in range(12):
            store.set("a", value(n=number))
            positions.append(store.head())
        begin_log(store)
    with FileSystemStore(path, durable=False, journal_length=5) as store:
        with pytest.raises(PositionLost, match="check everything anew"):
            store.since(start)
        with pytest.raises(PositionLost):
            store.since(positions[6])

        assert [9, 10, 11, 12] == [entry.version.sequence for entry in store.since(positions[7])]


def test_waiting_for_a_lock_ends(path: Path) -> None:
    """The error names the lock; nothing was written."""
    with FileSystemStore(path, timeout_s=0.05) as store, open(path / ".antiphon" / "lock") as lock:
        store.set("a", value(b"before"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match=r"held the lock .*antiphon/lock for 0.05 s"):
            store.set("a", value(b"x" * 100_000))
        fcntl.flock(lock, fcntl.LOCK_UN)

        assert b"before" == store.to_bytes("a")


def test_readers_need_no_lock(path: Path) -> None:
    """While another process holds it, everything can be read."""
    with FileSystemStore(path, timeout_s=0.05) as store:
        store.set("a", value(b"x", n=1))
        with open(path / ".antiphon" / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            assert {"a": (b"x", {"n": 1})} == everything(store)
            assert ["a"] == list(store.query_keys(n=1))
            assert 1 == len(journal_of(store))


def test_a_store_may_be_used_after_a_fork(store: FileSystemStore) -> None:
    """Parent and child exclude each other, as strangers do."""
    store.set("a", value(b"before"))
    assert store._parts is not None
    lock = store._parts.lock
    with lock.held():
        child = os.fork()
        if child == 0:
            store._timeout_s = 0.05
            try:
                lock._thread = threading.Lock()  # type: ignore[attr-defined]
                lock.timeout_s = 0.05  # type: ignore[attr-defined]
                with pytest.raises(StoreUnavailable):
                    store.set("child", value())
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)

    assert 0 == status


def test_a_child_does_not_wait_for_a_thread_of_its_parent(store: FileSystemStore) -> None:
    """One that was reading the log, or writing, when another thread forked."""
    store.set("a", value(b"before"))
    assert store._parts is not None
    medium, lock = store._parts.medium, store._parts.lock
    holds, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with medium._mutex, lock._thread:  # type: ignore[attr-defined]
            holds.set()
            forked.wait()

    other = threading.Thread(target=hold)
    other.start()
    holds.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            store.set("b", value(store.to_bytes("a")))
            os._exit(0)
        finally:
            os._exit(1)
    forked.set()
    other.join()
    _, status = os.waitpid(child, 0)

    assert 0 == status
    assert b"before" == store.to_bytes("b")


def test_a_store_that_is_disconnected_meanwhile_says_so(store: FileSystemStore) -> None:
    """A thread that comes late meets a store's error."""
    store.set("a", value())
    parts = store._parts
    assert parts is not None
    store.disconnect()
    with pytest.raises(StoreUnavailable, match="disconnected"):
        parts.medium.refresh()
    with pytest.raises(StoreUnavailable, match="closed"), parts.lock.held():
        pass


def test_a_lock_taken_by_force_begins_a_new_history(path: Path) -> None:
    """Positions of before are lost, since its former holder may still be writing."""

    class ForcedLock(DirectoryLock):
        force = False

        @contextlib.contextmanager
        def held(self) -> Iterator[bool]:
            with super().held():
                yield self.force

    class Forced(FileSystemStore):
        def _make_lock(self, where: str) -> DirectoryLock:
            self.lock = ForcedLock(where)
            return self.lock

    with Forced(path) as store, FileSystemStore(path) as other:
        before = store.set("a", value(b"1"))
        position = other.head()
        store.lock.force = True
        after = store.set("a", value(b"2"))
        store.lock.force = False
        store.set("b", value())

        assert before is not None
        assert after is not None
        assert (before.epoch + 1, 1) == after[:2]
        assert [("a", 1), ("b", 2)] == [(e.key, e.version.sequence) for e in journal_of(other)]
        with pytest.raises(PositionLost):
            other.since(position)
    # In a new log, where the former holder does not write.
    assert ["log-2"] == [log.name for log in (path / ".antiphon").glob("log-*")]
    with FileSystemStore(path) as store:
        assert {"a", "b"} == set(store.query_keys())
        assert after.epoch == store.head().epoch


def test_a_writer_whose_lock_was_taken_gives_up(store: FileSystemStore, path: Path) -> None:
    """It sees that another one wrote meanwhile, and leaves the files alone."""
    store.set("a", value(b"before"))
    assert store._parts is not None
    log = store._parts.medium._open_log
    real = log.append

    def overtaken(*arguments: Any, **options: Any) -> int:
        end = real(*arguments, **options)
        (path / ".antiphon" / "mark").write_bytes(b"moved")
        return end

    log.append = overtaken  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="by force"):
        store.set("a", value(b"after"))

    assert b"before" == (path / "a.data").read_bytes()


def test_a_store_belongs_to_one_system(path: Path) -> None:
    """The first bus claims it; another system's is refused."""

    class Bus(EventManager):
        system = "one"

    class Other(EventManager):
        system = "two"

    with FileSystemStore(path) as store:
        store.event_manager = Bus()
    store = FileSystemStore(path)
    store.event_manager = Other()
    with pytest.raises(IncompatibleStore, match="'one'"):
        store.connect()

    assert "one" == json.loads((path / ".antiphon" / "identity.json").read_bytes())["system"]


def test_orphans_are_collected(path: Path) -> None:
    """What processes that died had staged goes after an hour, what they began at once."""
    with FileSystemStore(path) as store:
        store.set("a", value())
    staged, new = path / ".antiphon" / "staged", path / ".antiphon" / "new"
    for file in (staged / "old", staged / "young", new / "half.data"):
        file.write_bytes(b"x")
    os.utime(staged / "old", (1, 1))
    with FileSystemStore(path):
        pass

    assert (["young"], []) == (os.listdir(staged), os.listdir(new))


def test_many_large_values_may_be_open(store: FileSystemStore) -> None:
    """A value holds its file until it goes."""
    store.set("a", value(b"x" * 100_000))
    before = len(os.listdir("/proc/self/fd"))
    held = [store.get("a") for _ in range(20)]
    during = len(os.listdir("/proc/self/fd"))
    assert all(b"x" * 100_000 == each.range().read() for each in held)
    del held

    assert (before, before + 20) == (len(os.listdir("/proc/self/fd")), during)


# -- Cache, values, URLs -------------------------------------------------------


def test_a_cache_may_be_in_files(store: FileSystemStore) -> None:
    """MountedStore fills it, and what is cached is no key of the store."""
    backing = DictMemoryStore()
    with backing, MountedStore("", store, backing, fill=True) as mounted:
        backing.set("a", value(b"cached", n=1))
        assert b"cached" == mounted.to_bytes("a")
        assert ["a"] == list(store.cache_ledger().keys())
        assert [] == list(store.query_keys())


def test_a_file_is_a_value(tmp_path: Path, store: FileSystemStore) -> None:
    """Size and time are the file's; data, ranges and metadata are as in any value."""
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    found = FileValue(file, {"n": 1})

    assert (10, None, file.stat().st_mtime) == (found.size, found.created, found.modified)
    assert (b"234", b"789", b"01") == (
        found.range(2, 5).read(),
        found.range(-3).read(),
        found.range(None, 2).read(),
    )
    assert {} == FileValue(str(file)).metadata
    store.set("a", found)
    assert (b"0123456789", {"n": 1}) == content(store, "a")
    found.data.close()
    with pytest.raises(FileNotFoundError):
        FileValue(tmp_path / "none")


def test_a_url_makes_a_store(tmp_path: Path) -> None:
    """A missing directory is made; parameters are those of the class."""
    store = open_store(f"file://{tmp_path}/new?origin=files&durable=no&journal_length=7")
    with store:
        store.set("a", value())
        assert ("files", str(tmp_path / "new")) == (store.info()["origin"], store.info()["path"])
    with open_store(f"file:{tmp_path}/new?create=no") as again:
        assert again.exists("a")


def test_a_url_makes_no_store_of_other_directories(tmp_path: Path) -> None:
    """Nor of any, if told so."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(IncompatibleStore, match="no store"):
        open_store(f"file://{tmp_path}")
    with pytest.raises(StoreUnavailable, match="does not exist"):
        open_store(f"file://{tmp_path}/new?create=no")
    assert ["file"] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["file://host/path", "file:", "file:///x?journal_length=0", "file:///x?wrong=1",
     "file:///x?durable=perhaps"],
)  # fmt: skip
def test_a_url_that_makes_no_sense_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the URL in the error."""
    monkeypatch.setattr(filesystem_store, "init_shared_store", lambda *arguments: None)
    with pytest.raises(InvalidURL, match="file:"):
        open_store(url)


def test_a_relative_path_is_that_of_the_time_of_connecting(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may go elsewhere while it uses the store."""
    monkeypatch.chdir(tmp_path)
    with FileSystemStore("store") as store:
        monkeypatch.chdir("/")
        store.set("a", value())

    assert (path / "a.data").exists()


def test_a_transaction_for_which_there_is_no_room_leaves_nothing(
    store: FileSystemStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what was staged before the disk was full, nor the file of a long key."""
    write, append = file_commit._write_all, Log.append

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_at_third(fd: int, chunk: bytes) -> None:
        staged = os.listdir(path / ".antiphon" / "staged")
        (full if len(staged) > 2 else write)(fd, chunk)

    monkeypatch.setattr(file_commit, "_write_all", full_at_third)
    with pytest.raises(StoreFull), store.transaction("large ones"):
        for key in "abcd":
            store.set(key, value(bytes(100_000)))
    monkeypatch.setattr(file_commit, "_write_all", write)
    monkeypatch.setattr(Log, "append", full)
    with pytest.raises(StoreFull):
        store.set("L" * 200, value(bytes(100_000)))
    monkeypatch.setattr(Log, "append", append)

    assert [] == os.listdir(path / ".antiphon" / "staged")
    assert {".FSStore", ".antiphon"} == set(os.listdir(path))


def test_what_no_commit_can_have_taken_is_removed_at_once(
    store: FileSystemStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large value need not wait an hour because the lock was not free."""
    assert store._parts is not None
    monkeypatch.setattr(store._parts.lock, "timeout_s", 0.01)
    other = DirectoryLock(str(path / ".antiphon" / "lock"))
    with contextlib.closing(other), other.held(), pytest.raises(StoreUnavailable):
        store.set("a", value(bytes(10_000_000)))

    assert [] == os.listdir(path / ".antiphon" / "staged")


def test_on_a_network_disk_files_are_opened_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another machine wrote is promised only then, and what this one wrote once synced."""
    monkeypatch.setattr(file_medium, "is_on_network", lambda directory: True)
    with FileSystemStore(path) as store, FileSystemStore(path) as other:
        for number in range(6):
            writer, reader = (store, other) if number % 2 else (other, store)
            writer.set("a", value(str(number).encode()))
            if number == 3:
                begin_log(reader)
            # As if this machine had cached the old ones.
            for name in ("mark", f"log-{1 if number < 3 else 2}"):
                file = path / ".antiphon" / name
                copied = file.read_bytes()
                file.unlink()
                file.write_bytes(copied)
            reader.set("b", value(str(number).encode()))
            writer.set("c", value(b"x"))
            assert str(number).encode() == writer.to_bytes("b")
        assert 18 == len(journal_of(store)) == len(journal_of(other))


def test_a_local_disk_is_no_network_disk(path: Path) -> None:
    """As the system lists what is mounted."""
    assert not is_on_network("/dev/shm")
    assert is_on_network("/proc")


@pytest.mark.parametrize("whole", [True, False])
def test_a_checkpoint_syncs_what_the_log_is_about(
    path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """The file system in one call, or file by file where there is none."""
    synced: list[str] = []
    if not whole:
        monkeypatch.setattr(file_durability, "_sync_file_system", lambda directory: False)
        monkeypatch.setattr(file_durability, "sync", synced.append)
    with FileSystemStore(path) as store:
        store.set("a", value())
        store.set("gone", value())
        store.delete("gone")
        begin_log(store)
        store.set("b", value())
        begin_log(store)

    expected = ["a.data", "a.metadata", "b.data", "b.metadata", "gone.data", "gone.metadata"]
    assert ([] if whole else expected) == sorted(
        Path(name).name for name in synced if name != f"{path}/" and Path(name) != path
    )
    assert whole or synced.count(str(path)) == 2


def test_a_file_is_told_from_the_next_one(
    store: FileSystemStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same size and the same time, on a system whose clock is coarse."""
    real_write, real_open = file_commit.write_new, filesystem_store.open_data

    def write(file: str, new: bytes) -> Print | None:
        real_write(file, new)
        os.utime(file, ns=(10**18, 10**18))
        return print_of(file)

    def overtaken(file: str) -> int:
        fd = real_open(file)
        if not overtakes:
            overtakes.append(True)
            store.set("a", value(b"2", n=2))
        return fd

    overtakes: list[bool] = []
    monkeypatch.setattr(file_commit, "write_new", write)
    store.set("a", value(b"1", n=1))
    with FileSystemStore(path, durable=False) as other:
        monkeypatch.setattr(filesystem_store, "open_data", overtaken)

        assert (b"2", {"n": 2}) == content(other, "a")


@pytest.mark.parametrize("size", [100_000, 2 << 20])
def test_a_decided_commit_that_is_interrupted_keeps_its_data(
    store: FileSystemStore, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """What is staged for it is not given up: it may be decided already."""
    store.set("a", value(b"old", n=1))
    real = file_medium.Medium.append

    def interrupted(self: file_medium.Medium, steps: Any) -> int:
        real(self, steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(file_medium.Medium, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.set("a", value(b"x" * size, n=2))
    monkeypatch.undo()

    assert (b"x" * size, {"n": 2}) == content(store, "a")
    assert ["set", "update"] == [entry.action for entry in journal_of(store)]


def test_values_that_a_block_replaced_again_are_not_kept(
    store: FileSystemStore, path: Path
) -> None:
    """Nor those of keys that it deleted again."""
    with store.transaction("to and fro"):
        for key in "ab":
            store.set(key, value(b"1" * 100_000))
            store.set(key, value(b"2" * (2 << 20)))
            store.set(key, value(b"3" * 100_000))
        store.delete("b")

    assert {"a": (b"3" * 100_000, {})} == everything(store)
    assert [] == os.listdir(path / ".antiphon" / "staged")
