"""Calls that go on beside the reader who caused them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable

from antiphon.errors import StoreError
from antiphon.storage.forking import Forked

logger = logging.getLogger(__name__)

#: Calls that wait at most; what comes above that is left out, for the next
#: reader asks again.
MAX_WAITING = 1000


class Beside(Forked):
    """Runs calls one after another, on a thread that ends when there are none.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._waiting: dict[Hashable, Callable[[], object]] = {}
        self._renew_in_children("_lock")

    def _forked(self) -> None:
        # The thread is the parent's, and so is its work.
        self._waiting.clear()

    def run(self, about: Hashable, call: Callable[[], object]) -> bool:
        """Have *call* done soon; whether it will be.

        Args:
            about: what it is about; one call about the same waits at a time.
            call: what it raises as ``StoreError`` is logged.
        """
        with self._lock:
            if about in self._waiting or len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting[about] = call
            if len(self._waiting) > 1:
                return True
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError as exc:  # no more threads, or the interpreter ends
            logger.debug("%s: %s", self._name, exc)
            with self._lock:
                self._waiting.clear()
            return False
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                about, call = next(iter(self._waiting.items()))
            try:
                call()
            except StoreError as exc:
                logger.debug("%s: %s", self._name, exc)
            except Exception:  # whatever a store of others raises, the rest goes on
                logger.exception("%s: %r", self._name, about)
            with self._lock:
                # Only now: while it is under way nobody needs to ask the same.
                self._waiting.pop(about, None)
                if not self._waiting:
                    return
