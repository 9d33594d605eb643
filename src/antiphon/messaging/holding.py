"""Holding events back that are known to come together, so that few messages carry them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from antiphon.messaging.batching import BufferPolicy

#: Events and bytes of events that a message of a bulk holds at most: 1 000 000 changes are to
#: take no more than 2 000 messages, of which some are not full (benchmarks/caches/bulk.py).
BULK_EVENTS, BULK_BYTES = 1000, 256 * 1024

#: Seconds for which events are held back at most, for slow listeners of this process may be
#: called between two.
MAX_HELD_S = 0.05

#: Seconds for which they are while one such listener is at work.
MAX_LISTENING_S = 0.2


class Hold:
    """What a buffer holds back: nothing that is older than the last step.

    Args:
        policy: of the buffer.
        appended: returns how many events were ever appended.
        wake: see ``OutgoingBuffer``.
    """

    def __init__(
        self, policy: BufferPolicy, appended: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        self._policy = policy
        self._bulk_policy = replace(
            policy,
            batch_events=max(policy.bulk_events, policy.batch_events),
            batch_bytes=max(policy.bulk_bytes, policy.batch_bytes),
        )
        self.step_events = self._bulk_policy.batch_events
        self._appended = appended
        self._wake = wake
        self._holders = 0
        self._ripe = 0  # while there are any: position up to which events may be taken
        self._bulk_until = 0  # position up to which what waits came together
        self._lock = threading.RLock()  # reentrant: a finalizer may emit at any point

    # -- For whoever emits -----------------------------------------------------

    def begin(self) -> None:
        """Hold back what is appended from now on, until ``step`` or ``end``."""
        with self._lock:
            self._ripe = max(self._ripe, self._appended())
            self._holders += 1

    def step(self) -> None:
        """Let out what was held back so far, and go on."""
        if self._holders:
            with self._lock:
                self._ripe = self._bulk_until = self._appended()
            self._wake()

    def end(self) -> None:
        """Let out what was held back, unless another thread holds back, too."""
        self.step()
        with self._lock:
            self._holders -= 1
        self._wake()

    # -- For the buffer --------------------------------------------------------

    @property
    def is_on(self) -> bool:
        """Whether something may be held back; whoever does so wakes the taker."""
        return self._holders > 0

    def ready(self, position: int, waiting: int) -> int:
        """Return how many of *waiting* events, which begin at *position*, may be taken."""
        return min(waiting, max(0, self._ripe - position)) if self._holders else waiting

    def policy_at(self, position: int) -> tuple[BufferPolicy, bool]:
        """Return how what waits from *position* on is joined, and whether it came together."""
        is_bulk = position < self._bulk_until
        return (self._bulk_policy if is_bulk else self._policy), is_bulk


class Gathering:
    """A block in which one thread emits many events that go out in few messages.

    Args:
        hold: of the buffer.
    """

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._left = hold.step_events
        self._until = time.monotonic() + MAX_HELD_S
        self._is_over = threading.Event()
        self._watch = threading.Thread(target=self._let_out, name="antiphon hold", daemon=True)

    def __enter__(self) -> Self:
        self._hold.begin()
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._hold.end()
        self._watch.join()

    def _let_out(self) -> None:
        # A listener between two events may wait for what another process makes of the first.
        while not self._is_over.wait(MAX_LISTENING_S):
            self._hold.step()

    def emitted(self) -> None:
        """Count an event; now and then let out what was held back."""
        self._left -= 1
        if self._left <= 0 or time.monotonic() > self._until:
            self._hold.step()
            self._left = self._hold.step_events
            self._until = time.monotonic() + MAX_HELD_S
