"""How an event reached this process, for events that came from the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from antiphon.events.event_id import EventId

if TYPE_CHECKING:
    from antiphon.events.abstract_event_manager import BaseEvent

_new_tuple = tuple.__new__  # past a named tuple's own: half the time

#: What is kept of a delivery, for a named tuple takes five times as long to make: publisher and
#: counter of the id, then what ``Delivery`` has, in its order.
Came: TypeAlias = "tuple[bytes, int, str | None, int, object | None, bool, str | None]"

#: Bytes of the id in a position; it may come with more.
_ENTRY_ID_BYTES = 8

#: Where the trace context is in it.
TRACEPARENT = 6


class Delivery(NamedTuple):
    """What the sender wrote beside an event, and how it came.

    Attributes:
        event_id: the event's identity, the same in every process.
        origin: the origin that the sender gave it; None for no origin.
        time_ns: when it was emitted, nanoseconds since the Unix epoch, UTC,
            by the sender's clock.
        position: where the change stands in its store's journal; None for
            events that tell of no change.
        replayed: True if an archive or an outbox sent it again.
        traceparent: W3C trace context of the sender; None if it had none.
    """

    event_id: EventId
    origin: str | None
    time_ns: int
    position: object | None = None
    replayed: bool = False
    traceparent: str | None = None

    @classmethod
    def of(cls, came: Came) -> Self:
        """Return *came* as a delivery."""
        place: Any = came[4]
        if place is not None and len(place[3]) > _ENTRY_ID_BYTES:
            # What follows the id links it to the entry before: nothing of the position's.
            came = (*came[:4], (*place[:3], place[3][:_ENTRY_ID_BYTES]), *came[5:])
        return _new_tuple(cls, (id_of(came), *came[2:]))


def id_of(came: Came) -> EventId:
    """Return the id of the event that *came*."""
    return _new_tuple(EventId, came[:2])


def delivery_of(event: BaseEvent) -> Delivery | None:
    """Return how *event* came from another process; None if it was made in this one."""
    return event._delivery
