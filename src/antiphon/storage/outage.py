"""Remembers that a store cannot be reached, so that not every caller waits to find out.

Finding it out may take a connect timeout.  Once one call has waited that long in
vain, the others fail at once, with the same reason; one at a time tries again,
after a pause as long as the call that failed took, and at most ``MAX_PAUSE_S``.
A call that fails quickly costs nobody anything, and changes nothing.

A store that takes in requests and answers none may take its client's whole
time-out, half a minute, to fail.  So once a *small* call, which any store that
is there answers at once, has waited for ``HANG_S``, others fail at once too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from antiphon.errors import StoreUnavailable
from antiphon.storage.forking import Forked

_T = TypeVar("_T")

#: Seconds that a call may take to fail before others are spared the same.
SLOW_S = 0.1

#: Seconds between two tries of a store that is down, at most.  Each try holds
#: up one reader, so a longer pause would spare little and cost time at its return.
MAX_PAUSE_S = 1.0

#: Seconds after which a store that has not answered a small call is held to be down.
HANG_S = 3.0


class Outage(Forked):
    """What is known of whether one store answers, for the callers of one process.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._why: str | None = None
        self._retry_at = 0.0
        self._trier: threading.Thread | None = None
        #: When the small call that is under way began, and in which process.
        self._small: tuple[float, int] | None = None
        #: Calls that failed at once since the store was known to be down.
        self.spared = 0
        self._renew_in_children("_lock")

    @property
    def why(self) -> str | None:
        """Why the store is held to be down; None if it is not."""
        return self._why

    def call(self, ask: Callable[[], _T], *, is_small: bool = False) -> _T:
        """Return what *ask* returns, which asks the store; Python's own errors pass through.

        Args:
            ask: what it raises as ``StoreUnavailable`` is taken for an outage.
            is_small: whether any store that is there answers it at once; one
                such call is under way at a time.

        Raises:
            StoreUnavailable: from *ask*, or at once because the store is known
                to be down and it is nobody's turn to try.
        """
        began = self._clock()
        if self._why is not None:
            self._take_turn()
        elif self._small is not None:
            self._check_hang(began)
        if is_small:
            self._small = (began, os.getpid())
        try:
            answer = ask()
        except StoreUnavailable as exc:
            self._failed(str(exc), self._clock() - began)
            raise
        except BaseException:
            self._answered()  # an error of another kind is an answer too
            raise
        finally:
            if is_small:
                self._small = None
        self._answered()
        return answer

    def _check_hang(self, now: float) -> None:
        small = self._small
        # After a fork it is the parent's call.
        if small is None or now - small[0] < HANG_S or small[1] != os.getpid():
            return
        with self._lock:
            self.spared += 1
        raise StoreUnavailable(f"the backing store has not answered for {now - small[0]:.0f} s")

    def _take_turn(self) -> None:
        with self._lock:
            if self._why is None:
                return
            # Not alive: it was forked away from, or its thread has ended.
            is_tried = self._trier is not None and self._trier.is_alive()
            if not is_tried and self._clock() >= self._retry_at:
                self._trier = threading.current_thread()
                return
            self.spared += 1
            why = self._why
        raise StoreUnavailable(f"{why} (that was a moment ago; it is tried again soon)")

    def _failed(self, why: str, took_s: float) -> None:
        with self._lock:
            self._trier = None
            if self._why is None and took_s < SLOW_S:
                return
            self._why = why
            self._retry_at = self._clock() + min(took_s, MAX_PAUSE_S)

    def _answered(self) -> None:
        if self._why is not None:
            with self._lock:
                self._why = self._trier = None
