"""A bus and a broker that is killed, paused, blocked, or told to break things."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator

import pika
import pytest
from bus_helpers import BACK_WITHIN_S, Heard, Numbered, events_flow, python, wait_until

from antiphon import BaseEvent, BrokerEventManager, open_bus
from antiphon.errors import BrokerRefused, BrokerUnavailable, FlushTimeout
from antiphon.testing.broker_control import (
    close_all_connections,
    count_queues,
    delete_all_queues,
    raise_alarm,
)
from antiphon.testing.servers import RabbitMQ


@pytest.fixture
def sender(broker_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(f"{broker_url}?heartbeat=2") as bus:
        yield bus


@pytest.fixture
def receiver(broker_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(f"{broker_url}?heartbeat=2") as bus:
        yield bus


class Forbidden(BaseEvent):
    """An event that the broker lets nobody listen to."""

    wire_name = "test:Forbidden"


class KeptQueue:
    """A durable queue that gets every event, looked at with pika alone."""

    def __init__(self, url: str) -> None:
        self._url = url
        with self._channel() as channel:
            channel.exchange_declare("antiphon.events", "topic", durable=True)
            channel.queue_declare("kept", durable=True)
            channel.queue_bind("kept", "antiphon.events", "antiphon:BaseEvent.#")

    @contextlib.contextmanager
    def _channel(self) -> Iterator[pika.adapters.blocking_connection.BlockingChannel]:
        with pika.BlockingConnection(pika.URLParameters(self._url)) as connection:
            yield connection.channel()

    def take_all(self) -> list[bytes]:
        """Return the bodies of all messages, in order."""
        bodies = []
        with self._channel() as channel:
            while (got := channel.basic_get("kept", auto_ack=True))[0] is not None:
                bodies.append(got[2])
        return bodies


def test_broker_is_killed(
    broker: RabbitMQ, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """After kill -9 and a restart everything is declared again, within ten seconds."""
    heard, states = Heard(), []
    receiver.connect(Numbered, heard, filter={"number": 1})
    receiver.on_state(states.append)
    broker.kill()
    wait_until(lambda: not (sender.is_connected or receiver.is_connected), "the loss is noticed")
    assert isinstance(sender.last_error, BrokerUnavailable)
    sender.emit(Numbered(number=0))

    broker.start()
    broker.wait_ready()
    took_s = events_flow(sender, receiver, BACK_WITHIN_S)
    sender.emit(Numbered(number=1))
    sender.flush(BACK_WITHIN_S)

    assert [1] == [event.number for event in heard.wait()]
    wait_until(lambda: states == ["disconnected", "connected"], "the states are told")
    wait_until(
        lambda: (1, 1) == (sender.stats().reconnects, receiver.stats().reconnects),
        "both are back once",
    )
    assert took_s < BACK_WITHIN_S


def test_kill_loses_nothing_that_was_confirmed(
    broker: RabbitMQ, broker_url: str, sender: BrokerEventManager
) -> None:
    """What flush returned for is there after kill -9 in the middle, in order, doubled at most."""
    kept = KeptQueue(broker_url)
    stop, emitted = threading.Event(), itertools.count()

    def emit() -> None:
        while not stop.is_set():
            sender.emit(Numbered(number=next(emitted)))
            stop.wait(0.003)

    emitting = threading.Thread(target=emit)
    emitting.start()
    wait_until(lambda: sender.stats().confirmed > 200, "some are confirmed")
    broker.kill()
    wait_until(lambda: sender.stats().buffered > 200, "events wait")
    broker.start()
    broker.wait_ready()
    assert sender.wait_connected(BACK_WITHIN_S)
    stop.set()
    emitting.join()
    sender.flush(30)

    numbers = [
        event.number
        for body in kept.take_all()
        for event in sender._codec.decode("antiphon:BaseEvent.test:Numbered", None, body)
    ]
    first_time = list(dict.fromkeys(numbers))
    assert list(range(next(emitted))) == first_time
    # A run that was under way came twice, in order both times.
    assert len([1 for a, b in itertools.pairwise(numbers) if b != a + 1]) <= 1


def test_connections_are_closed(
    broker: RabbitMQ, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """An operator who closes all connections stops nothing for longer than moments."""
    for reconnects in (1, 2, 3):
        close_all_connections(broker)
        for bus in (sender, receiver):
            wait_until(
                lambda bus=bus, times=reconnects: bus.stats().reconnects >= times, "it reconnects"
            )
        assert events_flow(sender, receiver, BACK_WITHIN_S) < BACK_WITHIN_S


def test_queue_is_deleted(
    broker: RabbitMQ, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """A queue that is deleted under its consumer counts as a lost connection, and comes back."""
    states: list[str] = []
    receiver.on_state(states.append)

    assert delete_all_queues(broker) >= 2
    wait_until(lambda: states == ["disconnected", "connected"], "the loss is told")

    assert events_flow(sender, receiver, BACK_WITHIN_S) < BACK_WITHIN_S


def test_broker_hangs(
    broker: RabbitMQ, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """A broker that is stopped by SIGSTOP is noticed soon; emit blocks no one; it comes back."""
    broker.pause()
    began = time.monotonic()
    slowest_s = 0.0
    while sender.is_connected or receiver.is_connected:
        before = time.monotonic()
        sender.emit(Numbered(number=0))
        slowest_s = max(slowest_s, time.monotonic() - before)
        assert before - began < BACK_WITHIN_S
        threading.Event().wait(0.01)

    assert slowest_s < 1
    with pytest.raises(FlushTimeout, match=r"nothing for 3 s|does not answer"):
        sender.flush(0.1)
    broker.resume()
    assert events_flow(sender, receiver, BACK_WITHIN_S) < BACK_WITHIN_S
    sender.flush(BACK_WITHIN_S)


def test_broker_is_out_of_memory(
    broker: RabbitMQ, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """While the broker takes nothing emit blocks no one, and it is said why; then all goes out."""
    heard = Heard()
    receiver.connect(Numbered, heard)
    raise_alarm(broker, is_on=True)
    try:
        wait_until(
            lambda: bool(sender.emit(Numbered()) or sender.stats().blocked_because),
            "it is said to be blocked",
        )
        with pytest.raises(FlushTimeout, match="low on memory"):
            sender.flush(0.1)
        assert sender.is_connected
    finally:
        raise_alarm(broker, is_on=False)

    sender.flush(30)
    assert sender.stats().blocked_because is None
    heard.wait(sender.stats().emitted)
    assert 0 == sender.stats().reconnects


def test_slow_listener_costs_no_connection(sender: BrokerEventManager, broker_url: str) -> None:
    """A listener that takes much longer than the heartbeat loses neither connection nor events."""
    begun, go_on, heard = threading.Event(), threading.Event(), Heard()

    def slow(event: Numbered) -> None:
        begun.set()
        go_on.wait(60)

    with open_bus(f"{broker_url}?heartbeat=1") as receiver:
        receiver.connect(Numbered, slow, filter={"number": 0})
        receiver.connect(Numbered, heard)
        sender.emit(Numbered(number=0))
        begun.wait(30)
        for number in range(1, 3000):  # more than may be under way at once
            sender.emit(Numbered(number=number))
        go_on.wait(3.5)  # three heartbeats; nothing else shows that nothing happens
        go_on.set()

        heard.wait(3000)
        assert list(range(3000)) == heard.numbers
        assert (0, 0) == (sender.stats().reconnects, receiver.stats().reconnects)


def test_subscriber_is_killed(
    broker: RabbitMQ, broker_url: str, sender: BrokerEventManager
) -> None:
    """A subscriber that is killed with -9 leaves no queue behind."""
    before = count_queues(broker)
    source = (
        "import sys; from antiphon import open_bus; "
        "bus = open_bus(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
    )
    with python(source, broker_url) as child:
        assert child.stdout is not None
        assert "ready\n" == child.stdout.readline()
        assert before + 1 == count_queues(broker)
        child.kill()

        wait_until(lambda: count_queues(broker) == before, "its queue has gone")


def test_right_is_taken_away(
    broker: RabbitMQ, broker_url: str, sender: BrokerEventManager, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that the broker no longer allows is told of, and takes no other down."""
    host = broker_url.rpartition("/")[2]
    with open_bus(broker_url) as limited:
        limited.connect(Forbidden, Heard())
        limited.connect(Numbered, Heard())
        broker.rabbitmqctl(
            "set_topic_permissions",
            *("-p", host, "guest", "antiphon.events", ".*", "(BaseEvent|Numbered|^!)"),
        )
        close_all_connections(broker)
        wait_until(lambda: "Forbidden" in caplog.text, "it is told")

        assert events_flow(sender, limited, BACK_WITHIN_S) < BACK_WITHIN_S


def test_binding_is_refused(
    broker: RabbitMQ, broker_url: str, sender: BrokerEventManager, receiver: BrokerEventManager
) -> None:
    """What the broker does not allow is an error to whoever asks; everything else goes on."""
    heard = Heard()
    receiver.connect(Numbered, heard)
    host = broker_url.rpartition("/")[2]
    allowed = "(BaseEvent|Numbered|^!)"
    broker.rabbitmqctl(
        "set_topic_permissions", "-p", host, "guest", "antiphon.events", ".*", allowed
    )

    # A connection asks for its user's rights once.
    with open_bus(broker_url) as limited:
        limited.connect(Numbered, heard)
        with pytest.raises(BrokerRefused, match=r"read the topic .*set_topic_permissions"):
            limited.connect(Forbidden, heard)

        assert [] == limited.get_listeners(Forbidden)
        assert events_flow(sender, limited, BACK_WITHIN_S) < BACK_WITHIN_S
        assert 2 == limited.stats().bindings
