"""Notifications over RabbitMQ: across processes, beside listeners by class, and for others."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
import pytest
from broker_users import add_user
from bus_helpers import Heard, python, wait_until
from tcp_proxy import Node

from antiphon import BaseEvent, BrokerEventManager, open_bus
from antiphon.cli.dead_letters import DeadLetters, Fate
from antiphon.errors import BrokerRefused, BrokerUnavailable
from antiphon.messaging.browser import open_browser
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.notifications import (
    EventSubscriber,
    InfoLoggingEventPublisher,
    Notification,
    ResourceLifecycleEvent,
    ResourceLifecycleEventPublisher,
    ResourceLifecycleEventSubscriber,
)
from antiphon.testing.servers import RabbitMQ

#: Publishes an event of a kind that only this process has.
ELSEWHERE = """
import sys
from antiphon import open_bus
from antiphon.notifications import EventPublisher, Notification

class TideEvent(Notification):
    event_id, msg_type = 9001, 9101
    height_m: float = 0.0

class TideEventPublisher(EventPublisher, event=TideEvent): ...

with open_bus(sys.argv[1], system=sys.argv[2]) as bus:
    TideEventPublisher(bus=bus, origin="kiel.gauge").create_and_publish_event(height_m=1.25)
"""


@pytest.fixture
def here(amqp_url: str, system: str) -> Iterator[BrokerEventManager]:
    """The bus that publishes."""
    with open_bus(amqp_url, system=system) as bus:
        yield bus


@pytest.fixture
def there(amqp_url: str, system: str) -> Iterator[BrokerEventManager]:
    """Another bus of the system."""
    with open_bus(amqp_url, system=system) as bus:
        yield bus


def active(subscriber: EventSubscriber) -> Heard:
    """Let *subscriber* listen, and return what it hears."""
    heard = Heard()
    subscriber.ondata = heard
    subscriber.activate()
    return heard


def test_by_class_and_by_topic_once(here: BrokerEventManager, there: BrokerEventManager) -> None:
    """One message reaches a queue once, which two exchanges have bindings for."""
    by_class, by_base = Heard(), Heard()
    there.connect(ResourceLifecycleEvent, by_class, origin="chan1.process7")
    there.connect(Notification, by_base)
    topics = [
        active(EventSubscriber(bus=there, **arguments))
        for arguments in (
            {"event_id": 1001},
            {"event_id": 1001, "origin": "chan1.*"},
            {"origin": "#.process7"},
            {"binding_key": "#"},
        )
    ]
    publisher = ResourceLifecycleEventPublisher(bus=here)

    for state in ("NEW", "READY", "ACTIVE"):
        publisher.create_and_publish_event(origin="chan1.process7", state=state)
    InfoLoggingEventPublisher(bus=here, origin="the.end").create_and_publish_event()

    by_base.wait(4)
    topics[3].wait(4)
    for heard in (by_class, *topics[:3]):
        assert ["NEW", "READY", "ACTIVE"] == [event.state for event in heard.wait(3)]
    assert 4 == there.stats().received
    here.flush(5)
    assert 0 == here.stats().returned


def test_other_processes_do_not_get_what_they_did_not_ask_for(
    here: BrokerEventManager, there: BrokerEventManager
) -> None:
    """The broker drops what no binding key of a process matches."""
    heard = active(EventSubscriber(bus=there, event_id=1001, origin="chan2"))
    publisher = ResourceLifecycleEventPublisher(bus=here)

    publisher.create_and_publish_event(origin="chan1")
    publisher.create_and_publish_event(origin="chan2")

    heard.wait()
    assert 1 == there.stats().received


def test_a_kind_that_only_the_publisher_has(
    amqp_url: str, system: str, there: BrokerEventManager
) -> None:
    """A process without the class hears its events by id and by base, with all fields."""
    by_id, by_base = active(EventSubscriber(bus=there, event_id=9001)), Heard()
    there.connect(Notification, by_base, filter={"height_m": 1.25})

    with python(ELSEWHERE, amqp_url, system):
        (event,) = by_id.wait()

    assert [event] == by_base.wait()
    assert ("TideEvent", "9001.kiel.gauge") == (type(event).__name__, event.topic)
    assert [("height_m", 1.25)] == list(event.additional_data)


def test_a_plain_amqp_program_hears_it_too(
    amqp_url: str, system: str, here: BrokerEventManager
) -> None:
    """Whoever binds an id to the topic exchange gets the messages, under their topics."""
    heard = active(ResourceLifecycleEventSubscriber(bus=here))
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        channel = connection.channel()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, f"{system}.events.topic", "1001.#")
        publisher = ResourceLifecycleEventPublisher(bus=here)
        publisher.create_and_publish_event(origin="chan1.process7", state="ACTIVE")
        InfoLoggingEventPublisher(bus=here, origin="chan1").create_and_publish_event()
        here.flush(5)

        (method, properties, body), (nothing, _, _) = (
            channel.basic_get(queue, auto_ack=True) for _ in range(2)
        )

    assert "1001.chan1.process7" == method.routing_key
    assert "antiphon:ResourceLifecycleEvent" in properties.headers["antiphon-key"]
    assert "BCC" not in properties.headers
    assert b"chan1.process7" in body
    assert nothing is None
    assert 1 == len(heard.events)


def test_a_durable_queue(amqp_url: str, system: str, here: BrokerEventManager) -> None:
    """Events wait in a queue that the system's name comes before; own ones come once."""
    arguments = {"queue_name": "lifecycle", "origin": "chan1.#"}
    with open_bus(amqp_url, system=system) as away:
        active(ResourceLifecycleEventSubscriber(bus=away, **arguments))
    publisher = ResourceLifecycleEventPublisher(bus=here, origin="chan1.process7")
    publisher.create_and_publish_event(state="NEW")
    publisher.create_and_publish_event(state="READY", origin="chan2")
    here.flush(5)
    subscriber = ResourceLifecycleEventSubscriber(bus=here, **arguments)
    subscriber.ondata = heard = Heard()
    subscriber.activate()
    publisher.create_and_publish_event(state="ACTIVE")

    assert ["NEW", "ACTIVE"] == [event.state for event in heard.wait(2)]
    assert f"{system}.lifecycle" == subscriber.queue_name
    assert subscriber.subscription is not None
    subscriber.subscription.delete()


def test_a_dead_letter_goes_back_to_its_queue(
    amqp_url: str, system: str, here: BrokerEventManager
) -> None:
    """An event that its subscriber cannot handle can be sent back to the queue that it had."""
    heard = Heard()

    def handle(event: ResourceLifecycleEvent) -> None:
        heard(event)
        if len(heard.events) == 1:
            raise RuntimeError("not today")

    subscriber = ResourceLifecycleEventSubscriber(
        queue_name="lifecycle", bus=here, options=SubscriptionOptions(delivery_limit=1)
    )
    subscriber.ondata = handle
    subscriber.activate()
    ResourceLifecycleEventPublisher(bus=here, origin="x").create_and_publish_event(state="NEW")
    heard.wait()
    with open_browser(amqp_url) as browser:
        letters = DeadLetters(browser, system)
        wait_until(lambda: letters.count() == 1, "it is dead")
        letters.visit(lambda one: Fate.REMOVE if letters.send_back(one) else Fate.KEEP)

    assert [heard.events[0].topic] * 2 == [event.topic for event in heard.wait(2)]
    assert subscriber.subscription is not None
    subscriber.subscription.delete()


def test_it_goes_on_after_the_exchange_was_deleted(
    amqp_url: str, system: str, here: BrokerEventManager, there: BrokerEventManager
) -> None:
    """An exchange that somebody deleted is made by the next publisher, and bound anew."""
    heard = active(EventSubscriber(bus=there))
    listener = Heard()
    there.connect(Notification, listener)
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().exchange_delete(f"{system}.events.topic")
    publisher = ResourceLifecycleEventPublisher(bus=here, origin="x")

    def is_heard() -> bool:
        publisher.create_and_publish_event()
        return bool(heard.events and listener.events)

    # Listeners of the class hear it at once; the binding of the topic comes with the next
    # connection of its process, which others of the system do not cause.
    wait_until(lambda: publisher.create_and_publish_event() and bool(listener.events), "by class")
    there._transport.renew(BrokerUnavailable("a test"))
    wait_until(is_heard, "by topic")


def test_without_the_right_to_it(broker: RabbitMQ, system: str) -> None:
    """Who may not declare the exchange is told at once, and everything else goes on."""
    rights = (rf"^({system}\.events|amq\.gen.*)$", rf"^({system}\.events|amq\.gen.*)$", ".*")
    with broker.vhost() as url:
        add_user(broker, "clerk", "pw", rights, url.rpartition("/")[2])
        with open_bus(url.replace("guest:guest@", "clerk:pw@"), system=system) as bus:
            publisher = ResourceLifecycleEventPublisher(bus=bus, origin="x")
            for _ in range(2):
                with pytest.raises(BrokerRefused, match=rf"{system}\.events\.topic"):
                    publisher.create_and_publish_event()
            with pytest.raises(BrokerRefused):
                active(EventSubscriber(bus=bus))
            bus.emit(BaseEvent())
            bus.flush(20)

            assert bus.wait_connected(20)
            assert 1 == bus.stats().confirmed


def test_refused_after_the_event(broker: RabbitMQ, system: str) -> None:
    """An exchange that was wished for without a connection, and is refused, is in nobody's way."""
    heard = Heard()
    rights = (rf"^({system}\.events|amq\.gen.*)$", rf"^({system}\.events|amq\.gen.*)$", ".*")
    with broker.vhost() as url, Node(url) as node, open_bus(url, system=system) as there:
        there.connect(BaseEvent, heard)
        add_user(broker, "clerk", "pw", rights, url.rpartition("/")[2])
        node.die()
        far = f"amqp://clerk:pw@127.0.0.1:{node.port}{urlsplit(url).path}"
        with open_bus(far, system=system, wait=False) as bus:
            publisher = ResourceLifecycleEventPublisher(bus=bus, origin="x")
            publisher.create_and_publish_event()
            active(EventSubscriber(bus=bus))
            bus.emit(BaseEvent())
            node.live()
            bus.flush(20)

            assert bus.wait_connected(20)
            kinds = [type(event) for event in heard.wait(2)]
            assert [ResourceLifecycleEvent, BaseEvent] == kinds
            with pytest.raises(BrokerRefused, match=rf"{system}\.events\.topic"):
                publisher.create_and_publish_event()
            bus.emit(BaseEvent())
            bus.flush(5)
