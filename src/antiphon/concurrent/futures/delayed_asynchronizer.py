"""An asynchronizer that leaves a pause after each operation."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

from antiphon.concurrent.futures.abc_work_scheduler import AnyFuture
from antiphon.concurrent.futures.asynchronizer import Asynchronizer

logger = logging.getLogger(__name__)


class Timer(Protocol):
    """What a timer factory returns: ``threading.Timer`` is one."""

    def start(self) -> Any:
        """Begin to wait; call the callback when the interval is over."""

    def cancel(self) -> Any:
        """Do not call the callback any more."""


class DelayedAsynchronizer(Asynchronizer):
    """Runs one operation at a time, with a pause after each.

    The first submission runs at once.  While an operation runs, and in the
    pause after it, only the newest submission is kept; it runs when the pause
    is over.  ``wait()`` waits for the last pause too.  ``shutdown()`` ends the
    pause, so that what is pending runs at once and is not lost.
    """

    _logger = logger

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        interval: float,
        name: str | None = None,
        callback: Callable[[AnyFuture], object] | None = None,
        timer_factory: Callable[[float, Callable[[], None]], Timer] | None = None,
    ) -> None:
        """Prepare a scheduler.

        Args:
            executor, name, callback: see ``ABCWorkScheduler``.
            interval: seconds between the end of an operation and the next start.
            timer_factory: called with the interval and a callback; returns what
                has ``start()`` and ``cancel()``.  None for ``threading.Timer``.
        """
        super().__init__(executor, name=name, callback=callback)
        self._interval = interval
        self._timer_factory = threading.Timer if timer_factory is None else timer_factory
        self._timer: Timer | None = None

    def _operation_completion_callback(self, future: AnyFuture) -> None:
        self._report(future)
        with self._state_lock:
            pausing = not self._shutdown and self._pause()
        if not pausing:
            self._schedule_new()

    def _pause(self) -> bool:
        try:
            self._timer = self._timer_factory(self._interval, self._timer_callback)
            self._timer.start()
        except Exception:  # of users' code; the next operation may not wait for ever
            logger.exception("no pause in %s: its timer failed", self.name)
            self._timer = None
        return self._timer is not None

    def _timer_callback(self) -> None:
        with self._state_lock:
            timer, self._timer = self._timer, None
        # None: shutdown() ended the pause while the timer was about to.
        if timer is not None:
            self._schedule_new()

    def _prevent_new_operations(self) -> None:
        with self._state_lock:
            self._shutdown = True
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._schedule_new()
