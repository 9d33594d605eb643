"""What a process observed is told there, once, and is sent to nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import BusClosed
from antiphon.events.api import BaseEvent, EventManager
from antiphon.events.event_id import next_event_id
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.inbox import MAX_REMEMBERED
from antiphon.storage.observing import emit_observed

Opener = Callable[..., BrokerEventManager]


class Changed(BaseEvent):
    """Something changed."""


class End(BaseEvent):
    """The last event of a test, which tells that nothing else comes."""


class Observer:
    """A source that may observe what its own bus emits."""

    store_id = UUID(int=1)
    observes = True


def observed(number: int, event_id: Any = None) -> Changed:
    """An event that was seen to happen, made by another process."""
    event = Changed(number=number)
    event._event_id = event_id
    return event


def settle(heard: Any, *buses: BrokerEventManager) -> list[Any]:
    """Send an end from each bus to all, and return the numbers heard until they came."""
    for bus in buses:
        bus.emit(End(number="end"))
    while sum(type(event) is End for event in heard.events) < len(buses):
        heard.wait(len(heard.events) + 1)
    return [event.number for event in heard.events if type(event) is Changed]


def test_an_observed_event_reaches_listeners_here_only(bus_of: Opener, heard: Any) -> None:
    """Local listeners are called at once; nothing is published."""
    here, there = bus_of(), bus_of()
    local: list[Any] = []
    here.connect(Changed, local.append)
    there.connect(BaseEvent, heard)
    here.emit_observed(observed(1, next_event_id()))
    here.emit_observed(observed(2))

    assert [1, 2] == [event.number for event in local]
    assert [] == settle(heard, here)


def test_the_copy_of_the_broker_is_dropped(bus_of: Opener, heard: Any) -> None:
    """What was observed first is no news when the broker brings it."""
    committer, observer = bus_of(), bus_of()
    observer.connect(BaseEvent, heard)
    event_id = next_event_id()
    observer.emit_observed(observed(1, event_id))
    committer.emit(observed(1, event_id))

    assert [1] == settle(heard, committer)
    assert 1 == observer.stats().duplicates


def test_an_observation_after_the_copy_of_the_broker_is_dropped(bus_of: Opener, heard: Any) -> None:
    """What the broker brought first is no news when it is observed."""
    committer, observer = bus_of(), bus_of()
    observer.connect(BaseEvent, heard)
    event_id = next_event_id()
    committer.emit(observed(1, event_id))
    heard.wait(1)
    observer.emit_observed(observed(1, event_id))
    observer.emit_observed(observed(2))

    assert [1, 2] == settle(heard, committer)


def test_an_observation_of_a_change_of_this_very_bus_is_dropped(bus_of: Opener) -> None:
    """A server and its client in one process tell of one change once."""
    bus, source = bus_of(), Observer()
    bus.add_source(source)
    heard: list[Any] = []
    bus.connect(Changed, heard.append)
    event = Changed(number=1)
    bus.emit(event)
    bus.emit_observed(observed(1, event._event_id))

    assert [1] == [event.number for event in heard]


@pytest.mark.parametrize("observed_first", [True, False])
def test_who_came_first_makes_no_difference_to_local_listeners(
    bus_of: Opener, heard: Any, observed_first: bool
) -> None:
    """A known change of another process is none of this one, however it was heard of."""
    committer, observer = bus_of(), bus_of()
    observer.connect(BaseEvent, heard)
    local: list[Any] = []
    observer.connect(Changed, local.append, scope="local")
    event_id = next_event_id()
    if observed_first:
        observer.emit_observed(observed(1, event_id))
    committer.emit(observed(1, event_id))
    settle(heard, committer)
    observer.emit_observed(observed(1, event_id))
    observer.emit_observed(observed(2))

    assert [2] == [event.number for event in local]


def test_an_observed_event_that_is_emitted_again_is_not_sent(bus_of: Opener, heard: Any) -> None:
    """What came from another process is not sent back."""
    here, there = bus_of(), bus_of()
    there.connect(BaseEvent, heard)
    event = observed(1, next_event_id())
    here.emit_observed(event)
    here.emit(event)

    assert [] == settle(heard, here)


def test_a_disabled_class_is_not_told_of(bus_of: Opener) -> None:
    """``disable`` and tracers hold for what is observed, too."""
    bus = bus_of()
    heard: list[Any] = []
    bus.connect(Changed, heard.append)
    bus.disable(Changed)
    bus.emit_observed(observed(1))
    bus.enable(Changed)
    bus.set_trace(lambda name, method, args: name == "emit" and args[0].number == 2)
    bus.emit_observed(observed(2))
    bus.set_trace(None)
    bus.emit_observed(observed(3))

    assert [3] == [event.number for event in heard]


def test_a_closed_bus_refuses_what_was_observed(bus_of: Opener) -> None:
    """As it refuses everything."""
    bus = bus_of()
    bus.close()
    with pytest.raises(BusClosed):
        bus.emit_observed(observed(1))


def test_memory_of_what_was_heard_is_bounded(bus_of: Opener) -> None:
    """Only the newest ids are kept."""
    bus = bus_of()
    heard: list[Any] = []
    bus.connect(Changed, heard.append)
    first = next_event_id()
    bus.emit_observed(observed(0, first))
    for number in range(2 * MAX_REMEMBERED):
        bus.emit_observed(observed(number, next_event_id()))
    bus.emit_observed(observed(0, first))

    assert 2 * MAX_REMEMBERED + 2 == len(heard)


def test_other_managers_emit_what_was_observed() -> None:
    """A manager of one process has nobody else to tell."""
    manager = EventManager()
    heard: list[Any] = []
    manager.connect(Changed, heard.append)
    emit_observed(manager, observed(1))

    assert [1] == [event.number for event in heard]


def test_a_bus_is_asked_to_keep_it_here(bus_of: Opener, heard: Any) -> None:
    """``emit_observed`` of the storage part uses the bus's own."""
    here, there = bus_of(), bus_of()
    there.connect(BaseEvent, heard)
    emit_observed(here, observed(1))

    assert [] == settle(heard, here)
