"""Keeps a mounted cache right: drops what the backing store's events tell of."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from antiphon.caching.applier import Applier
from antiphon.caching.events import CacheConflictEvent, CacheInvalidatedEvent, CacheTrustEvent
from antiphon.errors import InvalidValue, StoreError
from antiphon.events.delivery import delivery_of
from antiphon.messaging.bus import BrokerEventManager
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import Journal, Version
from antiphon.storage.mounted_store import MountedStore

logger = logging.getLogger(__name__)

#: Seconds between two looks into the backing store's journal.  They find what
#: no event told of: a lost last event, a writer that died before publishing.
CHECK_INTERVAL_S = 1.0

#: Seconds that ``stop()`` waits for a check that is under way.
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class InvalidatorStats:
    """What an invalidator did so far.

    Attributes:
        applied: changes applied to the cache.
        dropped: entries that these changes dropped.
        gaps: times a change was heard of before one that precedes it.
        repairs: times the journal had changes that no event had told of.
        rebuilds: times the whole cache was dropped, history being unknown.
        foreign: events of other stores under the same origin, ignored.
        conflicts: changes of keys that the user wrote here and has not pushed.
        doubts: times the cache stopped being vouched for.
    """

    applied: int
    dropped: int
    gaps: int
    repairs: int
    rebuilds: int
    foreign: int
    conflicts: int
    doubts: int


class CacheInvalidator:
    """Drops the entries of a cache that the backing store's changes make stale.

    Args:
        mounted: a ``MountedStore(..., fill=True)``, connected.
        bus: where the backing store's events are heard.  A started invalidator
            is held by its bus; nobody else needs to.
        check_interval_s: seconds between two looks into the journal.

    While the bus is not connected the cache is in doubt: nothing is served from
    it that the backing store's head does not confirm at that very read.  After
    a break the journal is read first, and only then the cache is trusted again.
    """

    def __init__(
        self,
        mounted: MountedStore,
        bus: BrokerEventManager,
        *,
        check_interval_s: float = CHECK_INTERVAL_S,
    ) -> None:
        if not check_interval_s > 0:
            raise ValueError(f"check_interval_s is {check_interval_s!r}; it must be above 0")
        if not isinstance(mounted, MountedStore):
            raise InvalidValue(
                f"CacheInvalidator takes a MountedStore(..., fill=True) and a bus, not {mounted!r}"
            )
        self.mounted = mounted
        self._bus = bus
        self._interval_s = check_interval_s
        self._filler = mounted.filling
        journal = self._filler.journal
        self._applier = Applier(self._filler.ledger, journal, mounted.mount_point)
        self._journal: Journal | None = journal
        self._state = threading.Condition()
        self._running = False
        self._look_now = False
        #: Counts breaks, so that a check that one interrupted vouches for nothing.
        self._breaks = 0
        self._trusted = False
        self._conflicts = 0
        self._doubts = 0
        self._told: dict[str, Version | None] = {}
        self._thread: threading.Thread | None = None
        self._listener: Callable[[Any], None] | None = None
        self._state_listener: Callable[[str], None] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def is_trusted(self) -> bool:
        """Whether this invalidator vouches for the cache now."""
        return self._trusted

    def is_alive(self) -> bool:
        """Return False if it was started, and its thread has ended without ``stop()``."""
        thread = self._thread
        has_begun = thread is not None and thread.ident is not None
        return not (thread and has_begun and self._running) or thread.is_alive()

    def stats(self) -> InvalidatorStats:
        """Return what was done so far."""
        counts = self._applier.counts
        return InvalidatorStats(
            applied=counts.applied,
            dropped=counts.dropped,
            gaps=counts.gaps,
            repairs=counts.repairs,
            rebuilds=counts.rebuilds,
            foreign=counts.foreign,
            conflicts=self._conflicts,
            doubts=self._doubts,
        )

    def start(self) -> Self:
        """Listen, check the cache against the journal, and vouch for it.  Twice is fine.

        If the backing store or the broker cannot be reached now, the cache
        stays in doubt and the invalidator goes on trying.
        """
        with self._state:
            if self._running:
                return self
            self._running = True
        # Listening comes first: what changes while the journal is read is heard.
        self._listen()
        self._check()
        self._thread = threading.Thread(
            target=self._watch, name="antiphon-invalidator", daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and vouching; the entries stay.  Twice is fine."""
        with self._state:
            if not self._running:
                return
            self._running = False
            self._state.notify_all()
        if self._listener is not None:
            self._bus.disconnect(StoreModificationEvent, self._listener)
        if self._state_listener is not None:
            self._bus.off_state(self._state_listener)
        self._fall_into_doubt()
        # The medium has the doubt now; another invalidator may vouch again.
        self._filler.freshness.is_doubted = False
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    # -- What happens on the bus ---------------------------------------------

    def _listen(self) -> None:
        # Functions are held strongly by an event manager, bound methods are
        # not: these two keep the invalidator alive for as long as its bus.
        def on_change(event: StoreModificationEvent) -> None:
            self._apply(event)

        def on_state(state: str) -> None:
            self._state_changed(state)

        self._listener, self._state_listener = on_change, on_state
        store = self.mounted.backing_store
        store_id = getattr(store, "store_id", None)
        origin = getattr(store, "origin", None)
        self._bus.on_state(on_state)
        self._bus.connect(
            StoreModificationEvent,
            on_change,
            filter={"source.store_id": store_id} if store_id is not None else {"source": store},
            origin=origin if isinstance(origin, str) else None,
        )

    def _apply(self, event: StoreModificationEvent) -> None:
        delivery = delivery_of(event)
        sent_ns = delivery.time_ns if delivery is not None else time.time_ns()

        def applied(key: str, version: Version | None, dropped: bool) -> None:
            self._tell(key, version, dropped, (time.time_ns() - sent_ns) / 1e9)

        if event.redacted:
            self._apply_redacted(event)
            return
        try:
            consistent = self._applier.apply(event.key, event.position, applied)
        except StoreError:
            # The cache's own medium failed: nothing in it can be relied on.
            logger.exception("cannot drop %r from the cache; it is in doubt", event.key)
            consistent = False
        if not consistent:
            # Here only in memory: whoever emits must not wait for a medium that fails.
            self._distrust()
            self._wake()

    def _apply_redacted(self, event: StoreModificationEvent) -> None:
        # Its key is a digest: only the journal tells what changed.
        try:
            if not self._applier.apply_redacted(event.position):
                self._wake()
        except StoreError:
            logger.exception("cannot drop the cache; it is in doubt")
            self._distrust()
            self._wake()

    def _state_changed(self, state: str) -> None:
        if state != "connected":
            self._fall_into_doubt()
        self._wake()

    def _wake(self) -> None:
        with self._state:
            self._look_now = True
            self._state.notify_all()

    # -- Doubt and trust -----------------------------------------------------

    def _distrust(self) -> None:
        """Stop vouching for the cache to the readers of this process."""
        with self._state:
            self._breaks += 1
            was_trusted, self._trusted = self._trusted, False
            self._doubts += was_trusted
        self._filler.freshness.is_doubted = True
        self._filler.freshness.vouched_here = False
        if was_trusted:
            self._bus.emit(CacheTrustEvent(self.mounted, key=None, trusted=False))

    def _fall_into_doubt(self) -> None:
        """Stop vouching for the cache to everybody."""
        self._distrust()
        try:
            self._filler.ledger.doubt()
        except StoreError as exc:
            logger.warning("cannot note the doubt in the cache: %s", exc)

    def _check(self) -> None:
        """Read the journal on; vouch for the cache if the bus was up all the while."""
        breaks = self._breaks
        try:
            self._applier.catch_up(self._found_in_journal, after_doubt=not self._trusted)
        except StoreError as exc:
            logger.warning("cannot check the cache: %s", exc)
            self._fall_into_doubt()
            return
        try:
            newly = self._vouch(breaks)
        except StoreError as exc:
            # The cache's medium lost what it had noted, or cannot be reached.
            logger.warning("cannot vouch for the cache: %s", exc)
            self._fall_into_doubt()
            self._wake()
            return
        if newly:
            self._bus.emit(CacheTrustEvent(self.mounted, key=None, trusted=True))

    def _vouch(self, breaks: int) -> bool:
        """Vouch for the cache if nothing broke since *breaks*; whether that is news."""
        with self._state:
            if breaks != self._breaks or not self._running or not self._bus.is_connected:
                return False
            # Inside the lock, so that no doubt that comes now is overwritten.
            self._filler.ledger.beat()
            self._filler.freshness.is_doubted = False
            self._filler.freshness.vouched_here = True
            newly, self._trusted = not self._trusted, True
            return newly

    def _watch(self) -> None:
        while True:
            with self._state:
                if self._running and not self._look_now:
                    self._state.wait(self._interval_s)
                if not self._running:
                    return
                self._look_now = False
            try:
                self._check()
            except Exception:  # the thread must outlive whatever a store of others raises
                logger.exception("cannot check the cache")
                self._fall_into_doubt()

    # -- What is told --------------------------------------------------------

    def _found_in_journal(self, key: str, version: Version | None, dropped: bool) -> None:
        self._tell(key, version, dropped, None)

    def _tell(
        self, key: str, version: Version | None, dropped: bool, latency_s: float | None
    ) -> None:
        base, is_own = self._filler.own.look(key)
        if is_own and base != version and self._told.get(key, base) != version:
            self._told[key] = version
            self._conflicts += 1
            logger.warning("%r changed at its source; your unpushed value is kept", key)
            self._bus.emit(CacheConflictEvent(self.mounted, key=key, base=base, version=version))
        self._bus.emit(
            CacheInvalidatedEvent(
                self.mounted, key=key, version=version, dropped=dropped, latency_s=latency_s
            )
        )
