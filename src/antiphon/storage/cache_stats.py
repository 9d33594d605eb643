"""What the readers of a cache met."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass

from antiphon.storage.forking import Forked


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the readers of one cache in this process met.

    Attributes:
        hits: reads served from the cache as fresh.
        misses: reads for which it had no entry.
        unsure: reads that went to the backing store because the entry could
            not be shown to be fresh.
        fills: values kept.
        voided: values not kept, since their key changed while they were read.
        confirmed: entries from before a lost history that the backing store
            was found to have still.
        shared: reads that took what another reader of the same key was reading.
        waited: reads that waited for the position they asked for (``at_least``).
        stale_served: reads in mode ``available`` that were served and flagged
            "unsure".
        spared: reads that failed at once because the backing store was known
            to be down, in place of waiting to find it out.
        evicted: entries dropped to make room.
    """

    hits: int = 0
    misses: int = 0
    unsure: int = 0
    fills: int = 0
    voided: int = 0
    confirmed: int = 0
    shared: int = 0
    waited: int = 0
    stale_served: int = 0
    spared: int = 0
    evicted: int = 0


class CacheCounts(Forked):
    """Counts along.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        hits = itertools.count()
        #: Counts a read that the cache served.  One step of the interpreter:
        #: nothing is lost, and no lock is taken.
        self.hit: Callable[[], int] = hits.__next__
        self._looks = 0
        self._renew_in_children("_lock")

    def add(self, what: str) -> None:
        """Count *what* of the others, by its name in ``CacheStats``."""
        with self._lock:
            self._counts[what] = self._counts.get(what, 0) + 1

    def stats(self, **others: int) -> CacheStats:
        """Return what was counted, with *others*, which are counted elsewhere."""
        with self._lock:
            # To look at the counter is to count one up.
            hits = self.hit() - self._looks
            self._looks += 1
            return CacheStats(hits=hits, **self._counts, **others)
