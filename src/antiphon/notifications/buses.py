"""Which bus a publisher or a subscriber uses."""

from __future__ import annotations

from typing import Any

from antiphon.errors import NoBus
from antiphon.events.package_globals import get_event_manager
from antiphon.messaging.broker_event_manager import BrokerEventManager


def bus_for(bus: BrokerEventManager | None, process: Any, who: object) -> BrokerEventManager:
    """Return *bus*, else *process* if that is a bus, else the program's global one.

    Raises:
        NoBus: *who* has none of them.
    """
    for found in (bus, process, get_event_manager()):
        if isinstance(found, BrokerEventManager):
            return found
    raise NoBus(
        f"{type(who).__name__} has no bus: give it bus=open_bus(…), or make a bus the program's "
        "own with antiphon.events.package_globals.set_event_manager(open_bus(…)) at its start"
    )
