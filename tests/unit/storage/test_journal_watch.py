"""Waiting for commits of other processes: seen soon, and at next to no cost."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.journal_watch import JournalWatch, Pauses
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue

_LONG_S = 20.0


@pytest.fixture(params=["sqlite", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Any]:
    """Return what makes one more store on the same medium."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / "store.db", durable=False)
    init_shared_store(tmp_path / "store")
    return lambda: FileSystemStore(tmp_path / "store", durable=False)


def _write(make: Callable[[], Any]) -> None:
    with make() as store:
        store.set("theirs", StringValue(b"data"))


def test_another_process_is_heard(make: Callable[[], Any]) -> None:
    """A commit by a process that knows nothing of who waits."""
    with make() as store:
        head = store.head()
        process = multiprocessing.get_context("fork").Process(target=_write, args=(make,))
        process.start()
        found = store.wait(head, _LONG_S)
        process.join(_LONG_S)

        assert found == store.head()
        assert 1 == found.sequence


def test_waiting_costs_next_to_nothing(make: Callable[[], Any]) -> None:
    """A second without a commit takes about a hundredth of a processor."""
    with make() as store:
        head = store.head()
        begun, used = time.monotonic(), time.thread_time()
        store.wait(head, 1.0)

        assert time.thread_time() - used < 0.03 * (time.monotonic() - begun)


def test_looks_become_seldom() -> None:
    """The pauses grow, but only up to the longest."""
    looks: list[float] = []
    head = DictMemoryStore().head()

    def look() -> Any:
        looks.append(time.monotonic())
        return head

    JournalWatch().wait(look, head, 0.5, Pauses(0.001, 0.02))
    pauses = [after - before for before, after in itertools.pairwise(looks)]

    assert len(looks) < 60
    assert pauses[0] < max(pauses)


def test_what_is_told_while_one_looks_is_not_missed() -> None:
    """A commit after the look and before the wait wakes all the same."""
    watch = JournalWatch()
    before = DictMemoryStore().head()
    after = before._replace(sequence=1, entry_id=b"x" * 8)
    found = [before, after]

    def look() -> Any:
        head = found.pop(0)
        watch.tell()
        return head

    begun = time.monotonic()

    assert after == watch.wait(look, before, _LONG_S, None)
    assert time.monotonic() - begun < _LONG_S / 2


def test_a_failed_look_leaves_nobody_waiting() -> None:
    """What the look raises is raised, and the watch is as before."""
    watch = JournalWatch()

    def fail() -> Any:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        watch.wait(fail, DictMemoryStore().head(), 1, None)
    assert 0 == watch.waiting


def test_a_forked_child_can_commit_and_wait() -> None:
    """Whoever waits in the parent, and holds the lock, is not in the child."""
    store = DictMemoryStore()
    head = store.head()
    waiter = threading.Thread(target=store.wait, args=(head, _LONG_S))
    waiter.start()
    deadline = time.monotonic() + _LONG_S
    while store._watch.waiting == 0:
        assert time.monotonic() < deadline
    with store._watch._changed:
        child = os.fork()
        if child == 0:
            store.set("a", StringValue(b""))
            os._exit(0 if store.wait(head, 1) == store.head() else 1)
    _, status = os.waitpid(child, 0)
    store.set("a", StringValue(b""))
    waiter.join(_LONG_S)

    assert 0 == status
    assert not waiter.is_alive()
