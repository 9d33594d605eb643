"""A network that falls silent: nothing is refused, nothing arrives."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bus_helpers import BACK_WITHIN_S, Numbered, events_flow, wait_until

from antiphon import open_bus
from antiphon.testing.servers import Servers


class BlackHole:
    """A TCP proxy that keeps everything to itself while it is told to.

    Connections are accepted meanwhile, and what is sent is passed on afterwards, as
    a network does that comes back.  Unlike a firewall rule it needs no rights.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self._is_over = False
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def swallow(self) -> None:
        self._passing.clear()

    def heal(self) -> None:
        self._passing.set()

    def close(self) -> None:
        self._is_over = True
        self._passing.set()
        self._thread.join()
        for sock in (self._server, *self._peers):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(0.02):
                if not self._passing.wait(0.02):
                    break
                self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _pass_on(self, sock: socket.socket) -> None:
        if sock is self._server:
            near, _ = sock.accept()
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                self._peers[one] = other
                self._selector.register(one, selectors.EVENT_READ)
            return
        data = b""
        if sock in self._peers:
            with contextlib.suppress(OSError):
                data = sock.recv(65536)
                self._peers[sock].sendall(data)
        if not data and sock in self._peers:
            for one in (sock, self._peers[sock]):
                del self._peers[one]
                self._selector.unregister(one)
                one.close()


@pytest.fixture
def network(servers: Servers) -> Iterator[BlackHole]:
    parts = urlsplit(servers.rabbitmq.amqp_url)
    network = BlackHole(parts.hostname or "localhost", parts.port or 5672)
    yield network
    network.close()


def test_partition(network: BlackHole, amqp_url: str, system: str) -> None:
    """Silence is noticed in seconds, and ten seconds after the network's return all is well."""
    parts = urlsplit(amqp_url)
    through = amqp_url.replace(f":{parts.port}", f":{network.port}") + "?heartbeat=2"
    with open_bus(through, system=system) as far, open_bus(amqp_url, system=system) as near:
        states: list[str] = []
        far.on_state(states.append)
        assert events_flow(near, far, 10) < 10
        network.swallow()
        far.emit(Numbered(number=0))
        noticed_s = wait_until(lambda: not far.is_connected, "the silence is noticed")

        network.heal()
        back_s = events_flow(near, far, BACK_WITHIN_S)
        far.flush(BACK_WITHIN_S)

        wait_until(lambda: states == ["disconnected", "connected"], "the states are told")
        assert noticed_s < 2 * 2 + 2
        assert back_s < BACK_WITHIN_S


def test_short_silence_costs_nothing(network: BlackHole, amqp_url: str, system: str) -> None:
    """A silence shorter than the limit is no loss."""
    parts = urlsplit(amqp_url)
    through = amqp_url.replace(f":{parts.port}", f":{network.port}") + "?heartbeat=4"
    with open_bus(through, system=system) as far:
        network.swallow()
        far.emit(Numbered(number=0))
        threading.Event().wait(1)
        network.heal()

        far.flush(10)
        assert 0 == far.stats().reconnects
