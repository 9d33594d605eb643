"""Caches in memory hear of events before a thread is woken for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from antiphon import BaseEvent, open_bus
from antiphon.messaging import inbox
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.observing import has_heard_early

PATIENCE_S = 10.0


class Changed(BaseEvent):
    """An event."""


class Ear:
    """Notes who was called, on which thread, and with what."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, object, str]] = []
        self.late = threading.Event()

    def note(self, who: str, event: BaseEvent) -> None:
        number = event.number  # type: ignore[attr-defined]
        self.calls.append((who, number, threading.current_thread().name))
        if who == "late":
            self.late.set()

    @property
    def order(self) -> list[tuple[str, object]]:
        return [(who, number) for who, number, _ in self.calls]

    def thread_of(self, who: str) -> str:
        return next(thread for each, _, thread in self.calls if each == who)


@pytest.fixture
def sender() -> Iterator[BrokerEventManager]:
    with open_bus("memory:") as bus:
        yield bus


@pytest.fixture
def bus(sender: BrokerEventManager) -> Iterator[BrokerEventManager]:
    with open_bus("memory:") as opened:
        yield opened


@pytest.fixture
def ear(bus: BrokerEventManager) -> Ear:
    made = Ear()
    bus.connect(Changed, lambda event: made.note("late", event))
    bus.hear_early(lambda events: made.note("early", events[0]))
    return made


def test_early_comes_first_and_on_another_thread(
    sender: BrokerEventManager, bus: BrokerEventManager, ear: Ear
) -> None:
    """Who hears early is called where the message was read, the others on their thread."""
    sender.emit(Changed(number=1))
    assert ear.late.wait(PATIENCE_S)

    assert [("early", 1), ("late", 1)] == ear.order
    assert ear.thread_of("early") != ear.thread_of("late")


def test_what_waits_behind_others_is_heard_on_the_listeners_thread(
    sender: BrokerEventManager, bus: BrokerEventManager, ear: Ear
) -> None:
    """An event that comes while a listener is at work is heard early in its turn."""
    free, begun, done = threading.Event(), threading.Event(), threading.Event()

    def slow(event: BaseEvent) -> None:
        begun.set()
        free.wait(PATIENCE_S)
        if event.number == 2:  # type: ignore[attr-defined]
            done.set()

    bus.connect(Changed, slow, priority=-1)
    sender.emit(Changed(number=1))
    assert begun.wait(PATIENCE_S)
    sender.emit(Changed(number=2))
    sender.flush(PATIENCE_S)
    free.set()
    assert done.wait(PATIENCE_S)

    assert [("early", 1), ("late", 1), ("early", 2), ("late", 2)] == ear.order
    assert ear.thread_of("late") == ear.calls[2][2]


def test_a_long_message_is_left_to_the_listeners_thread(
    sender: BrokerEventManager, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long to read does not keep the connection's thread."""
    monkeypatch.setattr(inbox, "MAX_EARLY_BYTES", 100)
    sender.emit(Changed(number=1, text="x" * 1000))
    assert ear.late.wait(PATIENCE_S)

    assert [("early", 1), ("late", 1)] == ear.order
    assert ear.thread_of("early") == ear.thread_of("late")


def test_listeners_learn_who_has_heard(sender: BrokerEventManager, bus: BrokerEventManager) -> None:
    """An event says which of those who hear early were called with it."""
    found: list[bool] = []
    done = threading.Event()

    def early(_events: Sequence[BaseEvent]) -> None:
        pass

    def other(_events: Sequence[BaseEvent]) -> None:
        pass

    def late(event: BaseEvent) -> None:
        found.extend((has_heard_early(early, event), has_heard_early(other, event)))
        done.set()

    bus.hear_early(early)
    bus.connect(Changed, late)
    sender.emit(Changed(number=1))
    assert done.wait(PATIENCE_S)

    assert [True, False] == found


def test_a_failure_stops_nobody(
    sender: BrokerEventManager,
    bus: BrokerEventManager,
    ear: Ear,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that raises is logged, and the listeners are called all the same."""

    def fail(_events: Sequence[BaseEvent]) -> None:
        raise ValueError("on purpose")

    bus.hear_early(fail)
    sender.emit(Changed(number=1))
    assert ear.late.wait(PATIENCE_S)

    assert "hears early" in caplog.text


def test_no_more(sender: BrokerEventManager, bus: BrokerEventManager) -> None:
    """After ``hear_early_no_more`` nothing comes early."""
    ear = Ear()
    bus.connect(Changed, lambda event: ear.note("late", event))

    def early(events: Sequence[BaseEvent]) -> None:
        ear.note("early", events[0])

    bus.hear_early(early)
    bus.hear_early_no_more(early)
    bus.hear_early_no_more(early)
    sender.emit(Changed(number=1))
    assert ear.late.wait(PATIENCE_S)

    assert [("late", 1)] == ear.order


def test_what_is_told_early_is_told_where_listeners_run(
    sender: BrokerEventManager, bus: BrokerEventManager, ear: Ear
) -> None:
    """``call_with_listeners`` moves to the listeners' thread from where none may run."""
    threads: list[str] = []

    def told(_argument: object) -> None:
        threads.append(threading.current_thread().name)

    bus.hear_early(lambda events: bus.call_with_listeners(told, events))
    sender.emit(Changed(number=1))
    assert ear.late.wait(PATIENCE_S)
    bus.call_with_listeners(told, None)

    assert [ear.thread_of("late"), threading.current_thread().name] == threads
