"""Decides whether cache entries may be served: by asking, never by assuming.

The cache knows up to which position the backing store's changes were applied.
A reader asks the backing store for its head now and then; once the position
has reached a head that was asked for at time *t*, every entry is fresh as of
*t*, whoever applies the changes and whatever was lost on the way (DESIGN
section 8).  Only this process's own clock counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from antiphon.storage.journal import Journal, Position
from antiphon.storage.ledger import CacheLedger

#: Seconds by which a cached read may be older than the backing store.
MAX_STALENESS_S = 3.0


def boot_clock() -> float:
    """Return seconds since the machine started, time in suspend included."""
    # CLOCK_MONOTONIC stops in suspend, and a laptop that wakes up would
    # believe that a lease of yesterday still holds.
    return time.clock_gettime(_CLOCK) if _CLOCK is not None else time.monotonic()


_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class _Question(NamedTuple):
    """A head that the position has to reach, and when it was asked for."""

    sent_at: float
    head: Position


class Freshness:
    """Whether the entries of one cache are fresh, for the readers of one process.

    Args:
        ledger: the cache's ledger, which knows the position.
        journal: the backing store; None if it has no journal.  Such a cache is
            fresh only while an invalidator in this process vouches for it.
        max_staleness_s: the bound: a read served from the cache is never older
            than this many seconds.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        ledger: CacheLedger,
        journal: Journal | None,
        *,
        max_staleness_s: float = MAX_STALENESS_S,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        if not max_staleness_s > 0:
            raise ValueError(f"max_staleness_s is {max_staleness_s!r}; it must be above 0 seconds")
        self.max_staleness_s = max_staleness_s
        #: Whether an invalidator of this process is connected, and vouches.
        self.vouched_here = False
        #: Whether an invalidator of this process could not apply a change.
        self.is_doubted = False
        self._why = ""
        self._ledger = ledger
        self._journal = journal
        self._clock = clock
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self._fresh_until = float("-inf")
        self._ask_again_at = float("-inf")
        self._open: _Question | None = None

    # -- For the invalidators of this process ----------------------------------

    def vouch(self) -> None:
        """Say that an invalidator here has applied all it heard of, and goes on hearing."""
        self._why = ""
        self.is_doubted = False
        self.vouched_here = True

    def doubt(self, why: str) -> None:
        """Say that a change may be missing; from now on every read asks for the head.

        Args:
            why: what readers are told, such as ``"the broker cannot be reached"``.
        """
        self._why = why
        self.is_doubted = True
        self.vouched_here = False

    def lift(self) -> None:
        """Take back the doubt of an invalidator that stops; nobody vouches by that."""
        self._why = ""
        self.is_doubted = False

    def advanced(self) -> None:
        """Say that the position in the ledger moved: whoever waits for one looks again."""
        with self._lock:
            self._moved.notify_all()

    # -- For readers -----------------------------------------------------------

    def is_settled(self) -> bool:
        """Return whether what is looked up from now on is known to be fresh.

        Otherwise ``covers`` finds it out, and then speaks of the entries that
        are there *then*: one looked up before may be dropped meanwhile.
        """
        if self.is_doubted:
            return False
        if self._journal is None:
            return self.vouched_here
        return self._clock() < self._ask_again_at

    def covers(self, beat: int | None) -> bool:
        """Return whether an entry may be served now.

        Args:
            beat: what the lookup found; None means that no invalidator vouches
                for the cache, and then the head is asked for at every read.

        Raises:
            StoreUnavailable: the backing store's head cannot be read.
        """
        if self.is_doubted:
            beat = None
        if self._journal is None:
            return beat is not None and self.vouched_here
        now = self._clock()
        if beat is not None and now < self._ask_again_at:
            return True
        with self._lock:
            if beat is None:
                return self._ask(self._journal)
            if self._clock() < self._ask_again_at or self._answered():
                return True
            # Between a third of the bound and the bound itself entries are
            # still fresh: a store under steady change is not asked at every
            # read, and an answer that is behind empties no cache of its use.
            if self._is_waiting():
                return self._clock() < self._fresh_until
            return self._ask(self._journal) or self._clock() < self._fresh_until

    def _is_waiting(self) -> bool:
        """Whether a head was asked for so lately that asking again tells nothing new."""
        question = self._open
        return question is not None and (
            self._clock() < question.sent_at + self.max_staleness_s / 3
        )

    def _answered(self) -> bool:
        """Whether the position has now reached the head asked for earlier."""
        question = self._open
        if question is None:
            return False
        position = self._ledger.position()
        if position is None or not _reaches(position, question.head):
            return False
        self._note(question.sent_at)
        return self._clock() < self._fresh_until

    def _ask(self, journal: Journal) -> bool:
        before = self._ledger.position()
        if before is None:
            return False
        sent_at = self._clock()
        head = journal.head()
        if (before.store_id, before.epoch) == (head.store_id, head.epoch) and (
            head.sequence < before.sequence
        ):
            # The store went back in time: a restored backup, a lost second.
            self._open = None
            self._fresh_until = self._ask_again_at = float("-inf")
            return False
        position = self._ledger.position()
        if position is not None and _reaches(position, head):
            self._note(sent_at)
            return True
        # Events are on their way; a later read looks whether they came.
        self._open = _Question(sent_at, head)
        return False

    def _note(self, sent_at: float) -> None:
        self._open = None
        self._fresh_until = max(self._fresh_until, sent_at + self.max_staleness_s)
        self._ask_again_at = max(self._ask_again_at, sent_at + self.max_staleness_s / 3)


def _reaches(position: Position, head: Position) -> bool:
    if (position.store_id, position.epoch) != (head.store_id, head.epoch):
        return False
    if position.sequence == head.sequence:
        # The same number with another id is another history.
        return position.entry_id == head.entry_id
    return position.sequence > head.sequence
