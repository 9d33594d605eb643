"""The event manager of one process."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, overload

from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager, Filter, Listener
from antiphon.events.filters import name_of
from antiphon.events.listeners import Call, listener_of
from antiphon.events.plans import PlainPlan, report
from antiphon.events.registry import ListenerRegistry, Tracer

__all__ = ["BaseEvent", "BaseEventManager", "EventInfo", "EventManager", "LoggingTracer"]

logger = logging.getLogger(__name__)


class LoggingTracer:
    """A tracer that logs every action and vetoes none: ``set_trace(LoggingTracer())``."""

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


class EventManager(ListenerRegistry, BaseEventManager):
    """Calls listeners with the events that they asked for.  Thread-safe.

    Emitting takes as long as the listeners that match: those that filter for
    other values cost nothing, however many there are (docs/reference/events.md).
    """

    #: Whether events may go elsewhere than to listeners.
    _emits_more: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._infos: dict[type, EventInfo] = {}
        self._disabled: frozenset[type] = frozenset()

    # -- Listeners (connecting them: registry.py) ------------------------------

    def get_listeners(self, event: BaseEvent | type, cls: type | None = None) -> list[Listener]:
        """Return listeners in the order in which they are called.

        Args:
            event: an event, for the listeners that it would reach; or a class, for
                all listeners of its events, whatever their filters.
            cls: treat the event as one of this class.
        """
        if isinstance(event, type):
            return _alive(self._calls_of(self.get_event_hierarchy(event)))
        classes = self.get_event_hierarchy(type(event) if cls is None else cls)
        return _alive(self._calls_for(event, classes))

    def _listeners_at(self, cls: type, event: BaseEvent | None) -> list[Listener]:
        if event is None:
            return _alive(self._calls_of((cls,)))
        return _alive(self._calls_for(event, (cls,)))

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

        Raises:
            TypeError: *event* is no event, but its class, say.
        """
        run = self._runs.get(type(event))
        if run is None or not block:
            return self._emit_slowly(event, block)
        event.pre_emit()
        if not run(event):
            self._run(event)
        event.post_emit()
        return None

    def hears(self, cls: type[BaseEvent]) -> bool:
        """Return False if emitting an event of class *cls* now would have no effect at all.

        For those who would make an event only to emit it.  True when in doubt:
        before the first event of the class, with a tracer, with hooks of the
        class's own, and for a subclass that has an ``emit`` of its own.
        """
        plan = self._plans.get(cls)
        return (
            type(plan) is not PlainPlan
            or bool(plan.select(None))
            or plan.stale
            or self._emits_more
            or cls not in self._runs
            or "emit" in self.__dict__
            or cls.pre_emit is not BaseEvent.pre_emit
            or cls.post_emit is not BaseEvent.post_emit
        )

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._emits_more = (
            cls.emit is not EventManager.emit or cls._dispatch is not EventManager._dispatch
        )

    def _emit_slowly(self, event: BaseEvent, block: bool) -> threading.Thread | None:
        check_event(event)
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
        trace = self._trace_func
        if trace is not None:
            self._dispatch_traced(event, trace)
            return None
        plan = self._plans.get(type(event))
        if plan is None or not plan.run(event):
            self._run(event)
        return None

    def _dispatch_traced(self, event: BaseEvent, trace: Tracer) -> None:
        for call in self._calls_for(event, self.get_event_hierarchy(type(event))):
            listener = listener_of(call)
            if listener is None:
                continue
            try:
                if trace("listen", listener, (event,)):
                    continue
                listener(event)
            except Exception:
                report(call, event)
            if event._handled:
                break

    def _is_open(self, cls: type) -> bool:
        return self._trace_func is None and (not self._disabled or self.is_enabled(cls))

    # -- Enabling ------------------------------------------------------------

    def disable(self, cls: type) -> None:
        """Make ``emit`` do nothing for events of class *cls* and its subclasses.

        Disabling a class twice is the same as once.
        """
        self._know(cls)
        with self._changing():
            self._disabled |= {cls}
            self._reopen()

    def enable(self, cls: type) -> None:
        """Undo ``disable`` for *cls*.

        Its events stay disabled as long as one of its bases is; so do those of a
        subclass that was disabled itself.
        """
        self._know(cls)
        with self._changing():
            self._disabled -= {cls}
            self._reopen()

    def is_enabled(self, cls: type) -> bool:
        """Return whether neither *cls* nor one of its bases is disabled."""
        return self._disabled.isdisjoint(cls.__mro__[:-1])

    # -- Classes -------------------------------------------------------------

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
            for known in list(self._classes)
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
        with self._changing():
            self._trace_func = func
            self._reopen()


def check_event(event: object) -> None:
    """Raise ``TypeError`` for what can be no event: a class, or what has no ``pre_emit``."""
    if isinstance(event, type) or not hasattr(event, "pre_emit"):
        raise TypeError(
            f"cannot emit {event!r:.200}: an event is an object of BaseEvent or a class derived"
            " from it, as in emit(BaseEvent(name='value'))"
        )


def _start(method: Callable[[BaseEvent], object], event: BaseEvent) -> threading.Thread:
    thread = threading.Thread(target=method, args=(event,), name=f"emit {name_of(event)}")
    thread.start()
    return thread


def _alive(calls: Iterable[Call]) -> list[Listener]:
    """Return the listeners of *calls*, but for methods whose object has gone."""
    return [listener for call in calls if (listener := listener_of(call)) is not None]
