"""Figures of the parts that services are made of, as Prometheus takes them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from antiphon import BrokerEventManager

#: Counters of a bus with what they count.
_BUS_COUNTERS = {
    "emitted": "Events handed to the transport.",
    "confirmed": "Events that the broker has taken.",
    "returned": "Confirmed events to which nobody listens.",
    "received": "Events that came from other processes.",
    "duplicates": "Received events that had come before.",
    "corrupt": "Messages that could not be read.",
    "reconnects": "Times the connection came up again.",
}


def bus_metrics(bus: BrokerEventManager) -> Iterable[Metric]:
    """Yield what a bus counts."""
    stats = bus.stats()
    yield GaugeMetricFamily(
        "antiphon_bus_connected",
        "1 while everything is declared and consumed at the broker.",
        value=float(stats.is_connected),
    )
    yield GaugeMetricFamily(
        "antiphon_bus_blocked",
        "1 while the broker takes nothing.",
        value=float(stats.blocked_because is not None),
    )
    yield GaugeMetricFamily(
        "antiphon_bus_buffered_events",
        "Events that the broker has not confirmed yet.",
        value=stats.buffered,
    )
    for name, text in _BUS_COUNTERS.items():
        yield CounterMetricFamily(
            f"antiphon_bus_{name}_events" if name != "reconnects" else "antiphon_bus_reconnects",
            text,
            value=getattr(stats, name),
        )
