"""Event managers used by many threads at once."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.events.class_listeners import ClassListeners

#: Seconds after which a thread that has not ended has failed the test.
DEADLINE_S = 60


class Saved(BaseEvent):
    """An event of a subclass, so that plans are made of several classes."""


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    """Let threads interrupt each other after microseconds instead of milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(*actions: Callable[[], None]) -> None:
    """Run each of *actions* on a thread of its own; raise what one of them raised."""
    errors: list[BaseException] = []
    begin = threading.Barrier(len(actions))

    def run(action: Callable[[], None]) -> None:
        begin.wait(DEADLINE_S)
        try:
            action()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)

    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


def test_a_steady_listener_hears_everything_once() -> None:
    """Whatever others connect and disconnect meanwhile, on its class and on others."""
    manager = EventManager()
    heard: Counter[int] = Counter()
    manager.connect(Saved, lambda event: heard.update([event.n]))
    emitted = 3 * 300

    def emit(start: int) -> None:
        for number in range(start, emitted, 3):
            manager.emit(Saved(n=number, a=number % 3))

    def come_and_go(cls: type) -> None:
        for round_ in range(150):
            listeners = [lambda event: None for _ in range(4)]
            for number, listener in enumerate(listeners):
                filter = {"a": number} if round_ % 2 else None
                manager.connect(cls, listener, filter, priority=number % 2)
            for listener in listeners:
                manager.disconnect(cls, listener)

    together(
        *(lambda start=start: emit(start) for start in range(3)),  # type: ignore[misc]
        lambda: come_and_go(Saved),
        lambda: come_and_go(BaseEvent),
    )

    assert dict.fromkeys(range(emitted), 1) == heard
    assert 1 == len(manager.get_listeners(Saved))


@pytest.mark.parametrize("beside", [0, 3])
def test_a_listener_that_is_connected_anew_misses_nothing(beside: int) -> None:
    """Any event that passes its old filter and the new one reaches it, and once."""
    manager = EventManager()
    heard: Counter[int] = Counter()
    done = threading.Event()
    emitted = 2 * 1500

    def listener(event: BaseEvent) -> None:
        heard.update([event.n])

    for _ in range(beside):
        manager.connect(BaseEvent, lambda event: None, {"c": 3})
    manager.connect(Saved, listener)

    def emit(start: int) -> None:
        for number in range(start, emitted, 2):
            manager.emit(Saved(n=number, a=1, b=2, c=[]))
        done.set()

    def connect_anew() -> None:
        while not done.is_set():
            manager.connect(Saved, listener, {"a": 1})
            manager.connect(Saved, listener, {"b": 2})
            manager.connect(Saved, listener, priority=1)
            manager.connect(Saved, listener, {"c": []})
            manager.connect(Saved, listener)

    together(lambda: emit(0), lambda: emit(1), connect_anew)

    assert dict.fromkeys(range(emitted), 1) == heard


@pytest.mark.parametrize("filter", [None, {"a": 1}, {"b": 2}])
def test_an_emit_in_the_middle_of_connecting_anew_waits(
    monkeypatch: pytest.MonkeyPatch, filter: dict[str, int] | None
) -> None:
    """The moment between the old connection and the new one is seen by nobody."""
    manager = EventManager()
    heard: list[BaseEvent] = []
    listener = heard.append
    manager.connect(Saved, listener, {"a": 1})
    manager.emit(Saved(a=1, b=2))
    emitter = threading.Thread(target=manager.emit, args=(Saved(a=1, b=2),))
    remove = ClassListeners.remove

    def remove_and_wait(self: ClassListeners, key: object) -> None:
        remove(self, key)  # type: ignore[arg-type]
        emitter.start()
        emitter.join(0.2)  # it goes on when the connection is made

    monkeypatch.setattr(ClassListeners, "remove", remove_and_wait)
    manager.connect(Saved, listener, filter)
    emitter.join(DEADLINE_S)

    assert 2 == len(heard)


@pytest.mark.parametrize("filter", [None, {"a": 1}, {"a": 1, "c": [3]}, {"c": [3]}])
@pytest.mark.parametrize("others", [False, True])
def test_listeners_that_change_while_they_are_looked_for_are_looked_for_again(
    others: bool, filter: dict[str, object] | None
) -> None:
    """An attribute that is read may be a property, and that may do anything."""
    manager = EventManager()
    heard: list[BaseEvent] = []

    class Changing(BaseEvent):
        @property
        def b(self) -> int:
            manager.connect(Changing, heard.append, filter)
            return 2

    if others:
        manager.connect(BaseEvent, lambda event: None)
        manager.connect(BaseEvent, lambda event: None, {"a": 1})
    manager.connect(Changing, heard.append, {"b": 2})
    manager.emit(Changing(a=1, c=[3]))

    assert 1 == len(heard)


def test_a_property_that_always_changes_listeners_does_not_hang() -> None:
    """After some tries the event goes to those that are found."""
    manager = EventManager()
    heard: list[BaseEvent] = []

    class Changing(BaseEvent):
        @property
        def b(self) -> int:
            manager.connect(BaseEvent, lambda event: None)
            return 2

    manager.connect(Changing, heard.append, {"b": 2})
    manager.emit(Changing())

    assert 1 == len(heard)


@pytest.mark.parametrize("change", ["a base is listened to", "a priority came and went"])
def test_who_comes_late_with_an_old_plan_harms_nothing(change: str) -> None:
    """A thread may sleep between looking up a plan and using it, while others replace it."""
    manager = EventManager()
    heard: list[str] = []
    manager.connect(Saved, lambda event: heard.append("first"))
    manager.emit(Saved())
    run_old_plan = manager._runs[Saved]
    if change == "a base is listened to":
        manager.connect(BaseEvent, lambda event: None)
    else:
        manager.connect(Saved, print, priority=1)
        manager.emit(Saved())
        manager.disconnect(Saved, print)
    manager.emit(Saved())
    heard.clear()

    assert not run_old_plan(Saved())

    manager.connect(Saved, lambda event: heard.append("second"))
    manager.emit(Saved())

    assert ["first", "second"] == heard


def test_what_was_connected_before_an_emit_hears_it() -> None:
    """Once connect has returned, every event of any thread reaches the listener."""
    manager = EventManager()
    busy = threading.Event()

    def emit_others() -> None:
        while not busy.is_set():
            manager.emit(Saved(n=-1))

    def check() -> None:
        try:
            for number in range(400):
                heard: list[int] = []
                listener = lambda event, heard=heard: heard.append(event.n)  # noqa: E731
                manager.connect(BaseEvent if number % 2 else Saved, listener)
                manager.emit(Saved(n=number))
                manager.disconnect(BaseEvent if number % 2 else Saved, listener)
                settled = len(heard)
                manager.emit(Saved(n=number))

                assert 1 == heard[:settled].count(number)
                assert number not in heard[settled:]
        finally:
            busy.set()

    together(check, emit_others, emit_others)


def test_objects_may_go_on_any_thread() -> None:
    """Listeners of objects that go while others connect and emit are gone in the end."""
    manager = EventManager()

    class Owner:
        def __init__(self) -> None:
            self.me = self  # only the collector finds it

        def listen(self, event: BaseEvent) -> None:
            pass

    def come_and_go() -> None:
        for number in range(300):
            manager.connect(Saved, Owner().listen, {"a": number % 5} if number % 2 else None)
            manager.emit(Saved(a=1))
            if number % 20 == 0:
                gc.collect()

    together(come_and_go, come_and_go, come_and_go)
    gc.collect()

    assert [] == manager.get_listeners(Saved)


def test_the_order_holds_among_threads() -> None:
    """Listeners of one thread are called in the order in which it connected them."""
    manager = EventManager()

    def connect(thread: int) -> None:
        for number in range(200):
            manager.connect(
                Saved if number % 2 else BaseEvent,
                lambda event, number=number: event.heard[thread].append(number),  # type: ignore[misc]
            )

    together(*(lambda thread=thread: connect(thread) for thread in range(4)))  # type: ignore[misc]
    event = Saved(heard=[[] for _ in range(4)])
    manager.emit(event)

    assert [list(range(200))] * 4 == event.heard


def test_disabling_takes_hold_at_once() -> None:
    """After disable has returned no event of the class is begun on that thread."""
    manager = EventManager()
    heard: list[int] = []
    manager.connect(Saved, lambda event: heard.append(event.n))
    done = threading.Event()

    def emit_others() -> None:
        while not done.is_set():
            manager.emit(Saved(n=-1))

    def switch() -> None:
        try:
            for number in range(300):
                manager.disable(BaseEvent)
                manager.emit(Saved(n=number))
                manager.enable(BaseEvent)
        finally:
            done.set()

    together(switch, emit_others)

    assert not [number for number in heard if number >= 0]
