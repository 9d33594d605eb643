"""The broker in memory, as far as the suite of all transports does not show it."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.errors import BrokerRefused
from antiphon.messaging.declarations import ExchangeSpec, QueueSpec
from antiphon.messaging.memory_broker import MemoryBroker
from antiphon.messaging.memory_queue import MemoryQueue
from antiphon.messaging.transport import Arrival, Incoming, Message

pytest.register_assert_rewrite("antiphon.testing.transport_party")

from antiphon.testing.transport_party import Recorder  # noqa: E402

KEPT = QueueSpec("kept", "kept", is_exclusive=False, prefetch=2)


class Connection:
    """A transport, as the broker sees it."""

    def __init__(self) -> None:
        self.publisher = "p"
        self.heard = Recorder()
        self.incoming: Incoming = self.heard
        self.lost_queues: list[str] = []

    def wake(self) -> None:
        """Nothing to do."""

    def cancelled(self, label: str) -> None:
        self.lost_queues.append(label)


class Clock:
    """Seconds, as a test wants them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker("test", clock)


@pytest.fixture
def connection(broker: MemoryBroker) -> Connection:
    one = Connection()
    broker.attach(one)
    return one


def queue_of(broker: MemoryBroker, spec: QueueSpec, connection: Any) -> MemoryQueue:
    return broker.declare(spec, connection)[0]


def publish(broker: MemoryBroker, *bodies: bytes) -> None:
    for body in bodies:
        broker.publish("x", Message("a", body, queue="kept"))


def settle(arrival: Arrival) -> None:
    consumer, tag = arrival.token
    consumer.settle(tag)


def test_depth(broker: MemoryBroker, connection: Connection) -> None:
    """The depth of a queue counts what waits and what is under way."""
    queue = queue_of(broker, KEPT, connection)
    broker.consume(queue, KEPT, connection)
    publish(broker, b"1", b"2", b"3")
    assert 3 == broker.depth("kept")

    settle(connection.heard.arrivals[0])

    assert 2 == broker.depth("kept")
    assert [b"1", b"2", b"3"] == connection.heard.bodies


def test_delete_queue(broker: MemoryBroker, connection: Connection) -> None:
    """A deleted queue is gone with its bindings, and its consumer is told."""
    queue = queue_of(broker, KEPT, connection)
    broker.consume(queue, KEPT, connection)
    broker.bind("x", "a", queue)

    broker.delete_queue("kept")

    assert ["kept"] == connection.lost_queues
    assert 0 == broker.publish("x", Message("a", b"1"))
    with pytest.raises(KeyError):
        broker.depth("kept")


def test_expiry(broker: MemoryBroker, connection: Connection, clock: Clock) -> None:
    """A queue expires when nobody has consumed it for as long as it was declared with."""
    spec = QueueSpec("brief", "brief", is_exclusive=False, expires_s=60)
    consumer = broker.consume(queue_of(broker, spec, connection), spec, connection)
    clock.now += 100
    assert ["brief"] == broker.queue_names()
    broker.cancel(consumer)
    clock.now += 59
    assert ["brief"] == broker.queue_names()

    clock.now += 1

    assert [] == broker.queue_names()


def test_declared_otherwise(broker: MemoryBroker, connection: Connection) -> None:
    """A queue of the same name with other arguments is refused; another prefetch is none."""
    queue_of(broker, KEPT, connection)

    assert queue_of(broker, QueueSpec("k", "kept", is_exclusive=False), connection)
    with pytest.raises(BrokerRefused, match="declared otherwise"):
        broker.declare(QueueSpec("k", "kept", is_exclusive=False, max_messages=5), connection)


def test_round_robin(broker: MemoryBroker, connection: Connection) -> None:
    """Consumers take turns as long as they have room."""
    queue = queue_of(broker, KEPT, connection)
    others = Connection()
    broker.attach(others)
    for one in (connection, others):
        broker.consume(queue, KEPT, one)

    publish(broker, b"1", b"2", b"3", b"4", b"5")
    settle(others.heard.arrivals[0])

    assert [b"1", b"3"] == connection.heard.bodies
    assert [b"2", b"4", b"5"] == others.heard.bodies


def test_circle_of_exchanges(broker: MemoryBroker, connection: Connection) -> None:
    """Exchanges that feed each other bring a message once."""
    queue = queue_of(broker, KEPT, connection)
    broker.declare_exchange(ExchangeSpec("x", feeds_main=True), "y")
    broker.declare_exchange(ExchangeSpec("y", feeds_main=True), "x")
    broker.bind("x", "#", queue)
    broker.bind("y", "#", queue)

    assert 1 == broker.publish("x", Message("a", b"1"))
    assert 1 == broker.depth("kept")


def test_settling_while_delivering(broker: MemoryBroker, connection: Connection) -> None:
    """A consumer may settle in the very call that delivers; a long backlog needs no deep stack."""
    queue = queue_of(broker, KEPT, connection)
    publish(broker, *(b"%d" % number for number in range(5000)))
    connection.heard.deliver = settle  # type: ignore[method-assign]

    broker.consume(queue, KEPT, connection)

    assert 0 == broker.depth("kept")
