"""Several hosts in one URL: two brokers, and proxies that stand for nodes and networks."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bus_helpers import BACK_WITHIN_S, Numbered, events_flow, wait_until
from tcp_proxy import Node

from antiphon import open_bus
from antiphon.errors import BrokerRefused, BrokerUnavailable
from antiphon.messaging import amqp_parameters
from antiphon.testing.servers import RabbitMQ


@pytest.fixture
def nodes(broker: RabbitMQ, tls_broker: RabbitMQ) -> Iterator[tuple[Node, Node]]:
    """Two nodes, each before a broker of its own."""
    with Node(broker.url) as one, Node(tls_broker.url) as other:
        yield one, other


def url_of(*ports: int, heartbeat: int = 2) -> str:
    return f"amqp://{','.join(f'127.0.0.1:{port}' for port in ports)}?heartbeat={heartbeat}"


@pytest.fixture
def dead_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that answers no attempt to connect, as behind a firewall that drops."""
    # Linux drops what comes to a listener whose backlog is full.
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield int(server.getsockname()[1])


def test_dead_first_host(nodes: tuple[Node, Node], dead_port: int, system: str) -> None:
    """A first host that refuses connections costs nothing."""
    with open_bus(url_of(dead_port, nodes[1].port), system=system) as bus:
        assert bus.is_connected

    assert nodes[1].accepted == 2


def test_first_host_is_used(nodes: tuple[Node, Node], system: str) -> None:
    """Both connections begin at the host that the URL names first."""
    with open_bus(url_of(nodes[0].port, nodes[1].port), system=system):
        assert (2, 0) == (nodes[0].connections, nodes[1].connections)


def test_hosts_that_are_all_dead(dead_port: int, system: str) -> None:
    """With no host there, the error says what each of them did."""
    with pytest.raises(BrokerUnavailable, match=r"none of the 2 nodes.*refused.*:1: .*refused"):
        open_bus(url_of(dead_port, 1), system=system)


def test_failover(nodes: tuple[Node, Node], tls_broker: RabbitMQ, system: str) -> None:
    """When a node dies, both connections come back at the next, with all that was declared."""
    url = url_of(nodes[0].port, nodes[1].port)
    with open_bus(url, system=system) as far, open_bus(tls_broker.url, system=system) as near:
        nodes[0].die()
        far.emit(Numbered(number=0))

        back_s = events_flow(near, far, BACK_WITHIN_S)
        far.flush(BACK_WITHIN_S)

        assert back_s < 5
        assert nodes[1].connections == 2


def test_failover_from_silence(nodes: tuple[Node, Node], tls_broker: RabbitMQ, system: str) -> None:
    """A node that falls silent is left for the next as soon as that is noticed."""
    url = url_of(nodes[0].port, nodes[1].port, heartbeat=1)
    with open_bus(url, system=system) as far, open_bus(tls_broker.url, system=system) as near:
        nodes[0].fall_silent()

        events_flow(near, far, BACK_WITHIN_S)


def test_return_of_the_network(nodes: tuple[Node, Node], system: str) -> None:
    """With every node away for a while, the bus is back within 10 s of their return."""
    url = url_of(nodes[0].port, nodes[1].port)
    with open_bus(url, system=system) as bus:
        for node in nodes:
            node.die()
        wait_until(lambda: not bus.is_connected, "the loss is noticed")
        wait_until(lambda: "none of the 2 nodes" in str(bus.last_error), "a round is over")
        for node in nodes:
            node.live()

        assert bus.wait_connected(BACK_WITHIN_S)


def test_return_from_silence(nodes: tuple[Node, Node], system: str) -> None:
    """The same where nothing was refused, and nothing answered."""
    with open_bus(url_of(nodes[0].port, nodes[1].port, heartbeat=1), system=system) as bus:
        for node in nodes:
            node.fall_silent()
        wait_until(lambda: not bus.is_connected, "the silence is noticed")
        for node in nodes:
            node.speak()

        assert bus.wait_connected(BACK_WITHIN_S)


def test_black_hole(nodes: tuple[Node, Node], black_hole: int, system: str) -> None:
    """A host that answers nothing at all costs three seconds."""
    began = time.monotonic()

    with open_bus(url_of(black_hole, nodes[1].port), system=system):
        took_s = time.monotonic() - began

    assert 2 < took_s < 5


def test_hung_broker(
    nodes: tuple[Node, Node], system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that accepts connections and says nothing is left after a while (four seconds)."""
    monkeypatch.setattr(amqp_parameters, "NEXT_NODE_TIMEOUT_S", 1.0)
    nodes[0].fall_silent()
    began = time.monotonic()

    with open_bus(url_of(nodes[0].port, nodes[1].port), system=system):
        took_s = time.monotonic() - began

    assert 0.9 < took_s < 4


def test_node_that_refuses(nodes: tuple[Node, Node], system: str) -> None:
    """A node that does not know the user is passed by, and seldom asked again."""
    at = f"billing:wheat-field@127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"
    with open_bus(f"amqp://{at}", system=system) as bus:
        nodes[1].die()
        wait_until(lambda: "not accept user 'billing'" in str(bus.last_error), "it is refused")

        nodes[1].live()

        assert bus.wait_connected(BACK_WITHIN_S)
        assert nodes[0].accepted < 10


def test_wrong_password_everywhere(nodes: tuple[Node, Node], system: str) -> None:
    """When all nodes refuse, that is what is raised, without the password."""
    parts = urlsplit(url_of(nodes[0].port, nodes[1].port))

    with pytest.raises(BrokerRefused, match="'guest' with the password given") as caught:
        open_bus(parts._replace(netloc=f"guest:hunter2@{parts.netloc}").geturl(), system=system)

    assert "hunter2" not in str(caught.value)
