"""A thread that does one thing after the other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger(__name__)


class Worker:
    """Calls what it is given, in order, on a thread of its own.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        # SimpleQueue is reentrant (a finalizer may submit) and wakes a waiting
        # thread in a third of the time of queue.Queue (benchmarks/messaging).
        self._queue: SimpleQueue[tuple[Callable[..., None], Any] | None] = SimpleQueue()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name=f"antiphon {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def submit(self, call: Callable[[Any], None], argument: Any) -> None:
        """Have *call* called with *argument* after everything submitted before; never blocks."""
        self._queue.put((call, argument))

    def stop(self) -> None:
        """End the thread once everything submitted so far is done; twice is fine."""
        self._is_stopping = True
        self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; return whether it came.  Asked on the thread itself: False."""
        if self._thread is threading.current_thread():
            return False
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Return whether the thread runs, if it is to."""
        return self._thread.ident is None or self._is_stopping or self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            call, argument = job
            try:
                call(argument)
            except BaseException:
                # Also SystemExit of a listener: the thread is not the listener's to end,
                # and nobody would hear of a bus that has gone deaf.
                logger.exception("a callback failed: %r", call)
