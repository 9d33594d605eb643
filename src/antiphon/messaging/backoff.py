"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

#: Seconds before the first new attempt: a closed connection is often usable again at once.
FIRST_DELAY_S = 0.05

#: Seconds between attempts at most, so that a broker that is back is found soon.
MAX_DELAY_S = 2.0

#: A connection that stood this long (seconds) was a good one: begin quickly again.
STEADY_S = 5.0


class Backoff:
    """Delays that double from quick to slow, spread by chance.

    The spread (from half the delay to all of it) keeps a thousand clients of
    a broker that restarted from coming back in the same instant.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._delay_s = FIRST_DELAY_S
        self._up_since: float | None = None

    def connected(self) -> None:
        """Take note that an attempt succeeded."""
        self._up_since = self._clock()

    def next_delay_s(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        up_since, self._up_since = self._up_since, None
        if up_since is not None and self._clock() - up_since >= STEADY_S:
            self._delay_s = FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, MAX_DELAY_S)
        return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
