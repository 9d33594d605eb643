"""The consuming half of the AMQP transport: what is declared, and what arrives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Method

from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_link import Link
from antiphon.messaging.topology import Binding, Change, QueueSpec, Snapshot, Topology
from antiphon.messaging.transport import Arrival, Incoming, Message

logger = logging.getLogger(__name__)

#: Seconds after which messages of a queue that goes with its connection are
#: acknowledged although a slow listener still has them before it: RabbitMQ closes
#: a channel with deliveries unacknowledged for 30 minutes, and giving such a
#: message back would help nobody.
MAX_UNACKNOWLEDGED_S = 60.0


class Consumption:
    """One queue being consumed: which deliveries may be acknowledged.

    Deliveries are handled in their order, so that one acknowledgement covers
    many; the dispatch thread only moves a number, and the link's thread sends.
    """

    def __init__(self, spec: QueueSpec, channel: Channel) -> None:
        self.spec = spec
        self.channel = channel
        self.handled = 0  # tag; moved by whoever settles
        self._received = 0  # tag of the newest delivery
        self._handed_out = 0  # tag of the newest that was no echo
        self._acknowledged = 0
        self._oldest_at: float | None = None

    def received(self, tag: int, *, is_echo: bool) -> None:
        """Take note of a delivery."""
        self._received = tag
        if not is_echo:
            self._handed_out = tag
        if self._oldest_at is None:
            self._oldest_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether so much was handled that the broker should hear of it now."""
        return self.handled - self._acknowledged >= self.spec.prefetch // 4

    def acknowledge(self, *, now: bool) -> None:
        """Acknowledge what was handled: a good deal of it, or (*now*) any."""
        upto = self._received if self.handled >= self._handed_out else self.handled
        if self.spec.is_exclusive and self._is_old():
            upto = self._received
        if upto - self._acknowledged >= (1 if now else self.spec.prefetch // 4):
            self.channel.basic_ack(upto, multiple=True)
            self._acknowledged = upto
            self._oldest_at = None if upto == self._received else time.monotonic()

    def _is_old(self) -> bool:
        oldest_at = self._oldest_at
        return oldest_at is not None and time.monotonic() - oldest_at > MAX_UNACKNOWLEDGED_S


class Consumer:
    """Declares a ``Topology`` and hands on what arrives; the user of a ``Link``.

    A channel that the broker closes, a consumer that it cancels and a queue
    that someone deletes all count as a lost connection: everything is then
    declared again, which is the one way that is always right.

    Args:
        address: the broker.
        name: of the connection.
        topology: what to declare.
        incoming: gets what arrives.
        publisher: id whose messages are dropped as echoes.
        on_ready: called with True when everything stands, with False and the
            reason when it no longer does.
    """

    def __init__(
        self,
        address: AmqpAddress,
        name: str,
        topology: Topology,
        incoming: Incoming,
        publisher: str,
        on_ready: Callable[[bool, AntiphonError | None], None],
    ) -> None:
        self.link = Link(address, name, self)
        self._topology = topology
        self._incoming = incoming
        self._publisher = publisher
        self._on_ready = on_ready
        self._channel: Channel | None = None
        self._is_ready = False
        self._names: dict[str, str] = {}
        self._consumptions: list[Consumption] = []
        self._pending: list[Change] = []

    def settle(self, arrival: Arrival) -> None:
        """Take note, on any thread, that *arrival* was handled."""
        consumption, tag = arrival.token
        consumption.handled = tag
        if consumption.is_due():
            self.link.wake()

    # -- For the link, on its thread ---------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Declare exchange, queues and bindings, then consume."""
        self._channel = channel
        self._is_ready = False
        self._names.clear()
        self._consumptions.clear()
        self._pending.clear()
        snapshot = self._topology.snapshot()
        channel.add_on_cancel_callback(self._on_cancelled)
        channel.exchange_declare(snapshot.exchange, "topic", durable=True)
        for spec_ in snapshot.queues:
            channel.queue_declare(
                spec_.name,
                exclusive=spec_.is_exclusive,
                durable=not spec_.is_exclusive,
                auto_delete=spec_.is_exclusive,
                callback=lambda frame, spec_=spec_: self._on_declared(spec_, frame, snapshot),
            )

    def _on_declared(self, queue: QueueSpec, frame: Method, snapshot: Snapshot) -> None:
        channel = self._channel
        if channel is None:
            return
        self._names[queue.label] = frame.method.queue
        for binding in snapshot.bindings:
            if binding.queue == queue.label:
                # Without an answer each: the channel keeps the order, so the
                # answer to basic.consume says that all of them stand.
                channel.queue_bind(frame.method.queue, snapshot.exchange, binding.pattern)
        consumption = Consumption(queue, channel)
        self._consumptions.append(consumption)
        is_last = len(self._consumptions) == len(snapshot.queues)
        channel.basic_qos(prefetch_count=queue.prefetch)
        channel.basic_consume(
            frame.method.queue,
            lambda _, method, properties, body: self._on_message(
                consumption, method, properties, body
            ),
            exclusive=queue.is_exclusive,
            callback=(lambda _: self._on_consuming(snapshot.generation)) if is_last else None,
        )

    def _on_consuming(self, generation: int) -> None:
        self._is_ready = True
        self._stands(generation)
        self._topology.connected()
        self._on_ready(True, None)
        self.woken()

    def woken(self) -> None:
        """Carry out changes of the topology, and acknowledge."""
        for consumption in self._consumptions:
            consumption.acknowledge(now=False)
        if self._is_ready and not self._pending:
            self._carry_out(self._topology.changes())

    def _carry_out(self, changes: list[Change]) -> None:
        channel = self._channel
        if not changes or channel is None:
            return
        self._pending = changes
        for change in changes[:-1]:
            self._carry_out_one(channel, change, None)
        self._carry_out_one(channel, changes[-1], self._on_carried_out)

    def _carry_out_one(
        self, channel: Channel, change: Change, callback: Callable[[Method], None] | None
    ) -> None:
        if not isinstance(change.what, Binding):
            return
        queue = self._names[change.what.queue]
        exchange, pattern = self._topology.exchange, change.what.pattern
        if change.is_wanted:
            channel.queue_bind(queue, exchange, pattern, callback=callback)
        else:
            # pika has no queue.unbind without an answer.
            channel.queue_unbind(queue, exchange, pattern, callback=callback or _ignore)

    def _on_carried_out(self, _frame: Method) -> None:
        if self._pending:
            self._stands(self._pending[-1].generation)
            self._pending = []
        self.woken()

    def _stands(self, generation: int) -> None:
        for label in self._names:
            self._topology.stands(label, generation)

    def ticked(self) -> None:
        """Acknowledge what was handled since the last time."""
        for consumption in self._consumptions:
            consumption.acknowledge(now=True)

    def lost(self, error: AntiphonError) -> None:
        """Take note that nothing stands any more."""
        if isinstance(error, BrokerRefused) and self._pending:
            # The bindings on their way are what was refused: without them the
            # rest can stand again, and whoever asked for them is told.
            self._topology.refuse(self._pending, error)
        self._pending = []
        self._channel = None
        self._is_ready = False
        self._consumptions.clear()
        self._topology.lost()
        self._on_ready(False, error)

    def blocked(self, reason: str | None) -> None:
        """Nothing: a connection that only consumes is not blocked for long."""

    # -- From the broker ---------------------------------------------------------------

    def _on_message(
        self,
        consumption: Consumption,
        method: spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        tag = method.delivery_tag
        publisher = properties.app_id or ""
        is_echo = publisher == self._publisher
        consumption.received(tag, is_echo=is_echo)
        if is_echo:
            self._incoming.echo()
        else:
            message = Message(method.routing_key, body, properties.headers, publisher)
            self._incoming.deliver(
                Arrival(message, consumption.spec.label, (consumption, tag), method.redelivered)
            )
        consumption.acknowledge(now=False)

    def _on_cancelled(self, _frame: Method) -> None:
        self.link.drop(
            BrokerUnavailable(
                f"the broker at {self.link.address.where} cancelled the consumer: its queue was "
                "deleted, or the node that had it failed"
            )
        )


def _ignore(_frame: Method) -> None:
    return None
