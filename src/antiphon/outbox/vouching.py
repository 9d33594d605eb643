"""What a process says of its own entries: up to where the broker has confirmed their events."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence

from antiphon.errors import PositionLost
from antiphon.events.event_id import EventId
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.outbox.options import Timing
from antiphon.storage.journal import Journal, JournalEntry, Position, Version
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.tellings import Tellings, Turn

#: Seconds for which a commit that may have happened is looked for in the journal.
DOUBT_S = 600.0

#: Seconds after which a turn is taken for one that never ends: its thread was interrupted
#: between the commit and the telling, or waits for a listener before its last event.
STUCK_S = 120.0


class _Candidate:
    """A version of which it is being found out whether all up to it is confirmed.

    Attributes:
        version: a commit that is told.
        turns: those that were open when it was known, and may be of an earlier one.
        dropped: how many events the bus had given up before it was known.
        mark: what the bus had been given once they were over; None before that.
    """

    def __init__(self, version: Version, turns: list[tuple[Tellings, Turn]], dropped: int) -> None:
        self.version = version
        self.turns = turns
        self.dropped = dropped
        self.since = time.monotonic()
        self.mark: int | None = None


class Vouching:
    """Finds out what is confirmed of one store's entries, and when to say so.

    For one thread, but for ``add``.

    Args:
        bus: publishes them.
        owner: as the entries name this process.
        timing: when a lease is due.
    """

    def __init__(self, bus: BrokerEventManager, owner: bytes, timing: Timing) -> None:
        self._bus = bus
        self._owner = owner
        self._timing = timing
        self._lock = threading.Lock()
        self._tellings: tuple[Tellings, ...] = ()
        self._head: Position | None = None
        self._newest: Version | None = None
        self._sure: Version | None = None
        self._candidate: _Candidate | None = None
        self._dropped = bus.sending[1]
        # Own events to be published once more: in doubt, since when; given up by the buffer.
        self._doubts: dict[EventId, float] = {}
        self._again: list[tuple[Version, Version]] = []
        self._stuck: weakref.WeakSet[Turn] = weakref.WeakSet()
        self._written: Lease | None = None
        self._written_at = 0.0

    def add(self, tellings: Tellings) -> None:
        """Take the commits of one more store object into account."""
        with self._lock:
            kept = [each for each in self._tellings if not each.is_over]
            self._tellings = (*kept, tellings)

    # -- What is confirmed ---------------------------------------------------

    def look_at(self, journal: Journal) -> None:
        """Begin anew if *journal* has another history than it had; called before ``advance``.

        A backup that is restored under a running process gives the numbers of
        confirmed commits to others, which nobody has confirmed.
        """
        head, newest = journal.head(), self._newest_told()
        candidate = None if self._candidate is None else self._candidate.version
        looked = None if self._head is None else self._head.version
        for version in filter(None, {looked, newest, candidate} - {head.version}):
            try:
                journal.since(Position(head.store_id, *version))
            except PositionLost:
                head = journal.head()
                self._start_over(head.version)
                break
        self._head = head

    def _start_over(self, head: Version) -> None:
        for each in self._tellings:
            each.forget_told()
        # All of this process's commits up to the head had begun their turns before it
        # was read, so it will do for the newest one.
        self._newest, self._sure, self._candidate, self._written = head, None, None, None
        if self._again:
            self._again = [(Version(0, 0, b""), head)]

    def _newest_told(self) -> Version | None:
        return max(filter(None, (each.newest() for each in self._tellings)), default=None)

    def advance(self, timeout_s: float = 0.0) -> bool:
        """Find out what is confirmed by now; return whether all is that was committed.

        Args:
            timeout_s: seconds to wait for the broker.
        """
        self._collect_doubts()
        dropped = self._bus.sending[1]
        newest = self._newest_told()
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest
        if self._candidate is None:
            if self._newest is None or (self._sure is not None and self._newest <= self._sure):
                return not self.is_doubtful
            # Turns are looked for after the newest commit is known: each earlier commit
            # had begun its turn by then.
            turns = [
                (each, turn)
                for each in self._tellings
                for turn in each.open_turns()
                if turn not in self._stuck
            ]
            self._candidate = _Candidate(self._newest, turns, dropped)
        if self._confirm(self._candidate, timeout_s):
            self._candidate = None
        return self._sure == self._newest and not self.is_doubtful

    def _confirm(self, candidate: _Candidate, timeout_s: float) -> bool:
        """Take *candidate* for sure if it is by now; return whether it is."""
        candidate.turns = [(each, turn) for each, turn in candidate.turns if each.is_open(turn)]
        if candidate.turns:
            if time.monotonic() - candidate.since < STUCK_S:
                return False
            # Nobody waits for these any more; what they may not have told goes out once more.
            self._stuck.update(turn for _, turn in candidate.turns)
            self._again.append((self._sure or Version(0, 0, b""), candidate.version))
        self._collect_doubts()  # those of the turns that are over now
        if candidate.mark is None:
            candidate.mark = self._bus.sending[0]
        if not self._bus.wait_sent(candidate.mark, timeout_s):
            return False
        if self._bus.sending[1] != self._dropped:
            # Which ones nobody knows; so all of them once more.
            self._again.append((self._sure or Version(0, 0, b""), candidate.version))
        # Later ones may have been given up since then.
        self._dropped = candidate.dropped
        self._sure = candidate.version
        return True

    def _collect_doubts(self) -> None:
        now = time.monotonic()
        for each in self._tellings:
            self._doubts.update(dict.fromkeys(each.take_doubts(), now))
        if self._doubts:
            old = now - DOUBT_S
            self._doubts = {one: since for one, since in self._doubts.items() if since > old}

    @property
    def settled(self) -> Version | None:
        """The version up to which no own entry is to be published; None if that is not known."""
        return None if self.is_doubtful else self._sure

    @property
    def is_doubtful(self) -> bool:
        """Whether own events may have to be published once more, which only this process knows."""
        return bool(self._doubts or self._again)

    # -- What that means for an entry ----------------------------------------

    def is_due(self, entry: JournalEntry) -> bool | None:
        """Return whether the own *entry* is to be published now; None: it is not known yet."""
        if self._doubts and entry.event_id in self._doubts:
            return True
        if self._sure is None or entry.version[:2] > self._sure[:2]:
            return None
        return self.was_given_up(entry)

    def was_given_up(self, entry: JournalEntry) -> bool:
        """Return whether the bus may have given the event of *entry* up, which listeners heard."""
        place = entry.version[:2]
        return any(low[:2] < place <= high[:2] for low, high in self._again)

    def is_out(self, entries: Sequence[JournalEntry]) -> None:
        """Take note that own *entries* were swept."""
        for entry in entries:
            if entry.event_id is not None:
                self._doubts.pop(entry.event_id, None)
        if entries and self._again:
            place = entries[-1].version[:2]
            self._again = [each for each in self._again if each[1][:2] > place]

    # -- What is said --------------------------------------------------------

    def due_lease(self, *, last: bool = False) -> Lease | None:
        """Return the lease to be written now; None if there is nothing new to say.

        Args:
            last: whether it is for the rest of this process's time.
        """
        if self._newest is None and not self._doubts:
            return None  # nothing was committed
        before = self._written
        confirmed, epoch = self._confirmed()
        is_busy = self._sure != self._newest or self.is_doubtful
        is_new = before is None or (before.confirmed, before.epoch) != (confirmed, epoch)
        if not is_new and not is_busy:
            return None
        is_early = time.monotonic() - self._written_at < self._timing.renew_s
        if before is not None and is_early and is_busy and not last:
            return None
        until_s = 0.0 if last else self._timing.lease_s
        return Lease(self._owner, time.time_ns() + int(until_s * 1e9), confirmed, epoch)

    def _confirmed(self) -> tuple[int, int]:
        # While something may have to be published again, no more than was said before: that
        # was true before the commits in question began.
        if self.is_doubtful or self._sure is None:
            before = self._written
            return (0, 0) if before is None else (before.confirmed, before.epoch)
        return self._sure.sequence, self._sure.epoch

    def wrote(self, lease: Lease) -> None:
        """Take note that *lease* stands in the medium."""
        self._written, self._written_at = lease, time.monotonic()
