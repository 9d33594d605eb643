"""RabbitMQ: ``amqp://user:password@host:port/virtual-host`` and ``amqps://``.

Two connections, each kept up on its own thread: one publishes, one consumes,
so that a broker which holds publishers back (an alarm) goes on delivering.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from antiphon.errors import AntiphonError, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress, parse_address
from antiphon.messaging.amqp_consumer import Consumer
from antiphon.messaging.amqp_publisher import Publisher
from antiphon.messaging.topology import Topology
from antiphon.messaging.transport import Arrival, Incoming, Message, Outgoing, Transport

logger = logging.getLogger(__name__)


class AmqpTransport(Transport):
    """Publishes to, and consumes from, a RabbitMQ broker; see ``Transport``.

    Args:
        address: the broker.
        name: shown by the broker beside the connections.
    """

    _publisher: Publisher
    _consumer: Consumer

    def __init__(self, address: AmqpAddress, *, name: str = "antiphon") -> None:
        self.address = address
        self._name = name
        self._moved = threading.Condition()
        self._ready = {"publish": False, "consume": False}
        self._is_started = False
        self._is_connected = False
        self._last_error: AntiphonError | None = None

    def start(
        self,
        outgoing: Outgoing,
        incoming: Incoming,
        topology: Topology,
        publisher: str,
        timeout_s: float | None,
    ) -> None:
        self._incoming = incoming
        self._topology = topology
        self._publisher = Publisher(
            self.address,
            f"{self._name} publish",
            topology.exchange,
            outgoing,
            incoming,
            partial(self._changed, "publish"),
            topology.exchange_named,
        )
        self._consumer = Consumer(
            self.address,
            f"{self._name} consume",
            topology,
            incoming,
            publisher,
            partial(self._changed, "consume"),
        )
        self._is_started = True
        self._publisher.link.start()
        self._consumer.link.start()
        if timeout_s is not None:
            self._wait_first(timeout_s)

    def _wait_first(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._moved:
            while not self._is_connected and self._last_error is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._last_error = BrokerUnavailable(
                        f"the broker at {self.address.where} did not answer within {timeout_s} s; "
                        "check that it runs and is not hanging"
                    )
                    break
                self._moved.wait(left)
            error = None if self._is_connected else self._last_error
        if error is not None:
            self.stop(timeout_s)
            raise error

    def wake(self) -> None:
        self._publisher.wake()

    def reconcile(self) -> None:
        self._consumer.link.wake()

    def settle(self, arrival: Arrival) -> None:
        self._consumer.settle(arrival)

    def hurry(self, done: Callable[[], None]) -> None:
        self._consumer.hurry(done)

    def is_stale(self, arrival: Arrival) -> bool:
        return self._consumer.is_stale(arrival)

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        self._publisher.forward(messages, done)

    def renew(self, error: AntiphonError) -> None:
        if self._is_started:
            self._publisher.link.renew(error)
            self._consumer.link.renew(error)

    def is_alive(self) -> bool:
        return not self._is_started or (
            self._publisher.link.is_alive() and self._consumer.link.is_alive()
        )

    def has_arrivals(self) -> bool:
        return self._is_connected and self._consumer.link.has_input()

    def stop(self, timeout_s: float) -> None:
        if not self._is_started:
            return
        self._publisher.link.stop(0)  # both say goodbye at the same time
        self._consumer.stop(timeout_s)
        self._publisher.stop(timeout_s)
        self._is_connected = False

    def abandon(self) -> None:
        self._is_connected = False
        if self._is_started:
            self._publisher.link.abandon()
            self._consumer.abandon()

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def last_heard_at(self) -> float | None:
        return self._consumer.link.heard_at if self._is_started else None

    @property
    def last_error(self) -> AntiphonError | None:
        if self._is_connected:
            return next(iter(self._topology.troubles.values()), None)
        return self._last_error

    def _changed(self, half: str, is_ready: bool, error: AntiphonError | None) -> None:
        with self._moved:
            self._ready[half] = is_ready
            was_connected, self._is_connected = self._is_connected, all(self._ready.values())
            if error is not None:
                self._last_error = error
            elif self._is_connected:
                self._last_error = None
            self._moved.notify_all()
            # Inside the lock, so that two links cannot tell their news in the wrong order.
            if was_connected != self._is_connected:
                self._incoming.changed(self._is_connected, error)


def from_url(url: str, *, name: str = "antiphon") -> AmqpTransport:
    """Return a transport for an AMQP *url*; it is not started.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """
    return AmqpTransport(parse_address(url), name=name)
