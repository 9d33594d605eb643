"""The file store for shared disks: its lock, what others changed, and writers that stall."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filesystem_calls import count_calls, watched

from antiphon.errors import (
    LockUnavailable,
    PositionLost,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.storage import file_durability, lock_files
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.file_lock import FileLock
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.string_value import StringValue

PATIENCE_S = 30.0

#: 100 kB: more than rides in the log.
LARGE = bytes(range(250)) * 400

Store = LockingFileSystemStore
MakeStore = Callable[..., Store]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The directory of a store."""
    init_shared_store(tmp_path / "store")
    return tmp_path / "store"


def opened(path: Path, force_lock_timeout: float = 10.0, **options: Any) -> Store:
    """Return a connected store with a manager of its own, that polls when told."""
    options = {"remote_event_poll_interval": 3600.0, "durable": False} | options
    store = LockingFileSystemStore(path, force_lock_timeout, **options)
    store.event_manager = EventManager()
    store.connect()
    return store


@pytest.fixture
def make_store(path: Path) -> Iterator[MakeStore]:
    """A function that opens one more store on the directory."""
    made: list[Store] = []

    def make(**options: Any) -> Store:
        made.append(opened(path, **options))
        return made[-1]

    yield make
    for store in made:
        store.disconnect()


def told(store: Store) -> list[StoreModificationEvent]:
    """Return the list that the store's events will go to."""
    events: list[StoreModificationEvent] = []
    store.event_manager.connect(StoreModificationEvent, events.append)
    return events


def polled(store: Store) -> int:
    """Let *store* look for what others did; return how many changes it told."""
    assert store._poller is not None
    return store._poller.poll()


# -- What Encore has ---------------------------------------------------------------


def test_the_constructor_is_encores(path: Path) -> None:
    """The same five arguments in the same order."""
    store = LockingFileSystemStore(path, 5.0, ".FSStore", 1.0, timedelta(seconds=2))

    assert "FSStore" not in repr(store)
    assert str(path) == store.info()["path"]


def test_modified_keys_since_a_time(make_store: MakeStore) -> None:
    """Oldest change first, each key once, deleted ones too; text and aware times as well."""
    store = make_store(max_time_delta=timedelta(0))
    store.set("before", StringValue(b"1"))
    since = datetime.now(UTC)
    for key in ("b", "a", "c", "b"):
        store.set(key, StringValue(b"1"))
    store.delete("c")
    naive = since.replace(tzinfo=None)

    assert ["a", "b", "c"] == store.get_modified_keys(since)
    assert ["a", "b", "c"] == store.get_modified_keys(naive)
    assert ["a", "b", "c"] == store.get_modified_keys(naive.strftime("%Y-%m-%d %H:%M:%S.%f"))
    assert [] == store.get_modified_keys(datetime.now(UTC))


def test_modified_keys_allow_for_clocks_that_differ(make_store: MakeStore) -> None:
    """``max_time_delta`` is taken off the time asked for."""
    store = make_store(max_time_delta=timedelta(minutes=1))
    store.set("a", StringValue(b"1"))

    assert ["a"] == store.get_modified_keys(datetime.now(UTC) + timedelta(seconds=30))
    assert [] == store.get_modified_keys(datetime.now(UTC) + timedelta(seconds=90))


def test_modified_keys_are_known_beyond_the_journal(make_store: MakeStore) -> None:
    """Keys know when they were changed, though the journal has forgotten."""
    store = make_store(journal_length=2)
    since = datetime.now(UTC)
    for key in "abcd":
        store.set(key, StringValue(b"1"))

    assert ["a", "b", "c", "d"] == store.get_modified_keys(since)


# -- What others change --------------------------------------------------------------

WRITE_ELSEWHERE = """
import sys
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.string_value import StringValue
with LockingFileSystemStore(sys.argv[1]) as store:
    store.set("a", StringValue(b"1", {"n": 1}))
    store.set_metadata("a", {"n": 2})
    store.set("b", StringValue(b"1"))
    store.delete("b")
"""


def test_changes_of_another_process_are_told(make_store: MakeStore, path: Path) -> None:
    """One event each, in order, with the event id of the process that made it."""
    store = make_store()
    events = told(store)
    before = store.head()
    subprocess.run([sys.executable, "-c", WRITE_ELSEWHERE, str(path)], check=True)

    assert 4 == polled(store)
    assert 0 == polled(store)
    assert ["StoreSetEvent", "StoreUpdateEvent", "StoreSetEvent", "StoreDeleteEvent"] == [
        type(event).__name__ for event in events
    ]
    assert ["a", "a", "b", "b"] == [event.key for event in events]
    assert {"n": 2} == events[1].metadata
    assert [entry.event_id for entry in store.since(before)] == [e._event_id for e in events]
    assert {store} == {event.source for event in events}


def test_own_changes_are_told_once(make_store: MakeStore) -> None:
    """By the commit; the poller does not repeat them."""
    store = make_store()
    events = told(store)
    store.set("a", StringValue(b"1"))

    assert 0 == polled(store)
    assert ["a"] == [event.key for event in events]


def test_stores_of_one_process_hear_of_each_other_once(make_store: MakeStore) -> None:
    """With one manager by the commit, with two by the poller."""
    first, second, apart = make_store(), make_store(), make_store()
    second.event_manager = first.event_manager
    together, alone = told(first), told(apart)
    second.set("a", StringValue(b"1"))

    assert [0, 0, 1] == [polled(store) for store in (first, second, apart)]
    assert ["a"] == [event.key for event in together]
    assert ["a"] == [event.key for event in alone]


def test_the_poller_looks_by_itself(make_store: MakeStore, path: Path) -> None:
    """Every so often, on a thread that ends with the connection."""
    store = make_store(remote_event_poll_interval=0.01)
    heard = threading.Event()

    def hear(event: object) -> None:
        heard.set()

    store.event_manager.connect(StoreModificationEvent, hear)
    make_store().set("a", StringValue(b"1"))

    assert heard.wait(PATIENCE_S)
    assert store._poller is not None
    thread = store._poller._thread
    store.disconnect()
    assert not thread.is_alive()


def test_the_poller_survives_a_manager_that_fails(
    make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """What it raises is logged, and the changes are told at the next look."""
    store = make_store(remote_event_poll_interval=0.01)
    heard = threading.Event()
    real = store.event_manager.emit
    failures = iter([ValueError("not now")])

    def emit(event: Any, block: bool = True) -> Any:
        for failure in failures:
            raise failure
        heard.set()
        return real(event, block)

    store.event_manager.emit = emit  # type: ignore[method-assign]
    make_store().set("a", StringValue(b"1"))

    assert heard.wait(PATIENCE_S)
    assert "changes by others could not be told" in caplog.text


def test_a_listener_may_disconnect_the_store(make_store: MakeStore) -> None:
    """Although it is called by the poller that disconnecting stops."""
    store = make_store(remote_event_poll_interval=0.01)
    gone = threading.Event()

    def leave(event: object) -> None:
        store.disconnect()
        gone.set()

    store.event_manager.connect(StoreModificationEvent, leave)
    make_store().set("a", StringValue(b"1"))

    assert gone.wait(PATIENCE_S)


def test_a_store_that_polls_never_has_no_thread(make_store: MakeStore) -> None:
    """For programs that have a bus, and hear of everything through it."""
    assert make_store(remote_event_poll_interval=0)._poller is None


def test_a_poller_that_comes_late_tells_what_it_can(
    make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """When the journal has forgotten, keys that changed are told, and the log says the rest."""
    store = make_store(journal_length=2)
    events = told(store)
    other = make_store(journal_length=2)
    for key in "abcde":
        other.set(key, StringValue(b"1"))
    other.delete("b")

    assert 4 == polled(store)
    assert ["a", "c", "d", "e"] == [event.key for event in events]
    assert "keys that others deleted meanwhile are not told" in caplog.text
    other.set("f", StringValue(b"1"))
    assert 1 == polled(store)


# -- The lock ------------------------------------------------------------------------


def test_a_file_system_store_can_read_and_is_kept_from_writing(
    make_store: MakeStore, path: Path
) -> None:
    """Its lock is another one; both would write at once."""
    with FileSystemStore(path, timeout_s=0.05) as plain:
        plain.set("a", StringValue(b"1"))
        store = make_store()
        with pytest.raises(StoreUnavailable, match="has held the lock"):
            plain.set("a", StringValue(b"2"))
        store.set("a", StringValue(b"3"))

        assert b"3" == plain.get_data("a").read()
        store.disconnect()
        plain.set("a", StringValue(b"4"))
        assert b"4" == plain.get_data("a").read()


def test_a_lock_that_is_not_free_is_said(make_store: MakeStore, path: Path) -> None:
    """After the time that the store waits, and nothing is written."""
    store = make_store(timeout_s=0.05)
    with (
        FileLock("lock", path / ".antiphon"),
        pytest.raises(StoreUnavailable, match="another process has held the lock"),
    ):
        store.set("a", StringValue(b"1"))

    assert not store.exists("a")
    store.set("a", StringValue(b"2"))


# -- Writers that stall ------------------------------------------------------------------

Change = Callable[[Store], object]


def several(store: Store) -> None:
    """Change keys of every kind in one commit."""
    with store.transaction("several"):
        store.set("a", StringValue(b"child", {"by": "child"}))
        store.delete("c")
        store.set("D" * 200, StringValue(b"child", {"by": "child"}))


CHANGES: dict[str, Change] = {
    "large": lambda store: store.set("a", StringValue(b"child" + LARGE, {"by": "child"})),
    "several": several,
}

Content = dict[str, tuple[bytes, dict[str, Any]]]


def by_child(name: str, content: Content) -> Content:
    """Return what a change makes of *content*."""
    child = (b"child" + LARGE * (name == "large"), {"by": "child"})
    keys = ["a", "D" * 200] if name == "several" else ["a"]
    gone = ["c"] if name == "several" else []
    return {key: value for key, value in content.items() if key not in gone} | dict.fromkeys(
        keys, child
    )


#: What there is before anybody writes, and what the one writes who takes the lock by force.
OLD = {key: (b"old", {"by": "old"}) for key in ("a", "b", "c", "D" * 200)}
NEW = {key: (b"parent" + LARGE, {"by": "parent"}) for key in ("a", "c", "D" * 200, "e")}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the old keys."""
    path = tmp_path_factory.mktemp("seeded") / "store"
    init_shared_store(path)
    with opened(path) as store:
        for key, (data, metadata) in OLD.items():
            store.set(key, StringValue(data, metadata))
    return path


def everything(store: Store) -> Content:
    """Return all data and metadata."""
    values = {key: store.get(key) for key in store.query_keys()}
    return {key: (value.data.read(), value.metadata) for key, value in values.items()}


def stalled_at(path: Path, change: Change, number: int) -> int:
    """Return a process that stopped itself at a system call of *change*."""
    child = os.fork()
    if child:
        assert child == os.waitpid(child, os.WUNTRACED)[0]
        return child

    def act(at: int, name: str, arguments: tuple[Any, ...]) -> None:
        if at == number:
            os.kill(os.getpid(), signal.SIGSTOP)

    code = 9
    try:
        store = opened(path, remote_event_poll_interval=0)
        try:
            with watched(act):
                change(store)
            code = 0
        except StoreError:
            code = 1
        # Whatever it met, it knows the truth now.
        if everything(store) != everything(opened(path, remote_event_poll_interval=0)):
            code = 8
    finally:
        os._exit(code)


def calls_of(seeded: Path, tmp_path: Path, change: Change) -> int:
    """Return how many system calls *change* makes."""
    shutil.copytree(seeded, tmp_path / "counted")
    with opened(tmp_path / "counted") as store:
        return count_calls(lambda: change(store))


@pytest.mark.parametrize("name", CHANGES)
def test_a_writer_that_stalls_at_any_call_harms_nothing(
    seeded: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another takes its lock by force and writes; then the first one goes on.

    What the second one wrote stays, unless the first one's change comes after
    it as a whole; data and metadata belong together; all see the same.
    """
    # No power cut is meant here, and waiting for the disk of a busy machine takes long.
    monkeypatch.setattr(file_durability, "_sync_file_system", lambda path: True)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    change = CHANGES[name]
    forced = 0
    # Every other call, the even ones of the one change and the odd ones of the other: the
    # two have most of them in common, and each takes a process and three stores.
    first = 1 if name == "several" else 2
    for number in range(first, calls_of(seeded, tmp_path, change) + 1, 2):
        path = tmp_path / f"store{number}"
        shutil.copytree(seeded, path)
        child = stalled_at(path, change, number)
        with opened(path, 0.02) as store:
            before = store.head()
            with store.transaction("by force"):
                for key, (data, metadata) in NEW.items():
                    store.set(key, StringValue(data, metadata))
            is_forced = store.head().epoch > before.epoch or before.epoch > 1
            forced += is_forced
            versions = dict(store.versions())
            os.kill(child, signal.SIGCONT)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            where = f"{name} at call {number}: exit {code}"
            found = everything(store)

            assert code in (0, 1), where
            # If it had got no further than to the lock, it took that again, and all of it is last.
            possible = [OLD | NEW, by_child(name, OLD | NEW)] if code == 0 else [OLD | NEW]
            assert found in possible, where
            if code == 1:
                # Kept as they were committed, and not found again among the files.
                assert versions == dict(store.versions()), where
            with opened(path) as fresh:
                assert found == everything(fresh), where
            assert [] == [each for each in os.listdir(path / ".antiphon") if "fence" in each]
        shutil.rmtree(path)

    assert forced > 5


def test_a_lock_taken_by_force_begins_a_new_epoch(make_store: MakeStore, path: Path) -> None:
    """Positions from before lead nowhere, so whoever relied on them checks everything."""
    store = make_store(force_lock_timeout=0.02)
    store.set("a", StringValue(b"1"))
    before = store.head()
    stalled = FileLock("lock", path / ".antiphon")
    stalled.acquire()
    store.set("a", StringValue(b"2"))

    assert before.epoch + 1 == store.head().epoch
    with pytest.raises(PositionLost):
        store.since(before)
    assert b"2" == store.get_data("a").read()
    store.set("a", StringValue(b"3"))
    assert before.epoch + 1 == store.head().epoch


def test_whoever_gets_a_forced_lock_begins_the_epoch(make_store: MakeStore, path: Path) -> None:
    """The note of who forced it is found by any next holder, and by one who connects."""
    store, other = make_store(), make_store()
    store.set("a", StringValue(b"1"))
    note = path / ".antiphon" / "lock.forced"
    note.touch()
    with pytest.raises(StoreError):
        other.update_metadata("missing", {})

    assert (2, False) == (store.head().epoch, note.exists())
    note.touch()
    assert 3 == make_store().head().epoch
    assert not note.exists()


def test_the_lock_of_a_killed_writer_is_taken_at_once(make_store: MakeStore, path: Path) -> None:
    """Without force and without a new epoch: a dead process writes no more."""
    store = make_store(force_lock_timeout=0, timeout_s=PATIENCE_S)
    child = os.fork()
    if child == 0:
        FileLock("lock", path / ".antiphon").acquire()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    store.set("a", StringValue(b"1"))

    assert time.monotonic() - began < PATIENCE_S / 3
    assert 1 == store.head().epoch


MANY_WRITES = """
import sys
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.string_value import StringValue
with LockingFileSystemStore(sys.argv[1], durable=False) as store:
    for number in range(40):
        name = f"{sys.argv[2]}.{number}"
        store.set("shared", StringValue(name.encode(), {"by": name}))
        store.set(name, StringValue(b"", {"by": name}))
"""


def test_many_processes_write_at_once(make_store: MakeStore, path: Path) -> None:
    """Nothing is lost or mixed, and every commit is in the journal once."""
    store = make_store()
    argv = [sys.executable, "-c", MANY_WRITES, str(path)]
    processes = [subprocess.Popen([*argv, str(number)]) for number in range(4)]
    for process in processes:
        assert 0 == process.wait(PATIENCE_S)
    value = store.get("shared")

    assert value.metadata["by"].encode() == value.data.read()
    assert 1 + 4 * 40 == len(list(store.query_keys()))
    assert 4 * 80 == store.head().sequence


# -- A machine at its limits -------------------------------------------------------


@pytest.mark.parametrize("call", ["acquired", "release"])
def test_a_lock_that_could_not_be_given_back_is_given_back_later(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """For want of descriptors: before it is taken again, and not by force."""
    store = make_store(force_lock_timeout=0)
    original = getattr(FileLock, call)

    def fail(lock: FileLock) -> None:
        setattr(FileLock, call, original)
        text = "Too many open files"
        raise (OSError if call == "acquired" else LockUnavailable)(errno.EMFILE, text)

    monkeypatch.setattr(FileLock, call, fail)
    with contextlib.suppress(StoreUnavailable):
        store.set("a", StringValue(b"first"))
    head = store.head()
    store.set("a", StringValue(b"second"))

    assert b"second" == store.to_bytes("a")
    assert head.epoch == store.head().epoch
    make_store().set("b", StringValue(b"of another"))


def test_no_room_for_the_lock_is_a_full_store(
    make_store: MakeStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was staged before is not left on the full disk."""
    store = make_store()

    def full(path: str, data: bytes, aside_dir: str) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock_files, "make", full)
    with pytest.raises(StoreFull):
        store.set("a", StringValue(LARGE))

    assert [] == os.listdir(path / ".antiphon" / "staged")


def test_a_lock_that_cannot_be_looked_at_is_the_stores_error(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written without knowing whether it is held."""
    store = make_store()
    look = lock_files.look

    def fail(name: str) -> lock_files.Instance | None:
        if store._shared_lock is not None and store._shared_lock._holding is not None:
            raise OSError(errno.EMFILE, "Too many open files")
        return look(name)

    monkeypatch.setattr(lock_files, "look", fail)
    with pytest.raises(StoreUnavailable, match="cannot see who has the lock"):
        store.set("a", StringValue(b"1"))
    monkeypatch.setattr(lock_files, "look", look)

    assert not store.exists("a")
