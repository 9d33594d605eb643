"""A thread that asks one journal again and again."""

from __future__ import annotations

import logging
import random
import threading
import time
from abc import ABC, abstractmethod

from antiphon.errors import StoreError
from antiphon.storage.journal import Journal
from antiphon.storage.journals import wake

logger = logging.getLogger(__name__)

#: Seconds between two attempts when a journal cannot be asked, at least and at most.
_RETRY_S = (0.2, 1.0)

#: Seconds after which a thread that is to end is woken once more.
_WAKE_AGAIN_S = 0.05


class JournalThread(ABC):
    """Asks one journal, on a thread of its own, until it is stopped.

    Args:
        journal: what is asked.
        name: of the thread.
    """

    def __init__(self, journal: Journal, name: str) -> None:
        self._asked = journal
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; ``join`` waits for the end of the present question."""
        self._stopped.set()
        wake(self._asked)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, at most *timeout_s* seconds."""
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and self._thread is not threading.current_thread():
            # Woken again: it may have been just about to ask.
            wake(self._asked)
            self._thread.join(min(_WAKE_AGAIN_S, max(timeout_s, 0.0)))
            if time.monotonic() > deadline:
                return

    def is_alive(self) -> bool:
        """Return False if the thread has ended without ``stop``."""
        return self._stopped.is_set() or self._thread.ident is None or self._thread.is_alive()

    @abstractmethod
    def _ask_once(self) -> bool:
        """Ask, and see to the answer; return whether to ask again at once."""

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                is_on = self._ask_once()
            except StoreError as exc:
                logger.debug("a journal cannot be asked, trying again: %s", exc)
                is_on = False
            except Exception:  # the thread must outlive whatever a store of others raises
                logger.exception("a journal cannot be asked, trying again")
                is_on = False
            if not is_on:
                self._stopped.wait(random.uniform(*_RETRY_S))  # noqa: S311 - no secret
