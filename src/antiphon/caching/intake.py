"""Decides who applies a change that was heard of, and when.

Whoever hears of a change applies it at once, on its own thread, if nothing is
under way.  What comes meanwhile waits, and is applied in one step afterwards.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeAlias

from antiphon.caching.applier import BATCH, Applier
from antiphon.caching.changes import Heard, Outcome
from antiphon.errors import StoreError
from antiphon.storage.forking import Forked

logger = logging.getLogger(__name__)

#: Changes that may wait; when there are more, the journal is read instead.
MAX_WAITING = 100_000

#: Seconds that a write in this process waits for its change to be applied to a
#: cache that is locked or away.
OWN_WAIT_S = 0.1

#: After a change was applied, those that follow within so many seconds, or
#: within twice the time that it took, are applied together by another thread.
#: 5 000 changes at once cost a cache in sqlite 6 us each so, one by one 96 us.
_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 5.0

#: A change, and what its writer waits for.
_Waiting: TypeAlias = tuple[Heard, threading.Event | None]


class Intake(Forked):
    """Changes on their way to a cache.  Thread-safe.

    Args:
        applier: of the cache.
        is_instant: whether the cache is in memory, where nothing ever waits.
        when_applied: called with each outcome, by whoever applied it.
        when_failed: called with a reason if changes could not be applied, so
            that the journal has to be read.
    """

    def __init__(
        self,
        applier: Applier,
        *,
        is_instant: bool,
        when_applied: Callable[[Outcome], None],
        when_failed: Callable[[str], None],
    ) -> None:
        self._applier = applier
        self._is_instant = is_instant
        self._when_applied = when_applied
        self._when_failed = when_failed
        self._waiting: deque[_Waiting] = deque()
        self._applying = threading.Lock()
        #: Until when changes are left to the worker.
        self._busy_until = float("-inf")
        self._is_failing = False
        self._bell: SimpleQueue[bool] = SimpleQueue()
        self._is_rung = self._is_stopped = False
        self._starting = threading.Lock()
        self._worker: threading.Thread | None = None
        self._renew_in_children("_applying", "_starting")

    def _forked(self) -> None:
        # What waited is the parent's; what is written here gets a worker of its own.
        self._waiting.clear()
        self._bell, self._is_rung, self._worker = SimpleQueue(), False, None

    def take(self, change: Heard, *, is_own: bool) -> None:
        """See that *change* is applied.

        Args:
            change: what was heard.
            is_own: whether this thread made it.  Then it is applied, or the
                cache is in doubt, when this returns: a process reads its own
                writes.
        """
        if self._is_stopped:
            return
        # An own one waits for no medium but memory: it might take seconds.
        is_ours = self._is_instant or (not is_own and time.monotonic() >= self._busy_until)
        if is_ours and not self._waiting and self._applying.acquire(blocking=False):
            self._apply([(change, None)])
            self._apply_waiting()
            return
        is_applied = threading.Event() if is_own else None
        if len(self._waiting) >= MAX_WAITING:
            self._give_up()
        self._waiting.append((change, is_applied))
        if is_ours or self._worker is threading.current_thread():
            self._apply_waiting()
        else:
            self._ring()
        if is_applied is not None and not is_applied.wait(OWN_WAIT_S):
            self._when_failed("it does not take in changes in time")

    def take_many(self, changes: Sequence[Heard], *, aside_s: float = 0.0) -> None:
        """Take *changes* of other processes, in one step, whatever the cache is in.

        Args:
            changes: what was heard.
            aside_s: seconds for which this thread sleeps when they are applied, before
                anybody is told: readers that wait for them go first.
        """
        if self._is_stopped:
            return
        taken: list[_Waiting] = [(change, None) for change in changes]
        if not self._waiting and self._applying.acquire(blocking=False):
            self._apply(taken, aside_s)
        else:
            self._waiting.extend(taken)
        self._apply_waiting()

    def _give_up(self) -> None:
        # In doubt before the writers among them are let go.
        self._when_failed(f"more than {MAX_WAITING} changes wait for it")
        _let_go(self._next(MAX_WAITING))

    # -- Applying ------------------------------------------------------------

    def _apply_waiting(self) -> None:
        """Apply what waits, unless another thread is at it, which then goes on with this."""
        # Asked again after each release: what came before it was left to us.
        while self._waiting and self._applying.acquire(blocking=False):
            self._apply(self._next(BATCH))

    def _next(self, most: int) -> list[_Waiting]:
        taken: list[_Waiting] = []
        with contextlib.suppress(IndexError):
            while len(taken) < most:
                taken.append(self._waiting.popleft())
        return taken

    def _apply(self, taken: list[_Waiting], aside_s: float = 0.0) -> None:
        """Apply what was *taken*, and let others apply again; this thread may, now."""
        began = time.monotonic()
        try:
            outcome = self._outcome([change for change, _ in taken])
        finally:
            ended = time.monotonic()
            pause = min(max(_FIRST_PAUSE_S, 2 * (ended - began)), _LONGEST_PAUSE_S)
            self._busy_until = ended + pause
            self._applying.release()
            _let_go(taken)
        if outcome is not None:
            if aside_s:
                time.sleep(aside_s)
            self._when_applied(outcome)

    def _outcome(self, changes: list[Heard]) -> Outcome | None:
        try:
            outcome = self._applier.apply_many(changes)
        except Exception as exc:  # also of a medium of somebody else's
            # The cache's own medium failed: nothing in it can be relied on.
            if not self._is_failing:
                is_known = isinstance(exc, StoreError)
                logger.warning("cannot drop from the cache: %s", exc, exc_info=not is_known)
            self._is_failing = True
            self._when_failed(f"it cannot be written: {exc}")
            return None
        self._is_failing = False
        return outcome

    # -- The worker ----------------------------------------------------------

    def start(self) -> None:
        """Take in changes again after ``stop``."""
        self._is_stopped = False

    def _ring(self) -> None:
        if self._worker is None:
            self._start_worker()
        if not self._is_rung:
            self._is_rung = True
            self._bell.put(True)

    def _start_worker(self) -> None:
        with self._starting:
            if self._worker is None and not self._is_stopped:
                self._worker = threading.Thread(
                    target=self._work, name="antiphon-cache-intake", daemon=True
                )
                self._worker.start()

    def _work(self) -> None:
        while self._bell.get():
            # Before what waits is looked at: what comes after rings again.
            self._is_rung = False
            try:
                self._apply_waiting()
            except Exception:  # of whoever is told; the worker must outlive it
                logger.exception("what was applied to the cache could not be told")

    def stop(self, timeout_s: float) -> None:
        """End the worker; what waits is left to the next reading of the journal."""
        with self._starting:
            self._is_stopped = True
            worker, self._worker = self._worker, None
        _let_go(self._next(MAX_WAITING))
        if worker is None:
            return
        self._bell.put(False)
        if worker is not threading.current_thread():
            worker.join(timeout_s)


def _let_go(taken: list[_Waiting]) -> None:
    for _, is_applied in taken:
        if is_applied is not None:
            is_applied.set()
