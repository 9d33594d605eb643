"""The invalidator as a service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, Metric

from antiphon.caching.events import (
    CacheInvalidatedEvent,
    CachePrefixInvalidatedEvent,
    CacheTrustEvent,
)
from services.invalidator.cache import WatchedCache
from services.invalidator.metrics import cache_metrics
from services.invalidator.settings import InvalidatorSettings
from services.skeleton import Service, ServiceBus

logger = logging.getLogger("antiphon.service.invalidator")

#: Seconds from a change to its being applied here; in one data centre, milliseconds.
_LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Invalidator(Service):
    """One bus, and a watched cache for each in the settings.

    Args:
        settings: of the service.

    Raises:
        BadSettings: a URL makes no sense.  An address that does not answer is
            no error: it is tried until it does, and ``/readyz`` says so.
    """

    def __init__(self, settings: InvalidatorSettings) -> None:
        self._is_stopping = False
        self._watched = ServiceBus(settings)
        self._bus = self._watched.bus
        try:
            self._caches = [
                WatchedCache(cache, self._bus, place=f"caches[{number}].")
                for number, cache in enumerate(settings.caches)
            ]
        except BaseException:
            self._bus.close(0)
            raise
        self._titles = {id(cache.mounted): cache.title for cache in self._caches}
        self._latency = Histogram(
            "antiphon_cache_invalidation_seconds",
            "From a change's event to its being applied here, by the clocks of both machines.",
            ["cache"],
            buckets=_LATENCY_BUCKETS_S,
            registry=CollectorRegistry(),
        )

    def start(self) -> None:
        """Begin to look after the caches."""
        self._bus.connect(CacheInvalidatedEvent, self._on_invalidated, scope="local")
        self._bus.connect(CachePrefixInvalidatedEvent, self._on_invalidated, scope="local")
        self._bus.connect(CacheTrustEvent, self._on_trust, scope="local")
        self._watched.start()
        for cache in self._caches:
            cache.start()

    def stop(self) -> None:
        """Stop looking after them, and leave the bus."""
        self._is_stopping = True
        for cache in self._caches:
            cache.stop()
        self._watched.close()

    def tick(self) -> None:
        """Log why the bus does not work, once for each reason."""
        self._watched.tick()

    def _on_invalidated(self, event: CacheInvalidatedEvent | CachePrefixInvalidatedEvent) -> None:
        title = self._titles[id(event.source)]
        logger.debug("cache %r: applied a change of %r", title, event.key)
        if event.latency_s is not None:
            # Clocks of two machines differ, and a histogram takes no time before zero.
            self._latency.labels(title).observe(max(event.latency_s, 0.0))

    def _on_trust(self, event: CacheTrustEvent) -> None:
        title = self._titles[id(event.source)]
        if event.trusted:
            logger.info("cache %r is vouched for", title)
        else:
            # At the end that is as it should be.
            level = logging.INFO if self._is_stopping else logging.WARNING
            logger.log(level, "cache %r is in doubt: %s", title, event.why)

    def readiness(self) -> Mapping[str, str | None]:
        """The bus works, as a canary has shown lately; each cache is vouched for."""
        caches = {f"cache {cache.title}": cache.problem() for cache in self._caches}
        return {"bus": self._watched.problem(), **caches}

    def failure(self) -> str | None:
        """A thread that has ended does not come back; a bus that does not heal may not, either."""
        dead = [cache.title for cache in self._caches if not cache.is_alive()]
        if dead:
            return f"nobody looks after the caches {', '.join(dead)} any more: a thread has ended"
        return self._watched.failure()

    def metrics(self) -> Iterable[Metric]:
        """The bus's figures and the invalidators'."""
        yield from self._watched.metrics()
        yield from self._latency.collect()
        yield from cache_metrics(self._caches)
