"""Messages that a subscription sends on: confirmed, or tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.transport import Message, Transport

logger = logging.getLogger(__name__)

#: Seconds before a message that was not confirmed is sent again; doubled up to the second one.
FIRST_DELAY_S, MAX_DELAY_S = 0.1, 5.0

#: Seconds between two lines in the log about messages that are not confirmed.
LOG_INTERVAL_S = 10.0


class Forwarder:
    """Sends messages until the broker has confirmed them.

    Args:
        transport: sends.
        timetable: for the pauses between attempts.
    """

    def __init__(self, transport: Transport, timetable: Timetable) -> None:
        self._transport = transport
        self._timetable = timetable
        self._logged_at = float("-inf")

    def send(
        self,
        messages: Sequence[Message],
        *,
        is_wanted: Callable[[], bool],
        done: Callable[[bool], None],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Send *messages*, in order, as often as it takes.

        Args:
            messages: straight to queues, mostly.
            is_wanted: asked before each further attempt.
            done: called once, on any thread: True when all are confirmed, False
                when they were no longer wanted (some may have been sent).
            failed: called after each failed attempt.
        """
        delay_s = FIRST_DELAY_S

        def attempt() -> None:
            self._transport.forward(messages, tried)

        def tried(is_confirmed: bool) -> None:
            nonlocal delay_s
            if is_confirmed:
                done(True)
                return
            self._log(messages)
            failed()
            self._timetable.after(delay_s, again)
            delay_s = min(2 * delay_s, MAX_DELAY_S)

        def again() -> None:
            if is_wanted():
                attempt()
            else:
                done(False)

        attempt()

    def _log(self, messages: Sequence[Message]) -> None:
        now = time.monotonic()
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            logger.warning(
                "%d messages to the queue %r were not confirmed; trying again (%s)",
                len(messages),
                messages[0].queue,
                self._transport.last_error or "the queue is gone, or the broker did not take them",
            )
