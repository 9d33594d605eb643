"""The file store in several processes, in processes that are killed, and after power cuts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.storage import file_medium
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.journal import JournalEntry
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything, journal_of

WRITER = Path(__file__).with_name("filesystem_writer.py")

#: Times that a writer is killed; ANTIPHON_CHAOS=1 makes it many.
KILLS = 200 if os.environ.get("ANTIPHON_CHAOS") else 8


def start(task: str, path: Path, amount: int) -> subprocess.Popen[str]:
    """Start a process that works on the store at *path*."""
    command = [sys.executable, str(WRITER), task, str(path), str(amount)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    path = tmp_path / "store"
    init_shared_store(path)
    return path


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of this process begins anew after a few commits."""
    monkeypatch.setattr(file_medium, "CHECKPOINT_BYTES", 3000)
    monkeypatch.setattr(file_medium, "sync_all", lambda layout, log, end: None)


def opened(path: Path) -> FileSystemStore:
    """Return a store that keeps all of its journal."""
    return FileSystemStore(path, journal_length=100_000)


def check_journal(store: FileSystemStore, seen: list[JournalEntry]) -> None:
    """Check that the journal is whole, goes on from what was seen, and is what the store holds."""
    entries = journal_of(store)
    assert list(range(1, len(entries) + 1)) == [entry.version.sequence for entry in entries]
    assert seen == entries[: len(seen)]
    assert not entries or entries[-1].last
    assert all(entry.event_id is not None for entry in entries)
    newest = {entry.key: entry for entry in entries}
    present = {key for key, entry in newest.items() if entry.action != "delete"}
    assert present == set(store.query_keys())
    for key in present:
        assert key is not None
        data, metadata = content(store, key)
        assert newest[key].version == store.get(key).version
        assert metadata.get("size", 0) == len(data)
        assert len(set(data)) <= 1
        assert [key] == [k for k, _ in store.query(n=metadata["n"]) if k == key]
    # Three keys that are only ever changed together.
    assert len({store.get_metadata(key)["n"] for key in present if key and key[0] == "t"}) <= 1


def check_files(path: Path, store: FileSystemStore) -> None:
    """Check that the files are those of the keys, and nothing else is left."""
    ends = [name for name in os.listdir(path) if not name.startswith(".")]
    assert 2 * len(list(store.query_keys())) == len(ends)
    hidden = path / ".antiphon"
    assert [] == os.listdir(hidden / "new")
    assert 1 == len(list(hidden.glob("log-*")))
    assert len(list(hidden.glob("snapshot-*"))) <= 1


def test_a_killed_writer_leaves_store_and_journal_alike(path: Path) -> None:
    """Trap 7: kill -9 at any point leaves a change and its journal entry, or neither."""
    chance = random.Random(4711)
    seen: list[JournalEntry] = []
    with opened(path) as witness:
        for attempt in range(KILLS):
            with start("write", path, attempt) as writer:
                assert writer.stdout is not None
                for _ in range(chance.randrange(1, 40)):
                    writer.stdout.readline()
                writer.send_signal(signal.SIGKILL)
                writer.stdout.read()
            with opened(path) as store:
                check_journal(store, seen)
                check_files(path, store)
                seen = journal_of(store)
                assert everything(store) == everything(witness)
                assert seen == journal_of(witness)

    assert len(seen) > KILLS


def test_a_confirmed_commit_survives_the_kill(path: Path) -> None:
    """What a process told of before it was killed is there."""
    with start("write", path, 1) as writer:
        assert writer.stdout is not None
        for _ in range(30):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.stdout.read()
    with opened(path) as store:
        numbers = {metadata["n"] for _, metadata in store.query()}
        commits = sum(entry.last for entry in journal_of(store))

    assert last >= 29
    assert commits >= last
    assert max(numbers) >= last - 10


def test_writers_in_several_processes_lose_nothing(path: Path) -> None:
    """Conditional writes of many: each addition counts once."""
    with opened(path) as store:
        store.set_metadata("counter", {"n": 0})
        writers = [start("count", path, 60) for _ in range(3)]
        for writer in writers:
            assert 0 == writer.wait(60)
            assert writer.stdout is not None
            writer.stdout.close()

        assert {"n": 180} == store.get_metadata("counter")
        assert 181 == len(journal_of(store))


@pytest.mark.usefixtures("short_log")
def test_readers_see_data_and_metadata_of_one_version(path: Path) -> None:
    """However quickly a key is replaced, in whatever generation of the log."""
    init_shared_store(path)
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        with opened(path) as store:
            while not stop.is_set():
                found = store.get("a")
                with found.data as stream:
                    data = stream.read()
                if (len(data), data[:1]) != (found.metadata["size"], found.metadata["first"]):
                    wrong.append(found.metadata)

    with FileSystemStore(path, durable=False) as store:
        store.set("a", StringValue(b"x", {"size": 1, "first": b"x"}))
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(400):
            first, size = bytes([number % 256]), (1, 1500, 70_000)[number % 3]
            store.set("a", StringValue(first * size, {"size": size, "first": first}))
        stop.set()
        for reader in readers:
            reader.join()

    assert [] == wrong


# -- Power cuts ----------------------------------------------------------------


@pytest.fixture
def cut(path: Path) -> Iterator[FileSystemStore]:
    """A store with changes of every kind that no checkpoint has synced."""
    with opened(path) as store:
        store.set("old", StringValue(b"old", {"n": 0}))
        assert store._parts is not None
        with store._parts.medium.locked():
            store._parts.medium.checkpoint()
        store.set("a", StringValue(b"first", {"n": 1}))
        store.set("a", StringValue(b"second", {"n": 2}))
        store.set("b", StringValue(b"b", {"n": 1}))
        store.set_metadata("b", {"n": 2})
        store.set("Large", StringValue(b"L" * 100_000, {"n": 3}))
        store.set("gone", StringValue(b"gone", {"n": 4}))
        store.delete("gone")
        yield store


def reboot(path: Path) -> None:
    """Make the next connect believe that the machine was started anew."""
    (path / ".antiphon" / "boot").write_bytes(b"another")


def spoil(path: Path) -> None:
    """Do to what was not synced what a power cut may do."""
    for file in path.iterdir():
        if file.suffix in (".data", ".metadata") and file.stem not in ("old", "%4Carge"):
            times = file.stat()
            file.write_bytes(b"")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (path / "b.metadata").unlink()
    # A large value is synced before its commit, but its name may be the old one.
    os.rename(path / "%4Carge.data", path / ".antiphon" / "staged" / staged_token(path))
    (path / "gone.data").write_bytes(b"gone")
    (path / "gone.metadata").write_bytes(b'{"n":4}')


def staged_token(path: Path) -> str:
    """Return the token of the large value, from the log."""
    with opened(path) as store:
        assert store._parts is not None
        log = store._parts.medium._open_log
        steps = [
            step
            for found in log.records(file_medium.LOG_START)
            if found.kind == file_medium.Kind.COMMIT
            for step in file_medium.unpack(found.body)
        ]
    return next(step.data.decode() for step in steps if step.key == "Large")


@pytest.mark.parametrize("mark", [None, b"", b"x" * 20])
def test_a_power_cut_takes_nothing_that_was_confirmed(
    cut: FileSystemStore, path: Path, mark: bytes | None
) -> None:
    """Files that were not on the disk yet are made anew from the log."""
    expected, journal = dict(everything(cut)), journal_of(cut)
    cut.disconnect()
    spoil(path)
    reboot(path)
    if mark is not None:
        (path / ".antiphon" / "mark").write_bytes(mark)
    with opened(path) as store:
        assert expected == everything(store)
        assert journal == journal_of(store)
    assert b"second" == (path / "a.data").read_bytes()
    assert not (path / "gone.metadata").exists()


def test_what_people_changed_after_the_commit_is_kept_through_a_reboot(
    cut: FileSystemStore, path: Path
) -> None:
    """A file that is much younger than its commit is no damage of a power cut."""
    cut.disconnect()
    (path / "a.data").write_bytes(b"by hand")
    later = (path / "a.data").stat().st_mtime_ns + 60 * 10**9
    os.utime(path / "a.data", ns=(later, later))
    reboot(path)
    with opened(path) as store:
        assert b"by hand" == content(store, "a")[0]


def test_a_lost_mark_is_found_again_by_whoever_writes_next(
    cut: FileSystemStore, path: Path
) -> None:
    """Without a reboot too, and while the store is in use."""
    expected = dict(everything(cut))
    (path / ".antiphon" / "mark").write_bytes(b"")
    cut.set("new", StringValue(b"new"))

    assert {**expected, "new": (b"new", {})} == everything(cut)


def test_a_log_that_lost_its_end_is_another_history(cut: FileSystemStore, path: Path) -> None:
    """Without durability a power cut may take the last commits; positions in them are lost."""
    cut.disconnect()
    log = next((path / ".antiphon").glob("log-*"))
    os.truncate(log, log.stat().st_size - 10)
    reboot(path)
    with opened(path) as store:
        assert store.exists("gone")
        store.set("other", StringValue(b"x"))
        entries = journal_of(store)

    assert list(range(1, len(entries) + 1)) == [entry.version.sequence for entry in entries]
