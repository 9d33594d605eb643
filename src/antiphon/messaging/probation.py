"""Care with a broker that lets us in, and then refuses what we publish."""

from __future__ import annotations

import logging
import time

from antiphon.errors import AntiphonError

logger = logging.getLogger(__name__)

#: Seconds between attempts: at first, and at most.  A right is given back by people.
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 30.0


class Probation:
    """Lets one message out now and then, after the broker has refused one.

    A missing right is told when a message was published, by the end of the
    channel; without a pause that were an endless quick loop, and each time the
    connection would look well.  So it counts as ready only when a message is
    confirmed.
    """

    def __init__(self) -> None:
        self._refusals = 0
        self._next_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether nothing was confirmed since the broker refused something."""
        return self._refusals > 0

    def refused(self, name: str, error: AntiphonError) -> None:
        """Take note that the broker refused what was published; log it the first time."""
        if not self._refusals:
            logger.error(
                "%s: the broker refuses what is published, which is kept and tried again: %s",
                name,
                error,
            )
        pause_s = min(FIRST_PAUSE_S * 2**self._refusals, MAX_PAUSE_S)
        self._refusals += 1
        self._next_at = time.monotonic() + pause_s

    def passed(self, name: str) -> None:
        """Take note that the broker has confirmed a message."""
        logger.warning("%s: the broker takes what is published again", name)
        self._refusals = 0

    def room(self, under_way: int) -> int:
        """Return how many messages may be published now."""
        return int(not under_way and time.monotonic() >= self._next_at)
