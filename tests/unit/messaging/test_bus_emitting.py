"""What emit does, and in which order."""

from __future__ import annotations

import gc
import pickle
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import (
    BusClosed,
    FlushTimeout,
    PublishBufferFull,
    UnencodableAttribute,
)
from antiphon.events.api import BaseEvent
from antiphon.events.delivery import delivery_of
from antiphon.events.event_id import EventId
from antiphon.messaging.bus import BrokerEventManager, BusOptions
from antiphon.messaging.memory import MemoryBroker

Opener = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""


class Stays(BaseEvent):
    """Something that concerns this process only."""

    travels = False


class Hooked(BaseEvent):
    """An event that notes when its hooks run."""

    def pre_emit(self) -> None:
        self.name = "set by the hook"
        self._steps = ["pre_emit"]

    def post_emit(self) -> None:
        self._steps.append("post_emit")


def test_reaches_other_processes(bus_of: Opener, heard: Any) -> None:
    """A listener elsewhere hears the event, with its attributes and where it came from."""
    sender, receiver = bus_of("billing"), bus_of("other")
    receiver.connect(Saved, heard)

    sender.emit(Saved(name="letter", pages=3))

    event = heard.wait()[0]
    assert ("letter", 3, None) == (event.name, event.pages, event.source)
    delivery = delivery_of(event)
    assert delivery is not None
    assert ("billing", False) == (delivery.origin, delivery.replayed)


def test_local_listeners_hear_at_once(bus_of: Opener) -> None:
    """In the emitting process listeners run before emit returns, and once only."""
    bus = bus_of()
    seen: list[Any] = []
    bus.connect(Saved, seen.append)
    event = Saved()

    bus.emit(event)
    bus.flush(10)

    assert [event] == seen
    assert delivery_of(event) is None


def test_order_of_steps(bus_of: Opener, heard: Any) -> None:
    """Hook, encoding, listeners in order of priority, hook: and what pre_emit sets travels."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Hooked, heard)
    sender.connect(Hooked, lambda event: event._steps.append("low"), priority=1)
    sender.connect(Hooked, lambda event: event._steps.append("high"), priority=2)
    event = Hooked()

    sender.emit(event)

    assert ["pre_emit", "high", "low", "post_emit"] == event._steps
    arrived = heard.wait()[0]
    assert "set by the hook" == arrived.name
    assert not hasattr(arrived, "_steps")


def test_what_does_not_travel(bus_of: Opener, heard: Any) -> None:
    """An event of a class that does not travel is heard here, and may hold anything."""
    sender, receiver = bus_of(), bus_of()
    here: list[Any] = []
    sender.connect(Stays, here.append)
    receiver.connect(Stays, heard)
    receiver.connect(Saved, heard)

    sender.emit(Stays(lock=threading.Lock()))
    sender.emit(Saved())

    assert [Saved] == [type(event) for event in heard.wait()]
    assert 1 == len(here)


def test_unencodable(bus_of: Opener, heard: Any) -> None:
    """An attribute that cannot travel is an error before anyone has heard of the event."""
    sender, receiver = bus_of(), bus_of()
    here: list[Any] = []
    sender.connect(Saved, here.append)
    receiver.connect(Saved, heard)

    with pytest.raises(UnencodableAttribute, match=r"Saved\.lock"):
        sender.emit(Saved(lock=threading.Lock()))

    assert [] == here
    assert 0 == sender.stats().emitted


@pytest.mark.parametrize("thing", ["saved", Saved])
def test_what_is_no_event_is_refused(bus_of: Opener, thing: Any) -> None:
    """As by any event manager."""
    with pytest.raises(TypeError, match="an event is an object of BaseEvent"):
        bus_of().emit(thing)


def test_handled_stops_only_here(bus_of: Opener, heard: Any) -> None:
    """mark_as_handled keeps the event from listeners here, not from other processes."""
    sender, receiver = bus_of(), bus_of()
    late: list[Any] = []
    sender.connect(Saved, BaseEvent.mark_as_handled, priority=1)
    sender.connect(Saved, late.append)
    receiver.connect(Saved, heard)

    sender.emit(Saved())

    heard.wait()
    assert [] == late


def test_disabled_where_emitted(bus_of: Opener, heard: Any) -> None:
    """An event of a disabled class is not emitted at all."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)

    sender.disable(BaseEvent)
    sender.emit(Saved(number=1))
    sender.enable(BaseEvent)
    sender.emit(Saved(number=2))

    assert [2] == [event.number for event in heard.wait()]


def test_disabled_where_heard(bus_of: Opener, heard: Any) -> None:
    """An event that arrives where its class is disabled is not heard there."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    receiver.disable(BaseEvent)
    sender.emit(Saved(number=1))
    deadline = time.monotonic() + 10
    while receiver.stats().received < 1:
        assert time.monotonic() < deadline

    receiver.close()  # waits until what has come is dealt with
    assert [] == heard.events


def test_not_blocking(bus_of: Opener, heard: Any) -> None:
    """block=False leaves the local listeners to a thread; the sending has begun."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    go_on, done = threading.Event(), threading.Event()
    sender.connect(Saved, lambda event: go_on.wait(10) and done.set())

    thread = sender.emit(Saved(), block=False)
    heard.wait()
    assert not done.is_set()
    go_on.set()

    assert thread is not None
    thread.join(10)
    assert done.is_set()


def test_emitted_twice_happens_twice(bus_of: Opener, heard: Any) -> None:
    """One event object that is emitted again is a new event to all others."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    event = Saved()

    sender.emit(event)
    sender.emit(event)

    first, second = (delivery_of(one) for one in heard.wait(2))
    assert first is not None
    assert second is not None
    assert first.event_id != second.event_id


def test_given_event_id_is_kept(bus_of: Opener, heard: Any) -> None:
    """A store that has written an event's id into its journal finds it in the event."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    event = Saved()
    event._event_id = EventId(b"0123456789ab", 7)

    sender.emit(event)

    delivery = delivery_of(heard.wait()[0])
    assert delivery is not None
    assert EventId(b"0123456789ab", 7) == delivery.event_id


def test_an_event_knows_the_id_that_it_was_sent_with(bus_of: Opener, heard: Any) -> None:
    """Also a second time, when it has another; whether or not it was given the first."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    plain, given = Saved(), Saved()
    given._event_id = EventId(b"0123456789ab", 7)
    known = []
    for event in (plain, given, plain, given):
        sender.emit(event)
        known.append(event._event_id)

    assert known == [event._event_id for event in heard.wait(4)]
    assert (4, known[1]) == (len(set(known)), EventId(b"0123456789ab", 7))


def test_repeated_id_is_dropped(bus_of: Opener, heard: Any) -> None:
    """An event that comes again with the same id, as after a lost connection, is heard once."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    for _ in range(2):
        event = Saved(number=1)
        event._event_id = EventId(b"0123456789ab", 7)
        sender.emit(event)
    sender.emit(Saved(number=2))

    assert [1, 2] == [event.number for event in heard.wait(2)]
    assert 1 == receiver.stats().duplicates


def test_not_sent_back(bus_of: Opener, heard: Any) -> None:
    """An event that arrived and is emitted again is heard here, and not sent back."""
    sender, relay = bus_of(), bus_of()
    relay.connect(Saved, heard)
    returned: list[Any] = []
    sender.emit(Saved())
    sender.connect(Saved, returned.append)
    arrived = heard.wait()[0]

    relay.emit(arrived)
    relay.flush(10)

    assert [arrived, arrived] == heard.events
    assert 0 == relay.stats().emitted
    assert [] == returned


def test_bridge(bus_of: Opener, heard: Any) -> None:
    """An event that arrived on one bus may be emitted on another, and keeps its id."""
    sender, relay, far = bus_of(), bus_of(), bus_of(system="far")
    receiver = bus_of(system="far")
    relay.connect(Saved, far.emit)
    receiver.connect(Saved, heard)

    event = Saved(number=1)
    sender.emit(event)

    arrived = heard.wait()[0]
    assert (1, event._event_id) == (arrived.number, arrived._event_id)


def test_systems_are_apart(bus_of: Opener, heard: Any) -> None:
    """Two systems on one broker never hear each other."""
    sender, other, same = bus_of(system="one"), bus_of(system="two"), bus_of(system="one")
    never: list[Any] = []
    other.connect(BaseEvent, never.append)
    same.connect(BaseEvent, heard)

    sender.emit(Saved())
    sender.flush(10)

    heard.wait()
    assert [] == never
    assert 0 == other.stats().received


def test_arrived_event_can_be_pickled(bus_of: Opener, heard: Any) -> None:
    """An event that travelled is as plain as one that did not."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    event = Saved(name="x")
    sender.emit(event)

    assert "x" == pickle.loads(pickle.dumps(heard.wait()[0])).name
    assert "x" == pickle.loads(pickle.dumps(event)).name


def test_flush_timeout(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """flush says how many events are not confirmed, and keeps them."""
    bus = bus_of()
    memory_broker.hold_confirms()
    for _ in range(3):
        bus.emit(Saved())

    with pytest.raises(FlushTimeout, match="not confirmed 3 events"):
        bus.flush(0.05)
    memory_broker.release_confirms()

    bus.flush(10)
    assert (3, 3, 0) == (bus.stats().emitted, bus.stats().confirmed, bus.stats().buffered)


def test_buffer_full(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """With the buffer full emit raises before anyone hears of the event."""
    bus = bus_of(options=BusOptions(buffer_events=3, when_full="raise"))
    here: list[Any] = []
    bus.connect(Saved, here.append)
    memory_broker.hold_confirms()
    for _ in range(3):
        bus.emit(Saved())

    with pytest.raises(PublishBufferFull, match="3 events"):
        bus.emit(Saved())

    assert 3 == len(here)
    memory_broker.release_confirms()


def test_nobody_got_it(bus_of: Opener) -> None:
    """Events that no queue takes are counted."""
    bus = bus_of()

    bus.emit(Saved())
    bus.flush(10)

    assert (1, 1) == (bus.stats().returned, bus.stats().confirmed)


def test_closed(bus_of: Opener) -> None:
    """A closed bus says so, to whoever emits, connects or flushes; closing twice is fine."""
    bus = bus_of()
    bus.connect(Saved, print)

    bus.close()
    bus.close()

    for act in (
        lambda: bus.emit(Saved()),
        lambda: bus.connect(Saved, print),
        lambda: bus.connect_named("x", print),
        lambda: bus.flush(1),
    ):
        with pytest.raises(BusClosed, match="it was closed"):
            act()
    bus.disconnect(Saved, print)
    assert not bus.is_connected
    assert bus.is_closed


def test_close_flushes(bus_of: Opener, heard: Any) -> None:
    """What was emitted before close is sent, and what had arrived is heard."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)

    for _ in range(500):
        sender.emit(Saved())
    sender.close()
    receiver.close()

    assert 500 == len(heard.events)


def test_close_by_a_listener(bus_of: Opener) -> None:
    """A listener may close its own bus."""
    sender, receiver = bus_of(), bus_of()
    closed = threading.Event()

    def close(event: Any) -> None:
        receiver.close()
        closed.set()

    receiver.connect(Saved, close)
    sender.emit(Saved())

    assert closed.wait(10)


def test_traced(bus_of: Opener) -> None:
    """A tracer sees and vetoes connecting, emitting and disconnecting, as in one process."""
    bus = bus_of()
    seen: list[str] = []
    here: list[Any] = []
    bus.connect(Saved, here.append)
    bus.set_trace(lambda name, func, args: seen.append(name) or name != "listen")

    bus.connect(Stays, here.append)
    bus.emit(Saved())
    bus.disconnect(Saved, here.append)

    assert ["connect", "emit", "disconnect"] == seen
    assert [] == here
    assert 2 == bus.stats().bindings


def test_emitting_from_a_finalizer(bus_of: Opener, heard: Any) -> None:
    """An object that emits as it dies cannot lock the bus up, whenever the collector runs."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)

    class Dying:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            sender.emit(Saved(died=True))

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            Dying()
            sender.emit(Saved(died=False))
    finally:
        gc.set_threshold(*before)
    gc.collect()

    heard.wait(100)
