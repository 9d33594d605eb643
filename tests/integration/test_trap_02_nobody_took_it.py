"""Trap 2: an event that no queue took is confirmed; it must be counted."""

from __future__ import annotations

import threading

from bus_helpers import Heard, Numbered, wait_until

from antiphon import BrokerEventManager, open_bus
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


def test_consumer_is_cut_off_while_events_go_out(broker: RabbitMQ, broker_url: str) -> None:
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
