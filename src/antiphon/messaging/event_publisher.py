"""What goes out: events encoded and put into the buffer that the transport empties."""

from __future__ import annotations

from sys import modules
from time import time_ns

from antiphon.events import event_id as event_ids
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.messaging.exchanges import Exchanges
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.tracing import traceparent
from antiphon.wire.codec import Codec


class EventPublisher:
    """Turns events into bytes for the buffer; used by any thread.

    Args:
        codec: encodes.
        outgoing: takes the events.
        publisher_id: of the bus.
        exchanges: where events go that have an exchange of their own.
    """

    def __init__(
        self, codec: Codec, outgoing: OutgoingBuffer, publisher_id: str, exchanges: Exchanges
    ) -> None:
        self._pack = codec.pack
        self._add = outgoing.add
        self._publisher_id = publisher_id
        self._exchanges = exchanges

    def publish(self, event: BaseEvent, origin: str | None) -> None:
        """Put *event* into the buffer, as one that happens now at *origin*.

        Raises:
            UnencodableAttribute, NameConflict, PublishBufferFull: nothing was put there.
        """
        state = event.__dict__
        sent = state.get("_sent")
        if sent is not None and sent[0] == self._publisher_id:
            # An event that is emitted twice happens twice: receivers drop repeated ids.
            publisher, counter = event_ids.next_id()
        elif sent is not None or "_came" in state or state.get("_event_id") is not None:
            publisher, counter = event._event_id or event_ids.next_id()
        else:
            publisher, counter = event_ids.next_id()
        trace = traceparent() if "opentelemetry.trace" in modules else None
        keyed, envelope = self._pack(event, origin, (publisher, counter), time_ns(), False, trace)
        exchange = event._exchange
        self._add(
            keyed
            if exchange is None
            else self._exchanges.address(*keyed, exchange=exchange, topic=event.topic),
            envelope,
        )
        # Afterwards: an event that found no room has not happened, and its copy for the codec,
        # which is made of this, need not be rid of it.
        state["_sent"] = (self._publisher_id, publisher, counter)
        if "_event_id" in state:
            event._event_id = EventId(publisher, counter)

    def publish_again(
        self, event: BaseEvent, origin: str | None, event_id: EventId, happened_ns: int
    ) -> None:
        """Put *event* into the buffer as the one with *event_id*, which happened before; see above.

        Receivers are told that it is a replayed one.
        """
        keyed, envelope = self._pack(event, origin, event_id, happened_ns, True)
        self._add(keyed, envelope)
