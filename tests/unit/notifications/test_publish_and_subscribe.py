"""Publishing and hearing notifications, over the memory transport."""

from __future__ import annotations

import gc
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.errors import MissingOrigin, NoBus, NoHandler, UnencodableAttribute
from antiphon.events import package_globals
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.notifications import (
    DataBlockEventSubscriber,
    EventPublisher,
    EventSubscriber,
    InfoLoggingEventPublisher,
    InstrumentSampleDataEventPublisher,
    LoggingEvent,
    Notification,
    ResourceLifecycleEvent,
    ResourceLifecycleEventPublisher,
    ResourceLifecycleEventSubscriber,
    SubscriberFactory,
)


class TideEvent(Notification):
    event_id, msg_type, wire_name = 9001, 9101, "test:PublishedTideEvent"
    height_m: float = 0.0


class TideEventPublisher(EventPublisher, event=TideEvent): ...


class TideEventSubscriber(EventSubscriber, event=TideEvent): ...


class Heard:
    """What is to be called; what it heard can be waited for."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._moved = threading.Condition()

    def __call__(self, event: Any) -> None:
        with self._moved:
            self.events.append(event)
            self._moved.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        """Return the events once there are *count*."""
        with self._moved:
            assert self._moved.wait_for(lambda: len(self.events) >= count, 10), self.events
            return list(self.events)


Opener = Callable[[], BrokerEventManager]


@pytest.fixture
def opener() -> Iterator[Opener]:
    """Open buses of one system, on a broker of the test's own."""
    url = f"memory://{secrets.token_hex(6)}"
    buses: list[BrokerEventManager] = []

    def opened() -> BrokerEventManager:
        buses.append(open_bus(url, system="shop"))
        return buses[-1]

    yield opened
    for bus in buses:
        bus.close(1)


@pytest.fixture
def here(opener: Opener) -> BrokerEventManager:
    """The bus of the process that publishes."""
    return opener()


@pytest.fixture
def there(opener: Opener) -> BrokerEventManager:
    """The bus of another process."""
    return opener()


def active(subscriber: EventSubscriber) -> tuple[EventSubscriber, Heard]:
    """Let *subscriber* listen."""
    heard = Heard()
    subscriber.ondata = heard
    return subscriber.activate(), heard


def last(bus: BrokerEventManager) -> None:
    """Publish what every subscriber of these tests hears at the end."""
    TideEventPublisher(bus=bus, origin="the.end").create_and_publish_event()


@pytest.mark.parametrize(
    ("arguments", "heard_of"),
    [
        ({}, "a b c d e"),
        ({"event_id": 1001}, "a b c"),
        ({"event_id": "1001", "origin": "chan1"}, "a"),
        ({"event_id": 1001, "origin": "chan1.*"}, "b"),
        ({"event_id": 1001, "origin": "chan1.#"}, "a b"),
        ({"event_id": 1001, "origin": "chan1.process7"}, "b"),
        ({"origin": "chan1.process7"}, "b d"),
        ({"origin": "*.process7"}, "b d"),
        ({"event_id": "*", "origin": "#.process7"}, "b d e"),
        ({"binding_key": "#.process7"}, "b d e"),
        ({"binding_key": "#"}, "a b c d e"),
        ({"binding_key": "1001"}, ""),
        ({"event_id": 3003}, "d e"),
        ({"event_id": 7}, ""),
    ],
)
def test_wildcards(
    here: BrokerEventManager, there: BrokerEventManager, arguments: dict[str, Any], heard_of: str
) -> None:
    """A subscriber hears the topics that its binding key matches, here as elsewhere."""
    ends = [active(EventSubscriber(bus=bus, origin="the.end")) for bus in (here, there)]
    subscribers = [active(EventSubscriber(bus=bus, **arguments)) for bus in (here, there)]
    resources = ResourceLifecycleEventPublisher(bus=here)
    logs = InfoLoggingEventPublisher(bus=here)
    resources.create_and_publish_event(origin="chan1", name="a")
    resources.create_and_publish_event(origin="chan1.process7", name="b")
    resources.create_and_publish_event(origin="chan2", name="c")
    logs.create_and_publish_event(origin="chan1.process7", name="d")
    logs.create_and_publish_event(origin="lab.chan1.process7", name="e")
    last(here)

    for (_, end), (_, heard) in zip(ends, subscribers, strict=True):
        end.wait()
        assert heard_of.split() == [event.name for event in heard.events if event.name]


def test_listeners_of_classes_hear_it_once(
    here: BrokerEventManager, there: BrokerEventManager
) -> None:
    """By class, by id, by everything: each listener is called once, in each process."""
    by_class, by_base = [Heard(), Heard()], [Heard(), Heard()]
    subscribers = []
    for number, bus in enumerate((here, there)):
        bus.connect(ResourceLifecycleEvent, by_class[number], filter={"state": "ACTIVE"})
        bus.connect(Notification, by_base[number], origin="chan1.process7")
        subscribers.append(active(ResourceLifecycleEventSubscriber(bus=bus))[1])
        subscribers.append(active(EventSubscriber(bus=bus))[1])
    publisher = ResourceLifecycleEventPublisher(bus=here, origin="chan1.process7")

    publisher.create_and_publish_event(state="NEW")
    publisher.create_and_publish_event(state="ACTIVE")
    last(here)

    for heard in by_class:
        assert ["ACTIVE"] == [event.state for event in heard.wait()]
    for heard in by_base:
        assert ["NEW", "ACTIVE"] == [event.state for event in heard.wait(2)]
    assert [2, 3, 2, 3] == [
        len(heard.wait(2 + number % 2)) for number, heard in enumerate(subscribers)
    ]
    here.flush(5)
    assert 3 == there.stats().received
    assert 0 == there.stats().corrupt


def test_an_event_arrives_whole(here: BrokerEventManager, there: BrokerEventManager) -> None:
    """Class, fields, additional data, origin and time are those of the publisher's."""
    _, heard = active(TideEventSubscriber(bus=there))
    sent = TideEventPublisher(bus=here, origin="kiel").create_and_publish_event(
        height_m=1.25, name="high water", status="CACHED"
    )

    (event,) = heard.wait()
    assert TideEvent is type(event)
    assert sent.topic == event.topic == "9001.kiel"
    assert sent.additional_data == event.additional_data
    assert (sent.datetime, "high water", "CACHED") == (event.datetime, event.name, event.status)


def test_events_of_one_id(here: BrokerEventManager, there: BrokerEventManager) -> None:
    """Kinds that share an id are heard together, as their topics are the same."""
    _, heard = active(DataBlockEventSubscriber(bus=there))

    InstrumentSampleDataEventPublisher(bus=here, origin="x").create_and_publish_event(
        data_block=b"\x00", instrument_id="ctd"
    )

    assert ["ctd"] == [event.instrument_id for event in heard.wait()]


def test_abstract_classes_hear_their_kinds(here: BrokerEventManager) -> None:
    """What ION's ids cannot ask for: every kind of logging."""
    heard = Heard()
    here.connect(LoggingEvent, heard)

    InfoLoggingEventPublisher(bus=here, origin="x").create_and_publish_event(message="hello")
    last(here)

    assert ["hello"] == [event.message for event in heard.events]


def test_the_origin_of_an_event_and_of_its_topic_are_one(here: BrokerEventManager) -> None:
    """publish_event's origin goes first, then the event's, then the publisher's."""
    publisher = TideEventPublisher(bus=here, origin="p")
    _, heard = active(TideEventSubscriber(bus=here))

    publisher.publish_event(TideEvent())
    publisher.publish_event(TideEvent(origin="unknown"))
    publisher.publish_event(TideEvent(origin="e"))
    publisher.publish_event(TideEvent(origin="e"), origin="a")

    assert ["p", "p", "e", "a"] == [event.origin for event in heard.events]


def test_nothing_is_published_without_origin(here: BrokerEventManager) -> None:
    """Whoever published it would never be found; neither listeners nor the broker hear of it."""
    heard = Heard()
    here.connect(Notification, heard)

    with pytest.raises(MissingOrigin, match="event 9001 has no origin"):
        TideEventPublisher(bus=here).create_and_publish_event()
    with pytest.raises(MissingOrigin, match="it is 'unknown'"):
        here.emit(TideEvent(origin="unknown"))
    with pytest.raises(UnencodableAttribute, match=r"TideEvent\.height_m"):
        here.emit(TideEvent(origin="x", height_m=object()))

    assert ([], 0) == (heard.events, here.stats().emitted)


def test_an_exchange_of_one_s_own(here: BrokerEventManager, there: BrokerEventManager) -> None:
    """xp_name keeps subscribers apart; listeners by class hear both."""
    listener = Heard()
    there.connect(TideEvent, listener)
    _, usual = active(TideEventSubscriber(bus=there))
    _, other = active(TideEventSubscriber("other.topic", bus=there))

    TideEventPublisher("other.topic", bus=here, origin="x").create_and_publish_event()
    TideEventPublisher("shop.other.topic", bus=here, origin="y").create_and_publish_event()
    last(here)

    assert ["x", "y", "the.end"] == [event.origin for event in listener.wait(3)]
    assert ["the.end"] == [event.origin for event in usual.wait()]
    assert ["x", "y"] == [event.origin for event in other.wait(2)]


def test_deactivating_ends_it(here: BrokerEventManager) -> None:
    """After that nothing is heard; twice is fine, and it can begin again."""
    subscriber, heard = active(TideEventSubscriber(bus=here))
    last(here)
    subscriber.deactivate()
    subscriber.deactivate()
    last(here)
    assert not subscriber.is_active

    with subscriber:
        last(here)
    last(here)

    assert 2 == len(heard.events)


def test_an_active_subscriber_is_held(here: BrokerEventManager) -> None:
    """A program need not keep a subscriber that listens."""
    heard = Heard()
    SubscriberFactory(bus=here, subscriber_type=TideEventSubscriber).build(heard, origin="the.*")
    gc.collect()

    last(here)

    assert 1 == len(heard.events)


def test_on_data_can_be_overridden(here: BrokerEventManager) -> None:
    """A subclass may take the data itself."""
    heard = Heard()

    class Own(TideEventSubscriber):
        def on_data(self, data: Any) -> None:
            heard(data.height_m)

    Own(bus=here).activate()
    TideEventPublisher(bus=here, origin="x").create_and_publish_event(height_m=2.0)

    assert [2.0] == heard.events


def test_a_subscriber_needs_something_to_call(here: BrokerEventManager) -> None:
    """One that would hear, and tell nobody, is refused."""
    with pytest.raises(NoHandler, match="TideEventSubscriber has nothing to call"):
        TideEventSubscriber(bus=here).activate()


def test_the_bus_of_the_program(
    here: BrokerEventManager, there: BrokerEventManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bus goes first, then process if that is one, then the global event manager."""
    monkeypatch.setattr(package_globals, "_event_manager", here)

    assert there is TideEventPublisher(bus=there, process=here).bus
    assert there is TideEventSubscriber(process=there).bus
    assert here is TideEventPublisher(process="ION's own").bus


def test_no_bus_at_all() -> None:
    """A program without a bus is told what to do."""
    with pytest.raises(NoBus, match="TideEventPublisher has no bus: give it bus="):
        TideEventPublisher(origin="x").create_and_publish_event()
    with pytest.raises(NoBus, match="TideEventSubscriber has no bus"):
        active(TideEventSubscriber(queue_name="q"))


@pytest.mark.parametrize("queue_name", ["tides", "shop.tides"])
def test_a_durable_queue_keeps_events(
    opener: Opener, here: BrokerEventManager, queue_name: str
) -> None:
    """What is published while the subscriber is away comes when it is back, and once."""
    away = opener()
    subscriber, before = active(TideEventSubscriber(bus=away, queue_name=queue_name))
    assert "shop.tides" == subscriber.queue_name
    publisher = TideEventPublisher(bus=here, origin="kiel")
    publisher.create_and_publish_event(height_m=1.0)
    before.wait()
    away.close()

    publisher.create_and_publish_event(height_m=2.0)
    ResourceLifecycleEventPublisher(bus=here, origin="kiel").create_and_publish_event()
    publisher.create_and_publish_event(height_m=3.0)
    here.flush(5)
    _, after = active(TideEventSubscriber(bus=opener(), queue_name=queue_name))

    assert [2.0, 3.0] == [event.height_m for event in after.wait(2)]


def test_a_durable_queue_is_shared(opener: Opener, here: BrokerEventManager) -> None:
    """Each event goes to one of those that listen under the same queue name."""
    heard = Heard()
    for _ in range(2):
        subscriber = TideEventSubscriber(bus=opener(), queue_name="tides")
        subscriber.ondata = heard
        subscriber.activate()

    publisher = TideEventPublisher(bus=here, origin="kiel")
    for number in range(20):
        publisher.create_and_publish_event(height_m=float(number))
    last(here)

    assert [float(number) for number in range(20)] == sorted(
        event.height_m for event in heard.wait(21) if event.origin == "kiel"
    )
