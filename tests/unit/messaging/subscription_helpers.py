"""What the tests of durable subscriptions share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest


class Heard:
    """A listener that keeps what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._moved = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._moved:
            self.events.append(event)
            self._moved.notify_all()

    def wait(self, count: int = 1, timeout_s: float = 10) -> list[Any]:
        """Return the events once there are *count*; fail if they do not come."""
        with self._moved:
            if not self._moved.wait_for(lambda: len(self.events) >= count, timeout_s):
                pytest.fail(f"heard {len(self.events)} of {count} events within {timeout_s} s")
            return list(self.events)


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait until *condition*; fail if it does not come to it."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come to it within {timeout_s} s")
        pause.wait(0.005)
