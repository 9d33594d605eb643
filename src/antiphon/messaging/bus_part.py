"""What the parts of a bus share: emitting, listening, subscribing and the rest derive from it."""

from __future__ import annotations

from typing import Protocol

from antiphon.errors import BusClosed
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_manager import EventManager
from antiphon.messaging.topology import Topology
from antiphon.messaging.transport import Transport
from antiphon.wire.codec import Codec


class BusOutbox(Protocol):
    """What vouches for the events of the stores of one bus; ``antiphon.outbox`` makes it."""

    def stop(self, timeout_s: float) -> None:
        """Say what is confirmed by now, and end; the bus has sent what it could."""

    def abandon(self) -> None:
        """In a forked child: do nothing any more."""


class BusPart(EventManager):
    """Base of the parts of ``BrokerEventManager``, which sets the attributes.

    Attributes:
        url: where it was opened, with the password masked.
        system: the system whose events it carries.
        origin: origin of events that name none themselves.
        publisher_id: identifies this bus at the broker.
        outbox: publishes what other processes did not live to; None without one.
    """

    url: str
    system: str
    origin: str | None
    publisher_id: str
    outbox: BusOutbox | None = None
    _transport: Transport
    _topology: Topology
    _codec: Codec
    _closed_because: str | None

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise self._closed()

    def _closed(self) -> BusClosed:
        return BusClosed(f"the bus on {self.url} cannot be used: {self._closed_because}")

    def _is_local(self, event: BaseEvent) -> bool:
        return event.__dict__.get("_arrived_at") != self.publisher_id
