"""A network that falls silent: nothing is refused, nothing arrives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from bus_helpers import BACK_WITHIN_S, Numbered, events_flow, wait_until
from tcp_proxy import Node

from antiphon import open_bus


@pytest.fixture
def network(amqp_url: str) -> Iterator[Node]:
    with Node(amqp_url) as node:
        yield node


def test_partition(network: Node, amqp_url: str, system: str) -> None:
    """Silence is noticed in seconds, and ten seconds after the network's return all is well."""
    parts = urlsplit(amqp_url)
    through = amqp_url.replace(f":{parts.port}", f":{network.port}") + "?heartbeat=2"
    with open_bus(through, system=system) as far, open_bus(amqp_url, system=system) as near:
        states: list[str] = []
        far.on_state(states.append)
        assert events_flow(near, far, 10) < 10
        network.fall_silent()
        far.emit(Numbered(number=0))
        noticed_s = wait_until(lambda: not far.is_connected, "the silence is noticed")

        network.speak()
        back_s = events_flow(near, far, BACK_WITHIN_S)
        far.flush(BACK_WITHIN_S)

        wait_until(lambda: states == ["disconnected", "connected"], "the states are told")
        assert noticed_s < 2 * 2 + 2
        assert back_s < BACK_WITHIN_S


def test_short_silence_costs_nothing(network: Node, amqp_url: str, system: str) -> None:
    """A silence shorter than the limit is no loss."""
    parts = urlsplit(amqp_url)
    through = amqp_url.replace(f":{parts.port}", f":{network.port}") + "?heartbeat=4"
    with open_bus(through, system=system) as far:
        network.fall_silent()
        far.emit(Numbered(number=0))
        threading.Event().wait(1)
        network.speak()

        far.flush(10)
        assert 0 == far.stats().reconnects
