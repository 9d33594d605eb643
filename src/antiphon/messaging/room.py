"""Waiting for room, in the order of arrival."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Threads that do I/O for some bus, and must not wait for room in any: a finalizer may emit on
#: them at any point, and whoever makes the room may need them.
_io_threads: set[int] = set()


@contextmanager
def doing_io() -> Iterator[None]:
    """Let this thread never wait for room, while in it."""
    ident = threading.get_ident()
    _io_threads.add(ident)
    try:
        yield
    finally:
        _io_threads.discard(ident)


def may_wait() -> bool:
    """Return whether this thread may wait for room."""
    return threading.get_ident() not in _io_threads


class Waiter:
    """A thread that waits until its item is taken over; used under *lock* only.

    Each has a condition of its own, so that who lets one in wakes that one.
    Waiting gives the lock up, however often the thread holds it: it may have
    been interrupted, by a finalizer that emits, while it held it.
    """

    def __init__(self, lock: threading.RLock, item: Any) -> None:
        self.item = item
        self.is_over = False
        self._error: Exception | None = None
        self._woken = threading.Condition(lock)

    def wait(self, timeout_s: float) -> None:
        """Wait until it is over, or the time is; raise what ``refuse`` was told."""
        deadline = time.monotonic() + timeout_s
        while not self.is_over and (left := deadline - time.monotonic()) > 0:
            self._woken.wait(left)
        if self._error is not None:
            raise self._error

    def let_in(self) -> None:
        """Take note that the item was taken over."""
        self.is_over = True
        self._woken.notify()

    def refuse(self, error: Exception) -> None:
        """Take note that it will not be."""
        self._error = error
        self.is_over = True
        self._woken.notify()
