"""Looking into the queues of RabbitMQ, with a connection that blocks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout

from antiphon.errors import AntiphonError, BrokerUnavailable, BrowserBusy
from antiphon.messaging.amqp_address import AmqpAddress, parse_address
from antiphon.messaging.amqp_errors import explain, quieten_library
from antiphon.messaging.amqp_frames import properties_of
from antiphon.messaging.amqp_limits import BoundedConnection
from antiphon.messaging.amqp_parameters import connection_parameters
from antiphon.messaging.browser import (
    MAX_RETURNS,
    Broker,
    Depth,
    Found,
    QueueBrowser,
    kept_headers,
    with_own_key,
)
from antiphon.messaging.transport import KEY_HEADER, Message

#: Seconds between two attempts to be alone.
RETRY_S = 0.2

#: AMQP reply codes: there is no such thing; it is another connection's.
NOT_FOUND, RESOURCE_LOCKED = 404, 405


class AmqpBrowser(QueueBrowser):
    """Looks into the queues of one broker; see ``QueueBrowser``.

    Args:
        address: the broker; of several nodes the first that answers.
        name: shown by the broker beside the connection.
    """

    def __init__(self, address: AmqpAddress, name: str) -> None:
        quieten_library()
        self._address, self._connection = _connect(address, name)
        self._channel: BlockingChannel = self._open_channel()

    def depth(self, queue: str) -> Depth | None:
        with self._errors():
            # On a channel of its own: the broker closes it if there is no such queue, and
            # with ours all messages would go back that were got.
            channel = self._connection.channel()
            try:
                found = channel.queue_declare(queue, passive=True).method
            except exceptions.ChannelClosedByBroker as exc:
                if exc.reply_code == NOT_FOUND:
                    return None
                raise
            channel.close()
        return Depth(found.message_count, found.consumer_count)

    def get(self, queue: str) -> Found | None:
        with self._errors():
            try:
                method, properties, body = self._channel.basic_get(queue)
            except exceptions.ChannelClosedByBroker as exc:
                if exc.reply_code != NOT_FOUND:
                    raise
                self._channel = self._open_channel()
                return None
        if method is None:
            return None
        headers = properties.headers or {}
        count = headers.get("x-delivery-count", 0)
        message = Message(
            method.routing_key,
            body,
            headers or None,
            properties.app_id or "",
            properties.delivery_mode == 2,
        )
        count = int(count) if isinstance(count, int) else 0
        return Found(with_own_key(message), queue, method.delivery_tag, count)

    def acknowledge(self, found: Found) -> None:
        with self._errors():
            self._channel.basic_ack(found.token)

    def give_back(self, found: Found) -> None:
        if found.delivery_count >= MAX_RETURNS:
            message = found.message
            copy = Message(
                message.routing_key,
                message.body,
                message.headers,
                message.publisher,
                message.persistent,
                queue=found.queue,
            )
            if self.publish(copy):
                # Confirmed first: killed between the two, it is there twice, and not lost.
                self.acknowledge(found)
                return
        with self._errors():
            self._channel.basic_nack(found.token, requeue=True)

    def publish(self, message: Message) -> bool:
        properties = properties_of(message)
        properties.headers = kept_headers(message.headers) or None
        exchange, key = message.exchange or "", message.routing_key
        if message.queue is not None:
            properties.headers = {**(properties.headers or {}), KEY_HEADER: key}
            exchange, key = "", message.queue
        with self._errors():
            try:
                self._channel.basic_publish(exchange, key, message.body, properties, mandatory=True)
            except exceptions.UnroutableError:
                return False
            except exceptions.NackError as exc:
                raise BrokerUnavailable(
                    f"the broker at {self._address.where} has not taken a message for "
                    f"'{message.queue or key}'; see its log for the reason"
                ) from exc
        return True

    @contextlib.contextmanager
    def alone(self, name: str, timeout_s: float) -> Iterator[None]:
        # An exclusive queue is a lock that the broker gives to one connection, and that
        # goes with it, however that ends.
        deadline = time.monotonic() + timeout_s
        while not self._try_lock(name):
            if time.monotonic() > deadline:
                raise BrowserBusy(
                    f"another command has been at work on '{name}' for {timeout_s:g} s; try again "
                    "when it has ended"
                )
            self._connection.sleep(RETRY_S)
        try:
            yield
        finally:
            with contextlib.suppress(exceptions.AMQPError):
                channel = self._connection.channel()
                channel.queue_delete(name)
                channel.close()

    def broker(self) -> Broker:
        # pika keeps what came with the handshake to itself.
        told = getattr(getattr(self._connection, "_impl", None), "server_properties", None) or {}
        product, version = (str(told.get(name) or "") for name in ("product", "version"))
        return Broker(product, version, self._address.user)

    def try_rights(self, queue: str, exchange: str) -> None:
        key = "!trial"  # no class has a word that begins so: nobody else gets it
        with self._errors():
            channel = self._open_channel()
            channel.queue_declare(queue, exclusive=True, auto_delete=True)
            channel.queue_bind(queue, exchange, key)
            channel.basic_publish(exchange, key, b"")
            channel.basic_publish("", queue, b"", mandatory=True)
            channel.basic_get(queue, auto_ack=True)
            channel.queue_delete(queue)
            channel.close()

    def close(self) -> None:
        with contextlib.suppress(exceptions.AMQPError):
            if self._connection.is_open:
                self._connection.close()

    def _try_lock(self, name: str) -> bool:
        with self._errors():
            channel = self._connection.channel()
            try:
                channel.queue_declare(name, exclusive=True, auto_delete=True)
            except exceptions.ChannelClosedByBroker as exc:
                if exc.reply_code == RESOURCE_LOCKED:
                    return False
                raise
            channel.close()
        return True

    def _open_channel(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.confirm_delivery()
        return channel

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (exceptions.AMQPError, OSError) as exc:
            raise explain(exc, self._address) from exc


def _connect(address: AmqpAddress, name: str) -> tuple[AmqpAddress, Any]:
    """Return the first node of *address* that answers, and a connection to it."""
    error: AntiphonError | None = None
    for node in address.nodes or ((address.host, address.port),):
        one = address.at(node)
        parameters: pika.ConnectionParameters = connection_parameters(one, name)
        # A broker that holds publishers back would keep a person waiting for ever.
        parameters.blocked_connection_timeout = 30
        try:
            # Whatever somebody put among the dead letters, they can be looked at.
            return one, BlockingConnection(parameters, _impl_class=BoundedConnection)
        except AMQPConnectorStackTimeout as exc:
            # A broker that hangs takes connections, and says nothing; pika's error of that
            # is none of its others'.
            error = BrokerUnavailable(
                f"no broker can be reached at {one.where}: it did not answer in time; check that "
                "it is not hanging or overloaded, and that the port is its AMQP port"
            )
            error.__cause__ = exc
        except (exceptions.AMQPError, OSError) as exc:
            error = explain(exc, one)
    raise error or BrokerUnavailable("the URL names no broker")


def open_browser(url: str, *, name: str = "antiphon browser") -> AmqpBrowser:
    """Return a browser for an AMQP *url*, connected; see ``browser.open_browser``."""
    return AmqpBrowser(parse_address(url), name)
