"""A cache in a forked child: nothing waits for threads of the parent, or counts on them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.caching.invalidator import CacheInvalidator
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.forking import _owners
from antiphon.storage.mounted_store import MountedStore

DEADLINE_S = 20.0


class Setting:
    """A cache in memory that an invalidator looks after."""

    def __init__(self) -> None:
        self.source = DictMemoryStore()
        self.source.connect()
        self.source.from_bytes("k", b"1")
        options: dict[str, Any] = {"freshness": "bounded(60)", "max_entries": 10}
        self.mounted = MountedStore("", DictMemoryStore(), self.source, fill=True, **options)
        self.mounted.connect()
        self.invalidator = CacheInvalidator(self.mounted).start()
        self.freshness = self.mounted.filling.freshness
        self.read(), self.read()

    def read(self) -> bytes:
        return self.mounted.get("k").data.read()


@pytest.fixture
def setting() -> Iterator[Setting]:
    made = Setting()
    yield made
    made.invalidator.stop()


def passes_in_child(check: Callable[[], None]) -> bool:
    """Return whether *check* comes to its end in a forked child, in time and without an error."""
    child = os.fork()
    if child == 0:
        try:
            check()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    ends_at = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends_at:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return status == 0
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@contextlib.contextmanager
def all_locks() -> Iterator[None]:
    """Hold the locks that other threads might hold while this one forks."""
    with contextlib.ExitStack() as held:
        for owner in list(_owners.values()):
            for name in owner._locks:
                held.enter_context(getattr(owner, name))
        yield


def test_no_lock_of_the_parent_is_waited_for(setting: Setting) -> None:
    """The child reads, fills, writes and pushes, whatever threads of the parent had in hand."""

    def use() -> None:
        assert setting.read() == b"1"
        setting.source.from_bytes("k", b"2")
        assert setting.read() == b"2"
        setting.mounted.from_bytes("k", b"3")
        setting.mounted.push("k")
        assert setting.read() == b"3"
        assert setting.mounted.freshness().is_fresh
        setting.invalidator.stop()

    with all_locks():
        assert passes_in_child(use)
    assert b"1" == setting.read()


def test_nobody_vouches_in_a_child(setting: Setting) -> None:
    """An invalidator is one of its process: of another one nothing is known here."""

    def look() -> None:
        assert not setting.freshness.vouched_here
        assert not setting.invalidator.is_trusted
        assert not setting.invalidator.is_alive()

    assert setting.freshness.vouched_here
    assert passes_in_child(look)
    assert setting.freshness.vouched_here
