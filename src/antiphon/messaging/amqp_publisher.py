"""The publishing half of the AMQP transport: confirms, pipelined, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import pika
from pika import spec
from pika.channel import Channel
from pika.frame import Method

from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_connection import CAN_WRITE
from antiphon.messaging.amqp_frames import body_bytes_of, frames_of, properties_of
from antiphon.messaging.amqp_link import Link
from antiphon.messaging.detours import Detours
from antiphon.messaging.flight import Flight, Forward
from antiphon.messaging.probation import Probation
from antiphon.messaging.topology import ExchangeSpec
from antiphon.messaging.transport import KEY_HEADER, Incoming, Message, Outgoing

logger = logging.getLogger(__name__)

#: Messages that may be published and not confirmed yet; enough to keep the wire busy.
MAX_IN_FLIGHT = 2000

#: Bytes of bodies that may be, since pika copies what the socket does not take at once.
MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024

#: Messages that are written to the socket at once, at most.
BATCH = 500

#: Seconds after which a broker that neither confirms nor says it is blocked is given up.
CONFIRM_TIMEOUT_S = 30.0


class Publisher:
    """Pulls messages from an ``Outgoing`` and publishes them; the user of a ``Link``.

    Args:
        address: the broker.
        name: of the connection.
        exchange: a durable topic exchange; declared on each connection.
        outgoing: what to publish.
        incoming: hears of blocking.
        on_ready: called with True when publishing can begin, with False and
            the reason when it ended.
        find_exchange: returns what is to be declared before a message is
            published to the exchange of a name; None for nothing.
    """

    def __init__(
        self,
        address: AmqpAddress,
        name: str,
        exchange: str,
        outgoing: Outgoing,
        incoming: Incoming,
        on_ready: Callable[[bool, AntiphonError | None], None],
        find_exchange: Callable[[str], ExchangeSpec | None] = lambda _: None,
    ) -> None:
        self.link = Link(address, name, self)
        self._exchange = exchange
        self._outgoing = outgoing
        self._incoming = incoming
        self._on_ready = on_ready
        self._find_exchange = find_exchange
        self._channel: Channel | None = None
        self._is_blocked = False
        self._flight = Flight()
        self._forwards: deque[Forward] = deque()  # to be published
        self._declared: set[str] = set()  # exchanges beside the own, on this channel
        self._detours = Detours()
        self._is_over = False
        self._probation = Probation()
        self._progress_at = 0.0
        # Held by whoever takes from the outgoing and writes, so that both are in one order.
        self._publishing = threading.Lock()
        self._held: Sequence[Message] = ()  # taken, and left to the link's thread

    # -- From any thread ---------------------------------------------------------------

    def wake(self) -> None:
        """Publish what waits: here, if nothing is under way, or else soon on the link's thread.

        An event that comes alone is spared the way over another thread, which
        is a third of its latency (benchmarks/messaging).  When many come, the link's
        thread has them, and puts them together while it waits for the broker.
        """
        # Whoever does not get the lock wakes the link: who has it may have looked too early.
        if self._flight or not self._publishing.acquire(blocking=False):
            self.link.wake()
            return
        try:
            is_done = self._publish_one_here()
        finally:
            self._publishing.release()
        if not is_done:
            self.link.wake()

    def _publish_one_here(self) -> bool:
        channel = self._channel
        if (
            channel is None
            or self._is_blocked
            or self._forwards
            or self._flight
            or self._held
            or self._probation.is_on
            or not channel.connection.may_write_anywhere
        ):
            return False
        self._held = batch = self._outgoing.take(1)
        if not batch:
            return True
        message, exchange = addressed(batch[0], self._exchange)
        if batch[0].exchange is not None and exchange not in self._declared:
            return False
        try:
            frames = frames_of(message, exchange, channel.channel_number, body_bytes_of(channel))
        except Exception:  # the link's thread meets it too, and knows what follows from it
            return False
        self._held = ()
        self._progress_at = time.monotonic()
        self._flight.sent([len(message.body)])
        return bool(channel.connection.write_frames(frames))

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        """Publish *messages* past what waits; see ``Transport.forward``.

        Without a connection *done* hears of it when the next attempt to connect
        has failed; after ``stop`` at once, on the calling thread.
        """
        self._forwards.append(Forward(messages, done))
        self.link.wake()
        if self._is_over:
            self._fail_forwards()

    def stop(self, timeout_s: float) -> None:
        """End the link; what is not confirmed of the forwarded messages is told to be lost."""
        self.link.stop(timeout_s)
        self._is_over = True
        self._fail_forwards(self._flight.reset())

    # -- For the link, on its thread ---------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Declare the exchange, switch confirms on, then publish what waits."""
        with self._publishing:
            self._channel = None
            self._declared.clear()
            self._flight.reset()
            self._held = ()
        channel.add_on_return_callback(self._on_returned)
        channel.exchange_declare(
            self._exchange,
            "topic",
            durable=True,
            callback=lambda _: self._ask_for_confirms(channel),
        )

    def _ask_for_confirms(self, channel: Channel) -> None:
        if not channel.is_open:
            return
        channel.connection.confirm_together(channel, self._on_confirms)
        channel.confirm_delivery(self._on_confirm, callback=lambda _: self._begin(channel))

    def _begin(self, channel: Channel) -> None:
        if not channel.is_open:
            return
        self._outgoing.rewind()
        self._channel = channel
        self._progress_at = time.monotonic()
        if not self._probation.is_on:
            self._on_ready(True, None)
        self.woken()

    def woken(self) -> None:
        """Publish what waits, as far as the window is open."""
        with self._publishing:
            self._publish_waiting()

    def _publish_waiting(self) -> None:
        channel = self._channel
        if channel is None or self._is_blocked or not channel.is_open:
            return
        limit = MAX_IN_FLIGHT
        if self._probation.is_on:
            limit = len(self._flight) + self._probation.room(len(self._flight))
        if not self._flight:
            self._progress_at = time.monotonic()
        while self._forwards and len(self._flight) < limit:
            self._publish_forward(channel, self._forwards.popleft())
        room = min(limit - len(self._flight), BATCH)
        if room <= 0 or self._flight.bytes >= MAX_IN_FLIGHT_BYTES:
            return
        batch = self._held or self._outgoing.take(room)
        self._held = ()
        self._publish(channel, batch)
        if len(batch) == BATCH:
            self.link.wake()  # more may wait; let pika write these first

    def _publish(self, channel: Channel, batch: Sequence[Message]) -> None:
        frames: list[bytes] = []
        max_bytes = body_bytes_of(channel)
        for given in batch:
            taken = given if given.exchange is None else self._detours.of(given)
            message, exchange = addressed(taken, self._exchange)
            if taken.exchange is not None and exchange not in self._declared:
                self._write(channel, frames)
                # One that the topology does not know was an earlier process's (a spool has such).
                wish = self._find_exchange(exchange) or ExchangeSpec(exchange, feeds_main=True)
                self._declare(channel, exchange, wish)
            if CAN_WRITE:
                frames.append(frames_of(message, exchange, channel.channel_number, max_bytes))
            else:
                properties = properties_of(message)
                channel.basic_publish(
                    exchange, message.routing_key, message.body, properties, mandatory=True
                )
        self._write(channel, frames)
        self._flight.sent([len(message.body) for message in batch])

    def _publish_forward(self, channel: Channel, forward: Forward) -> None:
        if not forward.messages:
            forward.finish(is_confirmed=True)
            return
        for given in forward.messages:
            message, exchange = addressed(given, self._exchange)
            if given.exchange is not None and exchange not in self._declared:
                self._declare(channel, exchange, self._find_exchange(exchange))
            properties = properties_of(message)
            properties.message_id = forward.id
            channel.basic_publish(
                exchange, message.routing_key, message.body, properties, mandatory=True
            )
        self._flight.sent_forward(forward)

    def _declare(self, channel: Channel, exchange: str, wish: ExchangeSpec | None) -> None:
        # Also declared by the consuming half, and on another connection: publishing may be
        # quicker, and to an exchange that is not there it would close the channel.  Without an
        # answer each, since a channel keeps the order.
        if exchange and wish is not None:
            channel.exchange_declare(exchange, "topic", durable=True)
            if wish.feeds_main:
                channel.exchange_bind(self._exchange, exchange, "#")
        self._declared.add(exchange)

    def _write(self, channel: Channel, frames: list[bytes]) -> None:
        if frames:
            if channel.connection.write_frames(b"".join(frames)) is False:
                channel.connection.resume()  # the socket is full, and this is its thread
            frames.clear()

    def ticked(self) -> None:
        """Give a broker up that confirms nothing although it is not blocked."""
        if self._probation.is_on:
            self.woken()
        if self._channel is None or self._is_blocked or not self._flight:
            return
        if time.monotonic() - self._progress_at > CONFIRM_TIMEOUT_S:
            self.link.drop(
                BrokerUnavailable(
                    f"the broker at {self.link.address.where} has not confirmed a message for "
                    f"{CONFIRM_TIMEOUT_S:.0f} s"
                )
            )

    def leaving(self) -> None:
        """Nothing: the bus has waited for the confirms, as long as it was told."""

    def lost(self, error: AntiphonError) -> None:
        """Stop publishing until the link is back."""
        with self._publishing:
            was_publishing, self._channel = self._channel is not None, None
            forwards = self._flight.reset()
        if (
            was_publishing
            and isinstance(error, BrokerRefused)
            and not self._detours.refused(self.link.name, self._declared, error)
        ):
            self._probation.refused(self.link.name, error)
        self._fail_forwards(forwards)
        self.blocked(None)
        self._on_ready(False, error)

    def blocked(self, reason: str | None) -> None:
        """Hold back while the broker is short of memory or disk."""
        was_blocked, self._is_blocked = self._is_blocked, reason is not None
        if self._is_blocked:
            self._incoming.blocked(reason)
        elif was_blocked:
            self._incoming.blocked(None)
            self._progress_at = time.monotonic()
            self.woken()

    # -- From the broker ---------------------------------------------------------------

    def _on_confirm(self, frame: Method) -> None:
        method = frame.method
        if self._channel is None:
            return
        if isinstance(method, spec.Basic.Nack) and not self._refused(method):
            # The queue failed inside the broker.  Everything unconfirmed goes out
            # again over a new connection, which keeps the order; nacks are rare.
            self.link.drop(BrokerUnavailable("the broker could not take a message and said so"))
            return
        self._on_confirms([(method.delivery_tag, method.multiple)])

    def _refused(self, method: spec.Basic.Nack) -> bool:
        # A quorum queue that was made a moment ago may refuse its first dead letter: whoever
        # forwarded that tries again, and the events of this bus are none the worse.
        with self._publishing:
            return self._flight.refused(method.delivery_tag, is_multiple=method.multiple)

    def _on_confirms(self, confirms: Sequence[tuple[int, bool]]) -> None:
        if self._channel is None:
            return
        count, done = 0, list[Forward]()
        with self._publishing:
            for tag, is_multiple in confirms:
                more, forwards = self._flight.confirmed(tag, is_multiple=is_multiple)
                count += more
                done += forwards
        self._progress_at = time.monotonic()
        if self._probation.is_on and (count or done):
            self._probation.passed(self.link.name)
            self._on_ready(True, None)
        if count:
            self._outgoing.settle(count)
        for forward in done:
            forward.finish(is_confirmed=True)
        self.woken()

    def _on_returned(
        self,
        _channel: Channel,
        method: spec.Basic.Return,
        properties: pika.BasicProperties,
        body: bytes,
    ) -> None:
        if not self._flight.returned(properties.message_id):
            self._outgoing.returned(
                Message(method.routing_key or "", body, properties.headers, properties.app_id or "")
            )

    def _fail_forwards(self, lost: Sequence[Forward] = ()) -> None:
        for forward in lost:
            forward.finish(is_confirmed=False)
        while self._forwards:
            try:
                forward = self._forwards.popleft()
            except IndexError:  # another thread was quicker
                return
            forward.finish(is_confirmed=False)


def addressed(message: Message, main_exchange: str) -> tuple[Message, str]:
    """Return *message* as it is to be published, and the exchange to publish it to."""
    if message.queue is None:
        return message, main_exchange if message.exchange is None else message.exchange
    headers = {**(message.headers or {}), KEY_HEADER: message.routing_key}
    return replace(message, routing_key=message.queue, headers=headers, queue=None), ""
