"""Who takes part in the tests of a transport: a side that sends and takes, and notes it."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.topology import BROADCAST, Binding, QueueSpec, Topology
from antiphon.messaging.transport import Arrival, Message, Transport

#: Seconds after which a test gives up waiting.
PATIENCE_S = 15.0

#: Seconds between two looks at something that is not told.
LOOK_INTERVAL_S = 0.01


def durable(label: str, **options: Any) -> QueueSpec:
    """Return the durable queue ``suite.<label>``."""
    return QueueSpec(label, f"suite.{label}", is_exclusive=False, **options)


class Recorder:
    """An ``Incoming`` that keeps what it gets, and lets tests wait for it."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self.echoes = 0
        self.made: list[str] = []
        self.interruptions = 0
        self.states: list[bool] = []
        self.errors: list[AntiphonError | None] = []
        self.moved = threading.Condition()

    def deliver(self, arrival: Arrival) -> None:
        with self.moved:
            self.arrivals.append(arrival)
            self.moved.notify_all()

    def echo(self) -> None:
        with self.moved:
            self.echoes += 1
            self.moved.notify_all()

    def changed(self, is_connected: bool, error: AntiphonError | None) -> None:
        with self.moved:
            self.states.append(is_connected)
            self.errors.append(error)
            self.moved.notify_all()

    def interrupted(self) -> None:
        with self.moved:
            self.interruptions += 1
            self.moved.notify_all()

    def blocked(self, reason: str | None) -> None:
        """Nothing here is blocked."""

    def queue_made(self, queue: str) -> None:
        with self.moved:
            self.made.append(queue)
            self.moved.notify_all()

    def of(self, label: str) -> list[Arrival]:
        """What arrived from the queue called *label*, in order."""
        return [arrival for arrival in tuple(self.arrivals) if arrival.queue == label]

    @property
    def bodies(self) -> list[bytes]:
        """What arrived, in order."""
        return [arrival.message.body for arrival in self.arrivals]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition*; fail with what is there if it does not come."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(
                    f"waited {PATIENCE_S} s in vain; {len(self.arrivals)} arrivals "
                    f"({self.bodies[:5]}…), {self.echoes} echoes, states {self.states}"
                )
            with self.moved:
                # Not all that is waited for is told here, so it is looked at anyway.
                self.moved.wait(LOOK_INTERVAL_S)


class Party:
    """A started transport with all that it works with."""

    def __init__(
        self,
        transport: Transport,
        *,
        exchange: str,
        publisher: str,
        patterns: tuple[str, ...] = (),
        prefetch: int = 1000,
        timeout_s: float | None = PATIENCE_S,
    ) -> None:
        self.transport = transport
        self.publisher = publisher
        self.outgoing = OutgoingBuffer(100_000, 1 << 30)
        self.incoming = Recorder()
        self.topology = Topology(exchange, [QueueSpec(BROADCAST, prefetch=prefetch)])
        self.topology.bind(Binding(BROADCAST, pattern) for pattern in patterns)
        transport.start(self.outgoing, self.incoming, self.topology, publisher, timeout_s)

    def put_queue(self, label: str, *patterns: str, **options: Any) -> QueueSpec:
        """Declare the durable queue ``suite.<label>`` with bindings, and wait until it stands."""
        spec = durable(label, **options)
        bindings = [Binding(label, pattern) for pattern in patterns]
        generation = self.topology.put_queue(spec)
        self.topology.bind(bindings)
        self.reconcile(max(generation, self.topology.generation_of(bindings)))
        return spec

    def drop_queue(self, label: str, *, delete: bool = False) -> None:
        """Drop a queue, and wait until that is done."""
        self.reconcile(self.topology.drop_queue(label, delete=delete))

    def reconcile(self, generation: int) -> None:
        """Let the transport follow, and wait until *generation* stands."""
        self.transport.reconcile()
        assert self.topology.wait(generation, PATIENCE_S)

    def forward(self, *messages: Message) -> bool:
        """Forward *messages*, and return what came of it."""
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.transport.forward(messages, answers.put)
        return answers.get(timeout=PATIENCE_S)

    def wait_from(self, label: str, *bodies: bytes) -> list[Arrival]:
        """Wait until exactly *bodies* came from a queue, in this order; return the arrivals."""
        self.incoming.wait_for(lambda: len(self.incoming.of(label)) >= len(bodies))
        arrivals = self.incoming.of(label)
        assert list(bodies) == [arrival.message.body for arrival in arrivals]
        return arrivals

    def wait_count(self, label: str, count: int) -> None:
        """Wait until exactly *count* messages came from a queue."""
        self.incoming.wait_for(lambda: len(self.incoming.of(label)) >= count)
        assert count == len(self.incoming.of(label))

    def publish(self, key: str, *bodies: bytes, headers: dict[str, object] | None = None) -> None:
        """Publish a message for each of *bodies*; return at once."""
        for body in bodies:
            self.outgoing.append(Message(key, body, headers, self.publisher))
        self.transport.wake()

    def flush(self) -> None:
        """Wait until everything is confirmed."""
        left = self.outgoing.wait_settled(self.outgoing.appended, PATIENCE_S)
        assert 0 == left

    def bind(self, *patterns: str) -> None:
        """Bind, and wait until it stands."""
        bindings = [Binding(BROADCAST, pattern) for pattern in patterns]
        self.topology.bind(bindings)
        self.reconcile(self.topology.generation_of(bindings))

    def wait_bodies(self, *bodies: bytes) -> None:
        """Wait until exactly *bodies* came, in this order."""
        self.incoming.wait_for(lambda: len(self.incoming.arrivals) >= len(bodies))
        assert list(bodies) == self.incoming.bodies

    def settle(self, count: int) -> None:
        """Settle the first *count* arrivals, each as soon as it is there."""
        arrivals = self.incoming.arrivals
        for index in range(count):
            self.incoming.wait_for(lambda index=index: len(arrivals) > index)  # type: ignore[misc]
            self.transport.settle(arrivals[index])

    def wait_up_again(self, times: int = 1) -> None:
        """Wait until the connection was lost and came back *times* more often."""
        self.incoming.wait_for(
            lambda: self.incoming.states.count(True) >= times + 1 and self.incoming.states[-1]
        )
