"""A durable subscription whose listener gets many events at once."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.dead_letters import Rationing
from antiphon.messaging.subscription_batch import Batch, GivenBack, Item
from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.subscription_mover import Mover
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.messaging.subscription_pace import Pace
from antiphon.messaging.subscription_retries import LOG_INTERVAL_S, MAX_LOGGED
from antiphon.messaging.subscription_runner import GIVEN_BACK_S, Runner
from antiphon.messaging.transport import Arrival, Message

logger = logging.getLogger(__name__)

EventT = TypeVar("EventT", bound=BaseEvent)

#: Seconds beyond ``max_wait_s`` after which a call is made with what there is, although more
#: is at hand: that may be passed over, all of it, for as long as it comes.
SIFTING_S = 0.5

#: Bytes of messages after which a call is made with what there is: decoded they take several
#: times as much, and an event may have 16 MiB.
MAX_BYTES = 16 << 20

_NONE: frozenset[Any] = frozenset()


class Received(Generic[EventT]):
    """An event, and the message that carries it.

    Attributes:
        event: the event.
    """

    __slots__ = ("_batch", "event")

    def __init__(self, event: EventT, batch: Batch) -> None:
        self.event = event
        self._batch = batch

    @property
    def message(self) -> Message:
        """The message that carries the event alone, whatever others it came with."""
        return self._batch.message_of(self.event)


@dataclass(frozen=True, slots=True)
class Batching:
    """What is to be called with how many events.

    Attributes:
        func: the listener.
        wants: whether the listener wants an event.
        max_events: so many at most for one call.
        max_wait_s: seconds after the first of them within which others may join.
    """

    func: Callable[[Sequence[Received[Any]]], object]
    wants: Callable[[Any], bool]
    max_events: int
    max_wait_s: float


class BatchRunner(Runner):
    """Calls a listener with many events at once, in order, on one thread.

    When it fails, each of them is handled for itself, as ``Runner`` does, so that
    one that is poison harms no neighbour.  So is an event of the isolation queue.

    Args:
        name, options, keeps_order, hand, mover, pace, decode, when_paced: as for ``Runner``.
        batching: what to call.
        when_returned: called with the seconds that a call took.

    Attributes:
        began_at: when the call under way began, seconds of the monotonic clock; None if
            there is none.
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
        batching: Batching,
        when_paced: Callable[[], None],
        when_returned: Callable[[float], None],
    ) -> None:
        call = self._call_alone
        super().__init__(name, options, keeps_order, hand, mover, pace, decode, call, when_paced)
        self._batching = batching
        self._when_returned = when_returned
        self._pending: deque[Batch] = deque()  # begun with, in order; some have no rest
        self._bytes = 0  # of the messages that were begun with for the next call
        self._alone = 0  # so many of the next events are handled each for itself
        self._from: Batch | None = None  # where an event that is handled for itself came from
        self._log_ration = Rationing(MAX_LOGGED, LOG_INTERVAL_S)

    def _open(self, arrival: Arrival, came_at: float) -> None:
        self._take(arrival, came_at)
        while self._pending and not self._is_ending:
            if self._alone:
                self._work_alone()
            elif portion := self._gather():
                self._work_together(portion)
        self._alone = 0

    def _take(self, arrival: Arrival, came_at: float) -> None:
        if (batch := self._begun(arrival, came_at)) is not None:
            self._pending.append(batch)
            self._bytes += len(arrival.message.body)

    # -- Which events --------------------------------------------------------------------

    def _gather(self) -> list[tuple[Batch, Any]]:
        """Return the events of the next call; those that need none are settled."""
        portion: list[tuple[Batch, Any]] = []
        done: Counter[Batch] = Counter()
        until = time.monotonic() + self._batching.max_wait_s
        while len(portion) < self._batching.max_events and not self._is_ending:
            found = self._next_event()
            if found is None:
                is_late = bool(portion) and time.monotonic() > until + SIFTING_S
                if is_late or self._bytes >= MAX_BYTES or not self._fetch(until):
                    break
                continue
            look = self._look_at(*found)
            if look == "call":
                portion.append(found)
            elif look == "done":
                done[found[0]] += 1
            elif look == "trouble":
                self._put_back([found])
                self._alone = 0 if portion else 1
                break
        self._bytes = 0
        for batch, count in done.items():
            self._hand.settled(batch, count)
        if self._is_ending:
            self._put_back(portion)
            return []
        return portion

    def _next_event(self) -> tuple[Batch, Any] | None:
        while self._pending:
            batch = self._pending[0]
            if not self._hand.is_stale(batch.arrival):
                try:
                    return batch, batch.rest.popleft()
                except IndexError:  # handled, or moved away
                    pass
            self._pending.popleft()
        return None

    def _fetch(self, until: float) -> bool:
        """Begin with one more message; return False if none comes, or is to be begun with now."""
        hand = self._hand
        with hand.moved:
            while not hand.arrivals:
                left_s = until - time.monotonic()
                # When all that the broker sends ahead is in hand, no more can come.
                is_all = len(hand.batches) >= self._pace.prefetch
                if left_s <= 0 or is_all or self._is_over():
                    return False
                hand.moved.wait(left_s)
            if self._is_over():
                return False
            arrival, came_at = hand.arrivals.popleft()
        self._take(arrival, came_at)
        return True

    def _is_over(self) -> bool:
        """Return whether something else is to be done before more of the main queue."""
        now = time.monotonic()
        due_at = self._hand.due_at
        return (
            self._is_ending
            or bool(self._hand.isolated)
            or (due_at is not None and due_at <= now)
            or self._held_until(now) is not None
        )

    def _look_at(self, batch: Batch, event: Any) -> Literal["call", "done", "waits", "trouble"]:
        """Return what is to be done with *event*; "trouble" is handled for itself."""
        hand = self._hand
        key = batch.key_of(event)
        if not hand.handled.add(key):
            hand.stats.duplicates += 1
            return "done"
        if hand.items or hand.has_dead:
            known = self._is_known(batch, key)
            if known is not None:
                hand.handled.discard(key)
                return "done" if known else "waits"
        if key in hand.attempts:
            return "trouble"
        try:
            if self._batching.wants(event):
                return "call"
        except BaseException:  # of users' values; counted when it is handled for itself
            return "trouble"
        hand.stats.unwanted += 1
        return "done"

    def _put_back(self, portion: list[tuple[Batch, Any]]) -> None:
        """Take note that nobody has begun with the events of *portion* after all."""
        for batch, event in reversed(portion):
            self._hand.handled.discard(batch.key_of(event))
            batch.rest.appendleft(event)
            if not self._pending or self._pending[0] is not batch:
                self._pending.appendleft(batch)

    # -- Calling -------------------------------------------------------------------------

    def _work_together(self, portion: list[tuple[Batch, Any]]) -> None:
        hand = self._hand
        hand.calling = frozenset(batch.key_of(event) for batch, event in portion)
        began = time.monotonic()
        try:
            self._call_with([Received(event, batch) for batch, event in portion])
        except GivenBack:
            self._put_back(portion)
            with hand.moved:
                hand.moved.wait_for(lambda: self._is_ending, GIVEN_BACK_S)
        except BaseException as exc:  # a listener's sys.exit() ends nothing here
            self._failed(portion, exc)
        else:
            hand.stats.handled += len(portion)
            for batch, count in Counter(batch for batch, _ in portion).items():
                hand.settled(batch, count)
        finally:
            hand.calling = _NONE
        self._note_pace(time.monotonic() - began, len(portion))

    def _failed(self, portion: list[tuple[Batch, Any]], error: BaseException) -> None:
        if len(portion) == 1:
            batch, event = portion[0]
            self._hand.handled.discard(batch.key_of(event))
            self._from = batch
            self._retries.failed(Item(event, batch, 1, error))
            return
        with self._hand.moved:
            self._hand.stats.failures += 1
        if self._log_ration.passes():
            logger.warning(
                "subscription %r: the listener failed for %d events together; it gets each of "
                "them for itself now",
                self._name,
                len(portion),
                exc_info=error,
            )
        self._put_back(portion)
        self._alone = len(portion)

    def _work_alone(self) -> None:
        self._alone -= 1
        if (found := self._next_event()) is None:
            return
        batch, event = found
        batch.current = event
        began = time.monotonic()
        is_done = self._handle(batch, event)
        batch.current = None
        if is_done:
            self._hand.settled(batch, 1)
        self._note_pace(time.monotonic() - began, 1)

    def _handle(self, batch: Batch, event: Any) -> bool:
        self._from = batch
        return super()._handle(batch, event)

    def _try_again(self, item: Item) -> None:
        self._from = item.batch
        super()._try_again(item)

    def _call_alone(self, event: Any) -> bool:
        batch = self._from
        if batch is None or not self._batching.wants(event):
            return False
        self._call_with([Received(event, batch)])
        return True

    def _call_with(self, received: list[Received[Any]]) -> None:
        began = self.began_at = time.monotonic()
        try:
            self._batching.func(received)
        finally:
            self.began_at = None
            self._when_returned(time.monotonic() - began)
