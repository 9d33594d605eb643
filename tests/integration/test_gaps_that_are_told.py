"""What a broadcast listener is told to have missed covers what it has missed."""

from __future__ import annotations

import threading
import time

from bus_helpers import Heard, Numbered, wait_until

from antiphon import open_bus
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.options import BusOptions
from antiphon.testing.broker_control import close_all_connections, delete_all_queues
from antiphon.testing.servers import RabbitMQ

#: More messages than are sent ahead to a listener.
COUNT = 1500


def test_gap_of_a_slow_listener(broker: RabbitMQ, broker_url: str) -> None:
    """Events that waited at the broker for a slow listener go with its connection: it is told."""
    go_on, heard, gaps = threading.Event(), Heard(), Heard()

    def slow(event: Numbered) -> None:
        go_on.wait(60)
        heard(event)

    one_each = BusOptions(batch_events=1)
    with open_bus(broker_url, options=one_each) as sender, open_bus(broker_url) as receiver:
        receiver.connect(EventsMayBeMissing, gaps)
        receiver.connect(Numbered, slow)
        began_at = time.time()
        for number in range(COUNT):
            sender.emit(Numbered(number=number))
        sender.flush(30)
        confirmed_at = time.time()
        wait_until(lambda: time.time() > confirmed_at + 2.5, "heartbeats come meanwhile")
        close_all_connections(broker)
        wait_until(lambda: receiver.stats().reconnects == 1, "it is back")
        go_on.set()
        (gap,) = gaps.wait()

        assert len(heard.events) < COUNT
        assert gap.since <= began_at


def test_gap_of_a_deleted_queue(broker: RabbitMQ, broker_url: str) -> None:
    """An operator who deletes the queue under a listener is told of to the listener."""
    gaps = Heard()
    with open_bus(broker_url) as receiver:
        receiver.connect(EventsMayBeMissing, gaps)
        receiver.connect(Numbered, print)
        began_at = time.time()
        delete_all_queues(broker)
        (gap,) = gaps.wait()

        assert "broadcast" == gap.subscription
        assert gap.since <= began_at
