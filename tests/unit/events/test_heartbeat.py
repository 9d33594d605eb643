"""Heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from antiphon.events import package_globals
from antiphon.events.api import EventManager, Heartbeat, HeartbeatEvent

#: Seconds to wait for something that should take milliseconds.
DEADLINE_S = 20.0


class Beats:
    """A heartbeat, and what it emitted."""

    def __init__(self, interval: float) -> None:
        self.manager = EventManager()
        self.heartbeat = Heartbeat(interval, self.manager)
        self.events: list[HeartbeatEvent] = []
        self.came = threading.Condition()
        self.manager.connect(HeartbeatEvent, self.note)

    def note(self, event: HeartbeatEvent) -> None:
        with self.came:
            self.events.append(event)
            self.came.notify_all()

    def wait_for(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.events) >= count, DEADLINE_S)


@pytest.fixture
def make() -> Iterator[Callable[[float], Beats]]:
    made: list[Beats] = []
    threads = set(threading.enumerate())

    def make(interval: float) -> Beats:
        made.append(Beats(interval))
        return made[-1]

    yield make
    for beats in made:
        beats.heartbeat.state = "stopped"
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE_S)


def test_it_beats_on_a_thread_of_its_own(make: Callable[[float], Beats]) -> None:
    """Each beat has its number, the time, the interval and the heartbeat as its source."""
    beats = make(0.001)
    started = time.monotonic()
    thread = beats.heartbeat.serve()
    beats.wait_for(3)

    assert thread.daemon
    assert [0, 1, 2] == [event.frame for event in beats.events[:3]]
    assert (beats.heartbeat, 0.001) == (beats.events[0].source, beats.events[0].interval)
    assert started <= beats.events[0].time < beats.events[1].time


def test_its_state_tells_what_it_does(make: Callable[[float], Beats]) -> None:
    """Waiting, running, stopped."""
    beats = make(0.001)
    states = [beats.heartbeat.state]
    thread = beats.heartbeat.serve()
    beats.wait_for(1)
    states.append(beats.heartbeat.state)
    beats.heartbeat.state = "stopped"
    thread.join(DEADLINE_S)

    assert ["waiting", "running", "stopped"] == [*states, beats.heartbeat.state]
    assert not thread.is_alive()


def test_stopping_does_not_wait_for_the_next_beat(make: Callable[[float], Beats]) -> None:
    """With an hour between two beats it ends at once."""
    beats = make(3600)
    thread = beats.heartbeat.serve()
    beats.wait_for(1)
    beats.heartbeat.state = "stopped"
    thread.join(DEADLINE_S)

    assert not thread.is_alive()


def test_it_can_be_paused(make: Callable[[float], Beats]) -> None:
    """Paused it does not beat, and running again goes on counting."""
    beats = make(3600)
    thread = beats.heartbeat.serve()
    beats.wait_for(1)
    beats.heartbeat.state = "paused"
    beats.heartbeat.interval = 0.001
    paused = (len(beats.events), beats.heartbeat.state, thread.is_alive())
    beats.heartbeat.state = "running"
    beats.wait_for(3)

    assert (1, "paused", True) == paused
    assert [0, 1, 2] == [event.frame for event in beats.events[:3]]


def test_a_listener_may_stop_it(make: Callable[[float], Beats]) -> None:
    """``run`` beats on the caller's thread until then."""
    beats = make(0)

    def stop(event: HeartbeatEvent) -> None:
        if event.frame == 2:
            beats.heartbeat.state = "stopped"

    beats.manager.connect(HeartbeatEvent, stop)
    beats.heartbeat.run()

    assert (3, "stopped") == (len(beats.events), beats.heartbeat.state)


def test_it_beats_once_at_a_time(make: Callable[[float], Beats]) -> None:
    """Starting what runs is an error; starting what was stopped is none."""
    beats = make(3600)
    thread = beats.heartbeat.serve()
    beats.wait_for(1)
    with pytest.raises(RuntimeError, match="runs already"):
        beats.heartbeat.serve()
    with pytest.raises(RuntimeError, match="runs already"):
        beats.heartbeat.run()
    beats.heartbeat.state = "stopped"
    thread.join(DEADLINE_S)
    beats.heartbeat.serve()
    beats.wait_for(2)

    assert 1 == beats.events[1].frame


def test_without_a_manager_the_programs_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that ``get_event_manager`` returns."""
    manager = EventManager()
    monkeypatch.setattr(package_globals, "_event_manager", manager)

    assert (manager, 1 / 50) == (Heartbeat().event_manager, Heartbeat().interval)
