"""Applies the changes of a backing store to a cache, in the right order.

Invalidation comes first, then the position advances, and it advances only over
changes that are all applied: events of several writers may overtake each other
(trap 6).  What is missing is read from the backing store's journal.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.errors import PositionLost
from antiphon.storage.journal import Journal, Position, Version
from antiphon.storage.ledger import CacheLedger

logger = logging.getLogger(__name__)

#: Entry ids remembered, so that a second history under the same numbers is
#: recognised from a single event.
_REMEMBERED = 4096

#: ``applied(key, version, dropped)``: told of each change below the prefix.
Applied = Callable[[str, Version | None, bool], None]


@dataclass(slots=True)
class ApplierCounts:
    """What an applier did so far."""

    applied: int = 0
    dropped: int = 0
    gaps: int = 0
    repairs: int = 0
    rebuilds: int = 0
    foreign: int = 0


class Applier:
    """Keeps one ledger right against one journal.  Thread-safe.

    Args:
        ledger: where entries are dropped and the position is kept.
        journal: the backing store; None if it has no journal.
        prefix: only keys that begin with it are cached; the position counts all.
    """

    def __init__(self, ledger: CacheLedger, journal: Journal | None, prefix: str) -> None:
        self.counts = ApplierCounts()
        self._ledger = ledger
        self._journal = journal
        self._prefix = prefix
        self._lock = threading.RLock()
        self._position: Position | None = None
        self._ahead: dict[int, bytes] = {}
        self._recent: dict[int, bytes] = {}
        #: Changes that redacted events told of, not yet found in the journal.
        self._announced: dict[int, bytes] = {}
        #: The newest position that was seen in the journal itself.
        self._verified: Position | None = None

    @property
    def has_gap(self) -> bool:
        """Whether a change was heard of before one that precedes it."""
        return bool(self._ahead)

    def apply(self, key: str, position: Position | None, applied: Applied) -> bool:
        """Apply one change that an event told of.

        Returns:
            False if the event shows that the journal has to be read at once:
            the store has another history than the one this cache follows.
        """
        with self._lock:
            if position is not None and self._is_foreign(position):
                self.counts.foreign += 1
                return True
            self._void(key, None if position is None else position.version, applied)
            return position is None or self._follow(position)

    def apply_redacted(self, position: Position | None) -> bool:
        """Take up an event that tells of a change and does not say of which key.

        Nothing is applied and the position stays, unless there is no journal:
        then any entry may be stale, and all are dropped.

        Returns:
            False if the journal has to be read at once: it knows the key.
        """
        with self._lock:
            if self._journal is None:
                self._void_all()
                return True
            if position is None:
                return False
            if self._is_foreign(position):
                self.counts.foreign += 1
                return True
            if self._recent.get(position.sequence) == position.entry_id:
                return True
            self._announced[position.sequence] = position.entry_id
            if len(self._announced) > _REMEMBERED:
                del self._announced[next(iter(self._announced))]
            return False

    def _is_foreign(self, position: Position) -> bool:
        return self._journal is not None and position.store_id != self._journal.store_id

    def _void(self, key: str, version: Version | None, applied: Applied) -> None:
        if not key.startswith(self._prefix):
            return
        dropped = self._ledger.void(key, version)
        self.counts.applied += 1
        self.counts.dropped += dropped
        applied(key, version, dropped)

    def _void_all(self) -> None:
        # Without a version: a noted one would keep every older value of every
        # key out of the cache, although only one key changed.
        self.counts.applied += 1
        self.counts.dropped += self._ledger.void_prefix("", None)

    def _follow(self, position: Position) -> bool:
        present = self._position
        if present is None:
            return True
        if position.epoch != present.epoch:
            return False
        if position.sequence == present.sequence:
            return position.entry_id == present.entry_id
        if position.sequence < present.sequence:
            known = self._recent.get(position.sequence, position.entry_id)
            return known == position.entry_id
        if position.sequence > present.sequence + 1 and not self._ahead:
            self.counts.gaps += 1
        self._ahead[position.sequence] = position.entry_id
        self._advance_over_known(present)
        return True

    def _advance_over_known(self, present: Position) -> None:
        reached = present
        while (entry_id := self._ahead.pop(reached.sequence + 1, None)) is not None:
            reached = reached._replace(sequence=reached.sequence + 1, entry_id=entry_id)
        if reached is not present:
            self._set_position(reached)

    def _remember(self, sequence: int, entry_id: bytes) -> None:
        self._recent[sequence] = entry_id
        if len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _set_position(self, position: Position) -> None:
        self._position = position
        self._remember(position.sequence, position.entry_id)
        self._ledger.advance(position)

    def catch_up(self, applied: Applied, *, after_doubt: bool) -> int:
        """Read the journal from the position on and apply what was not heard of.

        Without a position, or when history was rewritten, everything is
        dropped and the cache begins anew.

        Args:
            applied: told of each change.
            after_doubt: whether events may have been missed; a store without a
                journal then has its whole cache dropped.

        Returns:
            How many changes the journal had that events had not told of yet.

        Raises:
            StoreUnavailable: the backing store or the cache cannot be reached;
                the position is where it was.
        """
        with self._lock:
            if self._journal is None:
                if after_doubt:
                    self._ledger.void_prefix("", None)
                return 0
            position = self._ledger.position()
            if position is None or position.store_id != self._journal.store_id:
                self._rebuild(self._journal)
                return 0
            self._position = position
            try:
                return self._read_on(self._journal, position, applied)
            except PositionLost as exc:
                logger.warning("cache begins anew: %s", exc)
                self._rebuild(self._journal)
                return 0

    def _read_on(self, journal: Journal, position: Position, applied: Applied) -> int:
        missed = 0
        reached = begin = self._begin(position)
        hidden = False
        for entry in journal.since(begin):
            reached = Position(position.store_id, *entry.version)
            if self._recent.get(reached.sequence, reached.entry_id) != reached.entry_id:
                raise PositionLost(f"{reached} had another id when its event came")
            known = reached.sequence in self._recent
            if reached.sequence > position.sequence:
                known = False
                missed += not self._was_told(reached)
            if entry.key is None:
                hidden = hidden or not known
            elif not known:
                self._void(entry.key, entry.version, applied)
            if entry.last:
                # A key that one may not see now is cached perhaps from when one might.
                if hidden:
                    self._void_all()
                hidden = False
                if reached.sequence > position.sequence:
                    self._set_position(reached)
        self._verified = reached
        if self._position is not None:
            at = self._position
            self._ahead = {n: i for n, i in self._ahead.items() if n > at.sequence}
            self._advance_over_known(at)
        self.counts.repairs += missed > 0
        return missed

    def _was_told(self, reached: Position) -> bool:
        announced = self._announced.pop(reached.sequence, None) == reached.entry_id
        return announced or reached.sequence in self._ahead

    def _begin(self, position: Position) -> Position:
        """Return from where the journal is to be read.

        That is what the journal itself showed last.  An event with the next
        number does not show that it is of the same history: a store that lost
        its last changes counts the same numbers again.
        """
        verified = self._verified
        if verified is None or verified[:2] != position[:2]:
            return position
        return verified if verified.sequence <= position.sequence else position

    def _rebuild(self, journal: Journal) -> None:
        # The head comes first: what changes from here on is told by events or
        # by the next look into the journal, and voids what is filled meanwhile.
        head = journal.head()
        self._ledger.advance(None)
        self._ledger.void_prefix("", None)
        self._ahead.clear()
        self._recent.clear()
        self._announced.clear()
        self._set_position(head)
        self._verified = head
        self.counts.rebuilds += 1
