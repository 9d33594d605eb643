"""The libraries that are compared, each behind the same few methods.

A method that a library has no way to do is left out, and the row has no figure
for it.  None is given anything slower than its own documentation proposes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import blinker
import encore.events.api as encore
import psygnal
from pydispatch import dispatcher
from pyee.base import EventEmitter

from antiphon.events.api import BaseEvent, EventManager

Emit = Callable[[], object]

#: What each can do at all, checked by hand with the versions that ``main.py`` prints.
ABILITIES = (
    ("", "Antiphon", "Encore", "blinker", "pyee", "psygnal", "PyDispatcher"),
    ("hears subclasses of an event", "yes", "yes", "no", "no", "no", "no"),
    ("filter by attributes", "any, indexed", "any, one by one", "sender", "name", "no", "sender"),
    ("dotted attributes", "yes", "yes", "no", "no", "no", "no"),
    ("priorities", "yes", "yes", "no", "no", "yes", "no"),
    ("order of equal ones is stated", "yes", "yes", "no", "yes", "yes", "no"),
    ("a listener can end an event", "yes", "yes", "no", "no", "no", "no"),
    ("one that fails harms no other", "yes", "yes", "no", "no", "no", "robust.send"),
    ("methods held weakly", "yes", "yes", "yes", "no", "yes", "yes"),
    ("classes can be disabled", "yes", "yes", "muted()", "no", "block()", "no"),
    ("actions can be traced, vetoed", "yes", "yes", "no", "no", "no", "no"),
    ("connecting locks", "yes", "yes", "no", "yes", "yes", "no"),
    ("other processes", "yes (bus)", "no", "no", "no", "no", "no"),
)


class Antiphon:
    """This package."""

    name = "Antiphon"
    version = "this commit"
    event_class: Any = BaseEvent
    manager_class: Any = EventManager

    def __init__(self) -> None:
        self.manager = self.manager_class()
        self.event = self.event_class(key="wanted")

    def connect(self, listener: Any) -> None:
        self.manager.connect(self.event_class, listener)

    def disconnect(self, listener: Any) -> None:
        self.manager.disconnect(self.event_class, listener)

    def emitter(self) -> Emit:
        """Return what emits one event that every listener hears."""
        emit, event = self.manager.emit, self.event
        return lambda: emit(event)

    def emit_many(self, times: int) -> None:
        emit, event = self.manager.emit, self.event
        for _ in range(times):
            emit(event)

    def pairs(self, listener: Any, times: int) -> None:
        """Connect and disconnect *listener* again and again."""
        connect, disconnect, cls = self.manager.connect, self.manager.disconnect, self.event_class
        for _ in range(times):
            connect(cls, listener)
            disconnect(cls, listener)

    def connect_to(self, value: str, listener: Any) -> None:
        """Connect *listener* for events whose key is *value*."""
        self.manager.connect(self.event_class, listener, {"key": value})

    def disconnect_from(self, value: str, listener: Any) -> None:
        """Undo ``connect_to``."""
        self.manager.disconnect(self.event_class, listener)

    def wanted_emitter(self) -> Emit:
        """Return what emits one event whose key is "wanted"."""
        return self.emitter()

    def filtered_pairs(self, listener: Any, times: int) -> None:
        connect, disconnect, cls = self.manager.connect, self.manager.disconnect, self.event_class
        for _ in range(times):
            connect(cls, listener, {"key": "another"})
            disconnect(cls, listener)

    emit_wanted = emit_many

    def hierarchy(self, listeners: list[Any]) -> None:
        """Connect each of *listeners* to one more subclass; emit the last one from now on."""
        cls = self.event_class
        for number, listener in enumerate(listeners):
            self.manager.connect(cls, listener)
            cls = type(f"E{number}", (cls,), {})
        self.event = cls.__mro__[1]()


class Encore(Antiphon):
    """Encore, which the API is from."""

    name = "Encore"
    version = version("encore")
    event_class = encore.BaseEvent
    manager_class = encore.EventManager


class Blinker:
    """One signal for one kind of event; filtering by sender only."""

    name = "blinker"
    version = version("blinker")

    def __init__(self) -> None:
        self.signal = blinker.Signal()
        self.connect = self.signal.connect
        self.disconnect = self.signal.disconnect

    def emitter(self) -> Emit:
        send = self.signal.send
        return lambda: send("event")

    def emit_many(self, times: int) -> None:
        send = self.signal.send
        for _ in range(times):
            send("event")

    def pairs(self, listener: Any, times: int) -> None:
        connect, disconnect = self.connect, self.disconnect
        for _ in range(times):
            connect(listener)
            disconnect(listener)

    def connect_to(self, value: str, listener: Any) -> None:
        self.signal.connect(listener, sender=value)

    def disconnect_from(self, value: str, listener: Any) -> None:
        self.signal.disconnect(listener, sender=value)

    def wanted_emitter(self) -> Emit:
        send = self.signal.send
        return lambda: send("wanted")

    def filtered_pairs(self, listener: Any, times: int) -> None:
        connect, disconnect = self.connect, self.disconnect
        for _ in range(times):
            connect(listener, "another")
            disconnect(listener, "another")

    def emit_wanted(self, times: int) -> None:
        send = self.signal.send
        for _ in range(times):
            send("wanted")


class Pyee:
    """Events are names; filtering by name only."""

    name = "pyee"
    version = version("pyee")

    def __init__(self) -> None:
        self.emitter_ = EventEmitter()

    def connect(self, listener: Any) -> None:
        self.emitter_.on("event", listener)

    def disconnect(self, listener: Any) -> None:
        self.emitter_.remove_listener("event", listener)

    def emitter(self) -> Emit:
        emit = self.emitter_.emit
        return lambda: emit("event", "event")

    def emit_many(self, times: int) -> None:
        emit = self.emitter_.emit
        for _ in range(times):
            emit("event", "event")

    def pairs(self, listener: Any, times: int) -> None:
        connect, disconnect = self.emitter_.on, self.emitter_.remove_listener
        for _ in range(times):
            connect("event", listener)
            disconnect("event", listener)

    def connect_to(self, value: str, listener: Any) -> None:
        self.emitter_.on(value, listener)

    def disconnect_from(self, value: str, listener: Any) -> None:
        self.emitter_.remove_listener(value, listener)

    def wanted_emitter(self) -> Emit:
        emit = self.emitter_.emit
        return lambda: emit("wanted", "event")

    def filtered_pairs(self, listener: Any, times: int) -> None:
        connect, disconnect = self.emitter_.on, self.emitter_.remove_listener
        for _ in range(times):
            connect("another", listener)
            disconnect("another", listener)

    def emit_wanted(self, times: int) -> None:
        emit = self.emitter_.emit
        for _ in range(times):
            emit("wanted", "event")


class Psygnal:
    """One signal for one kind of event; no filtering.  Its wheel is compiled C."""

    name = "psygnal"
    version = version("psygnal")

    def __init__(self) -> None:
        self.signal = psygnal.SignalInstance((object,))
        self.disconnect = self.signal.disconnect

    def connect(self, listener: Any) -> None:
        # Looking at signatures is most of what connecting costs, and can be left out.
        self.signal.connect(listener, check_nargs=False, check_types=False, max_args=1)

    def emitter(self) -> Emit:
        emit = self.signal.emit
        return lambda: emit("event")

    def emit_many(self, times: int) -> None:
        emit = self.signal.emit
        for _ in range(times):
            emit("event")

    def pairs(self, listener: Any, times: int) -> None:
        for _ in range(times):
            self.connect(listener)
            self.disconnect(listener)


class PyDispatcher:
    """Signals are any objects, kept in one global table; filtering by sender only."""

    name = "PyDispatcher"
    version = version("PyDispatcher")

    def __init__(self) -> None:
        self.signal = object()

    def connect(self, listener: Any) -> None:
        dispatcher.connect(listener, self.signal)

    def disconnect(self, listener: Any) -> None:
        dispatcher.disconnect(listener, self.signal)

    def emitter(self) -> Emit:
        send, signal = dispatcher.send, self.signal
        return lambda: send(signal, None, "event")

    def emit_many(self, times: int) -> None:
        send, signal = dispatcher.send, self.signal
        for _ in range(times):
            send(signal, None, "event")

    def pairs(self, listener: Any, times: int) -> None:
        for _ in range(times):
            self.connect(listener)
            self.disconnect(listener)


LIBRARIES: tuple[type[Any], ...] = (Antiphon, Encore, Blinker, Pyee, Psygnal, PyDispatcher)
