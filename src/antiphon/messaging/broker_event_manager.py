"""An event manager that reaches every process on the same broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from antiphon.errors import AntiphonError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.delivery import TRACEPARENT
from antiphon.messaging.canary import Canary
from antiphon.messaging.emitting import EmittingManager, outgoing_buffer
from antiphon.messaging.endings import opened
from antiphon.messaging.event_publisher import EventPublisher
from antiphon.messaging.exchanges import Exchanges
from antiphon.messaging.health import HealthManager
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.options import BusOptions, BusStats
from antiphon.messaging.reading import ReadingManager
from antiphon.messaging.replaying import ReplayingManager
from antiphon.messaging.roll_call import RollCall, RollCallManager
from antiphon.messaging.subscriptions import Subscriptions
from antiphon.messaging.topic_listening import TopicListeningManager
from antiphon.messaging.topology import BROADCAST, QueueSpec, Topology
from antiphon.messaging.tracing import call_traced
from antiphon.messaging.transport import Arrival, Transport
from antiphon.schemes import mask_url
from antiphon.wire.codec import Codec

logger = logging.getLogger(__name__)

#: Seconds that ``close`` gives to what is still under way, unless told otherwise.
CLOSE_TIMEOUT_S = 5.0


class BrokerEventManager(
    EmittingManager,
    ReadingManager,
    TopicListeningManager,
    ReplayingManager,
    RollCallManager,
    HealthManager,
):
    """An event manager whose events reach every process of the same system.

    Made by ``open_bus``.  It is used like any event manager; listeners hear the
    events of all processes.  Events of other processes are handled one after
    the other on a thread of the bus, those of this process on the thread that
    emits.  An exception of a listener is logged and stops nobody.

    After a fork the child's copy refuses everything with ``BusClosed``: open a
    bus in the child.

    Attributes:
        url: where it was opened, with the password masked.
        system: the system whose events it carries.
        origin: origin of events that name none themselves.
        publisher_id: identifies this bus at the broker.
        outbox: publishes what other processes did not live to; None without one.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        url: str,
        origin: str | None,
        system: str,
        options: BusOptions,
    ) -> None:
        super().__init__()
        self.url = mask_url(url)
        self.system = system
        self.origin = origin
        self.publisher_id = opened.new_id()
        self._transport = transport
        self._codec = Codec(max_body_bytes=options.max_message_bytes)
        self._topology = Topology(f"{system}.events", [QueueSpec(BROADCAST)])
        self._subscriptions = Subscriptions(self._topology, transport.reconcile)
        self._exchanges = Exchanges(system, self._topology, transport.reconcile)
        self._outgoing = outgoing_buffer(options, self.publisher_id, system, transport.wake)
        self._inbox = Inbox(
            self._codec, self._sources.resolve, self._arrived, self._settle, f"{system} bus"
        )
        self._inbox.canary = self._canary = Canary(
            self.publisher_id, options.canary_interval_s, transport, self._inbox
        )
        self._inbox.roll_call = self._roll_call = RollCall(self, options.answers_roll_call)
        self._publisher = EventPublisher(
            self._codec, self._outgoing, self.publisher_id, self._exchanges
        )
        self._closed_because: str | None = None
        self._closing = threading.RLock()
        self._watch_inbox()

    def start(self, timeout_s: float | None) -> None:
        """Connect; see ``Transport.start``.  Called once, by ``open_bus``."""
        self._inbox.start()
        self._canary.start(self._topology)
        self._roll_call.start(self._topology)
        try:
            self._transport.start(
                self._outgoing, self._inbox, self._topology, self.publisher_id, timeout_s
            )
        except BaseException:
            self._closed_because = "it could not be opened"
            self._canary.stop()
            self._inbox.stop(CLOSE_TIMEOUT_S)
            self._end_subscriptions(0)
            self._outgoing.close()
            raise
        opened.add(self)

    # -- What arrives ----------------------------------------------------------------

    def _arrived(self, event: BaseEvent) -> None:
        state = event.__dict__
        run = self._runs.get(type(event))
        if run is None and self._disabled and not self.is_enabled(type(event)):
            return
        state["_arrived_at"] = self.publisher_id
        if state["_came"][TRACEPARENT] is not None:
            call_traced(self._dispatch, event)
        elif run is None:
            self._dispatch(event)
        elif not run(event):  # as _dispatch does where nothing but listeners has a say
            self._run(event)

    def _settle(self, arrival: Arrival) -> None:
        self._transport.settle(arrival)
        self._subscriptions.bury()

    # -- The connection ----------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether everything is declared, publishing and consuming right now."""
        return self._transport.is_connected

    @property
    def last_error(self) -> AntiphonError | None:
        """Why the bus is not connected, as far as that is known; None while it is."""
        return None if self.is_connected else self._transport.last_error

    @property
    def is_closed(self) -> bool:
        """Whether the bus was closed, or is a forked child's copy."""
        return self._closed_because is not None

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait at most *timeout_s* seconds until the bus is connected; return whether it is."""
        return self._inbox.wait_connected(timeout_s)

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Call *callback* with ``"connected"`` or ``"disconnected"`` at each change, in order.

        It is called on a thread of the bus that does nothing else, so that a
        slow listener delays no such news.  "connected" means that everything
        is declared again and consumed; what was emitted elsewhere meanwhile
        has been missed by listeners.
        """
        self._inbox.on_state(callback)

    def off_state(self, callback: Callable[[str], None]) -> None:
        """Undo ``on_state``; a callback that is not there is no error."""
        self._inbox.off_state(callback)

    def stats(self) -> BusStats:
        """Return the counters."""
        inbox, outgoing = self._inbox, self._outgoing
        return BusStats(
            emitted=outgoing.emitted,
            confirmed=outgoing.confirmed,
            returned=outgoing.unroutable,
            recovered=outgoing.recovered,
            buffered=len(outgoing),
            messages=outgoing.messages,
            rejected=outgoing.rejected,
            dropped=outgoing.dropped,
            spooled_bytes=outgoing.spooled_bytes,
            blocked_s=outgoing.blocked_s,
            received=inbox.received,
            duplicates=inbox.duplicates,
            echoes=inbox.echoes,
            corrupt=inbox.corrupt,
            skipped=inbox.skipped,
            connects=inbox.connects,
            reconnects=max(0, inbox.connects - 1),
            is_connected=self.is_connected,
            blocked_because=inbox.blocked_because,
            bindings=self._subscriptions.binding_count,
        )

    # -- Ending ------------------------------------------------------------------------

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Send what is under way, then disconnect and end the threads.  Twice is fine.

        Args:
            timeout_s: seconds to wait at most for the broker's confirmations;
                the threads may take about two more.

        What is not confirmed by then is logged and given up, but for what is in
        a spool: it is sent when that is opened again.  Listeners stay
        connected for nobody: emitting and connecting raise ``BusClosed``.
        """
        if self._closed_because is not None:
            return
        with self._closing:
            if self._closed_because is not None:
                return
            self._end_streams()  # first: a subscription's may have an event before its reader
            # Before emitting ends: what a listener at work emits belongs to its event.
            self._end_subscriptions(timeout_s)
            self._closed_because = "it was closed"
            self._end_emitting()
            self._end_subscriptions(0)  # one that came in between
            self._timetable.stop(1.0)
            left = self._outgoing.wait_settled(self._outgoing.appended, timeout_s)
            if left:
                logger.warning(
                    "closing %r with %d events that the broker has not confirmed%s",
                    self,
                    left,
                    "; they stay in the spool" if self._outgoing.spooled_bytes else "",
                )
            if self.outbox is not None:
                self.outbox.stop(max(timeout_s, 1.0))
            self._canary.stop()
            self._transport.stop(2.0)
            if not self._inbox.stop(max(timeout_s, 1.0)):
                logger.warning("%r is closed, but a listener is still at work", self)
            self._outgoing.close()
            opened.discard(self)

    def abandon(self) -> None:
        """In a forked child: refuse everything from now on, and leave the parent's socket alone."""
        # No lock here: whoever held it in the parent does not exist in the child.
        self._closed_because = (
            "it belongs to the parent process, which was forked; open a bus in the child"
        )
        if self.outbox is not None:
            self.outbox.abandon()
        self._transport.abandon()
        self._outgoing.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = self._closed_because or ("connected" if self.is_connected else "not connected")
        return f"<BrokerEventManager {self.url} system={self.system!r}: {state}>"
