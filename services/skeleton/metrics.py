"""Figures of the parts that services are made of, as Prometheus takes them."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from antiphon import BrokerEventManager

#: Counters of a bus with what they count.
_EVENTS = {
    "emitted": "Events handed to the transport.",
    "confirmed": "Events that the broker has taken.",
    "returned": "Confirmed events to which nobody listens.",
    "recovered": "Events that an earlier process had left in the spool.",
    "rejected": "Events for which there was no room.",
    "dropped": "Events given up to make room.",
    "received": "Events that came from other processes.",
    "duplicates": "Received events that had come before.",
    "corrupt": "Messages that could not be read.",
    "skipped": "Messages dropped unread, since too much waited for slow listeners.",
}

#: Counters of a durable subscription with what they count.
_SUBSCRIPTION_EVENTS = {
    "received": "Events that came from the queue of a subscription.",
    "handled": "Events that the listener of a subscription has handled.",
    "duplicates": "Events of a subscription that had been handled before.",
    "failures": "Calls of the listener of a subscription that raised; most are tried again.",
    "dead": "Events of a subscription that went to the dead letters.",
    "moved": "Messages of a subscription sent on singly, since a process may have crashed with it.",
}


#: Counters of an outbox with what they count.
_OUTBOX = {
    "swept": "Journal entries that were found to be published.",
    "orphaned": "Events that were published in place of processes that did not live to.",
    "position_lost": "Times a journal did not go on from where it was swept to.",
    "unpublishable": "Journal entries whose events no bus can carry.",
}


def service_metrics(
    name: str, checks: Mapping[str, str | None], logged: Mapping[str, int]
) -> Iterable[Metric]:
    """Yield what every service has.

    Args:
        name: of the service.
        checks: why each thing that it needs is not there, or None.
        logged: how many records were logged at each level.
    """
    info = GaugeMetricFamily(
        "antiphon_service_info",
        "1; which service of which version it is.",
        labels=["service", "version", "python"],
    )
    version = importlib.metadata.version("antiphon")
    info.add_metric([name, version, platform.python_version()], 1)
    yield info
    is_ready = not any(checks.values())
    yield GaugeMetricFamily(
        "antiphon_service_ready", "1 while /readyz says that it is ready.", value=is_ready
    )
    passed = GaugeMetricFamily(
        "antiphon_service_check", "1 while this part of /readyz is well.", labels=["check"]
    )
    for check, problem in checks.items():
        passed.add_metric([check], float(problem is None))
    yield passed
    records = CounterMetricFamily(
        "antiphon_log_records", "Records that were logged, by level.", labels=["level"]
    )
    for level, count in logged.items():
        records.add_metric([level], count)
    yield records


def bus_metrics(bus: BrokerEventManager) -> Iterable[Metric]:
    """Yield what a bus counts, and how it is."""
    yield from _health(bus)
    stats = bus.stats()
    yield GaugeMetricFamily(
        "antiphon_bus_spooled_bytes", "What the spool takes on disk.", value=stats.spooled_bytes
    )
    for name, text in _EVENTS.items():
        yield CounterMetricFamily(f"antiphon_bus_{name}_events", text, value=getattr(stats, name))
    yield CounterMetricFamily(
        "antiphon_bus_messages", "What the emitted events were sent as.", value=stats.messages
    )
    yield CounterMetricFamily(
        "antiphon_bus_reconnects", "Times the connection came up again.", value=stats.reconnects
    )
    yield CounterMetricFamily(
        "antiphon_bus_blocked_seconds",
        "Seconds that emitting threads have waited for room.",
        value=stats.blocked_s,
    )
    yield from _subscriptions(bus)
    yield from _outbox(bus)


def _health(bus: BrokerEventManager) -> Iterable[Metric]:
    health = bus.health()
    gauges: dict[str, tuple[str, float | None]] = {
        "ready": ("1 while events go out and come in.", health.ready),
        "connected": (
            "1 while everything is declared and consumed at the broker.",
            health.is_connected,
        ),
        "blocked": ("1 while the broker takes nothing.", health.blocked_because is not None),
        "buffered_events": ("Events that the broker has not confirmed yet.", health.buffered),
        "backlog_messages": ("Messages that wait for listeners.", health.backlog),
        "consumers": ("Queues that are consumed at the broker.", health.consumers),
        "canary_age_seconds": (
            "Since a message of the bus to itself went round the broker.",
            health.canary_age_s,
        ),
        "canary_round_trip_seconds": (
            "What the newest message of the bus to itself took.",
            health.canary_round_trip_s,
        ),
    }
    for name, (text, value) in gauges.items():
        family = GaugeMetricFamily(f"antiphon_bus_{name}", text)
        if value is not None:  # no sample at all says better than any number that there is none
            family.add_metric([], float(value))
        yield family


def _outbox(bus: BrokerEventManager) -> Iterable[Metric]:
    stats = getattr(bus.outbox, "stats", lambda: None)()
    if stats is None:
        return
    for name, text in _OUTBOX.items():
        yield CounterMetricFamily(f"antiphon_outbox_{name}", text, value=getattr(stats, name))
    yield GaugeMetricFamily(
        "antiphon_outbox_waiting_entries",
        "Journal entries that nobody had swept when it last looked.",
        value=stats.waiting,
    )
    yield GaugeMetricFamily(
        "antiphon_outbox_lag_seconds",
        "Since the oldest of these was committed; 0 without any.",
        value=stats.lag_s,
    )


def _subscriptions(bus: BrokerEventManager) -> Iterable[Metric]:
    found = {one.name: one.stats() for one in bus.durable_subscriptions}
    for name, text in _SUBSCRIPTION_EVENTS.items():
        counter = CounterMetricFamily(
            f"antiphon_subscription_{name}_events", text, labels=["subscription"]
        )
        for subscription, stats in found.items():
            counter.add_metric([subscription], getattr(stats, name))
        yield counter
    in_hand = GaugeMetricFamily(
        "antiphon_subscription_in_hand_messages",
        "Messages of a subscription that came and are not settled yet.",
        labels=["subscription"],
    )
    for subscription, stats in found.items():
        in_hand.add_metric([subscription], stats.in_hand)
    yield in_hand
