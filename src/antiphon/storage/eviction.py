"""Holds a cache within its bounds: what was not read lately goes first.

Recency is kept in this process's memory and nowhere else: noting a hit in the
medium would cost more than the hit.  It is kept as SIEVE does (Zhang and
others, NSDI 2024): entries stand in the order in which they came, a hit leaves
a mark, and a hand that goes round takes the marks away and drops what has none.
That needs no lock and no reordering on a hit, and on skewed reads it keeps what
exact LRU keeps, or better (``tests/unit/storage/test_eviction.py``).

Other processes may fill the same cache.  What was there before this one began
has no recency and goes first; of what others fill later as large a share goes
as they have of the cache.  Were theirs always first, two busy processes would
go on emptying each other's.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from antiphon.errors import StoreError
from antiphon.storage.forking import Forked
from antiphon.storage.ledger import CacheLedger, Usage

logger = logging.getLogger(__name__)

#: Seconds after which a process that fills asks what others filled meanwhile.
ASK_EVERY_S = 1.0

#: Below the bound by this part of it is what an eviction goes down to: so one
#: call of the ledger drops some entries.
_PART = 64

#: Entries dropped in one call of the ledger; others may want it too.
_AT_A_TIME = 1000


def check_bounds(**bounds: int | None) -> None:
    """Raise ``ValueError`` if one of *bounds* is none that a cache can have."""
    for name, bound in bounds.items():
        if bound is not None and (not isinstance(bound, int) or bound < 1):
            raise ValueError(f"{name} is {bound!r}; it must be an integer from 1 on, or None")


class Eviction(Forked):
    """The bounds of one cache, for one process.  Thread-safe.

    Call ``touched`` on each hit, ``admits`` before a fill and ``added`` after
    it, and ``removed`` when an entry is known to be gone (it need not be).

    Within one process the cache is above its bounds by no more than what is
    being added right now: one value for each thread that fills.  Of other
    processes' fills it hears within ``ASK_EVERY_S`` of its own.
    Who fills waits until there is room; after a bound was lowered that is, once,
    a second or so for each hundred thousand entries that are too many.

    Memory: about 120 bytes an entry that this process filled or read, and the
    key where the ledger does not hold the same text in memory.

    Args:
        ledger: where the entries are.
        max_bytes: bytes of data that the cache may hold; keys and metadata come
            on top.  None: no bound.
        max_entries: entries that it may hold; None: no bound.
        clock: seconds that never go back.

    Raises:
        ValueError: a bound is no integer, or below 1.
    """

    #: Notes that an entry was read; any key will do, also one that is unknown.
    #: The method of a set: this is called on every hit.
    touched: Callable[[str], None]

    def __init__(
        self,
        ledger: CacheLedger,
        *,
        max_bytes: int | None = None,
        max_entries: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_bounds(max_bytes=max_bytes, max_entries=max_entries)
        self.max_bytes = max_bytes
        self.max_entries = max_entries
        #: Entries dropped so far to hold the bounds.
        self.evicted = 0
        self._ledger = ledger
        self._clock = clock
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        # Entries in the order in which they came, and their sizes.  Some of
        # them may have been dropped by an invalidation.
        self._sizes: dict[str, int] = {}
        self._marked: set[str] = set()
        self.touched = self._marked.add
        self._round: Iterator[str] = iter(())
        # A walk through what the ledger holds, for what others filled.
        self._walk: Iterator[tuple[str, int]] | None = None
        self._is_first_walk = True
        self._due_of_others = 0.0
        # The usage as it was last asked for, and what was added here since.
        self._entries = 0
        self._bytes = 0
        self._ask_at = float("-inf")
        self._renew_in_children("_lock", "_counting")

    def _forked(self) -> None:
        # A walk that a thread was at cannot be gone on with.
        self._walk, self._round = None, iter(())

    def admits(self, size: int | None) -> bool:
        """Return whether a value of *size* bytes (None: unknown) may be kept at all."""
        return size is None or self.max_bytes is None or size <= self.max_bytes

    def added(self, key: str, size: int) -> None:
        """Note that an entry of *size* bytes was filled, and hold the bounds.

        An entry larger than the bound is dropped again, and no other for it.
        A ledger that fails is logged, and tried again at the next fill.
        """
        if not self.admits(size):
            with self._logged():
                self._evict([key])
            return
        # A value that came again stands where new ones do.
        self._sizes.pop(key, None)
        self._sizes[key] = size
        with self._lock:
            self._entries += 1
            self._bytes += size
            may_be_above = self._is_above(self._entries, self._bytes)
            if may_be_above or self._clock() >= self._ask_at:
                self._shrink(spared=key, is_due=may_be_above)

    def removed(self, key: str) -> None:
        """Note that the entry of *key* is gone; not needed, but spares looking for it."""
        self._sizes.pop(key, None)
        self._marked.discard(key)

    def shrink(self) -> int:
        """Hold the bounds now, whoever filled the cache; how many entries were dropped."""
        with self._lock:
            before = self.evicted
            self._shrink(spared=None, is_due=False)
            return self.evicted - before

    # -- Under the lock ------------------------------------------------------

    def _is_above(self, entries: int, size: int) -> bool:
        return (self.max_entries is not None and entries > self.max_entries) or (
            self.max_bytes is not None and size > self.max_bytes
        )

    def _shrink(self, *, spared: str | None, is_due: bool) -> None:
        """Evict if the cache is above its bounds.

        Args:
            spared: the key that was filled just now.
            is_due: go down although it is not above them, so that the next
                fills need not ask again: where keys come again and again, what
                was added is more than what is there.
        """
        with self._logged():
            usage = self._ask()
            while self._is_above(*usage) or (is_due and self._is_above_low(*usage)):
                is_due = False
                victims = self._victims(usage, spared)
                if not victims:
                    break  # others are at it, too
                self._evict(victims)
                usage = self._ask()

    @contextlib.contextmanager
    def _logged(self) -> Iterator[None]:
        # A cache that is too large is no reason to fail a read.
        try:
            yield
        except StoreError as exc:
            logger.warning("the cache may be above its bounds: %s", exc)

    def _ask(self) -> Usage:
        usage = self._ledger.usage()
        self._entries, self._bytes = usage
        self._ask_at = self._clock() + ASK_EVERY_S
        if max(len(self._sizes), len(self._marked)) > 2 * usage.entries + _AT_A_TIME:
            self._forget_dropped()
        return usage

    def _forget_dropped(self) -> None:
        """Forget what invalidations dropped, where it has become more than what is there."""
        held = {key for key, _ in self._ledger.sizes()}
        for key in list(self._sizes):
            if key not in held:
                # One that was filled just now counts as a stranger's from here on.
                self._sizes.pop(key, None)
        self._marked.intersection_update(held)

    def _evict(self, keys: list[str]) -> None:
        evicted = self._ledger.evict(keys)
        with self._counting:
            self.evicted += evicted

    def _victims(self, usage: Usage, spared: str | None) -> list[str]:
        """Return what is to go now, and forget it; at most ``_AT_A_TIME`` entries."""
        entries, size = usage
        of_others = max(0, entries - len(self._sizes)) / max(1, entries)
        victims: list[str] = []
        has_met_spared = False
        while len(victims) < _AT_A_TIME and self._is_above_low(entries, size):
            found = self._next_victim(of_others)
            if found is None:
                break
            key, key_size = found
            if key == spared:
                if has_met_spared:
                    break  # the hand has gone round, and it is the last one
                has_met_spared = True
                continue
            self._sizes.pop(key, None)
            victims.append(key)
            entries -= 1
            size -= key_size
        return victims

    def _is_above_low(self, entries: int, size: int) -> bool:
        most, most_bytes = self.max_entries, self.max_bytes
        return (most is not None and entries > most - most // _PART) or (
            most_bytes is not None and size > most_bytes - most_bytes // _PART
        )

    def _next_victim(self, of_others: float) -> tuple[str, int] | None:
        self._due_of_others += of_others
        if self._is_first_walk or self._due_of_others >= 1:
            self._due_of_others = max(0.0, self._due_of_others - 1)
            found = self._next_of_others()
            if found is not None:
                return found
        return self._next_of_own() or self._next_of_others()

    def _next_of_own(self) -> tuple[str, int] | None:
        """Go on with the hand: the next entry that was not read since it last came by."""
        # The first round may do no more than take all marks away.
        for _ in range(3):
            for key in self._round:
                if key in self._marked:
                    self._marked.discard(key)
                elif (size := self._sizes.get(key)) is not None:
                    return key, size
            self._round = iter(list(self._sizes))
        return None

    def _next_of_others(self) -> tuple[str, int] | None:
        """Go on with the walk: the next entry that neither was filled nor read here."""
        if self._walk is None:
            self._walk = iter(self._ledger.sizes())
        for key, size in self._walk:
            if key in self._sizes:
                continue
            if key not in self._marked:
                return key, size
            self._sizes[key] = size
        self._walk = None
        self._is_first_walk = False
        return None
