"""Figures of a recorder and its archive, as Prometheus takes them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from antiphon.archive.recorder import Recorder
from services.recorder.archive import KeptArchive

#: Counters of a recorder: attribute of its stats, name, and what is counted.
_COUNTERS = {
    "recorded": ("recorded_events", "Events that came into the archive."),
    "known": ("known_events", "Events that had been there before: they came a second time."),
    "commits": ("commits", "Transactions that succeeded."),
    "commit_s": ("commit_seconds", "Seconds that these took together."),
    "failures": ("failed_commits", "Transactions that failed, and were tried again."),
}


def recorder_metrics(recorder: Recorder) -> Iterable[Metric]:
    """Yield what *recorder* has done."""
    stats = recorder.stats()
    for attribute, (name, text) in _COUNTERS.items():
        yield CounterMetricFamily(
            f"antiphon_recorder_{name}", text, value=getattr(stats, attribute)
        )
    lag = GaugeMetricFamily(
        "antiphon_recorder_lag_seconds",
        "From the emitting of the newest archived event to its commit, by both clocks.",
    )
    if stats.lag_s is not None:
        lag.add_metric([], stats.lag_s)
    yield lag
    yield GaugeMetricFamily(
        "antiphon_recorder_waiting_seconds",
        "Since when the archive has refused what is in hand; 0 if it does not.",
        value=stats.waiting_s,
    )


def archive_metrics(archive: KeptArchive) -> Iterable[Metric]:
    """Yield what is in *archive*; nothing before it was looked at."""
    yield CounterMetricFamily(
        "antiphon_archive_purged_events",
        "Events that were deleted since the rules of retention do not keep them.",
        value=archive.deleted,
    )
    stats = archive.stats()
    events, size, oldest, newest = (
        (None, None, None, None)
        if stats is None
        else (stats.events, stats.bytes, stats.oldest, stats.newest)
    )
    found: dict[str, tuple[str, float | None]] = {
        "events": ("Events in the archive.", events),
        "bytes": ("What the archive takes on its medium.", size),
        "oldest_timestamp_seconds": ("Time of its earliest event.", oldest),
        "newest_timestamp_seconds": ("Time of its latest event.", newest),
        "disk_free_bytes": ("Room left on its disk.", archive.free_bytes),
    }
    for name, (text, value) in found.items():
        family = GaugeMetricFamily(f"antiphon_archive_{name}", text)
        if value is not None:  # no sample at all says better than any number that there is none
            family.add_metric([], value)
        yield family
