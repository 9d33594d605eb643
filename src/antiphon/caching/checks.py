"""When the journals are looked into: now and then, and whenever somebody asks for it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from antiphon.storage.forking import Forked

#: Part of the interval by which looks are moved at random, so that many caches
#: do not ask one store at the same moment.
_INTERVAL_JITTER = 0.1


class Checks(Forked):
    """Calls a check now and then, on a thread of its own.  Thread-safe.

    Args:
        check: looks into the journals; returns whether it succeeded, and
            raises nothing.
        is_needed: whether to check when it is time; asked on that thread.
        interval_s: seconds between two checks.
    """

    def __init__(
        self, check: Callable[[], bool], is_needed: Callable[[], bool], interval_s: float
    ) -> None:
        self._check = check
        self._is_needed = is_needed
        self._interval_s = interval_s
        #: Held during a check.
        self._checking = threading.RLock()
        self._state = threading.Condition()
        self._is_running = False
        self._look_at = float("inf")
        #: The number of the newest check, and of the newest that succeeded.
        self._begun = self._done = 0
        self._thread: threading.Thread | None = None
        self._renew_in_children()

    def _forked(self) -> None:
        self._checking, self._state = threading.RLock(), threading.Condition()

    def start(self) -> None:
        """Check now, and then now and then."""
        self._is_running = True
        self.check_now()
        self.look_in(self._interval_s)
        thread = threading.Thread(target=self._watch, name="antiphon-invalidator", daemon=True)
        thread.start()
        self._thread = thread

    def end(self) -> None:
        """Begin no check of one's own any more; ``join`` waits for one under way."""
        with self._state:
            self._is_running = False
            self._state.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, at most *timeout_s* seconds."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def is_alive(self) -> bool:
        """Return False if the thread has ended without ``end()``."""
        thread = self._thread
        return not self._is_running or thread is None or thread.is_alive()

    @property
    def begun(self) -> int:
        """The number of the newest check; see ``wait_after``."""
        return self._begun

    def check_now(self) -> None:
        """Check on this thread."""
        with self._checking:
            with self._state:
                self._begun += 1
                number = self._begun
            if self._check():
                with self._state:
                    self._done = number
                    self._state.notify_all()

    def wait_after(self, begun: int, timeout_s: float) -> bool:
        """Wait for a check that began after *begun* was the newest; whether it came in time."""
        with self._state:
            return self._state.wait_for(lambda: self._done > begun, timeout_s)

    def look_in(self, seconds: float) -> None:
        """Check after *seconds*, unless that is due sooner."""
        with self._state:
            self._look_at = min(self._look_at, time.monotonic() + seconds)
            self._state.notify_all()

    def _watch(self) -> None:
        while self._is_turn():
            if self._is_needed():
                self.check_now()
            jitter = random.uniform(-_INTERVAL_JITTER, _INTERVAL_JITTER)  # noqa: S311 - no secret
            self.look_in(self._interval_s * (1 + jitter))

    def _is_turn(self) -> bool:
        """Wait until it is time to check; False if this was ended."""
        with self._state:
            while self._is_running:
                left = self._look_at - time.monotonic()
                if left <= 0:
                    self._look_at = float("inf")
                    return True
                self._state.wait(min(left, threading.TIMEOUT_MAX))
            return False
