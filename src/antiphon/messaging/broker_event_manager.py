"""An event manager that reaches every process on the same broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

from antiphon.errors import AntiphonError, BrokerRefused, BusClosed, FlushTimeout, InvalidBusOption
from antiphon.events.abstract_event_manager import BaseEvent, Filter, Listener
from antiphon.events.event_manager import check_event
from antiphon.events.origin import OriginSpec, origin_of
from antiphon.messaging.endings import opened
from antiphon.messaging.event_publisher import EventPublisher
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.matching import NamedListener, both, checked_origins, origin_test, portable
from antiphon.messaging.observing import ObservingManager
from antiphon.messaging.options import BusOptions, BusStats
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.subscriptions import Subscriptions, bindings_for
from antiphon.messaging.topology import BROADCAST, Binding, QueueSpec, Topology
from antiphon.messaging.transport import Arrival, Transport
from antiphon.schemes import mask_url
from antiphon.wire.codec import Codec

logger = logging.getLogger(__name__)

#: Which emitters a listener hears: this process only, or every process.
Scope = Literal["local", "cluster"]

#: Seconds that ``close`` gives to what is still under way, unless told otherwise.
CLOSE_TIMEOUT_S = 5.0


class BrokerEventManager(ObservingManager):
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
        self._codec = Codec()
        self._topology = Topology(f"{system}.events", [QueueSpec(BROADCAST)])
        self._subscriptions = Subscriptions(self._topology, transport.reconcile)
        self._outgoing = OutgoingBuffer(options.buffer_events, options.buffer_bytes)
        self._inbox = Inbox(
            self._codec, self._sources.resolve, self._arrived, self._settle, f"{system} bus"
        )
        self._publisher = EventPublisher(
            self._codec, self._outgoing, transport.wake, self.publisher_id, options.persistent
        )
        self._closed_because: str | None = None
        self._closing = threading.RLock()

    def start(self, timeout_s: float | None) -> None:
        """Connect; see ``Transport.start``.  Called once, by ``open_bus``."""
        self._inbox.start()
        try:
            self._transport.start(
                self._outgoing, self._inbox, self._topology, self.publisher_id, timeout_s
            )
        except BaseException:
            self._closed_because = "it could not be opened"
            self._inbox.stop(CLOSE_TIMEOUT_S)
            raise
        opened.add(self)

    # -- Emitting ------------------------------------------------------------------

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

    # -- Listening -----------------------------------------------------------------

    def connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None = None,
        priority: float = 0,
        *,
        origin: OriginSpec = None,
        scope: Scope = "cluster",
    ) -> None:
        """Call *func* with every event of class *cls*, of any process, from now on.

        Args:
            cls: an event class; events of subclasses match as well.
            func: called with the event.  A bound method is held weakly.  If it
                is connected to *cls* already, this replaces that.
            filter: attributes (dotted names) and the values they must equal.
                ``{"source": store}`` matches the store by its ``store_id``, so
                also where other processes change it.
            priority: higher ones are called first, within this process.
            origin: one origin, a ``Prefix``, or several; None for all.
            scope: "local" for events of this process only.

        Raises:
            NameConflict: another class claims the name of *cls*; nothing was connected.
            BrokerRefused: the broker does not allow it; nothing was connected.
            BusClosed: nothing was connected.

        When it returns and the bus is connected, the binding stands: events
        emitted anywhere from then on arrive.  Else it is made with the next
        connection.
        """
        if scope not in ("local", "cluster"):
            raise InvalidBusOption(f"scope is 'local' or 'cluster', not {scope!r}")
        self._check_open()
        trace = self._trace_func
        if trace is not None and trace("connect", self.connect, (cls, func, filter, priority)):
            return
        origins = checked_origins(origin)
        condition = origin_test(origins, self.origin)
        bindings: tuple[Binding, ...] = ()
        if scope == "cluster":
            bindings = bindings_for(self._names_heard(cls), origins)
        else:
            condition = both(condition, self._is_local)
        self._connect(cls, func, portable(filter), priority, condition)
        try:
            self._subscriptions.put(cls, func, bindings)
        except BrokerRefused:
            super().disconnect(cls, func)
            raise

    def connect_named(
        self,
        name: str,
        func: Listener,
        filter: Filter | None = None,
        priority: float = 0,
        *,
        origin: OriginSpec = None,
    ) -> None:
        """Call *func* with every event of the class that is called *name* on the wire.

        Unlike ``connect`` it needs no class in this process: events of classes
        unknown here arrive as placeholders with all their attributes.

        Args:
            name: ``"myapp:Saved"``, or ``"Saved"`` for a class of a main program.
            func, filter, priority, origin: as for ``connect``; (*name*, *func*)
                is what a second call replaces and ``disconnect_named`` ends.

        Raises:
            As ``connect``.
        """
        self._check_open()
        origins = checked_origins(origin)
        names_of = self._codec.registry.names_of
        condition = both(
            origin_test(origins, self.origin), lambda event: name in names_of(type(event))
        )
        named = NamedListener(name, func)
        self._connect(BaseEvent, named, portable(filter), priority, condition)
        try:
            self._subscriptions.put(name, func, bindings_for((name,), origins))
        except BrokerRefused:
            super().disconnect(BaseEvent, named)
            raise

    def disconnect(self, cls: type, func: Listener) -> None:
        """Stop calling *func* with events of class *cls*.

        Raises:
            KeyError: it is not connected.
        """
        super().disconnect(cls, func)
        if self._trace_func is None or func not in self.get_event(cls).get_listeners():
            self._subscriptions.take(cls, func)  # unless a tracer has vetoed it

    def disconnect_named(self, name: str, func: Listener) -> None:
        """Undo ``connect_named``; ``KeyError`` if it is not connected."""
        super().disconnect(BaseEvent, NamedListener(name, func))
        self._subscriptions.take(name, func)

    def _names_heard(self, cls: type) -> tuple[str, ...]:
        # What is no event class (a mixin, say) has no name at the broker: everything
        # is asked for, and matched here.
        is_event = isinstance(cls, type) and issubclass(cls, BaseEvent)
        return self._codec.registry.names_heard(cls if is_event else BaseEvent)

    def _is_local(self, event: BaseEvent) -> bool:
        return event.__dict__.get("_arrived_at") != self.publisher_id

    # -- What arrives ----------------------------------------------------------------

    def _arrived(self, event: BaseEvent) -> None:
        if self.is_enabled(type(event)):
            event.__dict__["_arrived_at"] = self.publisher_id
            self._dispatch(event)

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
            emitted=outgoing.appended,
            confirmed=outgoing.confirmed,
            returned=outgoing.unroutable,
            buffered=len(outgoing),
            received=inbox.received,
            duplicates=inbox.duplicates,
            echoes=inbox.echoes,
            corrupt=inbox.corrupt,
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

        What is not confirmed by then is logged and given up.  Listeners stay
        connected for nobody: emitting and connecting raise ``BusClosed``.
        """
        if self._closed_because is not None:
            return
        with self._closing:
            if self._closed_because is not None:
                return
            self._closed_because = "it was closed"
            left = self._outgoing.wait_settled(self._outgoing.appended, timeout_s)
            if left:
                logger.warning(
                    "closing %r with %d events that the broker has not confirmed", self, left
                )
            self._transport.stop(2.0)
            if not self._inbox.stop(max(timeout_s, 1.0)):
                logger.warning("%r is closed, but a listener is still at work", self)
            opened.discard(self)

    def abandon(self) -> None:
        """In a forked child: refuse everything from now on, and leave the parent's socket alone."""
        # No lock here: whoever held it in the parent does not exist in the child.
        self._closed_because = (
            "it belongs to the parent process, which was forked; open a bus in the child"
        )
        self._transport.abandon()

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

    def _check_open(self) -> None:
        if self._closed_because is not None:
            raise BusClosed(f"the bus on {self.url} cannot be used: {self._closed_because}")
