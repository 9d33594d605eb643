"""The file store among files that are none, and in directories that go away."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from antiphon.errors import IncompatibleStore, StoreError, StoreUnavailable
from antiphon.storage import file_medium, file_rescan
from antiphon.storage.file_log import Log
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything

NO_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "directory": os.mkdir,
    "dangling link": lambda path: os.symlink("/nowhere", path),
    "circular link": lambda path: os.symlink(path.name, path),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that is a store."""
    init_shared_store(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[FileSystemStore]:
    """A store with one key, connected."""
    with FileSystemStore(path) as store:
        store.set("other", StringValue(b"other", {"n": 1}))
        yield store


# -- What is no file -------------------------------------------------------------


@pytest.mark.parametrize("end", ["data", "metadata"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_not_waited_for(
    path: Path, store: FileSystemStore, kind: str, end: str
) -> None:
    """Neither by reading, nor by ``rescan()``, nor by who connects; it is taken for missing."""
    store.set("key", StringValue(b"data", {"n": 2}))
    (path / f"key.{end}").unlink()
    NO_FILES[kind](path / f"key.{end}")

    store.rescan()
    expected = {"other": (b"other", {"n": 1})}
    if end == "data":
        expected["key"] = (b"", {"n": 2})
        assert expected["key"] == content(store, "key")

    assert expected == everything(store)
    shutil.rmtree(path / ".antiphon")
    with FileSystemStore(path) as again:
        assert expected == everything(again)


@pytest.mark.parametrize("end", ["data", "metadata"])
def test_a_directory_in_the_way_of_a_new_key(path: Path, store: FileSystemStore, end: str) -> None:
    """As keys below ``a.data/`` in Encore make it: the new key gets another name."""
    (path / f"a.{end}").mkdir()
    store.set("a", StringValue(b"a", {"n": 2}))
    store.set("other", StringValue(b"new"))

    expected = {"a": (b"a", {"n": 2}), "other": (b"new", {})}
    assert expected == everything(store)
    shutil.rmtree(path / ".antiphon")
    with FileSystemStore(path) as again:
        assert expected == everything(again)


@pytest.mark.parametrize("end", ["data", "metadata"])
def test_a_directory_in_place_of_a_file_stops_one_key_only(
    path: Path, store: FileSystemStore, end: str
) -> None:
    """The error names it, nothing is decided, and all other keys can be written."""
    store.set("key", StringValue(b"data"))
    obstacle = path / f"key.{end}"
    obstacle.unlink()
    obstacle.mkdir()

    for change in (lambda: store.set("key", StringValue(b"new")), lambda: store.delete("key")):
        with pytest.raises(StoreError, match=str(obstacle)):
            change()
    store.set("other", StringValue(b"new"))
    with FileSystemStore(path) as again:
        assert (b"new", {}) == content(again, "other")


def test_names_that_are_no_text_are_passed_over(path: Path, store: FileSystemStore) -> None:
    """Old disks have them; they harm no other key."""
    for end in (b".data", b".metadata"):
        with open(os.path.join(os.fsencode(path), b"\xff\xfe" + end), "wb") as stream:
            stream.write(b"{}")

    assert 0 == store.rescan()
    assert ["other"] == list(store.query_keys())


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": {"!uuid": 5}}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"a": 36893488147419103232}',
        b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_metadata_that_no_store_takes_are_not_taken_from_a_file(
    path: Path, store: FileSystemStore, text: bytes
) -> None:
    """Such as half a character, or a number of 65 bits; unless they are just odd names."""
    (path / "key.data").write_bytes(b"data")
    (path / "key.metadata").write_bytes(text)

    assert 1 == store.rescan()
    if b"uuid" in text:
        assert json.loads(text) == store.get_metadata("key")
    else:
        with pytest.raises(IncompatibleStore, match="cannot be read"):
            store.get_metadata("key")


def test_a_directory_that_cannot_be_read_keeps_its_keys(
    path: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``lost+found`` stops nobody; and no key is taken for deleted that cannot be seen."""
    for name in ("below", "lost+found"):
        (path / name).mkdir()
        (path / name / "key.data").write_bytes(b"data")
        (path / name / "key.metadata").write_bytes(b"{}")
    assert 2 == store.rescan()
    listed = file_rescan._listed

    def refuse(root: str, below: str) -> object:
        if below == "below/":
            raise PermissionError(13, "Permission denied")
        return listed(root, below)

    monkeypatch.setattr(file_rescan, "_listed", refuse)
    shutil.rmtree(path / "lost+found")

    assert 1 == store.rescan()
    assert {"other", "below/key"} == set(store.query_keys())


def test_directories_may_be_nested_deeply(path: Path, store: FileSystemStore) -> None:
    """More so than Python's functions may."""
    names = ["d"] * 1100
    here = os.open(path, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        assert 0 == store.rescan()
    finally:
        # pytest and shutil remove no such tree.
        deepest = os.path.join(path, *names)
        os.removedirs(deepest)


# -- A directory that goes ---------------------------------------------------------


def test_a_store_whose_directory_was_replaced_writes_nothing(
    path: Path, store: FileSystemStore
) -> None:
    """What it would write there, the log of that directory would not know."""
    shutil.copytree(path, path.with_name("copy"))
    path.rename(path.with_name("old"))
    path.with_name("copy").rename(path)

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.set("other", StringValue(b"lost"))
    with FileSystemStore(path) as again:
        assert (b"other", {"n": 1}) == content(again, "other")
    store.disconnect()
    store.connect()
    store.set("other", StringValue(b"new"))
    assert b"new" == (path / "other.data").read_bytes()


def test_a_store_whose_directory_was_removed_says_so(path: Path, store: FileSystemStore) -> None:
    """When it is read as well as when it is written."""
    shutil.rmtree(path)

    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.set("other", StringValue(b"lost"))
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        store.get("other")


def test_two_never_hold_locks_of_different_files(path: Path, store: FileSystemStore) -> None:
    """Whoever has a lock file that was removed has to connect again."""
    (path / ".antiphon" / "lock").unlink()
    with FileSystemStore(path) as later:
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            store.set("other", StringValue(b"both at once"))
        later.set("other", StringValue(b"new"))

        assert (b"new", {}) == content(later, "other")


def test_disconnecting_waits_for_the_thread_that_writes(
    path: Path, store: FileSystemStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A descriptor that is closed may be another file's, which the log would be written into."""
    append = Log.append
    other = threading.Thread(target=store.disconnect)
    appended_to_closed = []

    def slow(log: Log, *args: object, **options: object) -> int:
        monkeypatch.undo()
        other.start()
        while store.is_connected():
            pass
        other.join(timeout=0.05)
        assert store._parts is None
        try:
            os.fstat(log._fd)
        except OSError:
            appended_to_closed.append(log.path)
        return append(log, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Log, "append", slow)
    store.set("other", StringValue(b"new"))
    other.join()

    assert [] == appended_to_closed
    store.connect()
    assert (b"new", {}) == content(store, "other")


def test_on_a_network_disk_the_log_is_synced_before_the_mark(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if commits need not survive a power cut: other machines would miss what it is about."""
    monkeypatch.setattr(file_medium, "is_on_network", lambda path: True)
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(fd))
    with FileSystemStore(path, durable=False) as store:
        store.set("a", StringValue(b"a"))

        assert 1 == len(synced)
