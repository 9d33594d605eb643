"""What goes out: events encoded and put into the buffer that the transport empties."""

from __future__ import annotations

import time
from collections.abc import Callable

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import next_event_id
from antiphon.messaging.exchanges import Exchanges
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec


class EventPublisher:
    """Turns events into messages; used by any thread.

    Args:
        codec: encodes.
        outgoing: takes the messages.
        wake: called when there is one.
        publisher_id: written into each message.
        persistent: see ``Message``.
        exchanges: where events go that have an exchange of their own.
    """

    def __init__(
        self,
        codec: Codec,
        outgoing: OutgoingBuffer,
        wake: Callable[[], None],
        publisher_id: str,
        persistent: bool,
        exchanges: Exchanges,
    ) -> None:
        self._codec = codec
        self._outgoing = outgoing
        self._wake = wake
        self._publisher_id = publisher_id
        self._persistent = persistent
        self._exchanges = exchanges

    def publish(self, event: BaseEvent, origin: str | None) -> None:
        """Put *event* into the buffer, as one that happens now at *origin*.

        Raises:
            UnencodableAttribute, NameConflict, PublishBufferFull: nothing was put there.
        """
        state = event.__dict__
        event_id = event._event_id
        if event_id is None or state.get("_sent_by") == self._publisher_id:
            # An event that is emitted twice happens twice: receivers drop repeated ids.
            event_id = state["_event_id"] = next_event_id()
        encoded = self._codec.encode(
            event, origin=origin, event_id=event_id, time_ns=time.time_ns()
        )
        message = Message(
            encoded.routing_key,
            Codec.join((encoded.envelope,)),
            encoded.headers,
            self._publisher_id,
            self._persistent,
        )
        if event._exchange is not None:
            message = self._exchanges.addressed(message, event._exchange, event.topic)
        self._outgoing.append(message)
        state["_sent_by"] = self._publisher_id
        self._wake()
