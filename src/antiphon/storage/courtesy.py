"""Letting the thread run that keeps a cache right, now and then, while the cache is read.

Python lets a thread that never waits run for 5 ms before another one gets its
turn, and a reader whose every read is served from memory never waits.  So it
looks twice in a millisecond whether something has arrived for the cache, and
steps aside for a moment if so: an invalidation then waits a quarter of a
millisecond instead of five (benchmarks/caches), and nobody has to change the
interval for the whole process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

#: Seconds between two looks; one costs about a microsecond.
LOOK_S = 0.0005

#: Seconds for which a reader steps aside: reading a message and applying it takes as long.
ASIDE_S = 0.0001


class Courtesy:
    """What readers owe to the thread that applies changes.

    Attributes:
        due_at: when the next look is due, in seconds of the readers' clock; never
            while nobody asked for it.
    """

    def __init__(self) -> None:
        self.due_at = float("inf")
        self._has_arrivals: Callable[[], bool] | None = None

    def ask(self, has_arrivals: Callable[[], bool]) -> None:
        """Have readers step aside when *has_arrivals*, which must be quick, says so."""
        self._has_arrivals = has_arrivals
        self.due_at = float("-inf")

    def release(self) -> None:
        """Undo ``ask``."""
        self.due_at = float("inf")
        self._has_arrivals = None

    def pay(self, now: float) -> None:
        """Look, and step aside if need be; for readers, when it is due."""
        has_arrivals = self._has_arrivals
        if has_arrivals is None:
            self.due_at = float("inf")
            return
        self.due_at = now + LOOK_S
        if has_arrivals():
            time.sleep(ASIDE_S)


def any_of(hints: Sequence[Callable[[], bool]]) -> Callable[[], bool]:
    """Return what says whether one of *hints* does."""
    if len(hints) == 1:
        return hints[0]

    def has_any() -> bool:
        return any(hint() for hint in hints)

    return has_any
