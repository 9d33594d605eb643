"""Trap 2: an event that no queue took is confirmed; it must be counted."""

from __future__ import annotations

import threading
import time
from urllib.parse import urlsplit

from bus_helpers import Heard, Numbered, wait_until
from tcp_proxy import Node

from antiphon import BrokerEventManager, open_bus
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.testing.broker_control import close_all_connections, delete_all_queues
from antiphon.testing.servers import RabbitMQ

#: How many events go out after the queue has gone; enough to last until it is back.
COUNT = 400


def emit_steadily(sender: BrokerEventManager, first: int, count: int) -> None:
    pause = threading.Event()
    for number in range(first, first + count):
        sender.emit(Numbered(number=number))
        pause.wait(0.002)
    sender.flush(30)


def test_queue_is_deleted_while_events_go_out(broker: RabbitMQ, broker_url: str) -> None:
    """Exactly the events that the listener misses while its queue is gone count as returned."""
    heard = Heard()
    with open_bus(broker_url) as sender, open_bus(broker_url) as receiver:
        receiver.connect(Numbered, heard)
        emit_steadily(sender, 0, 20)
        heard.wait(20)
        cut_off = threading.Event()
        receiver.on_state(lambda state: cut_off.set())
        delete_all_queues(broker)
        # What is routed to a queue while it is being deleted goes with it, uncounted.
        cut_off.wait(30)

        emit_steadily(sender, 20, COUNT)
        wait_until(lambda: receiver.stats().reconnects == 1, "the listener is back")
        emit_steadily(sender, 20 + COUNT, 20)
        wait_until(lambda: heard.numbers[-1:] == [20 + COUNT + 19], "the last event arrives")

        stats = sender.stats()
        missed = 20 + COUNT + 20 - len(heard.events)
        assert missed == stats.returned
        assert 0 < missed < COUNT
        assert stats.emitted == stats.confirmed


def test_consumer_link_is_cut_while_events_go_out(amqp_url: str, system: str) -> None:
    """From the first event that comes back on, exactly those that are missed come back.

    The listener is told that it has missed some, since before its link was cut.
    """
    heard, told = Heard(), Heard()
    with (
        Node(amqp_url) as node,
        open_bus(amqp_url, system=system) as sender,
        open_bus(through(node, amqp_url), system=system) as receiver,
    ):
        receiver.connect(Numbered, heard)
        receiver.connect(EventsMayBeMissing, told)
        emit_steadily(sender, 0, 20)
        heard.wait(20)
        cut_at = time.time()
        node.die()
        number = 20
        while not sender.stats().returned:  # the broker may not have noticed yet
            emit_steadily(sender, number, 1)
            number += 1
        first = number - 1
        emit_steadily(sender, number, 50)
        node.live()
        number += 50
        while heard.numbers[-1] < first:
            emit_steadily(sender, number, 1)
            number += 1
        emit_steadily(sender, number, 20)
        wait_until(lambda: heard.numbers[-1] == number + 19, "the last event arrives")
        (gap,) = told.wait()

        missed = set(range(first, number)) - set(heard.numbers)
        assert len(missed) == sender.stats().returned
        assert set(range(first, first + 51)) <= missed
        assert "broadcast" == gap.subscription
        assert gap.since is not None
        assert gap.since <= cut_at


def through(node: Node, url: str) -> str:
    """Return *url* with the port of *node*."""
    parts = urlsplit(url)
    return parts._replace(
        netloc=f"{parts.username}:{parts.password}@127.0.0.1:{node.port}"
    ).geturl()


def test_no_listener_is_left(broker: RabbitMQ, broker_url: str) -> None:
    """Without any listener every event counts as returned, and is confirmed all the same."""
    heard = Heard()
    with open_bus(broker_url) as sender:
        with open_bus(broker_url) as receiver:
            receiver.connect(Numbered, heard)
            emit_steadily(sender, 0, 20)
            heard.wait(20)
        emit_steadily(sender, 20, 30)

        assert (30, 50) == (sender.stats().returned, sender.stats().confirmed)


def test_events_wait_for_a_lost_publisher(broker: RabbitMQ, broker_url: str) -> None:
    """What is sent again after a lost connection, and returned again, is counted once or twice."""
    with open_bus(broker_url) as sender:
        for _ in range(3):
            emit_steadily(sender, 0, 10)
            close_all_connections(broker)
        emit_steadily(sender, 0, 10)

        stats = sender.stats()
        assert 40 == stats.confirmed
        assert 40 <= stats.returned <= 80
