"""Waiting for room, in the order of arrival."""

from __future__ import annotations

import threading
import time
from typing import Any


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
