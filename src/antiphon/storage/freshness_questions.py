"""Questions to the backing store: has the cache applied all that you had when I asked?

A question is the head that each journal told, and the moment before the first
was asked.  Once the cache's positions have reached those heads, its entries are
fresh as of that moment (docs/explanation/freshness.md, interleaving 7).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, NoReturn
from uuid import UUID

from antiphon.errors import PositionLost
from antiphon.storage.freshness_modes import FreshnessReport
from antiphon.storage.journal import Journal, Position
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.outage import Outage

Positions = Mapping[UUID, Position]

#: Questions that wait for events which are on their way.  More than one, since
#: changes that always take a while would never answer only the newest.
_OPEN = 8


class Question(NamedTuple):
    """Heads that the positions have to reach, and when they were asked for.

    Attributes:
        sent_at: on the reader's own clock, before the first head was asked for.
        heads: one for each journal.
    """

    sent_at: float
    heads: tuple[Position, ...]


#: When nothing was asked yet.
NEVER = float("-inf")

NOTHING_SHOWN = Question(NEVER, ())


class Answer(NamedTuple):
    """What asking has shown.

    Attributes:
        question: the newest one that is answered; None if none is.
        is_new: whether it was put just now, and not left from before.
    """

    question: Question | None
    is_new: bool


class HistoryLost(Exception):
    """A head is behind the position of before: a restored backup, a lost second."""


class Questions:
    """Asks, and remembers what is not answered yet.  Not thread-safe.

    Args:
        ledger: knows the positions.
        journals: those that tell of every change of the backing store.
        clock: seconds that never go back.
        outage: what is known of whether the backing store answers.
    """

    def __init__(
        self,
        ledger: CacheLedger,
        journals: Iterable[Journal],
        clock: Callable[[], float],
        outage: Outage,
    ) -> None:
        self._ledger = ledger
        self._journals = tuple(journals)
        self._clock = clock
        self._outage = outage
        self._open: deque[Question] = deque(maxlen=_OPEN)

    @property
    def is_open(self) -> bool:
        """Whether a question waits for events to come."""
        return bool(self._open)

    def forget(self) -> None:
        """Wait for none of the open questions any more."""
        self._open.clear()

    def look(self) -> tuple[Question | None, bool]:
        """Return the newest open question that is answered by now, without asking.

        Only positions that are the very heads count here.  One that is past a
        head may be of the history that the store had before it was restored,
        and only another head can tell.

        Returns:
            The question, and whether positions are past one, so that asking
            once more is worth while.
        """
        if not self._open:
            return None, False
        positions = self._ledger.positions()
        for question in reversed(self._open):
            if _are_at(positions, question.heads):
                self._close(question)
                return question, False
        return None, reach(positions, self._open[0].heads)

    def put(self) -> Answer:
        """Ask for the heads, and see what is answered then.

        Raises:
            StoreUnavailable: a backing store, or the cache, cannot be reached.
            HistoryLost: the backing store went back in time.
        """
        before = self._ledger.positions()
        if any(journal.store_id not in before for journal in self._journals):
            return _NO_ANSWER  # nothing was ever applied, so nothing can be shown
        sent_at = self._clock()
        heads = self._outage.call(self._heads, is_small=True)
        if any(_contradicts(head, before) for head in heads):
            self._lose()
        question = Question(sent_at, heads)
        self._open.append(question)
        after = self._ledger.positions()
        if _are_at(after, heads):
            self._close(question)
            return Answer(question, True)
        passed = next((one for one in reversed(self._open) if reach(after, one.heads)), None)
        if passed is None:
            return _NO_ANSWER  # events are on their way; a later read looks whether they came
        # Past a head by its number: so are events that come late, of a history that was lost.
        if not self._outage.call(lambda: self._have(after), is_small=True):
            self._lose()
        self._close(passed)
        return Answer(passed, passed is question)

    def _heads(self) -> tuple[Position, ...]:
        return tuple(journal.head() for journal in self._journals)

    def _have(self, positions: Positions) -> bool:
        """Return whether the journals have these very *positions*."""
        for journal in self._journals:
            if (store_id := journal.store_id) is None or store_id not in positions:
                return False
            try:
                next(iter(journal.since(positions[store_id])), None)
            except PositionLost:
                return False
        return True

    def _lose(self) -> NoReturn:
        self._open.clear()
        raise HistoryLost

    def _close(self, question: Question) -> None:
        # What was asked before it is answered too, and tells less.
        while self._open and self._open[0].sent_at <= question.sent_at:
            self._open.popleft()


def report_of(shown: Question, at: float, *, doubt: str | None = None) -> FreshnessReport:
    """Return what is to be told of a value, or of the cache.

    Args:
        shown: the question whose answer says how fresh it is.
        at: when it was looked up.
        doubt: why that is not known; None if it is.
    """
    age_s = None if shown.sent_at == NEVER else max(0.0, at - shown.sent_at)
    if doubt is not None:
        return FreshnessReport("unsure", age_s, doubt, shown.heads)
    if age_s is None:
        why = "an invalidator of this process hears of every change"
    elif shown.heads:
        why = "all changes are applied that the backing store had when it was asked"
    else:
        why = "it was read from the backing store"
    return FreshnessReport("fresh", age_s, why, shown.heads)


_NO_ANSWER = Answer(None, False)


def reach(positions: Positions, heads: Iterable[Position]) -> bool:
    """Return whether *positions* are at *heads* or after them, by their numbers."""
    return all(has_reached(positions.get(head.store_id), head) for head in heads)


def has_reached(position: Position | None, head: Position) -> bool:
    """Return whether *position* is *head*, or a later one of its history."""
    if position is None or (position.store_id, position.epoch) != (head.store_id, head.epoch):
        return False
    if position.sequence == head.sequence:
        # The same number with another id is another history.
        return position.entry_id == head.entry_id
    return position.sequence > head.sequence


def _are_at(positions: Positions, heads: Iterable[Position]) -> bool:
    return all(positions.get(head.store_id) == head for head in heads)


def _contradicts(head: Position, positions: Positions) -> bool:
    """Whether *head*, told after *positions* were read, is of another history than they are."""
    position = positions.get(head.store_id)
    if position is None or position.epoch != head.epoch:
        return False
    if position.sequence == head.sequence:
        return position.entry_id != head.entry_id
    return head.sequence < position.sequence
