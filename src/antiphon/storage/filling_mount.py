"""What ``MountedStore(..., fill=True)`` adds: a cache that is filled as it is read.

The user's own keys stay in the mount store's key space, the cache entries in
its ledger.  So ``delete``, ``push``, ``query`` and ``transaction`` see only the
user's own keys, and no invalidation can reach them (DESIGN section 8, P6).

A read goes through these steps, and most end with the first:

1. Nobody doubts the cache, and a question was answered less than a third of the
   bound ago: what is looked up now is fresh.
2. Otherwise it is found out whether the cache is fresh (``Freshness``), and the
   entry is looked up again: what was found out speaks of what is there then.
3. An entry from before a lost history is confirmed by its version.
4. What is not there, or cannot be shown to be fresh, is read from the backing
   store and kept.  Steps 3 and 4 are done once for all who want the same key
   (``Flights``), and not while the store is known to be down (``Outage``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from antiphon.errors import InvalidValue, StoreError
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.ahead import ahead_of
from antiphon.storage.beside import Beside
from antiphon.storage.cache_options import CacheOptions
from antiphon.storage.cache_stats import CacheCounts, CacheStats
from antiphon.storage.cached_entry import CachedEntry
from antiphon.storage.cached_value import CachedValue, UnsureValue
from antiphon.storage.claiming import claim
from antiphon.storage.eviction import Eviction
from antiphon.storage.flights import Flights
from antiphon.storage.freshness import Freshness, boot_clock
from antiphon.storage.freshness_modes import Demand, FreshnessReport
from antiphon.storage.freshness_questions import Question, report_of
from antiphon.storage.journal import Journal, Position, Version, version_of
from antiphon.storage.journals import journals_of, tells_of_changes
from antiphon.storage.layered_store import closing_value, version_in
from antiphon.storage.ledger import CacheLedger, Fill, Reservation
from antiphon.storage.outage import Outage
from antiphon.storage.own_writes import OwnWrites
from antiphon.storage.pushing import Pushing
from antiphon.storage.value import Value

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class FillingMount:
    """The reads of one cache.

    Args:
        mount_point: prefix of the keys that are cached.
        mount_store: holds the user's own keys, and the ledger.
        backing_store: where values come from.
        options: how it serves.
    """

    def __init__(
        self,
        mount_point: str,
        mount_store: AbstractStore,
        backing_store: AbstractStore,
        *,
        options: CacheOptions | None = None,
    ) -> None:
        self.mount_point = mount_point
        self.mount_store = mount_store
        self.backing_store = backing_store
        self.options = CacheOptions() if options is None else options
        #: The only one that counts: this reader's own.
        self.clock = boot_clock
        #: What the readers of this process met.
        self.counts = CacheCounts()
        self._outage = Outage(self.clock)
        # A medium that is locked holds up one of those who fill, and not each.
        self._keeping = Outage(self.clock)
        self._fills: Flights[CachedEntry] = Flights(self.clock)
        self._confirmations: Flights[CachedEntry] = Flights(self.clock)
        self._beside = Beside("antiphon-confirm")

    def open(self) -> None:
        """Find the ledger of the mount store, which is connected by now."""
        make_ledger = getattr(self.mount_store, "cache_ledger", None)
        ledger = make_ledger() if make_ledger is not None else None
        if ledger is None:
            raise InvalidValue(
                f"a {type(self.mount_store).__name__} cannot hold a cache (fill=True):"
                " use a memory, sqlite, files or Redis store as mount store"
            )
        self.ledger: CacheLedger = ledger
        #: The journals that tell of every change of the backing store; empty if it has none.
        self.journals: tuple[Journal, ...] = journals_of(self.backing_store) or ()
        if not self.journals and not tells_of_changes(self.backing_store):
            raise InvalidValue(
                f"cannot fill from {self.backing_store!r}, which has no journal and no events of"
                " its own: give the store behind it as backing store"
            )
        claim(ledger, self.journals)
        self.own = OwnWrites(
            self.mount_point,
            self.mount_store,
            self.backing_store,
            ledger=ledger,
            journals=self.journals,
        )
        self._pushing = Pushing(self.own)
        self._pushing.recover()
        self.freshness = Freshness(
            ledger,
            self.journals or None,
            mode=self.options.mode,
            clock=self.clock,
            outage=self._outage,
        )
        bounds = self.options.max_bytes, self.options.max_entries
        self.eviction = (
            None
            if bounds == (None, None)
            else Eviction(ledger, max_bytes=bounds[0], max_entries=bounds[1], clock=self.clock)
        )
        #: Notes that an entry was read; None if the cache has no bounds.
        self.touched = None if self.eviction is None else self.eviction.touched

    @property
    def journal(self) -> Journal | None:
        """The only one of ``journals``; None if there is none, or several."""
        return self.journals[0] if len(self.journals) == 1 else None

    def stats(self) -> CacheStats:
        """Return what the readers of this process met so far."""
        return self.counts.stats(
            shared=self._fills.shared + self._confirmations.shared,
            spared=self._outage.spared,
            evicted=0 if self.eviction is None else self.eviction.evicted,
        )

    def report(self) -> FreshnessReport:
        """Return what an entry that is served now would be worth; it asks as a read does."""
        freshness = self.freshness
        try:
            beat = self.ledger.lookup("").beat
            if self.options.mode.name == "available":
                is_fresh = freshness.covers_soon(beat)
            else:
                is_fresh = (freshness.is_settled() and beat is not None) or freshness.covers(beat)
            positions = tuple(self.ledger.positions().values())
        except StoreError as exc:
            return FreshnessReport("unsure", None, f"the cache cannot be read: {exc}")
        told = report_of(
            freshness.shown, freshness.now(), doubt=None if is_fresh else freshness.doubts()
        )
        return FreshnessReport(told.state, told.age_s, told.why, positions)

    # -- Reading -------------------------------------------------------------

    def cached(self, key: str, demand: Demand | None = None) -> CachedValue | None:
        """Return the value of *key* if the cache has one that may be served now."""
        wanted = self._wanted(demand)
        try:
            if demand is not None:
                return self._demanded(key, demand, wanted)
            # What is known before the look-up counts, and nothing newer.
            shown, now = self.freshness.shown, self.clock()
            is_settled = self.freshness.is_settled(now)
            entry, beat = self.ledger.lookup(key)
            if entry is None:
                self.counts.add("misses")
                return None
            if is_settled and beat is not None and entry.checked:
                return self._hit(key, entry, shown, now)
            if self.options.mode.name == "available":
                return self._available(key, beat)
            return self._shown(key, entry, beat)
        except StoreError as exc:
            # The cache's trouble is not the reader's: the source answers.
            logger.warning("%r is not read from the cache: %s", key, exc)
            self.counts.add("unsure")
            return None

    def get(self, key: str, demand: Demand | None = None) -> Value:
        """Return the value of *key*, from the cache or else, filling it, from its source."""
        found = self.cached(key, demand)
        if found is not None:
            return found
        landed = self._fills.run(
            key,
            lambda: self._fill(key),
            within_s=self._bound(demand),
            holds=lambda entry: self._holds(key, entry.version),
        )
        if landed is None:
            began = self.clock()
            return self.told(self.source(lambda: self.backing_store.get(key)), began)
        return self._asked(landed.cargo, landed.began_at)

    def source(self, read: Callable[[], _T]) -> _T:
        """Return what *read* returns, which reads the backing store.

        Raises:
            StoreUnavailable: it is down; at once, if that is known already.
        """
        return self._outage.call(read)

    def told(self, value: _T, began: float | None = None) -> _T:
        """Return *value*, which came from its source, with what is to be told of it."""
        if isinstance(value, Value) and value.freshness is None:
            now = self.clock()
            asked = Question(now if began is None else began, ())
            value.freshness = report_of(asked, now)
        return value

    def _wanted(self, demand: Demand | None) -> Position | None:
        if demand is None or demand.at_least is None:
            return None
        return self.freshness.position_of(demand.at_least)

    def _bound(self, demand: Demand | None) -> float:
        """Return the seconds by which a value of another reader's flight may be behind."""
        if demand is None:
            return self.options.mode.max_age_s
        if demand.at_least is not None:
            return 0.0  # what it asks for may be newer than the flight
        return demand.max_age_s or 0.0

    def _hit(self, key: str, entry: CachedEntry, shown: Question, now: float) -> CachedValue:
        self.counts.hit()
        if self.touched is not None:
            self.touched(key)
        return CachedValue(entry, shown, now)

    def _asked(self, entry: CachedEntry, began: float) -> CachedValue:
        """Return the value of an entry of which the source was asked from *began* on."""
        return CachedValue(entry, Question(began, ()), self.clock())

    def _demanded(self, key: str, demand: Demand, wanted: Position | None) -> CachedValue | None:
        entry, beat = self.ledger.lookup(key)
        if wanted is not None and not self.freshness.has_reached(wanted):
            if beat is None:
                self.counts.add("unsure")
                return None  # nobody is there who would come to it
            self.counts.add("waited")
            if not self.freshness.wait_for(wanted):
                self.counts.add("unsure")
                return None
            entry, beat = self.ledger.lookup(key)
        if entry is None:
            self.counts.add("misses")
            return None
        if wanted is not None and not self._has_exactly(entry, wanted):
            # Past it by its number: so is a position that the store has lost since.
            return self._shown(key, entry, beat, demand._replace(max_age_s=0.0))
        if demand.max_age_s is None and self.options.mode.name == "available":
            return self._available(key, beat, demand)
        return self._shown(key, entry, beat, demand)

    def _has_exactly(self, entry: CachedEntry, wanted: Position) -> bool:
        is_it = entry.checked and entry.version == wanted.version
        return is_it or self.ledger.positions().get(wanted.store_id) == wanted

    def _shown(
        self, key: str, entry: CachedEntry, beat: int | None, demand: Demand | None = None
    ) -> CachedValue | None:
        """Return the value of *key* if it can be shown to be fresh."""
        max_age_s = None if demand is None else demand.max_age_s
        if not entry.checked:
            return self._confirmed(key, demand)
        if not self.freshness.covers(beat, max_age_s=max_age_s):
            self.counts.add("unsure")
            return None
        # That the cache is fresh was found out after the look-up, and speaks of
        # what is there now: the entry may have been dropped in between.
        shown = self.freshness.shown
        again = self.ledger.lookup(key).entry
        if again is None:
            self.counts.add("misses")
            return None
        if not again.checked:
            return self._confirmed(key, demand)
        return self._hit(key, again, shown, self.clock())

    def _available(
        self, key: str, beat: int | None, demand: Demand | None = None
    ) -> CachedValue | None:
        """Return what there is of *key*, flagged if it cannot be shown to be fresh."""
        freshness = self.freshness
        is_fresh, shown = freshness.covers_soon(beat), freshness.shown
        entry = self.ledger.lookup(key).entry
        if entry is None:
            self.counts.add("misses")
            return None
        if entry.checked and is_fresh:
            return self._hit(key, entry, shown, self.clock())
        if not entry.checked and demand is not None:
            # No position tells of an entry of a lost history.
            return self._confirmed(key, demand)
        why = freshness.doubts()
        if not entry.checked:
            why = "the history of the backing store was lost, and it was not asked for the key yet"
            self._beside.run(key, lambda: self._confirmed(key))
        self.counts.add("stale_served")
        if self.touched is not None:
            self.touched(key)
        return UnsureValue(entry, shown, self.clock(), why)

    # -- Confirming and filling ----------------------------------------------

    def _confirmed(self, key: str, demand: Demand | None = None) -> CachedValue | None:
        """Ask the source whether it still has the very version; the value if so."""
        bound = self._bound(demand)
        landed = self._confirmations.run(key, lambda: self._confirm(key), within_s=bound)
        if landed is None:
            self.counts.add("unsure")
            return None
        self.counts.hit()
        if self.touched is not None:
            self.touched(key)
        return self._asked(landed.cargo, landed.began_at)

    def _confirm(self, key: str) -> CachedEntry | None:
        # The reservation comes first: what changes from here on voids it.
        reservation = self._reserve(key)
        try:
            is_ahead = ahead_of(self.ledger, self.journals)
            version = self.source(lambda: version_in(self.backing_store, key))
        except BaseException:
            self._release(reservation)
            raise
        if is_ahead(version):
            self._release(reservation)
            return None
        entry = self.ledger.confirm(reservation, version)
        if entry is not None:
            self.counts.add("confirmed")
        return entry

    def _fill(self, key: str) -> CachedEntry | None:
        """Read *key* from the backing store and keep it; None if it cannot be kept."""
        try:
            is_ahead = ahead_of(self.ledger, self.journals)
            reservation = self._reserve(key)
        except StoreError as exc:
            logger.warning("%r is not cached: %s", key, exc)
            return None
        try:
            value = self.source(lambda: self.backing_store.get(key))
            admits = self.eviction is None or self.eviction.admits(value.size)
            if not admits or is_ahead(version_of(value)):
                self._release(reservation)
                with closing_value(value):
                    return None
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
        self.counts.add("voided" if entry is None else "fills")
        if entry is not None and self.eviction is not None:
            self.eviction.added(key, entry.size)
        return entry

    def _holds(self, key: str, version: Version | None) -> bool:
        """Return whether the entry of *key* is of that very *version* still."""
        try:
            present = self.ledger.lookup(key).entry
        except StoreError:
            return False
        if present is None or version is None:
            return False
        return present.checked and present.version == version

    def _reserve(self, key: str) -> Reservation:
        return self._keeping.call(lambda: self.ledger.reserve(key))

    def _release(self, reservation: Reservation) -> None:
        try:
            self.ledger.release(reservation)
        except StoreError as exc:
            logger.debug("a reservation is left to its time: %s", exc)

    def push(self, key: str) -> None:
        """Push the user's own *key*; what readers fetch of it meanwhile is theirs alone."""
        try:
            self._pushing.push(key)
        finally:
            # Flights that took off before may bring what was there before.
            self._fills.void(key)
            self._confirmations.void(key)
