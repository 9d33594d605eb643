"""What ``MountedStore(..., fill=True)`` adds: a cache that is filled as it is read.

The user's own keys stay in the mount store's key space, the cache entries in
its ledger.  So ``delete``, ``push``, ``query`` and ``transaction`` see only the
user's own keys, and no invalidation can reach them (DESIGN section 8, P6).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.errors import InvalidValue, StoreError
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.changes import STAGE_ABOVE_BYTES
from antiphon.storage.freshness import MAX_STALENESS_S, Freshness
from antiphon.storage.journal import Journal, version_of
from antiphon.storage.journals import journals_of
from antiphon.storage.ledger import CachedEntry, CacheLedger, Fill, Reservation
from antiphon.storage.own_writes import OwnWrites
from antiphon.storage.value import Value

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the readers of one cache in this process met.

    Attributes:
        hits: reads served from the cache.
        misses: reads for which it had no entry.
        unsure: reads that went to the backing store because the entry could
            not be shown to be fresh.
        fills: values kept.
        voided: values not kept, since their key changed while they were read.
    """

    hits: int = 0
    misses: int = 0
    unsure: int = 0
    fills: int = 0
    voided: int = 0


class CachedValue(Value):
    """A value served from the cache; ``version`` is that of the backing store.

    Args:
        entry: what the ledger holds.
        again: returns the value anew, for a range of one that is too large to
            be held in memory.
    """

    def __init__(self, entry: CachedEntry, again: Callable[[], Value]) -> None:
        self._again = again
        self._metadata = entry.metadata
        self.size = entry.size
        self.created = entry.created
        self.modified = entry.modified
        self.version = entry.version
        self._bytes: bytes | None = None
        self._data = entry.data
        if entry.size <= STAGE_ABOVE_BYTES:
            with entry.data as stream:
                self._bytes = stream.read()
            self._data = BytesIO(self._bytes)

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        return self._data

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata; a copy that belongs to the caller."""
        return self._metadata

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        if self._bytes is not None:
            return BytesIO(self._bytes[start:end])
        return self._again().range(start, end)


class FillingMount:
    """The reads of one cache; ``own`` has the user's own writes to it.

    Args:
        mount_point: prefix of the keys that are cached.
        mount_store: holds the user's own keys, and the ledger.
        backing_store: where values come from.
        max_staleness_s: see ``Freshness``.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        max_staleness_s: float = MAX_STALENESS_S,
    ) -> None:
        self.mount_point = mount_point
        self.mount_store = mount_store
        self.backing_store = backing_store
        self._max_staleness_s = max_staleness_s
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(CacheStats.__slots__, 0)

    def open(self) -> None:
        """Find the ledger of the mount store, which is connected by now."""
        make_ledger = getattr(self.mount_store, "cache_ledger", None)
        ledger = make_ledger() if make_ledger is not None else None
        if ledger is None:
            raise InvalidValue(
                f"a {type(self.mount_store).__name__} cannot hold a cache (fill=True):"
                " use a memory, sqlite or Redis store as mount store"
            )
        self.ledger: CacheLedger = ledger
        self.journal: Journal | None = journal_of(self.backing_store)
        if self.journal is None and not _tells_of_changes(self.backing_store):
            raise InvalidValue(
                f"cannot fill from {self.backing_store!r}, which has no journal and no events of"
                " its own: give the store behind it as backing store"
            )
        self.own = OwnWrites(
            self.mount_point,
            self.mount_store,
            self.backing_store,
            ledger=ledger,
            has_journal=self.journal is not None,
        )
        self.freshness = Freshness(ledger, self.journal, max_staleness_s=self._max_staleness_s)

    def stats(self) -> CacheStats:
        """Return what the readers of this process met so far."""
        with self._lock:
            return CacheStats(**self._counts)

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1

    # -- Reading -------------------------------------------------------------

    def fresh_entry(self, key: str) -> CachedEntry | None:
        """Return the entry of *key* if there is one that may be served now."""
        try:
            return self._fresh_entry(key)
        except StoreError as exc:
            logger.warning("%r is not read from the cache: %s", key, exc)
            self._count("unsure")
            return None

    def _fresh_entry(self, key: str) -> CachedEntry | None:
        is_settled = self.freshness.is_settled()
        found = self.ledger.lookup(key)
        if found.entry is None:
            self._count("misses")
            return None
        if is_settled and found.beat is not None:
            self._count("hits")
            return found.entry
        found.entry.data.close()
        if not self.freshness.covers(found.beat):
            self._count("unsure")
            return None
        # That the cache is fresh was found out after the look-up, and speaks of
        # what is there now: the entry may have been dropped in between.
        entry = self.ledger.lookup(key).entry
        self._count("misses" if entry is None else "hits")
        return entry

    def cached(self, key: str) -> Value | None:
        """Return the value of *key* if the cache has one that may be served now."""
        entry = self.fresh_entry(key)
        return None if entry is None else self._as_value(key, entry)

    def get(self, key: str) -> Value:
        """Return the value of *key*, from the cache or else, filling it, from its source."""
        entry = self.fresh_entry(key)
        if entry is None:
            entry = self._fill(key)
        return self.backing_store.get(key) if entry is None else self._as_value(key, entry)

    def _as_value(self, key: str, entry: CachedEntry) -> Value:
        return CachedValue(entry, lambda: self.backing_store.get(key))

    def _fill(self, key: str) -> CachedEntry | None:
        """Read *key* from the backing store and keep it; None if it cannot be kept."""
        try:
            reservation = self.ledger.reserve(key)
        except StoreError as exc:
            # The cache's trouble is not the reader's: the source answers.
            logger.warning("%r is not cached: %s", key, exc)
            return None
        try:
            value = self.backing_store.get(key)
            fill = Fill(
                value.data, dict(value.metadata), value.created, value.modified, version_of(value)
            )
        except BaseException:
            self._release(reservation)
            raise
        try:
            entry = self.ledger.fill(reservation, fill)
        except StoreError as exc:
            # If it was the source that failed, it fails again when it is read for the caller.
            logger.warning("%r is not cached: %s", key, exc)
            return None
        self._count("voided" if entry is None else "fills")
        return entry

    def _release(self, reservation: Reservation) -> None:
        try:
            self.ledger.release(reservation)
        except StoreError as exc:
            logger.debug("a reservation is left to its time: %s", exc)


def _tells_of_changes(store: Any) -> bool:
    """Whether somebody may hear of the changes of *store*, which has no journal now.

    Wrappers never emit, and stores that could have a journal and have none tell
    of what goes through them only.
    """
    wraps = getattr(store, "stores", None) or hasattr(getattr(store, "store", None), "query")
    return not (wraps or hasattr(store, "since"))


def journal_of(store: object) -> Journal | None:
    """Return the one journal of *store*; None if it keeps none, or has several."""
    journals = journals_of(store)
    return journals[0] if journals is not None and len(journals) == 1 else None
