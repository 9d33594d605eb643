"""The part of a bus that listens to what is broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from antiphon.errors import BrokerRefused, InvalidBusOption
from antiphon.events.abstract_event_manager import BaseEvent, Filter, Listener
from antiphon.events.origin import OriginSpec
from antiphon.messaging.bus_part import BusPart
from antiphon.messaging.matching import NamedListener, both, checked_origins, origin_test, portable
from antiphon.messaging.subscriptions import Subscriptions, bindings_for
from antiphon.messaging.topology import Binding

#: What a listener listens to: mostly an event class, or one that event classes inherit from.
T = TypeVar("T")

#: Which emitters a listener hears: this process only, or every process.
Scope = Literal["local", "cluster"]


class ListeningManager(BusPart):
    """Base of ``BrokerEventManager``."""

    _subscriptions: Subscriptions

    def connect(
        self,
        cls: type[T],
        func: Callable[[T], object],
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
