"""The part of a bus that sends events."""

from __future__ import annotations

import threading
from collections.abc import Callable

from antiphon.errors import EventsDropped, FlushTimeout
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_manager import check_event
from antiphon.events.origin import origin_of
from antiphon.messaging.batching import BufferPolicy
from antiphon.messaging.event_publisher import EventPublisher
from antiphon.messaging.holding import BULK_BYTES, BULK_EVENTS, Gathering
from antiphon.messaging.observing import ObservingManager
from antiphon.messaging.options import BusOptions
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.wire.envelope import BODY_HEAD_BYTES

#: Seconds for which a full buffer keeps an event waiting that is published again.
AGAIN_TIMEOUT_S = 5.0


class EmittingManager(ObservingManager):
    """Base of ``BrokerEventManager``."""

    _outgoing: OutgoingBuffer
    _publisher: EventPublisher
    _dropped_told = 0  # dropped events of which flush has told

    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Call this process's listeners with *event*, and send it to all others.

        Args:
            event: any event; what class attribute ``travels`` makes False, and
                what came from this very bus, is not sent.
            block: False calls the listeners on a new thread, which is
                returned; the sending is begun here either way.

        Raises:
            UnencodableAttribute: nothing happened, but for ``event.pre_emit()``.
            PublishBufferFull: likewise; too much waits for the broker, and there
                was no room in time (``BusOptions.when_full``).
            SpoolUnwritable: likewise; the disk is full, say.
            BusClosed: nothing happened.
            TypeError: *event* is no event, but its class, say; nothing happened.

        It waits for the broker only when the buffer is full.  ``flush`` tells when
        the broker has it.
        """
        run = self._runs.get(type(event))
        if run is None or not block or self._closed_because is not None:
            return self._emit_slowly(event, block)
        event.pre_emit()
        if event.travels and ("_arrived_at" not in event.__dict__ or self._is_local(event)):
            self._publisher.publish(event, origin_of(event, self.origin))
            if self._notes_own:
                self._note(event)
        if not run(event):
            self._run(event)
        event.post_emit()
        return None

    def _emit_slowly(self, event: BaseEvent, block: bool) -> threading.Thread | None:
        self._check_open()
        check_event(event)
        trace = self._trace_func
        if trace is not None and trace("emit", self.emit, (event,)):
            return None
        if self._disabled and not self.is_enabled(type(event)):
            return None
        event.pre_emit()
        if event.travels and self._is_local(event):
            self._publisher.publish(event, origin_of(event, self.origin))
            if self._notes_own:
                self._note(event)
        if block:
            self._finish(event)
            return None
        thread = threading.Thread(target=self._finish, args=(event,), name="antiphon emit")
        thread.start()
        return thread

    def publish_again(
        self,
        event: BaseEvent,
        *,
        happened_ns: int,
        heard: bool = False,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Send *event* for a publisher that may have died before the broker had it.

        For outboxes: with the same id it may come any number of times, and is
        heard once.  Listeners of this process are called on the thread of the
        bus, as with any event of another process.

        Args:
            event: with the ``_event_id`` that its publisher gave it, or would have given.
            happened_ns: when it happened, in nanoseconds since the Unix epoch.
            heard: whether the listeners of this process have heard it already.
            then: called after them, on the same thread, if they had not heard it.

        Raises:
            MessagingError: as ``emit``; nothing happened.
        """
        self._check_open()
        event_id = event._event_id
        if event_id is None:
            raise ValueError(f"{event!r} has no id, by which receivers know it again")
        # Never the cause that something is given up to make room.
        outgoing = self._outgoing
        if len(outgoing) > outgoing.max_events // 2:  # asked first: who waits ends a bulk
            outgoing.wait_settled(outgoing.appended - outgoing.max_events // 2, AGAIN_TIMEOUT_S)
        self._publisher.publish_again(event, origin_of(event, self.origin), event_id, happened_ns)
        if not heard:
            self._inbox.tell(self._hear_again, (event, then))

    def _hear_again(self, told: tuple[BaseEvent, Callable[[], None] | None]) -> None:
        event, then = told
        has_heard = event._event_id is not None and self._inbox.has_heard(event._event_id)
        if self._closed_because is not None or has_heard:
            return
        self.emit_observed(event)
        if then is not None:
            then()

    def vouch_for(self, publisher: bytes) -> None:
        """Take note that all events with ids of *publisher* are emitted here first.

        So listeners here have heard them when others publish them once more.
        """
        self._inbox.knows(publisher)

    @property
    def sending(self) -> tuple[int, int]:
        """How many events were ever put into the buffer, and how many of all were given up."""
        return self._outgoing.appended, self._outgoing.dropped

    def wait_sent(self, count: int, timeout_s: float) -> bool:
        """Wait until the first *count* events are confirmed or given up; return whether they are.

        For outboxes; ``flush`` is for everybody.
        """
        return not self._outgoing.wait_settled(count, timeout_s)

    def _note(self, event: BaseEvent) -> None:
        if event._event_id is not None:
            self._inbox.remember(event._event_id)

    def _finish(self, event: BaseEvent) -> None:
        self._dispatch(event)
        event.post_emit()

    def gather(self) -> Gathering:
        """Return a block in which this thread emits many events, which then share messages.

        For stores that commit many changes at once.  Each ``emit`` is to be followed
        by ``Gathering.emitted()``; what other threads emit meanwhile may wait for up to
        ``holding.MAX_LISTENING_S`` seconds.
        """
        return Gathering(self._outgoing.hold)

    def flush(self, timeout_s: float) -> None:
        """Wait until the broker has confirmed everything emitted so far.

        Args:
            timeout_s: seconds to wait at most.

        Raises:
            FlushTimeout: says how many events are not confirmed; they are kept,
                and sent when that is possible.
            EventsDropped: everything is confirmed but for events that were given
                up to make room, since the last flush; says how many.
            BusClosed: the bus was closed.

        Any number of threads may wait at the same time.
        """
        self._check_open()
        outgoing, told = self._outgoing, self._dropped_told
        left = outgoing.wait_settled(
            outgoing.appended, timeout_s, lambda: self._closed_because is None
        )
        if left:
            self._check_open()
            raise FlushTimeout(
                f"the broker has not confirmed {left} events within {timeout_s} s "
                f"({self._why_unconfirmed()}); they are kept, and sent when that is possible"
            )
        dropped = outgoing.dropped
        if dropped > told:
            self._dropped_told = dropped
            raise EventsDropped(
                f"{dropped - told} events emitted since the last flush were given up to make room "
                "for newer ones (when_full='drop_oldest'); all others are confirmed"
            )

    def _why_unconfirmed(self) -> str:
        if self._inbox.blocked_because:
            return f"it takes nothing for now: {self._inbox.blocked_because}"
        error = self._transport.last_error
        return str(error) if error else "it answers slowly, or not at all"

    def _end_emitting(self) -> None:
        """Let go whoever waits for room."""
        self._outgoing.end(self._closed)


def outgoing_buffer(
    options: BusOptions, publisher_id: str, system: str, wake: Callable[[], None]
) -> OutgoingBuffer:
    """Return the buffer that *options* ask for.

    Raises:
        SpoolUnusable, SpoolInUse: it cannot keep its events there.
    """
    policy = BufferPolicy(
        publisher=publisher_id,
        persistent=options.persistent,
        batch_events=options.batch_events,
        batch_bytes=options.batch_bytes,
        bulk_events=1 if options.batch_events == 1 else BULK_EVENTS,
        bulk_bytes=min(BULK_BYTES, options.max_message_bytes - BODY_HEAD_BYTES),
        when_full=options.when_full,
        block_timeout_s=options.block_timeout_s,
    )
    bounds = options.buffer_events, options.buffer_bytes
    if options.spool is None:
        return OutgoingBuffer(*bounds, policy, wake=wake)
    # Only for those who want it: it needs locks that not every system has.
    from antiphon.messaging.spool import Spool
    from antiphon.messaging.spooled_buffer import SpooledBuffer

    spool = Spool(
        options.spool, system, max_bytes=options.spool_bytes, is_synced=options.spool_sync
    )
    return SpooledBuffer(spool, *bounds, policy, wake=wake)
