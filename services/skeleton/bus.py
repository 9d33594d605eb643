"""The bus of a service: opened from its settings, watched, measured and closed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from prometheus_client import Metric

from antiphon import AntiphonError, BrokerEventManager, open_bus
from antiphon.messaging.options import BusOptions
from services.skeleton.metrics import bus_metrics
from services.skeleton.settings import ServiceSettings, in_setting

logger = logging.getLogger("antiphon.service.bus")

#: What the broker gets of ``stop_timeout_s`` to take what was emitted.
_FLUSHING = 0.4

#: Seconds that listeners get to end.
_CLOSING_S = 1.0


class ServiceBus:
    """A bus that comes up in the background, and what a service says of it.

    Args:
        settings: of the service.

    Raises:
        BadSettings: the URL makes no sense; nothing was opened.

    Attributes:
        bus: the bus.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        with in_setting("amqp_url"):
            self.bus: BrokerEventManager = open_bus(
                settings.bus_url,
                origin=settings.origin,
                system=settings.system,
                wait=False,
                options=BusOptions(canary_interval_s=settings.canary_interval_s),
            )
        self._heal_timeout_s = settings.heal_timeout_s
        self._stop_timeout_s = settings.stop_timeout_s
        self._well_at = time.monotonic()
        self._told: str | None = None

    def start(self) -> None:
        """Begin to log each change of the connection."""
        self.bus.on_state(lambda state: logger.info("the bus is %s", state))

    def tick(self) -> None:
        """Log what is wrong with the bus, once for each reason; call it once a second."""
        health = self.bus.health()
        if health.ready:
            self._well_at = time.monotonic()
        problem = "; ".join(health.problems) or None
        if problem is not None and problem != self._told:
            logger.warning("the bus does not work, trying again: %s", problem)
        self._told = problem

    def problem(self) -> str | None:
        """Return why the bus does not work at this moment, or None if it does."""
        return "; ".join(self.bus.health().problems) or None

    def failure(self) -> str | None:
        """Return why only a restart helps, or None."""
        health = self.bus.health()
        if health.is_broken:
            return "; ".join(health.problems)
        ill_s = time.monotonic() - self._well_at
        if not health.ready and self._heal_timeout_s and ill_s > self._heal_timeout_s:
            return f"the bus has not worked for {ill_s:.0f} s: {'; '.join(health.problems)}"
        return None

    def metrics(self) -> Iterable[Metric]:
        """Yield the figures of the bus."""
        return bus_metrics(self.bus)

    def close(self) -> None:
        """Leave the bus once the broker has what was emitted.  Twice is fine.

        A broker that is slow gets 0.4 of ``stop_timeout_s``, so that requests, or stores,
        may have had as much before; what it has not taken by then is logged, and given up.
        """
        if self.bus.is_closed:
            return
        try:
            self.bus.flush(_FLUSHING * self._stop_timeout_s)
        except AntiphonError:
            self.bus.close(0)  # which says how much it was
        else:
            self.bus.close(_CLOSING_S)
