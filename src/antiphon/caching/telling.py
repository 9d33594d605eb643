"""Tells the own process what was done to a cache, and of conflicts with own writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from antiphon.caching.changes import Applied
from antiphon.caching.events import (
    CacheConflictEvent,
    CacheEvent,
    CacheInvalidatedEvent,
    CachePrefixInvalidatedEvent,
    CacheTrustEvent,
)
from antiphon.errors import BusClosed, StoreError
from antiphon.events.abstract_event_manager import BaseEventManager
from antiphon.storage.journal import Version
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.own_writes import Conflict

logger = logging.getLogger(__name__)

#: Changed keys up to which each is looked for among the user's own; for more,
#: all the user's own keys are read once instead.
_LOOKED_FOR = 64


class Telling:
    """The events of one cache.

    Args:
        mounted: the cache.
        manager: emits them.

    Attributes:
        conflicts: how many changes met an unpushed write of the user.
    """

    def __init__(self, mounted: MountedStore, manager: BaseEventManager) -> None:
        self.conflicts = 0
        self._mounted = mounted
        self._manager = manager
        self._told: dict[str, Version | None] = {}

    def applied(self, done: list[Applied]) -> None:
        """Tell of changes that were applied."""
        if not done:
            return
        try:
            self._look_for_conflicts(done)
        except StoreError as exc:
            logger.warning("cannot look for conflicts with unpushed keys: %s", exc)
        now_ns = time.time_ns()
        for one in done:
            is_prefix = one.covered is not None
            # Most have no listener, and then there is nothing to be made.
            if self._hears(CachePrefixInvalidatedEvent if is_prefix else CacheInvalidatedEvent):
                self._emit(self._event_of(one, now_ns))

    def trust(self, why: str | None) -> None:
        """Tell that the cache is vouched for from now on, or with *why* that it is not."""
        self._emit(CacheTrustEvent(self._mounted, key=None, trusted=why is None, why=why or ""))

    def _emit(self, event: CacheEvent) -> None:
        try:
            self._manager.emit(event)
        except BusClosed:
            # Nobody listens there any more; the cache is looked after all the same.
            logger.debug("the bus was closed: %r is not told", event)

    def _hears(self, cls: type[CacheEvent]) -> bool:
        # Asked of the class: what only passes on to another manager what it
        # lacks, as users' wrappers do, must not pass on this.
        hears = getattr(type(self._manager), "hears", None)
        return hears is None or bool(hears(self._manager, cls))

    def _event_of(self, one: Applied, now_ns: int) -> CacheEvent:
        latency_s = None if one.sent_ns is None else (now_ns - one.sent_ns) / 1e9
        if one.covered is not None:
            return CachePrefixInvalidatedEvent(
                self._mounted,
                key=one.key,
                dropped=one.dropped,
                changes=one.changes,
                latency_s=latency_s,
            )
        return CacheInvalidatedEvent(
            self._mounted,
            key=one.key,
            version=one.version,
            dropped=bool(one.dropped),
            changes=one.changes,
            latency_s=latency_s,
        )

    # -- Conflicts -----------------------------------------------------------

    def _look_for_conflicts(self, done: list[Applied]) -> None:
        changed: dict[str, Version | None] = {}
        for one in done:
            changed.update({one.key: one.version} if one.covered is None else one.covered)
        for key in self._perhaps_own(changed):
            found = self._mounted.filling.own.conflict_at(key, changed[key])
            if found is not None:
                self.conflict(found)

    def conflict(self, found: Conflict) -> None:
        """Tell of a conflict, unless it was told before."""
        key, base, version = found
        if self._told.get(key, base) == version:
            return
        self._told[key] = version
        self.conflicts += 1
        logger.warning("%r changed at its source; your unpushed value is kept", key)
        self._emit(CacheConflictEvent(self._mounted, key=key, base=base, version=version))

    def _perhaps_own(self, changed: Mapping[str, Version | None]) -> Iterable[str]:
        if len(changed) <= _LOOKED_FOR:
            return changed
        mount_point = self._mounted.mount_point
        own = (mount_point + short for short in self._mounted.mount_store.query_keys())
        return [key for key in own if key in changed]
