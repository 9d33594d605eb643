"""Everything that a program declares is legal on RabbitMQ 3.10 and on 4.x."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pika
import pytest
from bus_helpers import Heard, Numbered, wait_until
from declared import Declared, is_quorum, objections, read_back

from antiphon import BrokerEventManager, open_bus
from antiphon.messaging.options import BusOptions
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.notifications import ResourceLifecycleEventPublisher, ResourceLifecycleEventSubscriber
from antiphon.testing.servers import RabbitMQ


def fails(_event: Numbered) -> None:
    """A listener that cannot."""
    raise ValueError("never")


def use_everything(bus: BrokerEventManager) -> None:
    """Declare all that there is, and have each of it carry an event."""
    heard = {mode: Heard() for mode in ("plain", "broadcast", "group", "single", "notified")}
    bus.connect(Numbered, heard["plain"])
    for mode in ("broadcast", "group", "single"):
        options = SubscriptionOptions(expires_s=3600, max_messages=1000)
        bus.subscribe(mode, Numbered, heard[mode], mode=mode, options=options).wait_ready(20)  # type: ignore[arg-type]
    options = SubscriptionOptions(delivery_limit=1)
    bus.subscribe("fails", Numbered, fails, mode="group", options=options).wait_ready(20)
    subscriber = ResourceLifecycleEventSubscriber(origin="buoy.*", bus=bus)
    subscriber.ondata = heard["notified"]
    subscriber.activate()
    publisher = ResourceLifecycleEventPublisher(origin="buoy.7", bus=bus)
    publisher.create_and_publish_event(state=publisher.State.ACTIVE)
    bus.emit(Numbered(number=1))
    bus.flush(20)
    for each in heard.values():
        each.wait(1)


@contextlib.contextmanager
def listening_command(url: str, system: str) -> Iterator[None]:
    """``antiphon listen``, once it listens."""
    argv = [sys.executable, "-m", "antiphon.cli", "listen", url, "--system", system]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    alarm = threading.Timer(60, process.kill)
    alarm.start()
    try:
        assert process.stderr is not None
        assert any("listening on" in line for line in process.stderr)
        yield
    finally:
        alarm.cancel()
        process.kill()
        process.communicate()


@pytest.fixture
def declared(broker: RabbitMQ, broker_url: str, system: str) -> Declared:
    """What a program that used everything has declared."""
    virtual_host = urlsplit(broker_url).path[1:]
    options = BusOptions(canary_interval_s=0.3)
    with (
        listening_command(broker_url, system),
        open_bus(broker_url, system=system, options=options) as bus,
    ):
        use_everything(bus)
        wait_until(
            lambda: any(
                queue["name"] == f"{system}.dead"
                for queue in read_back(broker, virtual_host).queues
            ),
            "there are dead letters",
        )
        return read_back(broker, virtual_host)


def test_nothing_is_refused_by_4(declared: Declared, system: str) -> None:
    """What a real broker has after everything was used has no feature that 4.x lacks."""
    names = {queue["name"].removeprefix(f"{system}.") for queue in declared.queues}
    own = {name for name in names if not name.startswith(("amq.gen", "notif"))}

    assert {"sub.broadcast", "sub.group", "sub.single", "sub.fails", "dead"} <= own
    assert {f"{system}.events", f"{system}.events.topic"} == {
        exchange["name"] for exchange in declared.exchanges
    }
    assert all(queue["exclusive"] or is_quorum(queue) for queue in declared.queues)
    assert 5 <= len(declared.channels)
    assert 5 <= len(declared.bindings)
    assert [] == list(objections(declared))


@pytest.mark.parametrize(
    ("arguments", "options", "rule"),
    [
        ({}, {"durable": False}, "transient_nonexcl_queues"),
        ({"x-queue-mode": "lazy"}, {"durable": True}, "x-queue-mode"),
        ({"x-queue-version": 1}, {"durable": True}, "x-queue-version"),
        ({"x-queue-master-locator": "min-masters"}, {"durable": True}, "queue_master_locator"),
        ({"x-ha-policy": "all"}, {"durable": True}, "classic_queue_mirroring"),
        ({}, {"durable": True}, "durable classic queues"),
    ],
)
def test_what_is_refused_is_found(
    broker: RabbitMQ,
    broker_url: str,
    arguments: dict[str, object],
    options: dict[str, bool],
    rule: str,
) -> None:
    """The rules see what they are for, on a real broker."""
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    try:
        channel = connection.channel()
        channel.queue_declare("bad", arguments=arguments, **options)
        channel.basic_qos(prefetch_count=3, global_qos=True)
        found = " ".join(objections(read_back(broker, urlsplit(broker_url).path[1:])))
    finally:
        connection.close()

    assert f"{rule}: queue" in found
    assert "global_qos: {" in found
