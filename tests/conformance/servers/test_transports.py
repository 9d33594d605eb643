"""Both transports pass the same suite."""

from __future__ import annotations

import secrets
import socket

import pytest

from antiphon.messaging.amqp import AmqpTransport, from_url
from antiphon.messaging.memory import MemoryBroker, MemoryTransport
from antiphon.testing.broker_control import close_all_connections, delete_queue
from antiphon.testing.servers import RabbitMQ
from antiphon.testing.transport_suite import TransportSuite


class TestMemoryTransport(TransportSuite):
    """The transport within one process."""

    @pytest.fixture(autouse=True)
    def _broker(self) -> None:
        self.broker = MemoryBroker(secrets.token_hex(4))

    def make_transport(self) -> MemoryTransport:
        return MemoryTransport(self.broker)

    def make_unreachable(self) -> MemoryTransport:
        stopped = MemoryBroker("stopped")
        stopped.stop()
        return MemoryTransport(stopped)

    def break_connections(self) -> None:
        self.broker.disconnect_all()

    def delete_queue(self, name: str) -> None:
        self.broker.delete_queue(name)


class TestAmqpTransport(TransportSuite):
    """The transport to RabbitMQ, on a broker whose connections may be broken."""

    @pytest.fixture(autouse=True)
    def _broker(self, broker: RabbitMQ, broker_url: str) -> None:
        self.broker = broker
        self.url = broker_url

    def make_transport(self) -> AmqpTransport:
        return from_url(self.url)

    def make_unreachable(self) -> AmqpTransport:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return from_url(f"amqp://127.0.0.1:{free.getsockname()[1]}")

    def break_connections(self) -> None:
        close_all_connections(self.broker)

    def delete_queue(self, name: str) -> None:
        delete_queue(self.broker, self.url.rpartition("/")[2], name)
