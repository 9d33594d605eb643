"""A durable subscription on a transport of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import next_event_id
from antiphon.messaging.subscription import Means, Subscription
from antiphon.messaging.subscription_batches import Batching, Received
from antiphon.messaging.subscription_options import Mode, SubscriptionOptions
from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.topology import Topology
from antiphon.messaging.transport import Arrival, Incoming, Message, Outgoing, Transport
from antiphon.wire.codec import Codec

MAIN, RETRY, DEAD = "shop.sub.books", "shop.retry.books", "shop.dead"

codec = Codec()


class FailingSaved(BaseEvent):
    """A document was saved."""

    wire_name = "test:FailingSaved"


class Recorder(Transport):
    """Keeps what is settled and forwarded; the test says whether it is confirmed."""

    def __init__(self) -> None:
        self.settled: list[Arrival] = []
        self.forwarded: list[Message] = []
        self.stale: set[int] = set()
        self.answers: list[bool] = []  # to the next forwards; then True
        self.moved = threading.Condition()

    def settle(self, arrival: Arrival) -> None:
        with self.moved:
            self.settled.append(arrival)
            self.moved.notify_all()

    def is_stale(self, arrival: Arrival) -> bool:
        return id(arrival) in self.stale

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        with self.moved:
            is_taken = self.answers.pop(0) if self.answers else True
            self.forwarded.extend(messages if is_taken else ())
            self.moved.notify_all()
        done(is_taken)

    def start(
        self,
        outgoing: Outgoing,
        incoming: Incoming,
        topology: Topology,
        publisher: str,
        timeout_s: float | None,
    ) -> None: ...

    def wake(self) -> None: ...

    def reconcile(self) -> None: ...

    def renew(self, error: AntiphonError) -> None: ...

    def is_alive(self) -> bool:
        return True

    def stop(self, timeout_s: float) -> None: ...

    def abandon(self) -> None: ...

    @property
    def is_connected(self) -> bool:
        return True

    @property
    def last_error(self) -> AntiphonError | None:
        return None


class Stage:
    """A subscription on a ``Recorder``, and what its listener was called with."""

    def __init__(self) -> None:
        self.transport = Recorder()
        self.called: list[int] = []
        self.failing: dict[int, int] = {}  # number -> how many calls fail
        self.error: type[BaseException] = ValueError
        self.held = threading.Event()
        self.held.set()
        self.subscription: Any = None
        self._timetable = Timetable("test")
        self._tag = 0

    def open(self, mode: Mode = "broadcast", **options: Any) -> Subscription:
        settings = {"retry_delay_s": 0.01, "delivery_limit": 3, **options}
        means = Means(
            transport=self.transport,
            topology=Topology("shop.events"),
            timetable=self._timetable,
            system="shop",
            decode=lambda one: codec.decode(one.routing_key, one.headers, one.body),
            wait_connected=lambda _: False,
            ended=lambda _: None,
            queue_made=lambda _subscription, _is_first: None,
        )
        self.subscription = Subscription(
            "books", mode, MAIN, SubscriptionOptions(**settings), means, self.listener()
        )
        self.subscription.start((), 0)
        return self.subscription

    def listener(self) -> Callable[[Any], bool] | Batching:
        return self._call

    def _call(self, event: Any) -> bool:
        self.called.append(event.number)
        if not self.held.wait(10):
            raise TimeoutError
        if self.failing.get(event.number, 0) > 0:
            self.failing[event.number] -= 1
            raise self.error(f"no {event.number}")
        return True

    def message(self, *numbers: int) -> Message:
        encoded = [
            codec.encode(
                FailingSaved(number=number),
                origin="a",
                event_id=next_event_id(),
                time_ns=time.time_ns(),
            )
            for number in numbers
        ]
        body = Codec.join([one.envelope for one in encoded])
        return Message(encoded[0].routing_key, body, None, "publisher")

    def deliver(self, message: Message, queue: str = MAIN, count: int = 0) -> Arrival:
        self._tag += 1
        arrival = Arrival(message, queue, self._tag, count > 0, count)
        self.subscription.deliver(arrival)
        return arrival

    def wait(self, condition: Callable[[], bool], timeout_s: float = 10) -> None:
        deadline, pause = time.monotonic() + timeout_s, threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"called {self.called}, {self.subscription.stats()}")
            pause.wait(0.002)

    def wait_settled(self, *arrivals: Arrival) -> None:
        self.wait(lambda: all(one in self.transport.settled for one in arrivals))

    def forwarded(self, queue: str) -> list[int]:
        """Numbers of the events that were sent to *queue*."""
        return [
            event.number  # type: ignore[misc]
            for one in self.transport.forwarded
            if one.queue == queue
            for event in codec.decode(one.routing_key, one.headers, one.body)
        ]

    def close(self) -> None:
        self.held.set()
        if self.subscription is not None:
            self.subscription.close(5)
        self._timetable.stop(1)


class BatchStage(Stage):
    """The same, with a listener of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[list[int]] = []
        self.bodies: list[bytes] = []  # of the messages that were asked for
        self.unwanted: set[int] = set()
        self.max_events, self.max_wait_s = 5, 0.02

    def listener(self) -> Batching:
        return Batching(self._call_all, self._wants, self.max_events, self.max_wait_s)

    def _wants(self, event: Any) -> bool:
        return event.number not in self.unwanted

    def _call_all(self, received: Sequence[Received[Any]]) -> None:
        numbers = [one.event.number for one in received]
        self.calls.append(numbers)
        self.bodies += [one.message.body for one in received]
        if not self.held.wait(10):
            raise TimeoutError
        failing = [number for number in numbers if self.failing.get(number, 0) > 0]
        for number in failing:
            self.failing[number] -= 1
        if failing:
            raise self.error(f"no {failing}")
        self.called += numbers
