"""Applies the changes of a backing store to a cache, in the right order.

Invalidation comes first, then the position advances, then readers are told;
and it advances only over changes that are all applied: events of several
writers may overtake each other (trap 6).  What is missing is read from the
backing store's journals.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from antiphon.caching.changes import Applied, Heard, Outcome, Tell
from antiphon.caching.dropping import ApplierCounts, Dropping
from antiphon.caching.history import REMEMBERED, History
from antiphon.errors import PositionLost, StoreError, StoreUnavailable
from antiphon.storage.forking import Forked
from antiphon.storage.journal import Journal, JournalEntry, Position, Version
from antiphon.storage.ledger import CacheLedger

logger = logging.getLogger(__name__)

#: Changes that are applied at a time, so that fills get their turn in between.
BATCH = 20_000

#: Seconds that another invalidator of the same cache, if there is one, has to
#: show that a position is in the journal, before all entries become unchecked.
TAKE_OVER_S = 1.5

#: ``applied(key, version, dropped)``: told of each key, or prefix, that was invalidated.
ToldOne = Callable[[str, Version | None, bool], None]


class Applier(Forked):
    """Keeps one ledger right against its journals.  Thread-safe.

    Args:
        ledger: where entries are dropped and the positions are kept.
        journals: those of the backing store; one, several, or None if some of
            its changes are in no journal.
        prefix: only keys that begin with it are cached; positions count all.
        moved: called after each advance of a position.

    Versions of several stores cannot be compared, so with several journals
    changes are applied without one.
    """

    def __init__(
        self,
        ledger: CacheLedger,
        journals: Journal | Sequence[Journal] | None,
        prefix: str,
        *,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.counts = ApplierCounts()
        self._ledger = ledger
        self._moved = moved
        self._histories = {_id_of(journal): History(journal) for journal in _several(journals)}
        self._dropping = Dropping(
            ledger, prefix, self.counts, has_versions=len(self._histories) <= 1
        )
        #: Held while anything is applied; never while a journal is read.
        self._lock = threading.Lock()
        #: Positions that were found when this began, and how long others have to show them.
        self._led_to: dict[UUID, Position] = {}
        self._undecided_until: float | None = None
        #: Held while the journals are read; who is told of it may read them, too.
        self._reading = threading.RLock()
        self._renew_in_children("_lock")

    def _forked(self) -> None:
        self._reading = threading.RLock()

    @property
    def has_gap(self) -> bool:
        """Whether a change was heard of before one that precedes it."""
        return any(history.has_gap for history in self._histories.values())

    @property
    def gaps(self) -> int:
        """How often that was so."""
        return sum(history.gaps for history in self._histories.values())

    @property
    def unverified(self) -> int:
        """How many changes of one store only events told of."""
        return max((history.unverified for history in self._histories.values()), default=0)

    @property
    def is_long_unverified(self) -> bool:
        """Whether these are so many that it is time to look into the journal."""
        return self.unverified > REMEMBERED // 2

    def positions(self) -> dict[UUID, Position]:
        """Return up to where changes are applied here."""
        return {i: h.position for i, h in self._histories.items() if h.position is not None}

    # -- What events tell ----------------------------------------------------

    def apply(
        self, key: str, position: Position | None, applied: ToldOne, *, link: bytes = b""
    ) -> bool:
        """Apply one change that an event told of; see ``apply_many``.

        Returns:
            False if the journal has to be read at once: the store has another
            history than the one that is followed.
        """
        outcome = self.apply_many((Heard(key, position, link=link),))
        for done in outcome.applied:
            applied(done.key, done.version, bool(done.dropped))
        return outcome.is_consistent

    def apply_redacted(self, position: Position | None) -> bool:
        """Take up one event that does not say which key changed; see ``apply_many``.

        Returns:
            False if the journal has to be read at once: it knows the key.
        """
        return not self.apply_many((Heard("", position, redacted=True),)).is_unnamed

    def apply_many(self, heard: Sequence[Heard]) -> Outcome:
        """Apply what events told of: one transaction, then the positions, then the readers.

        A redacted event changes nothing, unless there is no journal: then any
        entry may be stale, and all are dropped.

        Raises:
            StoreUnavailable: the cache cannot be reached; the positions are
                where they were.
        """
        with self._lock:
            clear, is_unnamed, drops_all = self._sorted(heard)
            done = self._dropping.drop(clear, drops_all=drops_all)
            is_consistent = True
            moved: dict[UUID, Position] = {}
            for change in clear:
                position = change.position
                history = self._history_of(position)
                if position is None or history is None:
                    continue
                before = history.position
                is_consistent = history.hear(position, change.link) and is_consistent
                if history.position is not None and history.position is not before:
                    moved[position.store_id] = history.position
            for reached in moved.values():
                self._ledger.advance(reached)
        if moved:
            self._moved()
        return Outcome(is_consistent, is_unnamed, done)

    def _sorted(self, heard: Sequence[Heard]) -> tuple[list[Heard], bool, bool]:
        """Return the changes to apply, whether the journal is to be read, and to drop all."""
        clear: list[Heard] = []
        is_unnamed = drops_all = False
        for change in heard:
            position = change.position
            history = self._history_of(position)
            if self._histories and position is not None and history is None:
                self.counts.foreign += 1
            elif change.redacted:
                if not self._histories:
                    drops_all = True
                elif position is None or history is None or history.announce(position):
                    is_unnamed = True
            elif position is None or history is None or not history.is_known(position):
                clear.append(change)
        return clear, is_unnamed, drops_all

    def _history_of(self, position: Position | None) -> History | None:
        return None if position is None else self._histories.get(position.store_id)

    # -- What the journals tell ----------------------------------------------

    def catch_up(
        self, applied: ToldOne | None = None, *, after_doubt: bool, tell: Tell | None = None
    ) -> int:
        """Read the journals from the positions on and apply what was not heard of.

        Without a position, or when history was rewritten or truncated, all
        entries become unchecked, and are confirmed when they are read.

        Args:
            applied: told of each key.
            after_doubt: whether events may have been missed; a store without a
                journal then has its whole cache dropped.
            tell: told of all keys of one step at a time.

        Returns:
            How many changes the journals had that events had not told of yet.

        Raises:
            StoreUnavailable: the backing store or the cache cannot be reached;
                the positions are where they were, or further on.
        """

        def told(done: list[Applied]) -> None:
            if applied is not None:
                for one in done:
                    applied(one.key, one.version, bool(one.dropped))
            if tell is not None:
                tell(done)

        with self._reading:
            if not self._histories:
                if after_doubt:
                    self._ledger.void_prefix("", None)
                return 0
            positions = self._ledger.positions()
            if any(store_id not in self._histories for store_id in positions):
                logger.warning("the cache was filled from another store; all of it is checked anew")
                self._begin_anew(list(self._histories.values()))
                return 0
            missed = 0
            for store_id, history in self._histories.items():
                missed += self._follow(history, positions.get(store_id), told)
            return missed

    def _follow(self, history: History, position: Position | None, tell: Tell) -> int:
        if position is None:
            self._begin_anew([history])
            return 0
        if history.verified is None and not self._take_over(history, position):
            self._begin_anew([history])
            return 0
        with self._lock:
            begin = history.resume(position)
        try:
            return self._read_on(history, begin, tell)
        except PositionLost as exc:
            logger.warning("the cache is checked anew, entry by entry: %s", exc)
            self._begin_anew([history])
            return 0

    def _take_over(self, history: History, position: Position) -> bool:
        """Go on where an earlier process ended; whether what it left can be relied on.

        It can if the journal showed that *position*.  One that only events led
        to may lie beyond a loss of the store, and entries may be of what was lost.

        Raises:
            StoreUnavailable: perhaps another process is about to show it.
        """
        shown = self._ledger.verified().get(position.store_id)
        led_to = self._led_to.setdefault(position.store_id, position)
        if shown is not None and shown.epoch == led_to.epoch and shown.sequence >= led_to.sequence:
            history.verified = shown
            return True
        if shown is None or self._ledger.lookup("").beat is None:
            return False
        if self._undecided_until is None:
            self._undecided_until = time.monotonic() + TAKE_OVER_S
        if time.monotonic() < self._undecided_until:
            raise StoreUnavailable(
                f"only events have led to {led_to}: waiting {TAKE_OVER_S} s for whoever followed"
                " them to find it in the journal"
            )
        return False

    def _read_on(self, history: History, begin: Position, tell: Tell) -> int:
        missed = 0
        heard, shown = history.position, begin
        for page in _pages(history.journal.since(begin)):
            with self._lock:
                done, news = self._apply_page(history, page)
            shown = history.verified or shown
            missed += news
            self._moved()
            tell(done)
        if heard is not None and heard.sequence >= shown.sequence and heard != shown:
            # A store that went back, and has had no change since, has no other entry there;
            # or it has, and another applier was the one that heard of the lost one.
            raise PositionLost(f"the journal ends at {shown}, and an event told of {heard}")
        self._note_verified(history)
        self.counts.repairs += missed > 0
        return missed

    def _apply_page(self, history: History, page: list[JournalEntry]) -> tuple[list[Applied], int]:
        store_id, missed, is_hidden = _id_of(history.journal), 0, False
        reached: Position | None = None
        changes: list[Heard] = []
        for entry in page:
            is_wanted, is_missed = history.meet(entry)
            missed += is_missed
            position = Position(store_id, *entry.version)
            if entry.key is None:
                # A key that one may not see now is cached perhaps from when one might.
                is_hidden = is_hidden or is_wanted
            elif is_wanted:
                changes.append(Heard(entry.key, position))
            if entry.last:
                reached = position
        done = self._dropping.drop(changes, drops_all=is_hidden)
        if reached is not None:
            before = history.position
            history.reach(reached)
            if history.position is not None and history.position is not before:
                self._ledger.advance(history.position)
        return done, missed

    def _note_verified(self, history: History) -> None:
        verified = history.verified
        if verified is not None and history.noted != verified:
            try:
                self._ledger.verify(verified)
                history.noted = verified
            except StoreError as exc:
                # The next process reads a little more of the journal, then.
                logger.debug("cannot note up to where the journal was read: %s", exc)

    def _begin_anew(self, lost: list[History]) -> None:
        # The heads come first: what changes from here on is told by events or
        # by the next look into the journal, and voids what is filled meanwhile.
        heads = [(history, history.journal.head()) for history in lost]
        with self._lock:
            kept = [h.position for h in self._histories.values() if h not in lost]
            # Suspected before anything is forgotten or counted: an applier of
            # another process that advances meanwhile speaks of checked entries.
            self._ledger.suspect()
            self._ledger.advance(None)
            for position in kept:
                if position is not None:
                    self._ledger.advance(position)
            for history, head in heads:
                history.begin_anew(head)
                self._ledger.advance(head)
            self.counts.rebuilds += 1
        for history, _ in heads:
            self._note_verified(history)
        self._moved()


def _several(journals: Journal | Sequence[Journal] | None) -> Sequence[Journal]:
    if journals is None:
        return ()
    return (journals,) if isinstance(journals, Journal) else journals


def _id_of(journal: Journal) -> UUID:
    if journal.store_id is None:
        raise ValueError(f"{journal!r} has no store_id; connect it first")
    return journal.store_id


def _pages(entries: Iterable[JournalEntry]) -> Iterable[list[JournalEntry]]:
    """Yield *entries* in lists of whole commits."""
    page: list[JournalEntry] = []
    for entry in entries:
        page.append(entry)
        if entry.last and len(page) >= BATCH:
            yield page
            page = []
    if page:
        yield page
