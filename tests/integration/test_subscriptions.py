"""Durable subscriptions on RabbitMQ: order, connections that break, and clean ends."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from bus_helpers import Heard, Numbered, wait_until

from antiphon import EventsMayBeMissing, SubscriptionOptions, open_bus
from antiphon.errors import SubscriptionConflict
from antiphon.events.event_id import next_event_id
from antiphon.messaging.browser import browsers
from antiphon.messaging.dead_letters import MAX_CORRUPT, dead_queue
from antiphon.messaging.transport import Message
from antiphon.testing.broker_control import close_all_connections
from antiphon.testing.servers import RabbitMQ


def emit(bus: Any, *numbers: int) -> None:
    for number in numbers:
        bus.emit(Numbered(number=number))
    bus.flush(20)


def test_events_wait_in_order(amqp_url: str, system: str) -> None:
    """What was emitted while nobody subscribed comes first, each event once."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe("books", Numbered, Heard()).close()
        emit(sender, *range(500))
        with open_bus(amqp_url, system=system) as receiver:
            subscription = receiver.subscribe("books", Numbered, heard)
            emit(sender, *range(500, 1000))
            heard.wait(1000)
            subscription.delete()

    assert list(range(1000)) == heard.numbers


def test_a_clean_end_hands_back_and_repeats_nothing(amqp_url: str, system: str) -> None:
    """Closed in the midst of work, again and again: each event once, in order."""
    heard = Heard()

    def hear(event: Any) -> None:
        heard(event)
        if event.number % 7 == 0:
            time.sleep(0.002)

    options = SubscriptionOptions(prefetch=5)
    with open_bus(amqp_url, system=system) as sender:
        sender.subscribe("books", Numbered, hear).close()
        emit(sender, *range(300))
        for number in range(300, 320):
            emit(sender, number)
        for goal in (40, 150, 310):
            with open_bus(amqp_url, system=system) as receiver:
                receiver.subscribe("books", Numbered, hear, options=options)
                heard.wait(goal)
        last = sender.subscribe("books", Numbered, hear)
        heard.wait(320)
        last.delete()

    assert list(range(320)) == heard.numbers


def test_broken_connections_repeat_nothing(broker: RabbitMQ, broker_url: str) -> None:
    """With events in hand, more often than a crashing process may: each event once, in order."""
    heard, pause = Heard(), threading.Event()

    def hear(event: Any) -> None:
        heard(event)
        pause.wait(0.005)

    with open_bus(broker_url) as sender, open_bus(broker_url) as receiver:
        subscription = receiver.subscribe("books", Numbered, hear, mode="single")
        for number in range(400):
            sender.emit(Numbered(number=number))
        for goal in (20, 100, 180, 260):
            heard.wait(goal)
            close_all_connections(broker)
            wait_until(lambda: receiver.is_connected and sender.is_connected, "it is back")
        sender.flush(20)
        heard.wait(400)
        wait_until(lambda: subscription.stats().in_hand == 0, "all is settled")

    assert list(range(400)) == heard.numbers
    assert 0 == subscription.stats().dead


def test_another_process_takes_over(amqp_url: str, system: str) -> None:
    """Of single subscribers the next gets what the first has not handled, in order."""
    first, second = Heard(), Heard()
    with open_bus(amqp_url, system=system) as sender, open_bus(amqp_url, system=system) as other:
        one = sender.subscribe("ledger", Numbered, first, mode="single")
        two = other.subscribe("ledger", Numbered, second, mode="single")
        emit(sender, *range(50))
        first.wait(50)
        one.close()
        emit(sender, *range(50, 100))
        second.wait(50)
        two.delete()

    assert list(range(100)) == first.numbers + second.numbers


def test_other_options_than_at_the_broker_are_refused(amqp_url: str, system: str) -> None:
    """The message says which, and the bus goes on."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus, open_bus(amqp_url, system=system) as other:
        kept = bus.subscribe("books", Numbered, heard, mode="group")
        with pytest.raises(SubscriptionConflict, match="another mode than mode='single'"):
            other.subscribe("books", Numbered, Heard(), mode="single")
        with pytest.raises(SubscriptionConflict, match="mode or expires_s than mode='group', exp"):
            other.subscribe(
                "books", Numbered, Heard(), mode="group", options=SubscriptionOptions(expires_s=9)
            )
        with pytest.raises(SubscriptionConflict, match=r"another mode or .* than mode='broadcast'"):
            other.subscribe("books", Numbered, Heard())
        emit(other, 1)
        heard.wait(1)
        kept.delete()


def test_a_deleted_queue_is_told(broker: RabbitMQ, broker_url: str) -> None:
    """It is made again; what was in it is gone, and the subscriber hears so."""
    heard, missing = Heard(), Heard()
    with open_bus(broker_url) as bus:
        bus.connect(EventsMayBeMissing, missing)
        subscription = bus.subscribe("books", Numbered, heard)
        missing.wait(1)
        vhost = broker_url.rpartition("/")[2]
        broker.evaluate(  # type: ignore[attr-defined]
            f'{{ok, Q}} = rabbit_amqqueue:lookup({{resource, <<"{vhost}">>, queue, '
            f'<<"{subscription.queue}">>}}), rabbit_amqqueue:delete(Q, false, false, '
            '<<"test">>).'
        )
        told = missing.wait(2)[1]
        wait_until(lambda: subscription.wait_ready(1), "the queue is there")
        emit(bus, 1)
        heard.wait(1)

        assert ("books", [1]) == (told.subscription, heard.numbers)
        assert told.since is None  # what had waited in it may have been of any age


def test_dead_letters_wait_at_the_broker(amqp_url: str, system: str) -> None:
    """With what happened, for whoever looks."""

    def fail(event: Any) -> None:
        if event.number == 3:
            raise ValueError("never three")

    options = SubscriptionOptions(delivery_limit=2, retry_delay_s=0.01)
    with open_bus(amqp_url, system=system) as bus:
        subscription = bus.subscribe("books", Numbered, fail, options=options)
        emit(bus, *range(6))
        wait_until(lambda: subscription.stats().dead == 1, "a dead letter")

        (letter,) = dead_letters(amqp_url, system, 1)
        headers = letter.headers
        numbers = [event.number for event in bus._decode(letter)]
        subscription.delete()

    assert [3] == numbers
    assert ("books", "failed", "ValueError: never three", 2) == tuple(
        headers[f"antiphon-{name}"] for name in ("subscription", "reason", "error", "attempts")
    )


def test_what_nobody_can_read_becomes_few_dead_letters(amqp_url: str, system: str) -> None:
    """Broadcast listeners keep ten of them, not a thousand."""
    with open_bus(amqp_url, system=system) as bus, open_bus(amqp_url, system=system) as other:
        bus.connect(Numbered, Heard())
        key = bus._codec.encode(
            Numbered(number=1), origin=None, event_id=next_event_id(), time_ns=1
        ).routing_key
        other._transport.forward([Message(key, b"nonsense")] * 30, lambda _: None)
        wait_until(lambda: bus.stats().corrupt == 30, "all came")
        letters = dead_letters(amqp_url, system, MAX_CORRUPT)

    assert {("broadcast", "undecodable")} == {
        (one.headers["antiphon-subscription"], one.headers["antiphon-reason"]) for one in letters
    }


def dead_letters(url: str, system: str, count: int) -> list[Any]:
    """Take so many dead letters, and no more, out of their queue."""
    letters: list[Any] = []
    with browsers.load(url)(url, name="test") as browser:

        def take() -> bool:
            found = browser.get(dead_queue(system))
            if found is not None:
                letters.append(found.message)
                browser.acknowledge(found)
            return len(letters) >= count and found is None

        wait_until(take, f"{count} dead letters")
    assert count == len(letters)
    return letters


def test_what_a_policy_takes_is_a_dead_letter(broker: RabbitMQ, broker_url: str) -> None:
    """An operator's bound on a subscription that has none loses nothing either."""
    virtual_host = broker_url.rpartition("/")[2]
    broker.rabbitmqctl(
        "set_policy", "-p", virtual_host, "--apply-to", "queues", "bound", r"\.sub\.",
        '{"max-length": 3}',
    )  # fmt: skip
    with open_bus(broker_url, system="bounded") as sender:
        sender.subscribe("books", Numbered, Heard()).close()
        for number in range(10):
            emit(sender, number)
        with browsers.load(broker_url)(broker_url, name="test") as browser:

            def dead() -> int:
                depth = browser.depth(dead_queue("bounded"))
                return depth.ready if depth is not None else 0

            wait_until(lambda: dead() == 7, "seven dead letters")
