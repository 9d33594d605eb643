"""A program in another language sends and hears events, with pika and the document alone.

The sentence of a test begins with the requirements of docs/reference/wire-format.md that it
shows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pika
import pytest
from bus_helpers import Heard, Numbered, wait_until

from antiphon import BaseEvent, BrokerEventManager, open_bus
from antiphon.events.delivery import delivery_of
from antiphon.events.origin import Prefix
from antiphon.messaging.dead_letters import dead_queue
from antiphon.messaging.transport import Message
from antiphon.notifications import ResourceLifecycleEventPublisher
from antiphon.wire import RemoteSource
from tests.wire import other_language as other

SYSTEM = "shop"

EXCHANGE = "shop.events"

SOLD = (other.ROOT, "test:Numbered", "shop:Sold")

STORE_ID = UUID(int=7)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#: Seconds that a message may take.
PATIENCE_S = 20.0


class Program:
    """A program in another language, with one connection to the broker."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.exchange_declare(EXCHANGE, "topic", durable=True)  # [M1]
        self.channel.confirm_delivery()  # [M4]
        self._publisher = os.urandom(12)
        self._counter = 0
        self.queue = ""

    def close(self) -> None:
        """Leave the broker."""
        self._connection.close()

    def event(self, origin: str | None = None, **attributes: Any) -> other.Event:
        """Return a new event; of class ``shop:Sold``, which nobody here knows."""
        self._counter += 1
        return other.Event(
            SOLD, origin, self._counter, self._publisher, 1_790_000_000 * 10**9, attributes
        )

    def send(self, *events: other.Event, **properties: Any) -> None:
        """Publish *events* in one message."""
        key, headers, body = other.message_of(list(events))
        headers |= properties.pop("headers", {})
        self.publish(key, body, headers=headers or None, **properties)

    def publish(self, key: str, body: bytes, exchange: str = EXCHANGE, **properties: Any) -> None:
        """Publish a message, and wait for the broker's confirmation."""
        self.channel.basic_publish(
            exchange,
            key,
            body,
            pika.BasicProperties(delivery_mode=2, **properties),
            mandatory=True,
        )

    def listen(self, name: str, origin: str | None = None, *, is_prefix: bool = False) -> None:
        """Bind an own queue for a class."""
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        for key in other.bindings(name, origin, is_prefix=is_prefix):
            self.channel.queue_bind(self.queue, EXCHANGE, key)

    def hear(self, count: int) -> list[tuple[other.Event, pika.BasicProperties]]:
        """Return the next *count* events with the properties of their messages."""
        heard: list[tuple[other.Event, pika.BasicProperties]] = []
        for method, properties, body in self.channel.consume(
            self.queue, inactivity_timeout=PATIENCE_S
        ):
            if method is None:
                pytest.fail(f"heard {len(heard)} of {count} events")
            events = other.events_of(method.routing_key, properties.headers, body)
            heard += [(event, properties) for event in events]
            self.channel.basic_ack(method.delivery_tag)
            if len(heard) >= count:
                break
        self.channel.cancel()
        return heard


@pytest.fixture
def program(amqp_url: str) -> Iterator[Program]:
    """The other program."""
    with contextlib.closing(Program(amqp_url)) as started:
        yield started


@pytest.fixture
def bus(amqp_url: str) -> Iterator[BrokerEventManager]:
    """A bus of ours, with origin ``vienna``."""
    with open_bus(amqp_url, system=SYSTEM, origin="vienna") as opened:
        yield opened


# -- From the other program to ours --------------------------------------------------


def test_our_listener_hears_the_other_program(program: Program, bus: BrokerEventManager) -> None:
    """M1, M3: An event arrives with all that was sent, as one of the known base classes."""
    heard = Heard()
    bus.connect(Numbered, heard, origin="linz.web")
    event = program.event("linz.web", number=1, tags={"a", "b"}, price=(1, 99))
    event.source = other.Reference("Till", None, STORE_ID.bytes)
    event.position = other.Position(STORE_ID.bytes, 1, 2, b"01234567", b"link")
    event.replayed, event.traceparent = True, TRACEPARENT
    program.send(event)
    (arrived,) = heard.wait()
    delivery = delivery_of(arrived)

    assert isinstance(arrived, Numbered)
    assert SOLD == type(arrived).wire_names
    assert (1, {"a", "b"}, (1, 99)) == (arrived.number, arrived.tags, arrived.price)
    assert RemoteSource("Till", None, STORE_ID) == arrived.source
    assert delivery is not None
    assert (event.publisher, event.counter) == delivery.event_id
    assert ("linz.web", True, TRACEPARENT) == (
        delivery.origin,
        delivery.replayed,
        delivery.traceparent,
    )
    assert (STORE_ID, 1, 2, b"01234567") == delivery.position


def test_events_of_one_message_arrive_in_order(program: Program, bus: BrokerEventManager) -> None:
    """M2: Many events share a message, if class and origin are the same."""
    heard = Heard()
    bus.connect(Numbered, heard)
    program.send(*(program.event(number=number) for number in range(50)))

    heard.wait(50)
    assert list(range(50)) == heard.numbers


def test_what_the_page_does_not_name_is_ignored(program: Program, bus: BrokerEventManager) -> None:
    """M5: Properties and headers of others change nothing."""
    heard = Heard()
    bus.connect(Numbered, heard)
    program.send(
        program.event(number=1),
        headers={"classes-of": ["x"], "origin": 7, "n": None},
        content_type="text/plain",
        message_id="m",
        reply_to="nobody",
        type="t",
    )

    heard.wait()
    assert [1] == heard.numbers


def test_an_event_that_comes_again_is_passed_over(
    program: Program, bus: BrokerEventManager
) -> None:
    """M6, E6: A sender that is not sure sends it again, with the same id."""
    heard = Heard()
    bus.connect(Numbered, heard)
    event = program.event(number=1)
    for one in (event, event, program.event(number=2)):
        program.send(one)

    heard.wait(2)
    assert [1, 2] == heard.numbers


def test_a_replay_brings_what_was_handled(program: Program, bus: BrokerEventManager) -> None:
    """M9: With a mark it is another event; with no good mark it is the same."""
    heard = Heard()
    bus.subscribe("audit", Numbered, heard).wait_ready(PATIENCE_S)
    event = program.event(number=1)
    marks = ["", "a" * 24, "a" * 24, "b" * 24, "B" * 24, "b" * 23]
    for mark in marks:
        program.send(event, headers={"antiphon-replay": mark} if mark else {})
    program.send(program.event(number=2))

    heard.wait(4)
    assert [1, 1, 1, 2] == heard.numbers


def test_what_is_refused_comes_once(program: Program, bus: BrokerEventManager) -> None:
    """M7: Neither is it given out again, nor does it hold up what is behind."""
    heard = Heard()
    subscription = bus.subscribe("audit", Numbered, heard)
    subscription.wait_ready(PATIENCE_S)
    key, _, body = other.message_of([program.event(number=1)])
    program.publish(key, body[:-1])
    program.send(program.event(number=2))
    heard.wait()

    def dead() -> int:
        declared = program.channel.queue_declare(dead_queue(SYSTEM), passive=True)
        return int(declared.method.message_count)

    wait_until(lambda: subscription.stats().dead == 1, "it is a dead letter")
    wait_until(lambda: dead() == 1, "it is in the queue of dead letters")
    assert [2] == heard.numbers


def test_what_goes_straight_to_a_queue_has_its_key_in_a_header(
    program: Program, bus: BrokerEventManager
) -> None:
    """M8: The key is read from the header, not from the name of the queue."""
    heard = Heard()
    bus.subscribe("audit", Numbered, heard).wait_ready(PATIENCE_S)
    key, _, body = other.message_of([program.event("linz", number=1)])
    program.publish("shop.sub.audit", body, exchange="", headers={"antiphon-key": key})
    (arrived,) = heard.wait()

    assert (1, "linz") == (arrived.number, arrived._delivery.origin)


def test_what_goes_to_another_exchange_reaches_listeners_of_the_class(
    program: Program, bus: BrokerEventManager
) -> None:
    """M10: By the key in BCC the broker routes it, and by that in antiphon-key it is read."""
    heard = Heard()
    bus.connect(Numbered, heard)
    program.channel.exchange_declare("shop.events.topic", "topic", durable=True)
    program.channel.exchange_bind(EXCHANGE, "shop.events.topic", "#")
    key, _, body = other.message_of([program.event(number=1)])
    headers = {"antiphon-key": key, "BCC": [key]}
    program.publish("till.7", body, exchange="shop.events.topic", headers=headers)
    program.send(program.event(number=2))

    heard.wait(2)
    assert [1, 2] == heard.numbers


# -- From our program to the other ---------------------------------------------------


def test_the_other_program_hears_ours(program: Program, bus: BrokerEventManager) -> None:
    """B1, M4: All that an event has arrives, persistent, with the id of the bus."""
    program.listen("test:Numbered")
    event = Numbered(STORE_ID, number=1, table={(1, "a"): [2**70, 1.5]}, text="für")
    bus.emit(event)
    ((arrived, properties),) = program.hear(1)

    assert ((other.ROOT, "test:Numbered"), "vienna") == (arrived.classes, arrived.origin)
    assert (arrived.publisher, arrived.counter) == event._event_id
    assert {"number": 1, "table": {(1, "a"): [2**70, 1.5]}, "text": "für"} == arrived.attributes
    assert other.Plain(STORE_ID) == arrived.source
    assert (2, bus.publisher_id) == (properties.delivery_mode, properties.app_id)


def test_the_exchange_is_as_the_page_says(program: Program, bus: BrokerEventManager) -> None:
    """M1: Both have declared it alike, or one of them would have been refused."""
    declared = program.channel.exchange_declare(
        EXCHANGE, "topic", durable=True, auto_delete=False, internal=False
    )

    assert bus.is_connected
    assert isinstance(declared.method, pika.spec.Exchange.DeclareOk)


def test_the_broker_gives_it_what_it_asks_for(program: Program, bus: BrokerEventManager) -> None:
    """B1, B2, B5: One class below a prefix of origins; what matches only by ``!`` it drops."""
    long_class = type("Long", (BaseEvent,), {"wire_name": f"test:{'Long' * 80}"})
    program.listen("test:Numbered", "vienna.im norden", is_prefix=True)
    bus.emit(Numbered(number=1, origin="linz"))
    bus.emit(BaseEvent(number=2, origin="vienna.im norden"))
    bus.emit(long_class(number=3, origin="vienna.im norden"))
    bus.emit(Numbered(number=4, origin="vienna.im norden.7"))
    heard = [event for event, _ in program.hear(2)]

    assert [3, 4] == [event.attributes["number"] for event in heard]
    assert [4] == [e.attributes["number"] for e in heard if "test:Numbered" in e.classes]


def test_our_listener_drops_what_matches_only_for_the_broker(
    program: Program, bus: BrokerEventManager
) -> None:
    """B5: A class that does not fit comes to all listeners, and is matched again."""
    heard, all_heard = Heard(), Heard()
    bus.connect(Numbered, heard, origin=Prefix("linz"))
    bus.connect(BaseEvent, all_heard, origin="linz.west")
    for classes in ((other.ROOT, "x" * 300), (other.ROOT, "test:Numbered", "x" * 300)):
        event = program.event("linz.west", number=len(classes))
        event.classes = classes
        program.send(event)

    all_heard.wait(2)
    heard.wait()
    assert ([3], [2, 3]) == (heard.numbers, all_heard.numbers)


def test_the_other_program_hears_no_canaries(program: Program, bus: BrokerEventManager) -> None:
    """B3: A listener of all events gets no messages that are none."""
    program.listen(other.ROOT)
    wait_until(lambda: bus.health().ready, "a canary went round")
    bus.emit(BaseEvent(number=1))
    ((arrived, _),) = program.hear(1)

    assert {"number": 1} == arrived.attributes


def test_the_other_program_reads_notifications(program: Program, bus: BrokerEventManager) -> None:
    """M10: A notification comes by its class, whatever exchange it was published to."""
    program.listen(other.ROOT)
    publisher = ResourceLifecycleEventPublisher(origin="buoy.7", bus=bus)
    publisher.create_and_publish_event(state=publisher.State.ACTIVE)
    ((arrived, properties),) = program.hear(1)

    assert "antiphon-key" in properties.headers
    assert "buoy.7" == arrived.origin


def test_the_other_program_takes_part_in_a_replay(
    program: Program, bus: BrokerEventManager
) -> None:
    """M8, M9: A replay to its queue bears the key, the mark, and field 9."""
    program.listen("test:Numbered")
    key, _, body = other.message_of([program.event("linz", number=1)])
    bus.replay_to(queue=program.queue).send([Message(key, body)])
    ((arrived, properties),) = program.hear(1)

    assert (True, "linz", 1) == (arrived.replayed, arrived.origin, arrived.attributes["number"])
    assert key == properties.headers["antiphon-key"]
    assert 24 == len(properties.headers["antiphon-replay"])
