"""What becomes, at the end of a subscription, of messages that were handled in part."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.recent_ids import Id
from antiphon.messaging.subscription_batch import Batch
from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.subscription_mover import Mover

#: Seconds that the broker gets in any case to take back what is left of them: else the whole
#: message comes again, with what was handled.
MIN_HAND_BACK_S = 1.0


def hand_back(hand: Hand, mover: Mover, is_connected: Callable[[], bool], deadline: float) -> None:
    """Send what is left of batches that are handled in part back, each event for itself.

    So does an event whose listener has not returned.  No event is begun with any more.
    """
    with hand.moved:
        hand.prune()
        waiting: set[Id] = {item.key for item in hand.waiting()}
        parts = [
            (batch, left)
            for batch in hand.batches
            if len(left := _left(hand, batch, waiting)) < len(batch.events)
        ]
    for batch, left in parts:
        batch.rest.clear()
        if left:
            mover.move(batch, left, partial(_settled_by, hand, batch, left))
    with hand.moved:
        hand.moved.wait_for(
            lambda: not (mover.moving or mover.burying) or not is_connected(),
            max(MIN_HAND_BACK_S, deadline - time.monotonic()),
        )


def _left(hand: Hand, batch: Batch, waiting: set[Id]) -> list[BaseEvent]:
    """Return the events of *batch* that nobody is done with, or about to be."""
    left = []
    for event in batch.events:
        key = batch.key_of(event)
        if event is batch.current or key in hand.calling:  # noted as handled before it is
            left.append(event)
            continue
        if key in hand.handled or key in hand.dead:
            continue
        item = hand.items.get(key)
        if item is None or key in waiting or item.is_at_work:
            left.append(event)
    return left


def _settled_by(hand: Hand, batch: Batch, moved: list[BaseEvent]) -> int:
    """Return how many events of *batch* are done with, once *moved* are; called with the lock.

    Those that the only worker has handled are not counted yet, as long as it is at work.
    """
    away = {event._event_id for event in moved}
    others = [one for one in batch.events if one._event_id not in away]
    return batch.left - sum(batch.key_of(one) in hand.items for one in others)
