"""The threads of a durable subscription: which event is handled when, and what if that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.recent_ids import Id
from antiphon.messaging.subscription_batch import Batch, GivenBack, Item
from antiphon.messaging.subscription_hand import MAX_RETURNS, SUSPICIOUS, Hand
from antiphon.messaging.subscription_mover import Mover, crashes_before
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.messaging.subscription_pace import Pace
from antiphon.messaging.subscription_retries import Retries
from antiphon.messaging.transport import Arrival, Message

logger = logging.getLogger(__name__)

#: Seconds that the main queue waits for events which were moved to the isolation queue, and
#: for the next one after each of those, so that what was behind them stays behind.
MOVING_S, NEXT_S = 5.0, 0.1

#: Seconds that a listener which gives an event back has until its subscription is closed.
GIVEN_BACK_S = 1.0


class Runner:
    """Calls the listener of a subscription with what comes, on threads of its own.

    With one worker a batch is handled in one go, in order.  With several each
    takes the next event.  An event of the isolation queue is handled while
    nothing else is.

    Args:
        name: for threads and logs.
        options: see ``SubscriptionOptions``.
        keeps_order: whether what was moved to the isolation queue is waited for.
        hand: what is in hand.
        mover: sends on what cannot be handled.
        pace: told how long listeners take.
        decode: returns the events of a message.
        call: calls the listener if it wants the event; returns whether it did.
        when_paced: called when ``pace.prefetch`` has changed.
    """

    def __init__(
        self,
        name: str,
        options: SubscriptionOptions,
        keeps_order: bool,
        hand: Hand,
        mover: Mover,
        pace: Pace,
        decode: Callable[[Message], list[BaseEvent]],
        call: Callable[[Any], bool],
        when_paced: Callable[[], None],
    ) -> None:
        self._name = name
        self._options = options
        self._keeps_order = keeps_order
        self._hand = hand
        self._mover = mover
        self._pace = pace
        self._decode = decode
        self._call = call
        self._when_paced = when_paced
        self._retries = Retries(
            name, options, hand, mover, self._call_and_count, lambda: self._is_ending
        )
        self._opened: deque[Batch] = deque()  # of several workers: each takes events from these
        self._running = 0
        self._is_alone = False
        self._next_isolated_until = 0.0
        self._is_fresh = True  # nothing of the main queue was begun with on this connection
        self._is_ending = False
        #: See ``BatchRunner``; here a call may take as long as it likes.
        self.began_at: float | None = None
        self._threads = [
            threading.Thread(target=self._run, name=f"antiphon {name} {number}", daemon=True)
            for number in range(1, options.workers + 1)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin with no further event; the threads end when their listeners return."""
        with self._hand.moved:
            self._is_ending = True
            self._hand.moved.notify_all()

    def connection_changed(self) -> None:
        """Take note that what comes from now on may come over another connection."""
        self._is_fresh = True

    def join(self, deadline: float) -> bool:
        """Wait for the threads until *deadline*; return whether they have ended."""
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def is_alive(self) -> bool:
        """Return False if a thread has ended that was not to."""
        return self._is_ending or not any(
            thread.ident is not None and not thread.is_alive() for thread in self._threads
        )

    # -- What next -----------------------------------------------------------------------

    def _run(self) -> None:
        hand = self._hand
        while (job := self._next_job()) is not None:
            try:
                job()
            except Exception:
                logger.exception("subscription %r: internal failure", self._name)
            with hand.moved:
                self._running -= 1
                if self._is_alone or hand.isolated:
                    self._is_alone = False
                    hand.moved.notify_all()

    def _next_job(self) -> Callable[[], None] | None:
        hand = self._hand
        with hand.moved:
            while not self._is_ending:
                job = None if self._is_alone else self._ready_job(time.monotonic())
                if job is not None:
                    self._running += 1
                    return job
                hand.moved.wait(self._pause_s(time.monotonic()))
        return None

    def _pause_s(self, now: float) -> float | None:
        """Return after how many seconds to look again though nothing new came; None for never."""
        if self._is_alone or (self._hand.isolated and not self._is_moving(now)):
            return None  # whoever is at work tells when that is over
        if self._hand.isolated:
            until: float | None = self._mover.moved_at + MOVING_S
        else:
            ends = [at for at in (self._hand.due_at, self._held_until(now)) if at is not None]
            until = min(ends, default=None)
        return None if until is None else max(until - now, 0.001)

    def _ready_job(self, now: float) -> Callable[[], None] | None:
        hand = self._hand
        if hand.isolated:
            if self._running or self._is_moving(now):
                return None
            self._is_alone = True
            return partial(self._open_isolated, hand.isolated.popleft()[0])
        if (item := hand.next_due(now)) is not None:
            item.is_at_work = True
            return partial(self._try_again, item)
        if self._held_until(now) is not None:
            return None
        while self._opened:
            try:
                event = self._opened[0].rest.popleft()
            except IndexError:
                self._opened.popleft()
                continue
            return partial(self._handle_beside, self._opened[0], event)
        if hand.arrivals:
            if self._is_fresh and self._keeps_order:
                # Events that another process, or connection, left in the isolation queue are
                # older than what is in the main queue, and may be on their way.
                self._is_fresh = False
                self._expect_isolated()
                return None
            return partial(self._open, *hand.arrivals.popleft())
        return None

    def _held_until(self, now: float) -> float | None:
        """Return until when nothing of the main queue is begun with; None if it may be."""
        if not self._keeps_order:
            return None
        until = self._next_isolated_until
        if self._is_moving(now):
            until = self._mover.moved_at + MOVING_S
        return until if until > now else None

    def _is_moving(self, now: float) -> bool:
        return self._mover.moving > 0 and now < self._mover.moved_at + MOVING_S

    # -- Messages ------------------------------------------------------------------------

    def _open(self, arrival: Arrival, came_at: float) -> None:
        batch = self._begun(arrival, came_at)
        if batch is None:
            return
        if self._options.workers == 1:
            self._work(batch)
            return
        with self._hand.moved:
            self._opened.append(batch)
            self._hand.moved.notify_all()

    def _begun(self, arrival: Arrival, came_at: float) -> Batch | None:
        """Return the events of *arrival*; None if they are gone, or sent elsewhere."""
        if self._is_gone(arrival):
            return None
        if self._hand.returns(arrival) >= SUSPICIOUS or arrival.delivery_count >= MAX_RETURNS:
            self._mover.isolate(arrival)
            self._expect_isolated()
            return None
        # In a group it is shared when it takes long from here on; else it is to be settled in
        # time, and that runs since it came.
        since = came_at if self._keeps_order else time.monotonic()
        return self._batch(arrival, since, is_own=False)

    def _open_isolated(self, arrival: Arrival) -> None:
        if self._is_gone(arrival):
            return
        crashes = self._hand.returns(arrival) + crashes_before(arrival.message)
        if crashes >= self._options.delivery_limit:
            error = f"the process ended {crashes} times while it was handled"
            self._mover.bury_message(arrival, "crashed", error, crashes)
        elif arrival.delivery_count >= MAX_RETURNS:
            self._mover.renew(arrival, crashes)
        elif (batch := self._batch(arrival, time.monotonic(), is_own=True)) is not None:
            self._work(batch)
        self._expect_isolated()

    def _expect_isolated(self) -> None:
        self._next_isolated_until = time.monotonic() + NEXT_S

    def _is_gone(self, arrival: Arrival) -> bool:
        if not self._hand.is_stale(arrival):
            return False
        with self._hand.moved:
            self._hand.survived(arrival)
        return True

    def _batch(self, arrival: Arrival, since: float, *, is_own: bool) -> Batch | None:
        try:
            events = self._decode(arrival.message)
        except Exception as exc:  # a CorruptMessage; whatever it is, it would come again and again
            error = str(exc) if isinstance(exc, CorruptMessage) else repr(exc)
            self._mover.bury_message(arrival, "undecodable", error, 1)
            return None
        batch = Batch(arrival, since, events, is_own=is_own)
        self._pace.came(len(events))
        self._hand.open(batch)
        return batch

    # -- Events --------------------------------------------------------------------------

    def _work(self, batch: Batch) -> None:
        """Handle the events of *batch*, in order, as far as possible."""
        rest, arrival, is_stale = batch.rest, batch.arrival, self._hand.is_stale
        began = time.monotonic()
        tried = settled = 0
        while rest and not self._is_ending and not is_stale(arrival):
            try:
                batch.current = event = rest.popleft()
            except IndexError:  # moved away
                break
            tried += 1
            settled += self._handle(batch, event)
        batch.current = None
        if settled:
            self._hand.settled(batch, settled)
        if tried:
            self._note_pace(time.monotonic() - began, tried)

    def _handle(self, batch: Batch, event: Any) -> bool:
        """Handle *event* of *batch*; return whether it is done with."""
        hand = self._hand
        key = batch.key_of(event) if batch.mark else event._came[:2]  # a call less for most
        # Noted at once, and taken back if it fails: looking and noting are one step then.
        if not hand.handled.add(key):
            hand.stats.duplicates += 1
            return True
        if hand.items or hand.has_dead:
            known = self._is_known(batch, key)
            if known is not None:
                hand.handled.discard(key)
                return known
        attempts, error = hand.tried(key) if hand.attempts else (0, None)
        if attempts < self._options.delivery_limit:
            try:
                if self._call(event):
                    hand.stats.handled += 1
                else:
                    hand.stats.unwanted += 1
                return True
            except GivenBack:
                hand.handled.discard(key)
                batch.rest.appendleft(event)
                with hand.moved:
                    hand.moved.wait_for(lambda: self._is_ending, GIVEN_BACK_S)
                return False
            except BaseException as exc:  # a listener's sys.exit() ends nothing here
                attempts, error = attempts + 1, exc
        hand.handled.discard(key)
        self._retries.failed(Item(event, batch, attempts, error))
        return False

    def _is_known(self, batch: Batch, key: Id) -> bool | None:
        """Return None for an event to handle; else whether it is done with (or waited for)."""
        hand = self._hand
        with hand.moved:
            item = hand.items.get(key)
            if item is not None:
                item.twins.append(batch)
            elif key not in hand.dead:
                return None
            elif not batch.arrival.redelivered:
                hand.dead.discard(key)  # somebody gives it another chance
                return None
            hand.stats.duplicates += 1
            return item is None

    def _handle_beside(self, batch: Batch, event: Any) -> None:
        """Handle *event* of *batch* while other threads handle others."""
        hand, key = self._hand, batch.key_of(event)
        with hand.moved:
            if hand.is_stale(batch.arrival):
                return
            is_done: bool | None = True if key in hand.handled else None
            hand.stats.duplicates += is_done is True
            if is_done is None:
                is_done = self._is_known(batch, key)
            if is_done is None:
                attempts, error = hand.tried(key)
                item = Item(event, batch, attempts, error, is_at_work=True)
                hand.items[key] = item
        if is_done is None:
            self._try_again(item)
        elif is_done:
            hand.settled(batch, 1)

    def _try_again(self, item: Item) -> None:
        """Call the listener with *item*, which is in ``items``, and see to what becomes of it."""
        hand = self._hand
        if not hand.adopt(item):
            hand.give_up(item)
            return
        if item.attempts < self._options.delivery_limit:
            began = time.monotonic()
            try:
                wanted = self._call(item.event)
            except BaseException as exc:
                item.attempts, item.error = item.attempts + 1, exc
            else:
                with hand.moved:
                    self._count(wanted)
                hand.finish(item, is_dead=False)
                return
            finally:
                self._note_pace(time.monotonic() - began, 1)
        self._retries.failed(item)

    def _call_and_count(self, event: Any) -> None:
        """Call the listener; for the only worker."""
        self._count(self._call(event))

    def _count(self, was_wanted: bool) -> None:
        if was_wanted:
            self._hand.stats.handled += 1
        else:
            self._hand.stats.unwanted += 1

    # -- Keeping within the broker's patience ----------------------------------------------

    def _note_pace(self, elapsed_s: float, events: int) -> None:
        if self._pace.note(elapsed_s, events):
            self._when_paced()
