"""Opening a bus that has an outbox."""

from __future__ import annotations

import functools

from antiphon.messaging import bus as messaging_bus
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.messaging.options import BusOptions
from antiphon.outbox.options import Timing
from antiphon.outbox.outbox import Outbox


@functools.wraps(messaging_bus.open_bus)
def open_bus(
    url: str | None = None,
    *,
    origin: str | None = None,
    system: str = "antiphon",
    connect_timeout_s: float = 10.0,
    wait: bool = True,
    options: BusOptions | None = None,
) -> BrokerEventManager:
    # Documented where it is wrapped.
    bus = messaging_bus.open_bus(
        url,
        origin=origin,
        system=system,
        connect_timeout_s=connect_timeout_s,
        wait=wait,
        options=options,
    )
    if options is None or options.outbox:
        attach(bus)
    return bus


def attach(bus: BrokerEventManager, *, timing: Timing | None = None) -> Outbox:
    """Give *bus* an outbox, before any store has it as event manager; return that.

    Args:
        bus: without an outbox.
        timing: how quick the outbox is.

    Raises:
        ValueError: it has one.
    """
    if bus.outbox is not None:
        raise ValueError(f"{bus!r} has an outbox already")
    bus.outbox = outbox = Outbox(bus, timing=timing)
    return outbox
