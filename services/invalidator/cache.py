"""One cache that the invalidator looks after."""

from __future__ import annotations

import contextlib
import logging
import threading

from antiphon import AntiphonError, BrokerEventManager, CacheInvalidator, MountedStore, open_store
from antiphon.caching.stats import InvalidatorStats
from antiphon.storage.cache_stats import CacheStats
from services.invalidator.settings import CacheSettings
from services.skeleton.settings import in_setting

logger = logging.getLogger("antiphon.service.cache")

#: Seconds before a store that could not be opened is tried again, and at most.
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 10.0


class WatchedCache:
    """Opens the two stores of a cache, again and again if need be, and keeps it right.

    Args:
        settings: of this cache.
        bus: tells of the changes of the backing store.
        place: of its settings, for messages: ``caches[0].``

    Raises:
        BadSettings: a URL makes no sense; nothing was connected.
    """

    def __init__(
        self, settings: CacheSettings, bus: BrokerEventManager, *, place: str = ""
    ) -> None:
        self.title = settings.title
        with in_setting(f"{place}cache_url"):
            self._cache = open_store(settings.cache_url, event_manager=bus)
        with in_setting(f"{place}backing_url"):
            self._backing = open_store(settings.backing_url, event_manager=bus)
        self.mounted = MountedStore(settings.mount_point, self._cache, self._backing, fill=True)
        self.mounted.event_manager = bus
        self._bus = bus
        self._settings = settings
        self._invalidator: CacheInvalidator | None = None
        self._problem = "its stores are being opened"
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._open, name=f"open cache {self.title}", daemon=True
        )

    def start(self) -> None:
        """Begin to open the stores."""
        self._thread.start()

    def _open(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            try:
                self.mounted.connect()
                self._invalidator = self._start_invalidator()
                return
            except AntiphonError as exc:
                self._problem = str(exc)
                logger.warning("cannot open cache %r, trying again: %s", self.title, exc)
            except Exception as exc:  # a store of somebody else's may raise anything
                self._problem = f"{type(exc).__name__}: {exc}"
                logger.exception("cannot open cache %r, trying again", self.title)
            self._stopping.wait(retry_s)
            retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _start_invalidator(self) -> CacheInvalidator:
        invalidator = CacheInvalidator(
            self.mounted,
            self._bus if self._settings.follow == "events" else None,
            check_interval_s=self._settings.check_interval_s,
        ).start()
        logger.info("cache %r is looked after", self.title)
        return invalidator

    def problem(self) -> str | None:
        """Return why the cache is not vouched for, or None if it is."""
        invalidator = self._invalidator
        if invalidator is None:
            return self._problem
        found = []
        if (doubt := invalidator.doubt) is not None:
            found.append(f"it is in doubt: {doubt}")
        # A look that hangs raises nothing, and changes nothing else that is seen here; a doubt
        # of before may have another reason.
        staleness_s = invalidator.stats().staleness_s
        if staleness_s is not None and staleness_s > self._settings.staleness_limit_s:
            found.append(f"its journal was read last {staleness_s:.0f} s ago")
        return "; ".join(found) or None

    def is_alive(self) -> bool:
        """Return False if a thread has ended that was not to."""
        if self._thread.ident is None or self._stopping.is_set():
            return True
        if self._invalidator is not None:
            return self._invalidator.is_alive()
        return self._thread.is_alive() or self._invalidator is not None

    def stats(self) -> InvalidatorStats | None:
        """Return what was done so far; None if the stores are not open yet."""
        return self._invalidator.stats() if self._invalidator is not None else None

    def read_stats(self) -> CacheStats:
        """Return what readers of this process met; nothing before the stores are open."""
        return self.mounted.cache_stats() if self._invalidator is not None else CacheStats()

    def stop(self) -> None:
        """Stop looking after it, and close its stores; what is cached stays."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._invalidator is not None:
            self._invalidator.stop()
        for store in (self.mounted, self._cache, self._backing):
            with contextlib.suppress(AntiphonError):
                if store.is_connected():
                    store.disconnect()
