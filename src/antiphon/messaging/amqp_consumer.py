"""The consuming half of the AMQP transport: what is declared, and what arrives."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Method

from antiphon.errors import AntiphonError, BrokerRefused
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_doubts import Doubts
from antiphon.messaging.amqp_lane import Lane
from antiphon.messaging.amqp_link import Link
from antiphon.messaging.amqp_queue import QueueChannel
from antiphon.messaging.amqp_settling import Consumption
from antiphon.messaging.arrivals import delivery_count, restored
from antiphon.messaging.declarations import Change, ExchangeSpec, QueueSpec, Snapshot
from antiphon.messaging.topology import Topology
from antiphon.messaging.transport import Arrival, Incoming, Message

logger = logging.getLogger(__name__)

#: Seconds after which the connection counts as made although a durable queue does not stand yet.
READY_PATIENCE_S = 5.0

#: Seconds of silence after which a queue is not blamed for giving no answer: by default a
#: broker says something every three.
SILENT_S = 3.0


class Consumer:
    """Declares a ``Topology`` and hands on what arrives; the user of a ``Link``.

    The link's channel declares the exchanges; each queue has a channel of its
    own (``amqp_lane``).  What goes wrong with a private queue or an exchange
    counts as a lost connection: everything is then declared again, which is the
    one way that is always right.  A durable queue that fails is tried again by
    itself, so that one bad queue takes no other down.

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
        self._has_exchanges = False
        self._opened_at = 0.0
        self._lanes: dict[str, Lane] = {}
        self._due: deque[Consumption] = deque()
        self._hurries: deque[Callable[[], None]] = deque()
        self._doubts = Doubts()
        self._later: list[Change] = []  # when the exchanges before them stand
        self._pending: list[Change] = []  # exchanges on their way
        self._declaring: deque[ExchangeSpec] = deque()  # likewise, at the beginning
        self._has_broadcast = False  # the queue stood on this connection that goes with it

    def settle(self, arrival: Arrival) -> None:
        """Take note, on any thread, that *arrival* was handled."""
        consumption, tag = arrival.token
        if consumption.settle(tag):
            self._due.append(consumption)
            self.link.wake()

    def hurry(self, done: Callable[[], None]) -> None:
        """Acknowledge, from any thread, all that was settled; call *done* when that is sent."""
        self._hurries.append(done)
        self.link.wake()

    def is_stale(self, arrival: Arrival) -> bool:
        """Return, on any thread, whether the channel that *arrival* came by is gone."""
        return bool(arrival.token[0].is_over)

    def stop(self, timeout_s: float) -> None:
        """End the link; twice is fine."""
        self.link.stop(timeout_s)
        self._doubts.stop(timeout_s)

    def abandon(self) -> None:
        """See ``Link.abandon``."""
        self.link.abandon()
        self._doubts.abandon()

    # -- For the link, on its thread ---------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Declare the exchanges, then the queues."""
        self._forget()
        self._channel = channel
        self._opened_at = time.monotonic()
        snapshot = self._topology.snapshot()
        channel.exchange_declare(
            snapshot.exchange,
            "topic",
            durable=True,
            callback=lambda _: self._declaring.extend(snapshot.exchanges),
        )
        for exchange in snapshot.exchanges:
            self._declare(channel, exchange, lambda _: self._declaring.popleft())
        # The channel keeps the order: the last answer says that all stand.
        channel.exchange_declare(
            snapshot.exchange,
            passive=True,
            callback=lambda _: self._on_exchanges(channel, snapshot),
        )

    def _declare(
        self, channel: Channel, exchange: ExchangeSpec, answer: Callable[[Method], object]
    ) -> None:
        is_last = not exchange.feeds_main
        channel.exchange_declare(
            exchange.name, "topic", durable=True, callback=answer if is_last else None
        )
        if not is_last:
            channel.exchange_bind(self._topology.exchange, exchange.name, "#", callback=answer)

    def _on_exchanges(self, channel: Channel, snapshot: Snapshot) -> None:
        if not channel.is_open or channel is not self._channel:
            return
        self._has_exchanges = True
        self._topology.stands(None, snapshot.generation)
        for deletion in snapshot.deletions:
            if isinstance(deletion.what, QueueSpec):
                self._start(deletion.what).feed(deletion)
        for queue in snapshot.queues:
            if queue.label not in self._lanes:
                self._open(queue)
        self._check_ready()

    def _start(self, queue: QueueSpec) -> Lane:
        connection = None if self._channel is None else self._channel.connection
        lane = Lane(
            queue,
            connection,
            self._topology,
            self,
            self.link.address,
            self._doubts,
        )
        self._lanes[queue.label] = lane
        return lane

    def _open(self, queue: QueueSpec) -> None:
        lane = self._start(queue)
        if lane.is_apart:
            lane.stay_apart()
        else:
            lane.open()

    def woken(self) -> None:
        """Carry out changes of the topology, and acknowledge."""
        while self._due:
            self._due.popleft().acknowledge(now=False)
        if self._hurries:
            self._hasten()
        if self._has_exchanges:
            self._later.extend(self._topology.changes())
            self._carry_out()

    def _hasten(self) -> None:
        hurries = [self._hurries.popleft() for _ in range(len(self._hurries))]
        for lane in self._lanes.values():
            if lane.consumption is not None:
                lane.consumption.acknowledge(now=True)
        for done in hurries:
            done()

    def _carry_out(self) -> None:
        while self._later and not self._pending:
            change = self._later.pop(0)
            if isinstance(change.what, ExchangeSpec):
                self._put_exchange(change.what, change)
                return
            label = change.queue
            lane = self._lanes.get(label or "")
            if lane is not None:
                lane.feed(change)
            elif isinstance(change.what, QueueSpec) and change.is_wanted:
                self._start_wished(change.what.label)

    def _start_wished(self, label: str) -> None:
        part = self._topology.part(label)
        if part is not None and label not in self._lanes:
            self._open(part.queue)

    def _put_exchange(self, exchange: ExchangeSpec, change: Change) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        self._pending = [change]
        self._declare(channel, exchange, lambda _: self._on_exchange(channel))

    def _on_exchange(self, channel: Channel) -> None:
        if channel is self._channel and self._pending:
            self._topology.stands(None, self._pending[-1].generation)
            self._pending = []
            self._carry_out()

    def ticked(self) -> None:
        """Acknowledge what was handled since the last time, and look after the queues."""
        self._doubts.ticked()
        for lane in tuple(self._lanes.values()):
            lane.ticked()
        self._check_ready()

    def leaving(self) -> None:
        """Acknowledge what was handled."""
        for lane in self._lanes.values():
            lane.leave()

    def lost(self, error: AntiphonError) -> None:
        """Take note that nothing stands any more."""
        if isinstance(error, BrokerRefused):
            # The (first) exchange on its way is what was refused: without it the rest can
            # stand again, and whoever asked for it is told.
            self._topology.refuse(self._pending, error)
            if self._declaring:
                self._topology.refuse_exchange(self._declaring[0], error)
        if self._channel is not None:
            self._doubts.lost()
        # Asked of no lane: one whose queue was deleted does not stand any more by now.
        has_broadcast, self._has_broadcast = self._has_broadcast, False
        if has_broadcast:
            self._incoming.interrupted()
        self._forget()
        self._topology.lost()
        self._on_ready(False, error)

    def _forget(self) -> None:
        self._channel = None
        self._is_ready = self._has_exchanges = False
        for lane in self._lanes.values():
            lane.forget()
        self._lanes.clear()
        self._hasten()  # what was not acknowledged is stale, and nobody need wait for it
        self._due.clear()
        self._later.clear()
        self._declaring.clear()
        self._pending = []

    def blocked(self, reason: str | None) -> None:
        """Nothing: a connection that only consumes is not blocked for long."""

    # -- For the lanes -------------------------------------------------------------------

    def is_silent(self) -> bool:
        """Return whether the broker answers nobody."""
        return self.link.silent_s >= SILENT_S

    def stood(self, lane: QueueChannel, *, is_new: bool) -> None:
        """Take note that a queue stands."""
        self._has_broadcast = self._has_broadcast or lane.queue.is_exclusive
        if is_new:
            self._incoming.queue_made(lane.queue.label)
        self._check_ready()

    def failed(self, lane: QueueChannel, error: AntiphonError) -> None:
        """Take note that a queue does not stand."""
        if lane.queue.is_exclusive:
            self.link.drop(error)
            return
        logger.warning("queue '%s' is tried again: %s", lane.queue.label, error)
        self._check_ready()

    def ended(self, lane: QueueChannel) -> None:
        """Take note that a queue is no longer consumed, as wished."""
        label = lane.queue.label
        if self._lanes.get(label) is lane:
            del self._lanes[label]
            self._start_wished(label)

    def _check_ready(self) -> None:
        if self._is_ready or not self._has_exchanges:
            return
        is_late = time.monotonic() - self._opened_at > READY_PATIENCE_S
        for lane in self._lanes.values():
            if not (
                lane.is_standing or (not lane.queue.is_exclusive and (lane.is_tried or is_late))
            ):
                return
        self._is_ready = True
        self._topology.connected()
        self._on_ready(True, None)
        self.woken()

    # -- From the broker ---------------------------------------------------------------

    def on_message(
        self,
        consumption: Consumption,
        method: spec.Basic.Deliver,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        """Hand a delivery on, unless it is an echo."""
        if consumption.is_over:
            return  # it goes back with the channel
        tag = method.delivery_tag
        queue = consumption.spec
        publisher = properties.app_id or ""
        if publisher == self._publisher and not queue.consume_own:
            consumption.received(tag, is_echo=True)
            self._incoming.echo()
        else:
            consumption.received(tag, is_echo=False)
            key, headers, count = method.routing_key, properties.headers, 0
            if headers:
                key, headers = restored(key, headers)
            if method.redelivered:
                count = delivery_count(properties.headers, redelivered=True)
            message = Message(key, body, headers, publisher)
            self._incoming.deliver(
                Arrival(message, queue.label, (consumption, tag), method.redelivered, count)
            )
        consumption.acknowledge(now=False)
