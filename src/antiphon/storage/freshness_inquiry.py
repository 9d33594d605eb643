"""One question at a time, for all readers of a cache in a process.

- While entries are within the bound nobody waits for an answer but the reader
  that asks; and that one neither, once an answer took long or did not come: then
  the question goes on beside it, on a thread of its own.
- Past the bound, and where only what is asked during a read is believed,
  readers wait for the same answer, until ``PATIENCE_S`` after it was asked for.
- A question that was under way when a read began tells of before that read, so
  a strict reader waits for the next one: two at the very most for any number of
  readers that come at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence

from antiphon.errors import StoreError
from antiphon.storage.beside import Beside
from antiphon.storage.forking import Forked
from antiphon.storage.freshness_questions import (
    NEVER,
    NOTHING_SHOWN,
    Answer,
    HistoryLost,
    Question,
    Questions,
)
from antiphon.storage.journal import Journal
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.outage import HANG_S, Outage

logger = logging.getLogger(__name__)

#: Seconds after which readers no longer wait for the answer to a question; then
#: the backing store is held to be down, and reads that need it fail at once.
PATIENCE_S = HANG_S

#: Seconds between two looks, at least, whether an open question is answered.
_LOOK_S = 0.01

#: An answer that took longer is not waited for while entries are within the bound.
_QUICK_S = 0.02

#: Seconds after which a question that failed may be put again.
_RETRY_S = 1.0


class Asking:
    """A question under way, for whoever waits for its answer."""

    def __init__(self, number: int, began_at: float) -> None:
        self.number = number
        self.began_at = began_at
        self.is_done = False
        #: Whether what it asked itself was answered.
        self.is_shown = False
        #: Whether no answer came.
        self.has_failed = False
        self._pid = os.getpid()

    def is_under_way(self) -> bool:
        # After a fork the thread that asks is the parent's.
        return not self.is_done and self._pid == os.getpid()


#: What a reader got whose patience ended.
_UNANSWERED = Asking(0, NEVER)


class Inquiry(Forked):
    """What the readers of one cache in this process ask, and what was answered.

    Args:
        ledger: the cache's ledger, which knows the positions.
        journals: those that tell of every change of the backing store.
        clock: seconds that never go back.
        outage: what is known of whether the backing store answers.
        pause_s: seconds between two questions while the first is not answered.
        on_shown: called, with the lock held, when ``shown`` was set.

    Attributes:
        lock: guards what is asked; for who waits on ``moved``.
        moved: notified when a question ended, and by others as they like.
        shown: the newest question that was answered.
    """

    def __init__(
        self,
        ledger: CacheLedger,
        journals: Sequence[Journal],
        *,
        clock: Callable[[], float],
        outage: Outage,
        pause_s: float,
        on_shown: Callable[[], None],
    ) -> None:
        self.lock = threading.Lock()
        self.moved = threading.Condition(self.lock)
        self.shown = NOTHING_SHOWN
        self._trouble = "the backing store was not asked yet"
        self._clock = clock
        self._outage = outage
        self._pause_s = pause_s
        self._on_shown = on_shown
        self._questions = Questions(ledger, journals, clock, outage)
        # Apart from the other lock, which who doubts the cache must get at once:
        # this one is held while the medium of the cache is read.
        self._questioning = threading.Lock()
        self._asking: Asking | None = None
        self._asked = 0
        #: The last question that ended.
        self._ended = _UNANSWERED
        self._ask_again_at = self._look_again_at = NEVER
        #: Whether there is no use in asking before that time.
        self._is_behind = False
        self._is_slow = False
        self._beside = Beside("antiphon-head")
        self._renew_in_children("lock", "_questioning")

    def _forked(self) -> None:
        # Whoever asked or waited is in the parent.
        self.moved = threading.Condition(self.lock)
        self._asking = None
        self._questions.forget()

    @property
    def trouble(self) -> str:
        """Why nothing newer is shown, in words."""
        asking = self._asking
        if asking is not None and asking.is_under_way():
            waited_s = self._clock() - asking.began_at
            if waited_s > _QUICK_S:
                return f"the backing store was asked {waited_s:.1f} s ago, and has not answered"
        return self._trouble

    def is_within(self, max_age_s: float) -> bool:
        """Return whether what is looked up from now on is known to be so fresh."""
        return self.shown.sent_at > self._clock() - max_age_s

    def keep_up(self, bound: float, *, beside: bool = False) -> None:
        """Ask again in good time, at a third of the bound, while entries are fresh."""
        now = self._clock()
        if now < self.shown.sent_at + bound / 3:
            return
        # Once a third of the bound, whether or not what was asked before is
        # answered: so a lag of half the bound empties no cache of its use.
        if self._questions.is_open and now >= self._look_again_at and self.look(bound / 3):
            return
        asking = self._asking
        if now < self._ask_again_at or (asking is not None and asking.is_under_way()):
            return
        asking, is_mine = self._begin()
        if is_mine and (beside or self._is_slow):
            self._put_beside(asking)
        elif is_mine:
            self._put(asking)

    def look(self, bound: float) -> bool:
        """Whether a question of before is answered by now."""
        if self._questioning.acquire(blocking=False):
            try:
                answered, is_passed = self._questions.look()
            finally:
                self._questioning.release()
            with self.lock:
                self._look_again_at = self._clock() + _LOOK_S
                if answered is not None:
                    self._note(answered)
                elif is_passed:
                    # Under steady change positions are seldom at a head: asking once
                    # more shows that they belong to the history that the head is of.
                    self._ask_again_at, self._is_behind = NEVER, False
        return self.is_within(bound)

    def ask_once(self, bound: float) -> bool:
        """Ask, or wait for who asks already, past the bound."""
        if not self._is_due():
            # An answer that is behind empties no cache of its use: reads go
            # through, and one of them asks again at a third of the bound.
            return False
        self._put_or_wait()
        return self.is_within(bound)

    def ask_soon(self, bound: float, wait_s: float) -> bool:
        """Ask beside, past the bound; whether the answer came within *wait_s* and shows it."""
        if not self._is_due():
            return False
        asking, is_mine = self._begin()
        if is_mine:
            self._put_beside(asking)
        if self._outage.why is not None:
            return False
        self._wait(asking, wait_s - (self._clock() - asking.began_at))
        return self.is_within(bound)

    def ask_now(self) -> Asking:
        """Put a question, or wait for one that was put after this read began."""
        with self.lock:
            before = self._asked
        # One that was under way when this read began tells of before it.
        while self._ended.number <= before and self._put_or_wait():
            pass
        ended = self._ended
        return ended if ended.number > before else _UNANSWERED

    def _is_due(self) -> bool:
        asking = self._asking
        is_asked = asking is not None and asking.is_under_way()
        return is_asked or not self._is_behind or self._clock() >= self._ask_again_at

    def _begin(self) -> tuple[Asking, bool]:
        """Return the question that is under way, or a new one; and whether it is new.

        Whoever gets a new one puts it.
        """
        with self.lock:
            asking = self._asking
            if asking is not None and asking.is_under_way():
                return asking, False
            self._asked += 1
            self._asking = asking = Asking(self._asked, self._clock())
            return asking, True

    def _put_or_wait(self) -> bool:
        """Put a question or wait for the one under way; False if its time is over."""
        asking, is_mine = self._begin()
        if is_mine and not self._is_slow:
            self._put(asking)
            return True
        if is_mine:
            self._put_beside(asking)
        self._wait(asking, PATIENCE_S - (self._clock() - asking.began_at))
        return asking.is_done

    def _wait(self, asking: Asking, timeout_s: float) -> None:
        with self.lock:
            self.moved.wait_for(lambda: not asking.is_under_way(), timeout_s)

    def _put_beside(self, asking: Asking) -> None:
        if not self._beside.run(asking, lambda: self._put(asking)):
            self._end(asking)

    def _put(self, asking: Asking) -> None:
        """Put the question, and note what it shows."""
        began = self._clock()
        answer: Answer | None = None
        trouble = "the cache is behind the backing store"
        next_at = began + self._pause_s
        try:
            with self._questioning:
                answer = self._questions.put()
            asking.is_shown = answer.is_new
        except HistoryLost:
            trouble = "the backing store has another history than the cache"
            with self.lock:
                self.shown = NOTHING_SHOWN
                self._on_shown()
        except StoreError as exc:
            logger.debug("the head of the backing store is not known: %s", exc)
            trouble = f"the backing store gave no answer: {exc}"
            asking.has_failed = True
            next_at = self._clock() + min(self._pause_s, _RETRY_S)
        finally:
            self._is_slow = self._clock() - began > _QUICK_S
            with self.lock:
                self._ask_again_at, self._is_behind = next_at, not asking.is_shown
                self._trouble = trouble
                if answer is not None and answer.question is not None:
                    self._note(answer.question)
            self._end(asking)

    def _end(self, asking: Asking) -> None:
        with self.lock:
            asking.is_done = True
            self._ended = asking
            if self._asking is asking:
                self._asking = None
            self.moved.notify_all()

    def _note(self, answered: Question) -> None:
        """Note an answer; the lock is held."""
        if answered.sent_at >= self.shown.sent_at:
            self.shown = answered
        self._on_shown()
