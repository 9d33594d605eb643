"""Trap 3: a connection that stands, and through which nothing comes any more."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator

import pytest
from bus_helpers import BACK_WITHIN_S, Numbered, events_flow, python, wait_until

from antiphon import open_bus
from antiphon.testing.broker_control import close_all_connections, delete_all_queues
from antiphon.testing.servers import RabbitMQ
from antiphon.testing.servers.rabbitmq_private import PrivateRabbitMQ
from tests.chaos.network import Network, make_networks


def consumers(broker: RabbitMQ, url: str) -> list[int]:
    """Return how many consumers each queue of the virtual host of *url* has."""
    assert isinstance(broker, PrivateRabbitMQ)
    vhost = url.rpartition("/")[2]  # elsewhere may be what other tests left
    text = broker.evaluate(
        "[case catch rabbit_amqqueue:info(Q, [consumers]) of [{_, Count}] -> Count; _ -> 0 end "
        f'|| Q <- rabbit_amqqueue:list(<<"{vhost}">>)].'  # one being deleted answers nothing
    )
    return [int(digits) for digits in re.findall(r"\d+", text)]


def restart(broker: RabbitMQ) -> None:
    """Kill the broker, and have it back."""
    broker.restart()


@pytest.mark.parametrize("trouble", [close_all_connections, delete_all_queues, restart])
def test_bus_hears_again(
    broker: RabbitMQ, broker_url: str, trouble: Callable[[RabbitMQ], object]
) -> None:
    """Whatever the broker does to it, a bus has its consumer again, and hears the next event."""
    with open_bus(broker_url) as sender, open_bus(broker_url) as receiver:
        assert events_flow(sender, receiver, BACK_WITHIN_S) < BACK_WITHIN_S
        trouble(broker)

        assert events_flow(sender, receiver, BACK_WITHIN_S) < BACK_WITHIN_S
        wait_until(lambda: consumers(broker, broker_url) == [1, 1], "each queue has its consumer")


@pytest.fixture
def network(broker: RabbitMQ) -> Iterator[Network]:
    """A network of its own to the broker: a namespace, or a proxy where that is not allowed."""
    assert isinstance(broker, PrivateRabbitMQ)
    (network,) = make_networks(1)
    with contextlib.ExitStack() as stack:
        stack.callback(network.close)
        if network.address is not None:
            _listen_on(broker, network.address)
            stack.callback(_listen_no_more, broker, network.address)
        yield network


def _port(broker: RabbitMQ) -> int:
    return int(broker.amqp_url.rpartition(":")[2])


def _listen_on(broker: PrivateRabbitMQ, address: str) -> None:
    broker.evaluate(
        "application:set_env(rabbit, loopback_users, []), "
        f'rabbit_networking:start_tcp_listener({{"{address}", {_port(broker)}}}, 1).'
    )


def _listen_no_more(broker: PrivateRabbitMQ, address: str) -> None:
    broker.evaluate(
        f'rabbit_networking:stop_tcp_listener({{"{address}", {_port(broker)}}}), '
        'application:set_env(rabbit, loopback_users, [<<"guest">>]).'
    )


_EAR = """
import sys
from antiphon import open_bus
from antiphon.events.api import BaseEvent

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

with open_bus(sys.argv[1], system=sys.argv[2]) as bus:
    bus.on_state(lambda state: print(state, flush=True))
    bus.connect(Numbered, lambda event: print("heard", event.number, flush=True))
    print("ready", flush=True)
    sys.stdin.read()
"""


class Ear:
    """A process in a network, and what it says."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines

    def wait_for(self, word: str) -> None:
        for line in self._lines:
            if line.strip() == word:
                return
        pytest.fail(f"the process ended before it said {word!r}")


def test_network_falls_silent(
    network: Network, broker: RabbitMQ, broker_url: str, system: str
) -> None:
    """A listener notices that nothing comes, and hears soon after the network's return."""
    through = network.url(_port(broker))
    with (
        open_bus(broker.amqp_url, system=system) as sender,
        python(_EAR, through, system, prefix=network.prefix) as process,
    ):
        assert process.stdout is not None
        ear = Ear(iter(process.stdout))
        ear.wait_for("ready")
        sender.emit(Numbered(number=0))
        ear.wait_for("heard 0")
        network.silence()
        began = time.monotonic()
        ear.wait_for("disconnected")
        noticed_s = time.monotonic() - began
        network.heal()
        began = time.monotonic()
        ear.wait_for("connected")
        sender.emit(Numbered(number=1))
        ear.wait_for("heard 1")

        assert time.monotonic() - began < BACK_WITHIN_S
        assert noticed_s < BACK_WITHIN_S
