"""What the tests of buses on real brokers share."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon import BaseEvent, BrokerEventManager

#: Seconds within which everything must work again once the broker is back.
BACK_WITHIN_S = 10.0

#: Seconds that an impatient broker waits for an acknowledgement; half an hour otherwise.
PATIENCE_S = 2.0


class Numbered(BaseEvent):
    """An event with a number; ``thread`` tells series apart."""

    wire_name = "test:Numbered"


class Heard:
    """A listener that keeps what it hears, and can be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._moved = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._moved:
            self.events.append(event)
            self._moved.notify_all()

    @property
    def numbers(self) -> list[Any]:
        return [event.number for event in self.events]

    def wait(self, count: int = 1, timeout_s: float = 30) -> list[Any]:
        """Return the events once there are *count*; fail if they do not come."""
        with self._moved:
            if not self._moved.wait_for(lambda: len(self.events) >= count, timeout_s):
                pytest.fail(f"heard {len(self.events)} of {count} events within {timeout_s} s")
            return list(self.events)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> float:
    """Wait until *condition*, and return how many seconds that took; fail with *what*."""
    began = time.monotonic()
    pause = threading.Event()
    while not condition():
        if time.monotonic() - began > timeout_s:
            pytest.fail(f"not within {timeout_s} s: {what}")
        pause.wait(0.01)
    return time.monotonic() - began


def events_flow(
    sender: BrokerEventManager, receiver: BrokerEventManager, timeout_s: float
) -> float:
    """Emit until the receiver hears one, and return the seconds that took."""
    heard = Heard()
    receiver.connect(Numbered, heard, filter={"number": "probe"})

    def probe() -> bool:
        sender.emit(Numbered(number="probe"))
        return bool(heard.events)

    try:
        return wait_until(probe, "an event arrives", timeout_s)
    finally:
        receiver.disconnect(Numbered, heard)


@contextlib.contextmanager
def python(
    source: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run *source* in a process of its own, with pipes; it is killed at the end.

    *prefix* stands before the command: ``("ip", "netns", "exec", name)``, say.
    """
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", source, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    alarm = threading.Timer(100, process.kill)
    alarm.start()
    try:
        yield process
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()
