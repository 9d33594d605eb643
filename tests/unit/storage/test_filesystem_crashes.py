"""The file store under writers that die, or fail, at each single system call."""

from __future__ import annotations

import errno
import io
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filesystem_calls import count_calls, watched

from antiphon.errors import StoreError
from antiphon.events.api import EventManager
from antiphon.storage import file_medium
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.journal import JournalEntry
from antiphon.storage.string_value import StringValue
from antiphon.testing.store_tests.base import content, everything, journal_of

LARGE = bytes(range(256)) * 4097

Store = FileSystemStore
_numbers = itertools.count()

Change = Callable[[Store], object]
State = tuple[dict[str, Any], list[tuple[str | None, str]]]


def several(store: Store) -> None:
    """Change keys of every kind in one commit."""
    with store.transaction("several"):
        store.set("a", StringValue(b"new a", {"n": 2}))
        store.set_metadata("b", {"n": 2})
        store.delete("c")
        store.set("D" * 200, StringValue(LARGE, {"n": 2}))


CHANGES: dict[str, Change] = {
    "set": lambda store: store.set("a", StringValue(b"new", {"n": 2})),
    "new": lambda store: store.set("New Key", StringValue(b"new", {"n": 2})),
    "large": lambda store: store.set("a", StringValue(LARGE, {"n": 2})),
    "medium": lambda store: store.set("a", StringValue(LARGE[:100_000], {"n": 2})),
    "data": lambda store: store.set_data("b", io.BytesIO(b"new")),
    "metadata": lambda store: store.set_metadata("a", {"n": 2}),
    "delete": lambda store: store.delete("c"),
    "several": several,
    "checkpoint": lambda store: checkpoint(store),
}


def checkpoint(store: Store) -> None:
    """Make *store* begin a new generation of its log."""
    assert store._parts is not None
    with store._parts.medium.locked():
        store._parts.medium.checkpoint()


def settle(store: Store) -> None:
    """Let *store* finish what was decided, as whoever writes next does."""
    assert store._parts is not None
    medium = store._parts.medium
    with medium.locked():
        assert medium._open_log.size() == medium._offset


def after_a_reboot(path: Path) -> State:
    """Return the state that the next boot of the machine finds, tried on a copy."""
    copy = path.with_name("rebooted")
    shutil.copytree(path, copy)
    (copy / ".antiphon" / "boot").write_bytes(b"another")
    with connected(copy) as store:
        found = state(store)
    shutil.rmtree(copy)
    return found


def connected(path: Path, *, durable: bool = False) -> Store:
    """Return a connected store with an event manager of its own."""
    store = FileSystemStore(path, durable=durable)
    store.event_manager = EventManager()
    store.connect()
    return store


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing a file system waits for whatever else writes on this machine."""
    monkeypatch.setattr(file_medium, "sync_all", lambda layout, log, end: None)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in memory if there is one: hundreds of stores are made and synced here."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def seeded(folder: Path) -> Path:
    """A store with some keys."""
    path = folder / "seeded"
    init_shared_store(path)
    with connected(path) as store:
        for key in "abc":
            store.set(key, StringValue(f"old {key}".encode(), {"n": 1}))
    return path


@pytest.fixture
def fresh(seeded: Path) -> Callable[[], Path]:
    """Return a function that makes one more copy of that store."""

    def make() -> Path:
        path = seeded.with_name(f"store{next(_numbers)}")
        shutil.copytree(seeded, path)  # with its times
        return path

    return make


def state(store: Store) -> State:
    """Return what *store* holds, and what its journal says."""
    entries: list[JournalEntry] = journal_of(store)
    assert list(range(1, len(entries) + 1)) == [entry.version.sequence for entry in entries]
    assert not entries or entries[-1].last
    versions = {entry.key: entry.version for entry in entries if entry.action != "delete"}
    for key in store.query_keys():
        assert versions[key] == store.get(key).version
    return dict(everything(store)), [(entry.key, entry.action) for entry in entries]


def before_and_after(path: Path, other: Path, change: Change) -> tuple[State, State]:
    """Return the two states that there may be."""
    with connected(path) as store:
        before = state(store)
    with connected(other) as store:
        change(store)
        return before, state(store)


def die_at(path: Path, change: Change, number: int, *, torn: bool) -> bool:
    """Do *change* in a process that is killed at a system call; whether it got that far."""

    def act(at: int, name: str, arguments: tuple[Any, ...]) -> None:
        if at == number:
            if torn and name in ("write", "pwrite"):
                # Half of it is written.
                half = arguments[1][: len(arguments[1]) // 2]
                (WRITE if name == "write" else PWRITE)(arguments[0], half, *arguments[2:])
            os.kill(os.getpid(), signal.SIGKILL)

    store = connected(path, durable=True)
    child = os.fork()
    if child == 0:
        try:
            with watched(act):
                change(store)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    store.disconnect()
    return os.WIFSIGNALED(status)


WRITE, PWRITE = os.write, os.pwrite


@pytest.mark.parametrize("kind", CHANGES)
def test_a_writer_killed_at_any_call_leaves_old_or_new(
    kind: str, fresh: Callable[[], Path]
) -> None:
    """Trap 7: a change, its files and its journal entry are all there, or none of them."""
    change = CHANGES[kind]
    allowed = before_and_after(fresh(), fresh(), change)
    path = fresh()
    with connected(fresh(), durable=True) as store:
        calls = count_calls(lambda: change(store))
    seen = []
    for number in range(1, calls + 1):
        shutil.rmtree(path)
        path = fresh()
        with connected(path) as witness:
            assert die_at(path, change, number, torn=number % 2 == 0)
            rebooted = after_a_reboot(path)
            witness.exists("a")  # so that it has seen all before it writes
            settle(witness)
            found = state(witness)
            assert found == rebooted
            # Whoever lived through it goes on.
            witness.set("after", StringValue(b"x"))
            assert {**found[0], "after": (b"x", {})} == after_a_reboot(path)[0]
            witness.delete("after")
            assert found[0] == everything(witness)
        with connected(path) as store:
            assert found[0] == everything(store)
            assert found[0] in (allowed[0][0], allowed[1][0])
            assert found[1] == allowed[found[0] == allowed[1][0]][1]
        assert [] == os.listdir(path / ".antiphon" / "new")
        seen.append(found[0] == allowed[1][0])

    assert sorted(seen) == seen  # once it is decided, it stays


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_call_that_fails_leaves_old_or_new(
    kind: str, code: int, fresh: Callable[[], Path]
) -> None:
    """A full or broken disk at any call: a store's error, nothing half done, nothing left open."""
    change = CHANGES[kind]
    allowed = before_and_after(fresh(), fresh(), change)
    with connected(fresh(), durable=True) as store:
        calls = count_calls(lambda: change(store))
    for number in range(1, calls + 1):
        path = fresh()
        failed_at = ""

        def act(at: int, name: str, arguments: tuple[Any, ...], wanted: int = number) -> None:
            nonlocal failed_at
            if at == wanted and name != "close":
                failed_at = name
                raise OSError(code, os.strerror(code))

        with connected(path, durable=True) as store:
            error: Exception | None = None
            try:
                with watched(act):
                    change(store)
            except OSError as exc:  # StoreFull is one, and what a checkpoint raises
                error = exc
            except StoreError as exc:
                error = exc
            assert kind == "checkpoint" or isinstance(error, StoreError | None)
            settle(store)
            found = state(store)[0]
            if code == errno.ENOSPC and type(error).__name__ == "StoreFull":
                assert found == allowed[0][0], failed_at
            if error is None:
                assert found == allowed[1][0], failed_at
            assert found in (allowed[0][0], allowed[1][0])
            store.set("after", StringValue(b"x"))
            assert b"x" == content(store, "after")[0]
        with connected(path) as store:
            assert {**found, "after": (b"x", {})} == everything(store)
        shutil.rmtree(path)
