"""What a durable subscription has in hand, and what it knows of events."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable

from antiphon.messaging.recent_ids import HandledIds, Id, RecentIds
from antiphon.messaging.subscription_batch import Batch, Item
from antiphon.messaging.subscription_options import SubscriptionStats
from antiphon.messaging.transport import Arrival

#: Handled events whose ids are remembered at least: more than all that publishers send
#: again after a lost connection, and than all that may be in hand.
MIN_REMEMBERED = 65_536

#: Dead, and failed, events that are remembered at least.
MIN_TROUBLES = 4096

#: From so many returns on a message may have crashed a process.  One that was killed, or
#: lost its connection, once, must not disturb the order.
SUSPICIOUS = 2


#: A message that came back so often is published anew, for whatever reason it did: RabbitMQ 4.x
#: drops what came back 20 times.
MAX_RETURNS = 8


class Hand:
    """What came and is not settled yet.

    A batch is settled when all its events are done with.  An event that comes a
    second time while it is in hand is called nobody with: its second batch
    waits for the first.  What came over a connection that is lost is stale: the
    broker gives it out again, here or elsewhere, so here it is dropped.

    Args:
        settle: tells the transport that an arrival was handled; called without the lock.
        is_stale: see ``Transport.is_stale``.

    Attributes:
        moved: its lock; notified when there may be something new to do.
        arrivals: what came from the queue and was not begun with, and when.
        isolated: the same from the isolation queue.
        batches: those begun with.
        items: events that take longer, by their keys (``Batch.key_of``), as in all that follow.
        handled: those of handled events.
        dead: those of dead ones, so that a batch that comes again kills none twice.
        has_dead: whether there ever was one.
        attempts: how often events that were given up for now were tried; see ``tried``.
        calling: those that a listener of batches is being called with just now.
        stats: counters; changed under the lock, or by the only worker.
    """

    def __init__(
        self, settle: Callable[[Arrival], None], is_stale: Callable[[Arrival], bool]
    ) -> None:
        self._settle = settle
        self.is_stale = is_stale
        self.moved = threading.Condition()
        self.arrivals: deque[tuple[Arrival, float]] = deque()
        self.isolated: deque[tuple[Arrival, float]] = deque()
        self.batches: dict[Batch, None] = {}
        self.items: dict[Id, Item] = {}
        self.handled = HandledIds(MIN_REMEMBERED)
        self.dead = RecentIds(MIN_TROUBLES)
        self.has_dead = False
        self.attempts: dict[Id, tuple[int, BaseException | None]] = {}
        self.calling: frozenset[Id] = frozenset()
        self.stats = SubscriptionStats()
        self._due: list[tuple[float, int, Item]] = []
        self._number = itertools.count()
        self._survived: dict[int, int] = {}  # hash of a body -> returns

    # -- What comes --------------------------------------------------------------------

    def put(self, arrival: Arrival, *, is_isolated: bool) -> None:
        """Take *arrival*; never blocks."""
        with self.moved:
            (self.isolated if is_isolated else self.arrivals).append((arrival, time.monotonic()))
            self.moved.notify()

    def returns(self, arrival: Arrival) -> int:
        """Return how often *arrival* came back to the queue without our knowing why.

        A connection that broke under a process that lives on is no crash.
        """
        if arrival.delivery_count < SUSPICIOUS:
            return arrival.delivery_count
        with self.moved:
            self.prune()
            return arrival.delivery_count - self._survived.get(hash(arrival.message.body), 0)

    def open(self, batch: Batch) -> None:
        """Take note that *batch* is begun with."""
        with self.moved:
            self.batches[batch] = None
            self.stats.received += batch.left

    def survived(self, arrival: Arrival) -> None:
        """Take note that *arrival* went back because of its connection.  Call it with the lock."""
        body = hash(arrival.message.body)
        self._survived[body] = self._survived.pop(body, 0) + 1
        while len(self._survived) > MIN_TROUBLES:
            del self._survived[next(iter(self._survived))]

    def prune(self) -> None:
        """Forget batches that are stale.  Call it with the lock."""
        for batch in [one for one in self.batches if self.is_stale(one.arrival)]:
            del self.batches[batch]
            self.survived(batch.arrival)

    # -- What is done with ---------------------------------------------------------------

    def settled(self, batch: Batch, count: int | Callable[[], int]) -> None:
        """Take note that *count* (or what it returns, with the lock) more of *batch* are done."""
        with self.moved:
            is_done = self._take_off(batch, count if isinstance(count, int) else count())
        if is_done:
            self._settle(batch.arrival)

    def dropped(self, arrival: Arrival) -> None:
        """Take note that *arrival*, which was not opened, is done with."""
        self._settle(arrival)

    def finish(self, item: Item, *, is_dead: bool) -> None:
        """Take note that *item* is done with: handled, or a dead letter by now."""
        key = item.key
        with self.moved:
            self.items.pop(key, None)
            if is_dead:
                self.dead.add(key)
                self.has_dead = True
                self.stats.dead += 1
            else:
                self.handled.add(key)
            done = [one for one in (item.batch, *item.twins) if self._take_off(one, 1)]
            self.moved.notify_all()
        for batch in done:
            self._settle(batch.arrival)

    def give_up(self, item: Item) -> None:
        """Forget *item*, which comes again, but not how often it was tried."""
        with self.moved:
            if self.adopt(item):
                self.later(item, 0)
                return
            self.items.pop(item.key, None)
            self.remember(item)

    def adopt(self, item: Item) -> bool:
        """Return whether *item* is still ours to handle: it came over a connection that stands."""
        with self.moved:
            if not self.is_stale(item.batch.arrival):
                return True
            for twin in item.twins:
                if not self.is_stale(twin.arrival):
                    item.twins.remove(twin)
                    item.twins.append(item.batch)
                    item.batch = twin
                    return True
            return False

    def _take_off(self, batch: Batch, count: int) -> bool:
        batch.left -= count
        if batch.left:
            return False
        self.batches.pop(batch, None)
        if batch.arrival.delivery_count and self._survived:
            self._survived.pop(hash(batch.arrival.message.body), None)
        return True

    # -- What is to be tried again ---------------------------------------------------------

    def later(self, item: Item, delay_s: float) -> None:
        """Have *item* tried in *delay_s* seconds."""
        with self.moved:
            item.is_at_work = False
            self.items[item.key] = item
            heapq.heappush(self._due, (time.monotonic() + delay_s, next(self._number), item))
            self.moved.notify()

    def next_due(self, now: float) -> Item | None:
        """Return, once, an item whose time has come by *now*.  Call it with the lock."""
        if self._due and self._due[0][0] <= now:
            return heapq.heappop(self._due)[2]
        return None

    @property
    def due_at(self) -> float | None:
        """When the next item is to be tried; None if there is none."""
        return self._due[0][0] if self._due else None

    def waiting(self) -> list[Item]:
        """Return, once, all items that wait for another attempt.  Call it with the lock."""
        items = [entry[2] for entry in self._due]
        self._due.clear()
        return items

    def remember(self, item: Item) -> None:
        """Note how often *item* was tried, for the time when it comes again."""
        self.attempts[item.key] = (item.attempts, item.error)
        while len(self.attempts) > MIN_TROUBLES:
            del self.attempts[next(iter(self.attempts))]

    def tried(self, key: Id) -> tuple[int, BaseException | None]:
        """Return, once, how often that event was tried before, and what it raised last."""
        return self.attempts.pop(key, (0, None))
