"""The part of a bus that sends events."""

from __future__ import annotations

import threading

from antiphon.errors import FlushTimeout
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_manager import check_event
from antiphon.events.origin import origin_of
from antiphon.messaging.event_publisher import EventPublisher
from antiphon.messaging.observing import ObservingManager
from antiphon.messaging.outgoing import OutgoingBuffer


class EmittingManager(ObservingManager):
    """Base of ``BrokerEventManager``."""

    _outgoing: OutgoingBuffer
    _publisher: EventPublisher

    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Call this process's listeners with *event*, and send it to all others.

        Args:
            event: any event; what class attribute ``travels`` makes False, and
                what came from this very bus, is not sent.
            block: False calls the listeners on a new thread, which is
                returned; the sending is begun here either way.

        Raises:
            UnencodableAttribute: nothing happened, but for ``event.pre_emit()``.
            PublishBufferFull: likewise; too much waits for the broker already.
            BusClosed: nothing happened.
            TypeError: *event* is no event, but its class, say; nothing happened.

        It never waits for the broker.  ``flush`` tells when the broker has it.
        """
        self._check_open()
        check_event(event)
        trace = self._trace_func
        if trace is not None and trace("emit", self.emit, (event,)):
            return None
        cls = type(event)
        if self._disabled and not self.is_enabled(cls):
            return None
        event.pre_emit()
        if cls.travels and self._is_local(event):
            self._publisher.publish(event, origin_of(event, self.origin))
            if self._notes_own and event._event_id is not None:
                self._inbox.remember(event._event_id)
        if block:
            self._finish(event)
            return None
        thread = threading.Thread(target=self._finish, args=(event,), name="antiphon emit")
        thread.start()
        return thread

    def _finish(self, event: BaseEvent) -> None:
        self._dispatch(event)
        event.post_emit()

    def flush(self, timeout_s: float) -> None:
        """Wait until the broker has confirmed everything emitted so far.

        Args:
            timeout_s: seconds to wait at most.

        Raises:
            FlushTimeout: says how many events are not confirmed; they are kept,
                and sent when that is possible.
            BusClosed: the bus was closed.
        """
        self._check_open()
        left = self._outgoing.wait_settled(
            self._outgoing.appended, timeout_s, lambda: self._closed_because is None
        )
        if left:
            error = self._transport.last_error
            reason = self._inbox.blocked_because or (str(error) if error else "it answers slowly")
            raise FlushTimeout(
                f"the broker has not confirmed {left} events within {timeout_s} s ({reason}); "
                "they are kept, and sent when that is possible"
            )
