"""Goes through a store's journal and publishes what nobody else will.

An entry is done if its owner's lease says so, is waited for while its owner may
live, and is published else.  The position moves only over what is done, after
the broker has confirmed what was published: a sweeper that dies in between
leaves the same entries to the next one, and receivers know the events by their
ids.  Of several that sweep at once one moves the position; so that they do not
all publish the same, who moved it last goes on, and the others look on until it
stays where it is for a while.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from antiphon.errors import (
    NameConflict,
    PositionLost,
    UnencodableAttribute,
    WireError,
)
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.outbox.entries import publish_entry
from antiphon.outbox.options import Counts, Timing
from antiphon.outbox.vouching import Vouching
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.outbox_ledger import Lease, OutboxLedger, SkippingLedger
from antiphon.storage.shielding import shield_of

logger = logging.getLogger(__name__)

#: Seconds to wait for the broker to confirm what was published; then it is asked again later.
CONFIRM_TIMEOUT_S = 5.0

#: Orphans in one batch from which they go out in few messages.
BULK_FROM = 20

#: An owner's lease is forgotten so many times its length after it ended.
_FORGET_AFTER = 10


class Sweeper:
    """Sweeps one store; for one thread.

    Args:
        bus: publishes.
        owner: as the entries name this process.
        vouching: knows this process's own entries.
        timing: how long to wait for whom.
        counts: counts.
    """

    def __init__(
        self,
        bus: BrokerEventManager,
        owner: bytes,
        vouching: Vouching,
        timing: Timing,
        counts: Counts,
    ) -> None:
        self._bus = bus
        self._owner = owner
        self._vouching = vouching
        self._timing = timing
        self._counts = counts
        #: Entries behind the position at the last look, and since when the oldest is there.
        self.waiting = 0
        self.waits_since_ns: int | None = None
        self._seen: Position | None = None
        self._seen_at = 0.0
        self._put: Position | None = None
        self._patience_s = 0.0
        # Entry ids of what was published since the position moved: it is not published again
        # because the broker takes its time.
        self._published: set[bytes] = set()
        self._is_shielded = False
        self._silence = _Silence(timing.lease_s)
        self._is_linked: bool | None = None  # None before the first time
        self._back_at = float("-inf")

    def sweep(self, store: Any, ledger: OutboxLedger, is_ending: Callable[[], bool]) -> bool:
        """Sweep a batch; return whether there is more to do at once.

        Raises:
            StoreError, MessagingError: the rest is for the next time.
        """
        swept, head = ledger.swept(), store.head()
        self._look_at(swept)
        if swept is None:
            # Made anew, or damaged: what was before is not known.
            ledger.sweep_to(None, head)
            return False
        self.waiting = max(0, head.sequence - swept.sequence)
        if swept == head:
            self.waiting, self.waits_since_ns = 0, None
            return False
        if self.waits_since_ns is None:
            self.waits_since_ns = time.time_ns()
        if not self._can_publish() or not self._is_my_turn():
            return False
        self._is_shielded = ledger.is_shielded()
        if self._is_shielded and shield_of(store.event_manager) is None:
            return False
        try:
            return self._go_on(store, ledger, self._skipped(ledger, swept), is_ending)
        except PositionLost as exc:
            self._counts.position_lost += 1
            logger.error(
                "events of changes of %r may never have been published; going on at its head: %s",
                store,
                exc,
            )
            self._move(ledger, swept, head)
            return False

    # -- Whose turn it is ------------------------------------------------------

    def _look_at(self, swept: Position | None) -> None:
        if swept == self._seen and self._patience_s:
            return
        # Whoever moved it has dealt with the oldest one that waited.
        self.waits_since_ns = None
        self._seen, self._seen_at = swept, time.monotonic()
        self._patience_s = self._timing.patience_s * random.uniform(0.5, 1.5)  # noqa: S311

    def _is_my_turn(self) -> bool:
        if self._seen == self._put or self._vouching.is_doubtful:
            return True
        return time.monotonic() - self._seen_at >= self._patience_s

    def _can_publish(self) -> bool:
        """Return whether the broker is there, and others have had the time to find it again."""
        if not self._bus.is_connected:
            self._is_linked = None if self._is_linked is None else False
            return False
        if self._is_linked is False:
            # Who was cut off, too, publishes by itself what it has.
            self._back_at = time.monotonic()
        self._is_linked = True
        return time.monotonic() - self._back_at >= self._timing.lease_s

    # -- Sweeping --------------------------------------------------------------

    def _go_on(
        self, store: Any, ledger: OutboxLedger, swept: Position, is_ending: Callable[[], bool]
    ) -> bool:
        # Who moved the position last may be about to publish the same.
        patience_s = 0.0 if self._seen == self._put else self._patience_s
        fates = _Fates(
            ledger.leases(),
            self._owner,
            self._vouching,
            self._silence,
            lease_s=self._timing.lease_s,
            patience_s=patience_s,
        )
        dropped = self._bus.sending[1]
        # Begun with the first event that goes out: most looks publish nothing.
        with contextlib.ExitStack() as block:
            done, has_more = self._walk(store, swept, fates, block)
        if not done:
            return False
        if self._published and not self._is_confirmed(dropped, is_ending):
            return False
        if not self._move(ledger, swept, Position(swept.store_id, *done[-1].version)):
            return False
        self._vouching.is_out([entry for entry in done if entry.owner == self._owner])
        self._forget(ledger, fates.leases.values(), done[-1])
        self._counts.swept += len(done)
        return has_more

    def _walk(
        self, store: Any, swept: Position, fates: _Fates, block: contextlib.ExitStack
    ) -> tuple[list[JournalEntry], bool]:
        """Publish a batch of what is due; return the entries that are done, and if there are more.

        From some number on the events go out as a bulk, until *block* ends.
        """
        done: list[JournalEntry] = []
        published, bulk = 0, None
        before = swept.entry_id
        for commit in _commits(store.since(swept)):
            dues = [fates.is_due(entry) for entry in commit]
            if None in dues:
                self.waits_since_ns = commit[0].time_ns
                fates.awaits(commit[dues.index(None)], store.head())
                return done, False
            for entry, is_due in zip(commit, dues, strict=True):
                if is_due:
                    self._publish(store, entry, before)
                    published += 1
                    if bulk is not None:
                        bulk.emitted()
                    elif published == BULK_FROM:
                        bulk = block.enter_context(self._bus.gather())
                before = entry.version.entry_id
            done += commit
            if len(done) >= self._timing.batch:
                return done, True
        return done, False

    def _skipped(self, ledger: OutboxLedger, swept: Position) -> Position:
        """Move the position over this process's own entries, as far as there are no others."""
        settled = self._vouching.settled
        if settled is None or not isinstance(ledger, SkippingLedger):
            return swept
        if settled.epoch != swept.epoch or settled.sequence <= swept.sequence:
            return swept
        reached = ledger.skip(swept, self._owner, settled.sequence)
        if reached == swept or not self._move(ledger, swept, reached):
            return swept
        self._counts.swept += reached.sequence - swept.sequence
        return reached

    def _publish(self, store: Any, entry: JournalEntry, before: bytes) -> None:
        if entry.version.entry_id in self._published:
            return
        heard = entry.owner == self._owner and self._vouching.was_given_up(entry)
        try:
            publish_entry(
                self._bus, store, entry, before, heard=heard, is_shielded=self._is_shielded
            )
        except (UnencodableAttribute, NameConflict, WireError) as exc:
            self._counts.unpublishable += 1
            logger.error("the event of %s in %r cannot be sent: %s", entry.version, store, exc)
        else:
            self._counts.orphaned += 1
        self._published.add(entry.version.entry_id)

    def _is_confirmed(self, dropped: int, is_ending: Callable[[], bool]) -> bool:
        mark = self._bus.sending[0]
        deadline = time.monotonic() + CONFIRM_TIMEOUT_S
        while not self._bus.wait_sent(mark, 0.2):
            if is_ending() or time.monotonic() >= deadline:
                return False
        if self._bus.sending[1] != dropped:
            # The buffer gave some event up to make room, this one perhaps: all of them again.
            self._published.clear()
            return False
        return True

    def _move(self, ledger: OutboxLedger, swept: Position, position: Position) -> bool:
        # Confirmed first: a crash between the two repeats events, the other order loses them.
        if not ledger.sweep_to(swept, position):
            return False  # another was quicker
        self._put = position
        self.waits_since_ns = None
        self._published.clear()
        self._look_at(position)
        return True

    def _forget(self, ledger: OutboxLedger, leases: Iterable[Lease], last: JournalEntry) -> None:
        ended_ns = time.time_ns() - int(_FORGET_AFTER * self._timing.lease_s * 1e9)
        for lease in leases:
            place = (lease.epoch, lease.confirmed)
            if (
                lease.owner != self._owner
                and lease.until_ns < ended_ns
                and place < last.version[:2]
            ):
                ledger.release(lease)


class _Fates:
    """Tells what is to be done about entries.

    Args:
        leases: of the medium.
        owner, vouching: as of the sweeper.
        silence: knows who has said nothing for long.
        lease_s: seconds for which an owner without a lease is waited for.
        patience_s: seconds to wait beyond that.
    """

    def __init__(
        self,
        leases: Iterable[Lease],
        owner: bytes,
        vouching: Vouching,
        silence: _Silence,
        *,
        lease_s: float,
        patience_s: float,
    ) -> None:
        self.leases = {lease.owner: lease for lease in leases}
        self._owner = owner
        self._vouching = vouching
        self._silence = silence
        self._lease_ns = int(lease_s * 1e9)
        self._due_ns = time.time_ns() - int(patience_s * 1e9)

    def is_due(self, entry: JournalEntry) -> bool | None:
        """Return whether to publish *entry*; None: that is not known yet."""
        if not entry.owner or entry.event_id is None:
            if entry.time_ns < self._due_ns or self._silence.is_long_there(entry):
                return True
            return None
        if entry.owner == self._owner:
            return self._vouching.is_due(entry)
        lease = self.leases.get(entry.owner)
        until_ns = entry.time_ns + self._lease_ns
        if lease is not None:
            if entry.version[:2] <= (lease.epoch, lease.confirmed):
                return False
            until_ns = max(until_ns, lease.until_ns)
        if until_ns < self._due_ns or self._silence.is_long(entry.owner, lease):
            return True
        return None

    def awaits(self, entry: JournalEntry, head: Position) -> None:
        """Take note that *entry* is waited for, while the journal is at *head*."""
        if not entry.owner or entry.event_id is None:
            self._silence.awaits_nobody(entry, head)
        else:
            self._silence.awaits(entry.owner, self.leases.get(entry.owner))


class _Silence:
    """Knows, by this process's own clock, for how long an owner has said nothing.

    Leases and entries have times of the wall, and a clock may have been set back
    or forth, here or where they were made.

    Args:
        lease_s: seconds of a lease.
    """

    def __init__(self, lease_s: float) -> None:
        self._long_s = 2 * lease_s  # an owner may have come just now, and say it soon
        self._awaited: tuple[bytes, Lease | None] | None = None
        self._upto: Position | None = None  # while nobody is: entries that were there then
        self._since = 0.0

    def awaits(self, owner: bytes, lease: Lease | None) -> None:
        """Take note that *owner*, which has *lease*, is waited for."""
        if (owner, lease) != self._awaited:
            self._awaited, self._upto, self._since = (owner, lease), None, time.monotonic()

    def awaits_nobody(self, entry: JournalEntry, head: Position) -> None:
        """Take note that *entry*, which has no owner, is not old enough, by its time."""
        if self._upto is None or entry.version[:2] > self._upto.version[:2]:
            self._awaited, self._upto, self._since = None, head, time.monotonic()

    def is_long_there(self, entry: JournalEntry) -> bool:
        """Return whether *entry* has been in the journal for too long, whatever its time is."""
        if self._upto is None or entry.version[:2] > self._upto.version[:2]:
            return False
        return time.monotonic() - self._since > self._long_s

    def is_long(self, owner: bytes, lease: Lease | None) -> bool:
        """Return whether *owner* has been waited for, and has said nothing, for too long."""
        if (owner, lease) != self._awaited:
            return False
        return time.monotonic() - self._since > self._long_s


def _commits(entries: Iterable[JournalEntry]) -> Iterator[list[JournalEntry]]:
    commit: list[JournalEntry] = []
    for entry in entries:
        commit.append(entry)
        if entry.last:
            yield commit
            commit = []
