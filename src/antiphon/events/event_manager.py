"""The event manager of one process."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, overload

from antiphon.errors import AlreadyRegistered
from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager, Filter, Listener
from antiphon.events.dispatch import Dispatcher
from antiphon.events.filters import name_of
from antiphon.events.listeners import Call, listener_of

__all__ = ["BaseEvent", "BaseEventManager", "EventInfo", "EventManager", "LoggingTracer"]

logger = logging.getLogger(__name__)

#: Sees every action before it happens, see ``EventManager.set_trace``.
Tracer: TypeAlias = Callable[[str, Callable[..., Any], tuple[Any, ...]], object]


class LoggingTracer:
    """A tracer that logs every action and vetoes none::

    event_manager.set_trace(LoggingTracer())
    """

    def __init__(self, logger: logging.Logger = logger, level: int = logging.INFO) -> None:
        """Log to *logger* at *level*."""
        self._logger = logger
        self._level = level

    def __call__(self, name: str, func: Callable[..., Any], *args: Any, **kwds: Any) -> None:
        """Log that *func* is about to be called."""
        self._logger.log(self._level, "%s: %r, arguments %r %r", name, func, args, kwds)


class EventInfo:
    """What an event manager knows of one event class.

    Attributes:
        cls: the class.
    """

    def __init__(self, event_manager: EventManager, cls: type) -> None:
        self._event_manager = event_manager
        self.cls = cls

    def connect(self, func: Listener, filter: Filter | None = None, priority: float = 0) -> None:
        """Connect *func* to the class, see ``EventManager.connect``."""
        self._event_manager.connect(self.cls, func, filter, priority)

    def disconnect(self, func: Listener) -> None:
        """Disconnect *func* from the class, see ``EventManager.disconnect``."""
        self._event_manager.disconnect(self.cls, func)

    def get_listeners(self, event: BaseEvent | None = None) -> list[Listener]:
        """Return the listeners connected to this class, not to its bases, in order.

        Args:
            event: only those whose filter it passes; None for all.
        """
        return self._event_manager._listeners_at(self.cls, event)

    def disable(self) -> None:
        """Disable the class, see ``EventManager.disable``."""
        self._event_manager.disable(self.cls)

    def enable(self) -> None:
        """Enable the class, see ``EventManager.enable``."""
        self._event_manager.enable(self.cls)

    def is_enabled(self) -> bool:
        """Return whether the class itself is enabled; its bases may be disabled."""
        return self.cls not in self._event_manager._disabled

    def __repr__(self) -> str:
        return f"<EventInfo of {self.cls.__qualname__}>"


class EventManager(BaseEventManager):
    """Calls listeners with the events that they asked for.  Thread-safe.

    Emitting takes as long as the listeners that match: those that filter for
    other values cost nothing, however many there are (docs/reference/events.md).
    """

    def __init__(self) -> None:
        self._dispatcher = Dispatcher()
        self._plans = self._dispatcher.plans
        self._infos: dict[type, EventInfo] = {}
        self._disabled: frozenset[type] = frozenset()
        self._disabled_lock = threading.Lock()
        self._trace_func: Tracer | None = None

    # -- Listeners -----------------------------------------------------------

    def connect(
        self, cls: type, func: Listener, filter: Filter | None = None, priority: float = 0
    ) -> None:
        """Call *func* with every event of class *cls*, or of a subclass, from now on.

        Args:
            cls: an event class, or a class that event classes inherit from.
            func: called with the event.  A bound method is held weakly: when its
                object goes, it is disconnected.  Everything else is held.
            filter: dotted attribute names and values; *func* hears an event only
                if each of these attributes exists and equals its value.  None or
                empty: it hears all.  It is copied.
            priority: higher ones are called first, equal ones in the order in which
                they were connected.

        Raises:
            TypeError: *func* cannot be called, or is a method of an object that
                allows no weak references; *cls* is no class; a name is no text.
                Nothing was changed.

        If *func* is connected to *cls* already, its filter, priority and place are
        replaced.  An event that is being emitted meanwhile is not affected.
        """
        trace = self._trace_func
        if trace is not None and trace("connect", self.connect, (cls, func, filter, priority)):
            return
        self._dispatcher.connect(cls, func, filter, priority)

    def _connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None,
        priority: float,
        condition: Callable[[Any], bool] | None = None,
    ) -> None:
        """Connect without asking the tracer; *condition* is one more test, not indexed.

        For subclasses, as ``_dispatch`` is.
        """
        self._dispatcher.connect(cls, func, filter, priority, condition)

    def disconnect(self, cls: type, func: Listener) -> None:
        """Stop calling *func* with events of class *cls*.

        Raises:
            ListenerNotConnected: (a ``KeyError``) it is not connected to that very
                class; nothing was changed.

        An event that is being emitted meanwhile may still reach it.
        """
        trace = self._trace_func
        if trace is not None and trace("disconnect", self.disconnect, (cls, func)):
            return
        self._dispatcher.disconnect(cls, func)

    def get_listeners(self, event: BaseEvent | type, cls: type | None = None) -> list[Listener]:
        """Return listeners in the order in which they are called.

        Args:
            event: an event, for the listeners that it would reach; or a class, for
                all listeners of its events, whatever their filters.
            cls: treat the event as one of this class.
        """
        if isinstance(event, type):
            return _alive(self._dispatcher.calls_of(self.get_event_hierarchy(event)))
        classes = self.get_event_hierarchy(type(event) if cls is None else cls)
        return _alive(self._dispatcher.calls_for(event, classes))

    def _listeners_at(self, cls: type, event: BaseEvent | None) -> list[Listener]:
        if event is None:
            return _alive(self._dispatcher.calls_of((cls,)))
        return _alive(self._dispatcher.calls_for(event, (cls,)))

    # -- Events --------------------------------------------------------------

    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Call ``event.pre_emit()``, all listeners that *event* matches, ``event.post_emit()``.

        Args:
            event: the event; its class and all bases of it are listened to.
            block: False to do all that on a new thread.

        Returns:
            That thread, started; None if *block* is true.

        Which listeners match is settled after ``pre_emit`` and before the first of
        them runs.  One that raises is logged, and the others are called all the
        same; when one has marked the event as handled, the rest is not called.
        Nothing happens if the class is disabled, or a tracer vetoes.
        """
        if not block:
            # Not self.emit: what a subclass does in its own has been done by now.
            return _start(functools.partial(EventManager.emit, self), event)
        trace = self._trace_func
        if trace is not None and trace("emit", self.emit, (event,)):
            return None
        if self._disabled and not self.is_enabled(type(event)):
            return None
        event.pre_emit()
        self._dispatch(event)
        event.post_emit()
        return None

    def _dispatch(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Call the listeners that *event* matches, and do nothing else.

        For subclasses: ``emit`` asks whether the class is enabled and calls the
        hooks, this does not.
        """
        if not block:
            return _start(self._dispatch, event)
        cls = type(event)
        plan = self._plans.get(cls)
        if plan is None:
            plan = self._dispatcher.plan(cls)
        calls = plan.calls
        if calls is None:
            calls = plan.select(event)
            if plan.stale:
                calls = self._dispatcher.select(event)
        if self._trace_func is not None:
            self._dispatch_traced(event, calls, self._trace_func)
            return None
        state = event.__dict__
        for call in calls:
            try:
                call(event)
            except Exception:
                _report(call, event)
            # Cheaper than asking for an attribute that only the class has.
            if "_handled" in state and event._handled:
                break
        return None

    def _dispatch_traced(self, event: BaseEvent, calls: Sequence[Call], trace: Tracer) -> None:
        for call in calls:
            listener = listener_of(call)
            if listener is None:
                continue
            try:
                if trace("listen", listener, (event,)):
                    continue
                listener(event)
            except Exception:
                _report(call, event)
            if event._handled:
                break

    # -- Enabling ------------------------------------------------------------

    def disable(self, cls: type) -> None:
        """Make ``emit`` do nothing for events of class *cls* and its subclasses.

        Disabling a class twice is the same as once.
        """
        self._dispatcher.add_class(cls)
        with self._disabled_lock:
            self._disabled |= {cls}

    def enable(self, cls: type) -> None:
        """Undo ``disable`` for *cls*.

        Its events stay disabled as long as one of its bases is; so do those of a
        subclass that was disabled itself.
        """
        self._dispatcher.add_class(cls)
        with self._disabled_lock:
            self._disabled -= {cls}

    def is_enabled(self, cls: type) -> bool:
        """Return whether neither *cls* nor one of its bases is disabled."""
        return self._disabled.isdisjoint(cls.__mro__[:-1])

    # -- Classes -------------------------------------------------------------

    def register(self, cls: type) -> None:
        """Make *cls* known.  Connecting, disabling and enabling do that by themselves.

        Raises:
            AlreadyRegistered: (a ``ValueError``) it is known already.
        """
        if not self._dispatcher.add_class(cls):
            raise AlreadyRegistered(f"the event class {cls.__qualname__} is registered already")

    @overload
    def get_event(self, cls: type) -> EventInfo: ...

    @overload
    def get_event(self, cls: None = None) -> dict[type, EventInfo]: ...

    def get_event(self, cls: type | None = None) -> EventInfo | dict[type, EventInfo]:
        """Return what is known of *cls*; None for all known classes, as a mapping.

        Raises:
            KeyError: *cls* is not known; see ``register``.
        """
        infos = {
            known: self._infos.setdefault(known, EventInfo(self, known))
            for known in self._dispatcher.classes()
        }
        return infos if cls is None else infos[cls]

    def get_event_hierarchy(self, cls: type) -> tuple[type, ...]:
        """Return the classes whose listeners hear events of class *cls*, itself first."""
        return cls.__mro__[:-1]

    # -- Tracing -------------------------------------------------------------

    def set_trace(self, func: Tracer | None) -> None:
        """Have *func* see every action before it happens; None to stop that.

        It is called as ``func(name, method, args)``; if the result is true, the
        action does not take place:

        =============  ============================  ================================
        name           method                        args
        =============  ============================  ================================
        connect        ``self.connect``              (cls, func, filter, priority)
        disconnect     ``self.disconnect``           (cls, func)
        emit           ``self.emit``                 (event,)
        listen         the listener                  (event,)
        =============  ============================  ================================

        There is one tracer at a time.  What it raises goes to the caller.
        """
        self._trace_func = func


def _start(method: Callable[[BaseEvent], object], event: BaseEvent) -> threading.Thread:
    thread = threading.Thread(target=method, args=(event,), name=f"emit {name_of(event)}")
    thread.start()
    return thread


def _report(call: Call, event: BaseEvent) -> None:
    logger.exception("listener %r failed for %s", listener_of(call), name_of(event))


def _alive(calls: Iterable[Call]) -> list[Listener]:
    """Return the listeners of *calls*, but for methods whose object has gone."""
    return [listener for call in calls if (listener := listener_of(call)) is not None]
