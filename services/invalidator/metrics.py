"""Figures of caches and their invalidators, as Prometheus takes them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from services.invalidator.cache import WatchedCache

#: Counters of an invalidator with what they count.
INVALIDATOR_COUNTERS = {
    "applied": "Changes applied to the cache.",
    "coalesced": "Of these, those that cost nothing, as newer ones of their keys came with them.",
    "dropped": "Entries that these changes dropped.",
    "prefixes": "Times all below a prefix was dropped, for many changes at once.",
    "gaps": "Times a change was heard of before one that precedes it.",
    "repairs": "Times the journal had changes that no event had told of.",
    "rebuilds": "Times all entries became unchecked, history being unknown.",
    "foreign": "Events of other stores under the same origin, ignored.",
    "conflicts": "Changes of keys that a user wrote into the cache and has not pushed.",
    "doubts": "Times the cache stopped being vouched for.",
}

#: Counters of the readers of one process with what they count.
READER_COUNTERS = {
    "hits": "Reads in this process that were served from the cache.",
    "fills": "Values that reads in this process put into the cache.",
    "voided": "Values that they did not, since the key changed while it was read.",
}


def cache_metrics(caches: Iterable[WatchedCache]) -> Iterable[Metric]:
    """Yield what is known of *caches*."""
    stats = {cache.title: cache.stats() for cache in caches}
    read = {cache.title: cache.read_stats() for cache in caches}
    trusted = GaugeMetricFamily(
        "antiphon_cache_trusted", "1 while the cache is vouched for.", labels=["cache"]
    )
    for cache in caches:
        trusted.add_metric([cache.title], float(cache.problem() is None))
    yield trusted
    staleness = GaugeMetricFamily(
        "antiphon_cache_staleness_seconds",
        "Since the newest look into the journal that succeeded: older changes are applied.",
        labels=["cache"],
    )
    for title, counts in stats.items():
        # No sample at all says better than any number that there is none.
        if counts is not None and counts.staleness_s is not None:
            staleness.add_metric([title], counts.staleness_s)
    yield staleness
    for name, text in INVALIDATOR_COUNTERS.items():
        family = CounterMetricFamily(f"antiphon_cache_{name}", text, labels=["cache"])
        for title, counts in stats.items():
            family.add_metric([title], 0 if counts is None else getattr(counts, name))
        yield family
    for name, text in READER_COUNTERS.items():
        family = CounterMetricFamily(f"antiphon_cache_{name}", text, labels=["cache"])
        for title, met in read.items():
            family.add_metric([title], getattr(met, name))
        yield family
