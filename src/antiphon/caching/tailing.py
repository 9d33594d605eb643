"""Hears of changes from the journal itself beside the bus, where it hands them out.

A message takes two thirds of a millisecond to come through a broker; what the
medium itself hands out to whoever waits is there when the writer's own answer is.
The journal is only another one that tells: whatever comes by both ways is
applied once, nothing is believed for longer, and whoever tells of nothing is not
missed.  When changes come often the broker is left to it, which spares the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol, cast
from uuid import UUID

from antiphon.caching.asking import JournalThread
from antiphon.caching.changes import Heard
from antiphon.storage.journal import Journal, Position, TailedJournal

#: Seconds that one question stands at most.
TAIL_S = 30.0

#: Questions a second that one cache asks in the long run, and how many of them it may have
#: saved.  What comes in between is left to the bus: a store with many caches, which would
#: have to answer them all, is not kept from its other work.
_QUESTIONS_PER_S = 100.0
_MOST_SAVED = 50.0

#: Seconds from an answer to the next question, at least: readers go first.
_PAUSE_S = 0.001

#: Seconds for which readers go first when a change is applied: then they wait for the source,
#: and not for this thread.
_ASIDE_S = 0.0003


class TakeMany(Protocol):
    """Takes changes that were heard of together; see ``Intake.take_many``."""

    def __call__(self, changes: Sequence[Heard], *, aside_s: float) -> None: ...


class JournalTail(JournalThread):
    """Hears what one journal hands out, on a thread of its own.

    Args:
        journal: hands it out.
        positions: returns up to where changes are applied, by store.
        take_many: gets what is heard, on that thread.
        is_wanted: whether to ask now.  Not while the bus is away: then all caches
            look into the journal anyway, and the store has enough of that.
    """

    def __init__(
        self,
        journal: TailedJournal,
        positions: Callable[[], dict[UUID, Position]],
        take_many: TakeMany,
        is_wanted: Callable[[], bool],
    ) -> None:
        super().__init__(journal, "antiphon-cache-tail")
        self._journal = journal
        self._positions = positions
        self._take_many = take_many
        self._is_wanted = is_wanted
        self._saved = _MOST_SAVED
        self._counted_at = 0.0
        #: Whether entries came that nobody has read yet; for any thread.
        self.has_arrivals: Callable[[], bool] = journal.has_arrivals

    def _ask_once(self) -> bool:
        """Ask once, and apply the answer; whether to ask again soon."""
        store_id = self._journal.store_id
        position = None if store_id is None else self._positions().get(store_id)
        if position is None or store_id is None or not self._is_wanted():
            return False  # the cache was not checked yet, or the bus is away
        entries = self._journal.tail(position, TAIL_S)
        if not entries or self._stopped.is_set():
            return True
        befores = (position.entry_id, *(entry.version.entry_id for entry in entries))
        self._take_many(
            [
                Heard(entry.key, Position(store_id, *entry.version), entry.time_ns, link=before)
                for entry, before in zip(entries, befores, strict=False)
                if entry.key is not None
            ],
            aside_s=_ASIDE_S,
        )
        self._rest(time.monotonic())
        # What leads nowhere must not be asked for without a pause.
        return self._positions().get(store_id) != position

    def _rest(self, now: float) -> None:
        earned = (now - self._counted_at) * _QUESTIONS_PER_S
        self._saved = min(self._saved + earned, _MOST_SAVED) - 1
        self._counted_at = now
        self._stopped.wait(max(_PAUSE_S, -self._saved / _QUESTIONS_PER_S))


def tails_of(
    journals: Sequence[Journal] | None,
    positions: Callable[[], dict[UUID, Position]],
    take_many: TakeMany,
    is_wanted: Callable[[], bool],
) -> list[JournalTail]:
    """Return what hears of each of *journals* that hands out its entries."""
    # Asked of the class: what wraps a store may show fewer keys than it has.
    return [
        JournalTail(cast("TailedJournal", journal), positions, take_many, is_wanted)
        for journal in journals or ()
        if hasattr(type(journal), "tail")
    ]
