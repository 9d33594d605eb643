"""Things to be done later, on one thread."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

from antiphon.messaging.room import doing_io

logger = logging.getLogger(__name__)


class Timetable:
    """Calls things when their time has come, one after the other; they must not block.

    The thread starts with the first of them.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._moved = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        """Have *call* called in *delay_s* seconds, unless the timetable stops before."""
        with self._moved:
            if self._is_stopping:
                return
            heapq.heappush(self._entries, (time.monotonic() + delay_s, next(self._number), call))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"antiphon {self._name}", daemon=True
                )
                self._thread.start()
            self._moved.notify()

    def stop(self, timeout_s: float) -> bool:
        """Forget everything, end the thread and return whether it ended in time; twice is fine."""
        with self._moved:
            self._is_stopping = True
            self._entries.clear()
            self._moved.notify()
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return thread is None
        thread.join(timeout_s)
        return not thread.is_alive()

    def is_alive(self) -> bool:
        """Return False if the thread has ended and was not to."""
        thread = self._thread
        begun = thread is not None and thread.ident is not None
        return not (thread and begun) or self._is_stopping or thread.is_alive()

    def _run(self) -> None:
        with doing_io():
            while (call := self._wait()) is not None:
                try:
                    call()
                except Exception:
                    logger.exception("a timed call failed: %r", call)

    def _wait(self) -> Callable[[], None] | None:
        with self._moved:
            while not self._is_stopping:
                now = time.monotonic()
                if self._entries and self._entries[0][0] <= now:
                    return heapq.heappop(self._entries)[2]
                self._moved.wait(self._entries[0][0] - now if self._entries else None)
        return None
