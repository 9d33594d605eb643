"""How many messages may be in hand, given how long listeners take."""

from __future__ import annotations

#: Part of the broker's patience that what is in hand may take; what stays longer is moved.
HOLD_SHARE = 1 / 3

#: Part of that below which the full prefetch is taken again.
_EASY_SHARE = 0.25

#: Weight of the newest measurement where it is lower than the average; a higher one counts
#: at once.
_WEIGHT = 0.2


class Pace:
    """Measures listeners, and says how many messages the broker may send ahead.

    RabbitMQ closes a channel with deliveries that are unacknowledged for half an
    hour, those that merely wait included: prefetch times events in a message
    times listener time has to stay well below.

    Args:
        prefetch: how many messages may be ahead if listeners are quick.
        workers: how many threads call listeners; each has a message when they are slow.
        hold_s: seconds that a message may be in hand.
    """

    def __init__(self, prefetch: int, workers: int, hold_s: float) -> None:
        self._full = prefetch
        self._workers = workers
        self._hold_s = hold_s
        self._event_s = 0.0
        self._events = 1.0
        self.prefetch = prefetch

    def note(self, elapsed_s: float, events: int) -> bool:
        """Take note that *events* took so long; return whether ``prefetch`` has changed."""
        event_s = elapsed_s / events
        if event_s >= self._event_s:
            self._event_s = event_s
        else:
            self._event_s += _WEIGHT * (event_s - self._event_s)
        needed_s = self._event_s * self._events * self._full / self._workers
        before = self.prefetch
        if needed_s > self._hold_s:
            self.prefetch = min(self._workers, self._full)
        elif needed_s < self._hold_s * _EASY_SHARE:
            self.prefetch = self._full
        return self.prefetch != before

    def came(self, events: int) -> None:
        """Take note that a message with so many *events* came."""
        self._events += _WEIGHT * (events - self._events)
