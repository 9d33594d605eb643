"""Tracers see every action before it happens, and may veto it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.events.event_manager import LoggingTracer


class Tracer:
    """Keeps what it sees; vetoes what it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, tuple[Any, ...]]] = []
        self.vetoes: list[Any] = []

    def __call__(self, name: str, method: Any, args: tuple[Any, ...]) -> bool:
        self.seen.append((name, method, args))
        return name in self.vetoes or method in self.vetoes


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[BaseEvent] = []

    def listen(self, event: BaseEvent) -> None:
        self.heard.append(event)


@pytest.fixture
def manager() -> EventManager:
    return EventManager()


@pytest.fixture
def tracer(manager: EventManager) -> Tracer:
    tracer = Tracer()
    manager.set_trace(tracer)
    return tracer


def test_every_action_is_seen_with_its_arguments(manager: EventManager, tracer: Tracer) -> None:
    """Connecting, emitting, listening and disconnecting, each before it happens."""
    listener, event = Listener(), BaseEvent(a=1)
    manager.connect(BaseEvent, listener.listen, {"a": 1}, 3)
    manager.emit(event)
    manager.disconnect(BaseEvent, listener.listen)

    assert [
        ("connect", manager.connect, (BaseEvent, listener.listen, {"a": 1}, 3)),
        ("emit", manager.emit, (event,)),
        ("listen", listener.listen, (event,)),
        ("disconnect", manager.disconnect, (BaseEvent, listener.listen)),
    ] == tracer.seen


def test_a_vetoed_connect_connects_nothing(manager: EventManager, tracer: Tracer) -> None:
    """The listener is not there afterwards."""
    tracer.vetoes = ["connect"]
    manager.connect(BaseEvent, print)

    assert [] == manager.get_listeners(BaseEvent)


def test_a_vetoed_disconnect_leaves_the_listener(manager: EventManager, tracer: Tracer) -> None:
    """The listener is there afterwards."""
    manager.connect(BaseEvent, print)
    tracer.vetoes = ["disconnect"]
    manager.disconnect(BaseEvent, print)

    assert [print] == manager.get_listeners(BaseEvent)


def test_a_vetoed_emit_calls_nobody(manager: EventManager, tracer: Tracer) -> None:
    """Not even the hooks of the event."""
    listener = Listener()
    manager.connect(BaseEvent, listener.listen)
    tracer.vetoes = ["emit"]
    manager.emit(BaseEvent())

    assert [] == listener.heard


def test_a_veto_of_one_listener_spares_the_others(manager: EventManager, tracer: Tracer) -> None:
    """Only the vetoed one is passed over."""
    first, second = Listener(), Listener()
    manager.connect(BaseEvent, first.listen)
    manager.connect(BaseEvent, second.listen)
    tracer.vetoes = [first.listen]
    manager.emit(BaseEvent())

    assert (0, 1) == (len(first.heard), len(second.heard))


def test_handled_counts_while_traced(manager: EventManager, tracer: Tracer) -> None:
    """Traced events stop where others do, and failing listeners are logged."""
    listener = Listener()

    def handles_and_fails(event: BaseEvent) -> None:
        event.mark_as_handled()
        raise RuntimeError

    manager.connect(BaseEvent, handles_and_fails)
    manager.connect(BaseEvent, listener.listen)
    manager.emit(BaseEvent())

    assert [] == listener.heard


def test_an_object_that_goes_during_a_traced_emit_is_passed_over(
    manager: EventManager, tracer: Tracer
) -> None:
    """The tracer is not shown a listener that is not there any more."""
    listeners = [Listener()]
    manager.set_trace(None)  # which would keep the object alive
    manager.connect(BaseEvent, lambda event: listeners.clear())
    manager.connect(BaseEvent, listeners[0].listen)
    manager.set_trace(tracer)
    manager.emit(BaseEvent())

    assert ["emit", "listen"] == [name for name, _, _ in tracer.seen]


def test_tracing_ends(manager: EventManager, tracer: Tracer) -> None:
    """With None everything goes on unseen."""
    listener = Listener()
    manager.connect(BaseEvent, listener.listen)
    manager.set_trace(None)
    manager.emit(BaseEvent())

    assert (1, 1) == (len(tracer.seen), len(listener.heard))


def test_the_logging_tracer_logs_and_vetoes_nothing(
    manager: EventManager, caplog: pytest.LogCaptureFixture
) -> None:
    """Each action is a line in the log."""
    listener = Listener()
    manager.set_trace(LoggingTracer(logging.getLogger("traced"), logging.WARNING))
    manager.connect(BaseEvent, listener.listen)
    manager.emit(BaseEvent())

    assert ["connect", "emit", "listen"] == [r.getMessage().split(":")[0] for r in caplog.records]
    assert 1 == len(listener.heard)
