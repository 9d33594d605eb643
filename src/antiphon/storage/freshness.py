"""Decides whether cache entries may be served: by asking, never by assuming.

The cache knows up to which position the backing store's changes were applied.
A reader asks the backing store for its head now and then; once the position
has reached a head that was asked for at time *t*, every entry is fresh as of
*t*, whoever applies the changes and whatever was lost on the way (DESIGN
section 8, docs/explanation/freshness.md).  Only this process's own clock counts.

Who asks and who waits is told in ``freshness_inquiry.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from antiphon.errors import InvalidFreshness
from antiphon.storage.courtesy import Courtesy
from antiphon.storage.forking import Forked
from antiphon.storage.freshness_inquiry import Inquiry
from antiphon.storage.freshness_modes import (
    MAX_STALENESS_S,
    FreshnessMode,
    available,
    bounded,
    mode_of,
)
from antiphon.storage.freshness_questions import NEVER, Question, has_reached
from antiphon.storage.journal import Journal, Position, Version
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.outage import Outage

__all__ = [
    "MAX_STALENESS_S",
    "Freshness",
    "FreshnessMode",
    "available",
    "boot_clock",
    "bounded",
]

#: Seconds that a reader in mode ``available`` waits for an answer, at most.
ANSWER_WAIT_S = 0.05

#: Seconds that a read waits for the position it asked for (``at_least``): an
#: event takes some milliseconds, and one that was lost will not come.
POSITION_WAIT_S = 0.25

#: Seconds between two looks whether another process advanced the position.
_LOOK_S = 0.01


def boot_clock() -> float:
    """Return seconds since the machine started, time in suspend included."""
    # CLOCK_MONOTONIC stops in suspend, and a laptop that wakes up would
    # believe that a lease of yesterday still holds.
    return time.clock_gettime(CLOCK) if CLOCK is not None else time.monotonic()


#: Number of that clock; None where there is none.
CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class Freshness(Forked):
    """Whether the entries of one cache are fresh, for the readers of one process.

    Args:
        ledger: the cache's ledger, which knows the positions.
        journal: the backing store, or the journals of one that joins several;
            None if it has none.  Such a cache is fresh only while an
            invalidator in this process vouches for it.
        mode: how fresh a read has to be.
        max_staleness_s: in place of *mode*: ``bounded`` by so many seconds.
        clock: seconds that never go back.
        outage: what is known of whether the backing store answers.

    Raises:
        InvalidFreshness: the bound is not above 0 seconds, or the mode is
            ``strict`` and there is no journal that could be asked.
    """

    def __init__(
        self,
        ledger: CacheLedger,
        journal: Journal | Sequence[Journal] | None,
        *,
        mode: FreshnessMode | None = None,
        max_staleness_s: float | None = None,
        clock: Callable[[], float] = boot_clock,
        outage: Outage | None = None,
    ) -> None:
        self.mode = mode_of(mode, max_staleness_s)
        self.max_staleness_s = self.mode.max_age_s
        self._journals = _journals(journal)
        if self.mode.name == "strict" and not self._journals:
            raise InvalidFreshness(
                "freshness='strict' asks the backing store for its head at every read, and this"
                " one has no journal; use 'bounded(<seconds>)'"
            )
        self._ledger = ledger
        self._clock = clock
        self._outage = Outage(clock) if outage is None else outage
        self._is_vouched = False
        self._doubt: str | None = None
        #: What readers do for the thread that applies changes.
        self.courtesy = Courtesy()
        #: Moves of the position, and readers that wait for one.
        self._moves = self._waiting = 0
        #: Until when readers need not ask, on the clock that counts.
        self.settled_until = NEVER
        #: The same, and until when readers owe no look whether something has arrived.
        self.quick_until = NEVER
        #: What this process's readers ask.
        self.inquiry = Inquiry(
            ledger,
            self._journals,
            clock=clock,
            outage=self._outage,
            pause_s=(self.max_staleness_s or MAX_STALENESS_S) / 3,
            on_shown=self._settle,
        )
        self._lock, self._moved = self.inquiry.lock, self.inquiry.moved
        self._renew_in_children()

    def _forked(self) -> None:
        # Invalidators are the parent's: here none applies anything, vouches or doubts.
        self._lock, self._moved = self.inquiry.lock, self.inquiry.moved
        self._waiting, self._is_vouched, self._doubt = 0, False, None
        self.courtesy.release()
        self._settle()

    # -- For the invalidators of this process ----------------------------------

    def vouch(self) -> None:
        """Say that an invalidator here has applied all it heard of, and goes on hearing."""
        with self._lock:
            self._doubt = None
            self._is_vouched = True
            self._settle()

    def doubt(self, why: str) -> None:
        """Say that a change may be missing; from now on every read asks for the head.

        Args:
            why: what readers are told, such as ``"the broker cannot be reached"``.
        """
        with self._lock:
            self._doubt = why
            self._is_vouched = False
            self._settle()

    def lift(self) -> None:
        """Take back the doubt of an invalidator that stops; nobody vouches by that."""
        with self._lock:
            self._doubt = None
            self._settle()

    def advanced(self) -> None:
        """Say that a position in the ledger moved: whoever waits for one looks again."""
        # Called after each change that is applied, so without the lock: who
        # waits looks by itself a moment later, should this be overtaken.
        self._moves += 1
        if self._waiting:
            with self._lock:
                self._moved.notify_all()

    @property
    def vouched_here(self) -> bool:
        """Whether an invalidator of this process is connected, and vouches."""
        return self._is_vouched

    @property
    def is_doubted(self) -> bool:
        """Whether an invalidator of this process doubts the cache."""
        return self._doubt is not None

    # -- For readers -----------------------------------------------------------

    def is_settled(self, now: float | None = None) -> bool:
        """Return whether what is looked up from now on is known to be fresh.

        Otherwise ``covers`` finds it out, and then speaks of the entries that
        are there *then*: one looked up before may be dropped meanwhile.

        Args:
            now: time of the clock that counts; None reads it.
        """
        # One comparison, without a lock: it is all that most reads do here.
        if now is None:
            now = self._clock()
        if now >= self.quick_until:
            self._look_up(now)
        return now < self.settled_until

    def _look_up(self, now: float) -> None:
        if now >= self.courtesy.due_at:
            self.courtesy.pay(now)
        with self._lock:  # else a doubt that comes now might be overwritten
            self.quick_until = min(self.settled_until, self.courtesy.due_at)

    def is_within(self, max_age_s: float) -> bool:
        """Return whether what is looked up from now on is known to be so fresh."""
        return self.inquiry.is_within(max_age_s)

    def covers(self, beat: int | None, *, max_age_s: float | None = None) -> bool:
        """Return whether what is looked up from now on may be served as fresh.

        Args:
            beat: what the lookup found; None means that no invalidator vouches
                for the cache, and then the head is asked for at every read.
            max_age_s: the bound of this read, in place of the mode's.

        Raises:
            StoreError: the cache itself cannot be read.  Of a backing store
                that cannot be reached nothing is shown, and False returned.
        """
        if not self._journals:
            heard = beat is not None and self._is_vouched and self._doubt is None
            return heard and max_age_s is None
        inquiry = self.inquiry
        bound = self.max_staleness_s if max_age_s is None else max_age_s
        if bound == 0:
            return inquiry.ask_now().is_shown
        if max_age_s is None and (beat is None or self._doubt is not None):
            # No event comes: only what is asked during this read is believed,
            # or, if there is no answer, what is within the bound still.
            asking = inquiry.ask_now()
            return asking.is_shown or (asking.has_failed and inquiry.is_within(bound))
        if inquiry.is_within(bound) or inquiry.look(bound):
            inquiry.keep_up(bound)
            return inquiry.is_within(bound)
        return inquiry.ask_once(bound)

    def covers_soon(self, beat: int | None) -> bool:
        """Do what ``covers`` does within ``ANSWER_WAIT_S``; the asking goes on beside it."""
        if not self._journals:
            return self.covers(beat)
        inquiry, bound = self.inquiry, self.max_staleness_s
        if inquiry.is_within(bound) or inquiry.look(bound):
            inquiry.keep_up(bound, beside=True)
            return True
        return inquiry.ask_soon(bound, ANSWER_WAIT_S)

    def wait_for(self, wanted: Position, timeout_s: float = POSITION_WAIT_S) -> bool:
        """Wait until all changes up to *wanted* are applied; whether they are.

        Raises:
            StoreError: the cache itself cannot be read.
        """
        if self.has_reached(wanted):
            return True
        ends_at = self._clock() + timeout_s
        with self._lock:
            self._waiting += 1
        try:
            while True:
                moves = self._moves
                if self.has_reached(wanted):
                    return True
                left = ends_at - self._clock()
                if left <= 0:
                    return False
                with self._lock:
                    if self._moves == moves:
                        # Not for long: another process may be the one that advances it.
                        self._moved.wait(min(left, _LOOK_S))
        finally:
            with self._lock:
                self._waiting -= 1

    def wait_moved(self, seen: int, timeout_s: float) -> int:
        """Wait until ``advanced`` was called more than *seen* times; return how often it was."""
        ends_at = self._clock() + timeout_s
        with self._lock:
            self._waiting += 1
            try:
                while self._moves <= seen and (left := ends_at - self._clock()) > 0:
                    self._moved.wait(left)
            finally:
                self._waiting -= 1
        return self._moves

    def has_reached(self, wanted: Position) -> bool:
        """Return whether all changes up to *wanted* are applied."""
        return has_reached(self._ledger.positions().get(wanted.store_id), wanted)

    def position_of(self, wanted: Position | Version) -> Position:
        """Return the position that *wanted* names in this cache.

        Raises:
            InvalidFreshness: it is of no journal of the backing store, or a
                version where there are several.
        """
        ids = [journal.store_id for journal in self._journals]
        if isinstance(wanted, Position):
            if wanted.store_id in ids:
                return wanted
            raise InvalidFreshness(
                f"at_least={wanted} is of another store than those that the cache is filled from:"
                f" {', '.join(map(str, ids)) or 'they have no journal'}"
            )
        if len(ids) == 1 and ids[0] is not None:
            return Position(ids[0], *wanted)
        raise InvalidFreshness(
            f"at_least={wanted} is a version, and the cache is filled from {len(ids)} journals:"
            " give a Position, which names one"
        )

    # -- What is told ----------------------------------------------------------

    @property
    def shown(self) -> Question:
        """The newest question that was answered; how fresh a value is follows from it."""
        return self.inquiry.shown

    def now(self) -> float:
        """Return the time of the clock that counts."""
        return self._clock()

    def doubts(self) -> str:
        """Return why the cache is not known to be fresh, in words."""
        doubt, down = self._doubt, self._outage.why
        if down is not None:
            return f"the backing store cannot be reached: {down}"
        return doubt if doubt is not None else self.inquiry.trouble

    def _settle(self) -> None:
        """Work out until when readers need not ask; the lock is held."""
        if self._doubt is not None:
            self.settled_until = NEVER
        elif not self._journals:
            self.settled_until = float("inf") if self._is_vouched else NEVER
        else:
            # A third of the bound; 0 in mode strict, where every read asks.
            self.settled_until = self.inquiry.shown.sent_at + self.max_staleness_s / 3
        self.quick_until = min(self.settled_until, self.courtesy.due_at)


def _journals(journal: Journal | Sequence[Journal] | None) -> tuple[Journal, ...]:
    if journal is None:
        return ()
    return (journal,) if isinstance(journal, Journal) else tuple(journal)
