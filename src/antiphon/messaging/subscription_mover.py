"""Where events of a durable subscription go that cannot be handled where they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.filters import name_of
from antiphon.messaging.dead_letters import Reason, dead_letter
from antiphon.messaging.subscription_batch import Batch, Item, singles
from antiphon.messaging.subscription_forwarder import Forwarder
from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.transport import Arrival, Message

logger = logging.getLogger(__name__)


#: Header of an isolated event with the crashes that were counted before it was published anew.
CRASHES_HEADER = "antiphon-crashes"


class Mover:
    """Sends events on: to the dead letters, or singly to the isolation queue.

    Whatever it sends is settled only when the broker has confirmed it.

    Args:
        subscription: name, for dead letters and logs.
        queue: name of the main queue.
        retry_queue: name of the isolation queue.
        spare_queue: name of the queue for what merely waits too long here: the
            main one of a group, so that others may take it; else the isolation
            queue, which keeps the order.
        dead_queue: name of the queue of dead letters.
        hand: what is in hand.
        forwarder: sends.
        revive: called when the dead letters' queue did not take one: it may be gone.
        hurry: see ``Transport.hurry``.
    """

    def __init__(
        self,
        subscription: str,
        queue: str,
        retry_queue: str,
        spare_queue: str,
        dead_queue: str,
        hand: Hand,
        forwarder: Forwarder,
        revive: Callable[[], None],
        hurry: Callable[[Callable[[], None]], None],
    ) -> None:
        self._subscription = subscription
        self._queue = queue
        self._retry_queue = retry_queue
        self._spare_queue = spare_queue
        self._dead_queue = dead_queue
        self._hand = hand
        self._forwarder = forwarder
        self._revive = revive
        self._hurry = hurry
        #: When the last events were moved, seconds of the monotonic clock, and how many are
        #: being moved just now.
        self.moved_at = float("-inf")
        self.moving = 0
        #: How many dead letters are on their way just now.
        self.burying = 0

    def bury(self, item: Item, done: Callable[[], None] = lambda: None) -> None:
        """Make a dead letter of *item*, which failed too often; call *done* in the end."""
        logger.error(
            "subscription %r: %s failed in attempt %d and goes to the dead letters: %r",
            self._subscription,
            name_of(item.event),
            item.attempts,
            item.error,
        )
        letter = self._letter(
            item.batch.message_of(item.event), "failed", _text(item.error), item.attempts
        )

        def ended(is_confirmed: bool) -> None:
            if is_confirmed:
                self._hand.finish(item, is_dead=True)
            else:
                self._hand.give_up(item)
            done()

        self._send_letter(letter, lambda: self._hand.adopt(item), ended)

    def bury_message(self, arrival: Arrival, reason: Reason, error: str, attempts: int) -> None:
        """Make a dead letter of *arrival* as a whole."""
        logger.error(
            "subscription %r: a message goes to the dead letters (%s): %s",
            self._subscription,
            reason,
            error,
        )
        letter = self._letter(arrival.message, reason, error, attempts)

        def ended(is_confirmed: bool) -> None:
            if is_confirmed:
                with self._hand.moved:
                    self._hand.stats.dead += 1
                self._hand.dropped(arrival)

        self._send_letter(letter, lambda: not self._hand.is_stale(arrival), ended)

    def _send_letter(
        self, letter: Message, is_wanted: Callable[[], bool], ended: Callable[[bool], None]
    ) -> None:
        with self._hand.moved:
            self.burying += 1

        def done(is_confirmed: bool) -> None:
            ended(is_confirmed)
            with self._hand.moved:
                self.burying -= 1
                self._hand.moved.notify_all()

        self._forwarder.send([letter], is_wanted=is_wanted, done=done, failed=self._revive)

    def isolate(self, arrival: Arrival) -> None:
        """Move each event of *arrival*, which was not opened, to the isolation queue."""
        try:
            messages = singles(_uncounted(arrival.message))
        except CorruptMessage as exc:
            self.bury_message(arrival, "undecodable", str(exc), 1)
            return
        self._move(arrival, messages, self._retry_queue, lambda: self._hand.dropped(arrival))

    def renew(self, arrival: Arrival, crashes: int) -> None:
        """Publish *arrival*, an isolated event, anew, so that the broker counts from 0 again."""
        headers = {**(arrival.message.headers or {}), CRASHES_HEADER: crashes}
        messages = [replace(arrival.message, headers=headers, persistent=True)]
        self._move(arrival, messages, self._retry_queue, lambda: self._hand.dropped(arrival))

    def put_aside(self, arrival: Arrival) -> None:
        """Move *arrival*, which was not opened and need not be split, to the spare queue."""
        if self._spare_queue == self._retry_queue:
            self.isolate(arrival)
        else:
            messages = [replace(arrival.message, persistent=True)]
            self._move(arrival, messages, self._spare_queue, lambda: self._hand.dropped(arrival))

    def move_rest(self, batch: Batch) -> None:
        """Move the events of *batch* that nobody has begun with to the spare queue."""
        events: list[BaseEvent] = []
        while batch.rest:
            try:
                events.append(batch.rest.pop())
            except IndexError:  # the worker was quicker
                break
        if events:
            self.move(batch, events[::-1])

    def move(
        self, batch: Batch, events: list[BaseEvent], count: Callable[[], int] | None = None
    ) -> None:
        """Move *events* of *batch* singly to the spare queue, in this order.

        Args:
            batch: where they are.
            events: some of it.
            count: returns how many are done with then, if not as many as there are *events*;
                called with the hand's lock.
        """
        messages = [batch.message_of(event) for event in events]

        done = len(events) if count is None else count
        self._move(
            batch.arrival,
            messages,
            self._spare_queue,
            lambda: self._hand.settled(batch, done),
        )

    def _move(
        self, arrival: Arrival, messages: list[Message], queue: str, settle: Callable[[], None]
    ) -> None:
        moved = [replace(one, queue=queue) for one in messages]
        with self._hand.moved:
            self.moving += 1
            self.moved_at = time.monotonic()

        def ended(is_confirmed: bool) -> None:
            if is_confirmed:
                with self._hand.moved:
                    self._hand.stats.moved += len(moved)
                settle()
                # Before anything else is handled: if that ended the process now, these would
                # be moved a second time.
                self._hurry(over)
            else:
                over()

        def over() -> None:
            with self._hand.moved:
                self.moving -= 1
                self.moved_at = time.monotonic()
                self._hand.moved.notify_all()

        self._forwarder.send(moved, is_wanted=lambda: not self._hand.is_stale(arrival), done=ended)

    def _letter(self, message: Message, reason: Reason, error: str, attempts: int) -> Message:
        return dead_letter(
            _uncounted(message),
            queue=self._dead_queue,
            subscription=self._subscription,
            reason=reason,
            error=error,
            attempts=attempts,
            home=self._queue,
        )


def _text(error: BaseException | None) -> str:
    if error is None:
        return ""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # a user's __str__
        return type(error).__name__


def crashes_before(message: Message) -> int:
    """Return the crashes that *message* carries from before it was published anew."""
    count = (message.headers or {}).get(CRASHES_HEADER)
    return count if type(count) is int and count > 0 else 0


def _uncounted(message: Message) -> Message:
    """Return *message* without the count, which begins anew when it is replayed."""
    if not message.headers or CRASHES_HEADER not in message.headers:
        return message
    kept = {name: value for name, value in message.headers.items() if name != CRASHES_HEADER}
    return replace(message, headers=kept or None)
