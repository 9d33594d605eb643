"""A user with exactly the rights that are documented, and one that lacks some."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
from broker_users import add_user
from bus_helpers import Heard, Numbered, wait_until
from declared import read_back

from antiphon import BrokerEventManager, open_bus
from antiphon.errors import BrokerRefused, FlushTimeout
from antiphon.messaging.amqp_rights import patterns
from antiphon.messaging.options import BusOptions
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.notifications import ResourceLifecycleEventPublisher, ResourceLifecycleEventSubscriber
from antiphon.testing.servers import RabbitMQ

DEPLOY = Path(__file__).parents[2] / "deploy"
SYSTEM = "shop"
CONFIGURE, WRITE, READ = patterns(SYSTEM)


def open_as(broker: RabbitMQ, rights: tuple[str, str, str]) -> BrokerEventManager:
    """Return a bus of a user with *rights*."""
    add_user(broker, "clerk", "pw", rights)
    port = broker.url.rpartition(":")[2]
    options = BusOptions(canary_interval_s=0.3)
    return open_bus(f"amqp://clerk:pw@127.0.0.1:{port}", system=SYSTEM, options=options)


@pytest.fixture(autouse=True)
def _clean(tls_broker: RabbitMQ) -> Iterator[None]:
    """No queue of one test meets the next."""
    yield
    connection = pika.BlockingConnection(pika.URLParameters(tls_broker.url + "/%2F"))
    for queue in read_back(tls_broker, "/").queues:
        if queue["name"].startswith(SYSTEM):
            connection.channel().queue_delete(queue["name"])
    connection.close()


def fails(_event: Numbered) -> None:
    """A listener that cannot."""
    raise ValueError("never")


def test_the_documented_rights_are_enough(tls_broker: RabbitMQ) -> None:
    """Listeners, subscriptions, dead letters, notifications and canary need no more."""
    plain, durable, notified = Heard(), Heard(), Heard()
    with open_as(tls_broker, (CONFIGURE, WRITE, READ)) as bus:
        bus.connect(Numbered, plain)
        options = SubscriptionOptions(delivery_limit=1)
        bus.subscribe("works", Numbered, durable, mode="group").wait_ready(20)
        bus.subscribe("fails", Numbered, fails, mode="single", options=options).wait_ready(20)
        subscriber = ResourceLifecycleEventSubscriber(origin="buoy.*", bus=bus)
        subscriber.ondata = notified
        subscriber.activate()
        publisher = ResourceLifecycleEventPublisher(origin="buoy.7", bus=bus)
        publisher.create_and_publish_event(state=publisher.State.ACTIVE)
        bus.emit(Numbered(number=1))
        bus.flush(20)
        for heard in (plain, durable, notified):
            heard.wait(1)
        with pika.BlockingConnection(pika.URLParameters(tls_broker.url + "/%2F")) as other:
            channel = other.channel()
            wait_until(
                lambda: channel.basic_get(f"{SYSTEM}.dead", auto_ack=True)[0] is not None,
                "the event that failed is a dead letter",
            )

        assert 0 == bus.stats().reconnects


def test_other_systems_are_out_of_reach(tls_broker: RabbitMQ) -> None:
    """With these rights nobody hears, or writes to, another system."""
    add_user(tls_broker, "clerk", "pw", (CONFIGURE, WRITE, READ))
    port = tls_broker.url.rpartition(":")[2]

    for system in ("shopping", "bank", "my.shop"):
        with pytest.raises(BrokerRefused, match=rf"'clerk' configure the exchange '{system}"):
            open_bus(f"amqp://clerk:pw@127.0.0.1:{port}", system=system)


OWN_QUEUES = r"^amq\.gen.*$"


@pytest.mark.parametrize(
    ("rights", "missing"),
    [
        ((OWN_QUEUES, WRITE, READ), "configure the exchange 'shop.events'"),
        ((r"^shop\..*$", WRITE, READ), "configure the queue 'amq.gen…'"),
        ((CONFIGURE, r"^shop\..*$", READ), "write the queue 'amq.gen…'"),
        ((CONFIGURE, WRITE, OWN_QUEUES), "read the exchange 'shop.events'"),
        ((CONFIGURE, WRITE, r"^shop\..*$"), "read the queue 'amq.gen…'"),
    ],
)
def test_rights_that_a_bus_needs(
    tls_broker: RabbitMQ, rights: tuple[str, str, str], missing: str
) -> None:
    """Opening a bus without one of them names the right, and the command that grants it."""
    with pytest.raises(BrokerRefused) as caught:
        open_as(tls_broker, rights)

    assert f"does not let user 'clerk' {missing}" in str(caught.value)
    assert "rabbitmqctl set_permissions -p '/' 'clerk'" in str(caught.value)


def test_right_to_write(tls_broker: RabbitMQ) -> None:
    """Events of one who may not write wait, and ``flush`` says for what."""
    with open_as(tls_broker, (CONFIGURE, OWN_QUEUES, READ)) as bus:
        bus.emit(Numbered(number=1))

        with pytest.raises(FlushTimeout, match=r"'clerk' write the exchange 'shop\.events'"):
            bus.flush(1)

        add_user(tls_broker, "clerk", "pw", (CONFIGURE, WRITE, READ))
        bus.flush(20)


def test_right_to_subscribe(tls_broker: RabbitMQ) -> None:
    """A subscription by one who may not make its queue is refused, and the bus goes on."""
    configure = rf"^({SYSTEM}\.events|amq\.gen.*)$"
    with open_as(tls_broker, (configure, WRITE, READ)) as bus:
        with pytest.raises(BrokerRefused, match=rf"'clerk' configure the queue '{SYSTEM}\."):
            bus.subscribe("orders", Numbered, fails, mode="group")

        bus.emit(Numbered(number=1))
        bus.flush(10)


def test_the_command_that_is_named_works(tls_broker: RabbitMQ) -> None:
    """What the error tells an operator to type grants what was missing."""
    with pytest.raises(BrokerRefused) as caught:
        open_as(tls_broker, ("^$", "^$", "^$"))
    words = re.findall(r"'([^']*)'", str(caught.value).partition("set_permissions")[2])

    tls_broker.rabbitmqctl("set_permissions", "-p", *words)

    port = tls_broker.url.rpartition(":")[2]
    with open_bus(f"amqp://clerk:pw@127.0.0.1:{port}", system=SYSTEM) as bus:
        assert bus.is_connected


def test_policies_are_a_backstop(tls_broker: RabbitMQ) -> None:
    """deploy/rabbitmq-policies.json is taken by a broker, and holds for durable queues only."""
    tls_broker.rabbitmqctl("import_definitions", str(DEPLOY / "rabbitmq-policies.json"))
    try:
        with open_bus(tls_broker.url, system="antiphon") as bus:
            subscription = bus.subscribe("limited", Numbered, fails, mode="group")
            assert subscription.wait_ready(20)
            queues = read_back(tls_broker, "/").queues
            limited = {queue["name"] for queue in queues if queue["policy"]}
            subscription.delete()
    finally:
        tls_broker.rabbitmqctl("clear_policy", "antiphon-subscriptions")

    assert {"antiphon.sub.limited", "antiphon.retry.limited"} <= limited
    assert not any(name.startswith("amq.gen") for name in limited)
