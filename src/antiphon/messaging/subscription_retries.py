"""What becomes of an event whose listener has failed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from antiphon.events.filters import name_of
from antiphon.messaging.dead_letters import Rationing
from antiphon.messaging.subscription_batch import Item
from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.subscription_mover import Mover
from antiphon.messaging.subscription_options import SubscriptionOptions

logger = logging.getLogger(__name__)

#: Failures that are logged in so many seconds: when what listeners need is away, all fail.
MAX_LOGGED, LOG_INTERVAL_S = 5, 10.0

#: Seconds between looks at whether the connection still stands: its loss wakes nobody.
_LOOK_S = 0.5


class Retries:
    """Has failed events tried again, later or where they stand, and buried in the end.

    Args:
        name: of the subscription, for logs.
        options: see ``SubscriptionOptions``.
        hand: what is in hand.
        mover: sends to the dead letters.
        call: calls the listener, and counts that.
        is_ending: whether nothing is to be begun any more.
    """

    def __init__(
        self,
        name: str,
        options: SubscriptionOptions,
        hand: Hand,
        mover: Mover,
        call: Callable[[Any], None],
        is_ending: Callable[[], bool],
    ) -> None:
        self._name = name
        self._options = options
        self._hand = hand
        self._mover = mover
        self._call = call
        self._is_ending = is_ending
        self._log_ration = Rationing(MAX_LOGGED, LOG_INTERVAL_S)

    def failed(self, item: Item) -> None:
        """See to *item*, whose listener has failed just now, or often enough before."""
        hand, options = self._hand, self._options
        with hand.moved:
            hand.items[item.key] = item
            hand.stats.failures += 1
        if item.attempts == 1 and self._log_ration.passes():
            logger.warning(
                "subscription %r: the listener failed for %s; trying again (%d failures so far; "
                "at most %d are logged in %.0f s)",
                self._name,
                name_of(item.event),
                hand.stats.failures,
                MAX_LOGGED,
                LOG_INTERVAL_S,
                exc_info=item.error,
            )
        if options.ordered:
            self._try_in_place(item)
        elif item.attempts >= options.delivery_limit:
            self._mover.bury(item)
        else:
            hand.later(item, options.delay_s(item.attempts))

    def _try_in_place(self, item: Item) -> None:
        """Try *item* until it is done with; nothing else is handled meanwhile."""
        hand, options = self._hand, self._options
        while item.attempts < options.delivery_limit:
            if not self._pause(item, options.delay_s(item.attempts)):
                self._put_back(item)
                return
            try:
                self._call(item.event)
            except BaseException as exc:
                item.attempts, item.error = item.attempts + 1, exc
                with hand.moved:
                    hand.stats.failures += 1
            else:
                hand.finish(item, is_dead=False)
                return
        buried = threading.Event()
        self._mover.bury(item, buried.set)
        while not buried.wait(_LOOK_S) and not self._is_ending():
            continue

    def _pause(self, item: Item, delay_s: float) -> bool:
        """Wait before the next attempt; return False if there is to be none here."""
        deadline = time.monotonic() + delay_s
        hand = self._hand
        with hand.moved:
            while not self._is_ending() and hand.adopt(item):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return True
                hand.moved.wait(min(left_s, _LOOK_S))
        return False

    def _put_back(self, item: Item) -> None:
        hand = self._hand
        with hand.moved:
            del hand.items[item.key]
            hand.remember(item)
            item.batch.rest.appendleft(item.event)
