"""Hears that a journal grew from the journal itself, where no broker tells."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from uuid import UUID

from antiphon.errors import StoreError
from antiphon.storage.freshness import boot_clock
from antiphon.storage.journal import Journal, Position, WaitingJournal
from antiphon.storage.journals import wake

logger = logging.getLogger(__name__)

#: Seconds that one wait takes at most: an answer that does not come is noticed then.
WAIT_S = 5.0

#: Seconds beyond that until a journal counts as silent.
GRACE_S = 3.0

#: Seconds between two attempts when a journal cannot be read, at least and at most.
_RETRY_S = (0.2, 1.0)


class JournalFollower:
    """Waits on one journal, on a thread of its own.

    Args:
        journal: says when it grew.
        positions: returns up to where changes are applied, by store.
        catch_up: is called when the journal is elsewhere; returns when it was read.
        wait_s: seconds that one wait takes at most.
    """

    def __init__(
        self,
        journal: WaitingJournal,
        positions: Callable[[], dict[UUID, Position]],
        catch_up: Callable[[], None],
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._journal = journal
        self._positions = positions
        self._catch_up = catch_up
        self._wait_s = wait_s
        self._stopped = threading.Event()
        #: When an answer came last, and when a question was sent that found nothing new.
        self._answered_at = boot_clock()
        self.confirmed_at = float("-inf")
        self._thread = threading.Thread(
            target=self._run, name="antiphon-cache-follower", daemon=True
        )

    def start(self) -> None:
        """Begin to wait."""
        self._answered_at = boot_clock()
        self._thread.start()

    def stop(self) -> None:
        """Wait no more; ``join`` waits for the end of the present wait, if it cannot be ended."""
        self._stopped.set()
        wake(self._journal)

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, at most *timeout_s* seconds."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    @property
    def is_answered(self) -> bool:
        """Whether the journal has answered in time."""
        return boot_clock() - self._answered_at <= self._wait_s + GRACE_S

    def is_alive(self) -> bool:
        """Return False if the thread has ended without ``stop``."""
        return self._stopped.is_set() or self._thread.ident is None or self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                has_answered = self._wait_once()
            except StoreError as exc:
                logger.debug("cannot wait for changes, trying again: %s", exc)
                has_answered = False
            except Exception:  # the thread must outlive whatever a store of others raises
                logger.exception("cannot wait for changes, trying again")
                has_answered = False
            if not has_answered:
                self._stopped.wait(random.uniform(*_RETRY_S))  # noqa: S311 - no secret

    def _wait_once(self) -> bool:
        """Wait for the journal; whether to wait again at once."""
        store_id = self._journal.store_id
        position = None if store_id is None else self._positions().get(store_id)
        if position is None:
            return False  # the cache was not checked yet
        sent_at = boot_clock()
        head = self._journal.wait(position, self._wait_s)
        self._answered_at = boot_clock()
        if head == position:
            self.confirmed_at = sent_at
            return True
        if self._stopped.is_set():
            return True
        self._catch_up()
        # A head that cannot be reached must not be asked for without a pause.
        return store_id is not None and self._positions().get(store_id) != position


def followers_of(
    journals: tuple[Journal, ...] | None,
    positions: Callable[[], dict[UUID, Position]],
    catch_up: Callable[[], None],
    *,
    wait_s: float,
) -> list[JournalFollower]:
    """Return a follower for each of *journals*; none if one of them cannot be waited for."""
    found = [journal for journal in journals or () if isinstance(journal, WaitingJournal)]
    if journals is None or len(found) < len(journals):
        return []
    return [JournalFollower(journal, positions, catch_up, wait_s=wait_s) for journal in found]
