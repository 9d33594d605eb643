"""Events of the past that are sent to a subscription once more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from subscription_helpers import Heard, wait_until

from antiphon import BaseEvent, SubscriptionOptions
from antiphon.errors import (
    BrokerUnavailable,
    BusClosed,
    CorruptMessage,
    InvalidBusOption,
    QueueMissing,
)
from antiphon.events.delivery import delivery_of
from antiphon.messaging.browser import open_browser
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.dead_letters import dead_queue
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.replay_mark import REPLAY_HEADER, mark_of, new_mark
from antiphon.messaging.transport import Message

Opener = Callable[..., BrokerEventManager]


class Paid(BaseEvent):
    """A bill was paid."""

    wire_name = "test:ReplayedPaid"


class Sent(BaseEvent):
    """A bill was sent."""

    wire_name = "test:ReplayedSent"


@contextmanager
def recorded(bus: BrokerEventManager) -> Iterator[list[Message]]:
    """Collect the messages that come to a subscription meanwhile."""
    messages: list[Message] = []
    decode = bus._decode

    def keep(message: Message) -> list[BaseEvent]:
        messages.append(message)
        return decode(message)

    bus._decode = keep  # type: ignore[method-assign]
    try:
        yield messages
    finally:
        bus._decode = decode  # type: ignore[method-assign]


def past(bus: BrokerEventManager, *events: BaseEvent) -> list[Message]:
    """Return *events* as messages that a subscription got, and is done with."""
    heard = Heard()
    with recorded(bus) as messages, bus.subscribe("recorder", BaseEvent, heard) as subscription:
        for event in events:
            bus.emit(event)
        heard.wait(len(events))
        wait_until(lambda: subscription.stats().in_hand == 0)
    return messages


def numbers(events: list[Any]) -> list[int]:
    return [event.number for event in events]


def test_what_was_handled_is_handled_again(bus_of: Opener, heard: Heard) -> None:
    """A subscriber is called with a replayed event although it knows its id."""
    bus = bus_of()
    bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1), Paid(number=2))
    heard.wait(2)

    bus.replay_to("books").send(messages)

    first, second, *again = heard.wait(4)
    assert [1, 2] == numbers(again)
    assert [first._event_id, second._event_id] == [event._event_id for event in again]


def test_a_replayed_event_says_so(bus_of: Opener, heard: Heard) -> None:
    """And keeps its origin and the time at which it happened."""
    bus = bus_of("vienna")
    bus.subscribe("books", Paid, heard)
    bus.replay_to("books").send(past(bus, Paid(number=1)))

    came, again = map(delivery_of, heard.wait(2))
    assert came is not None
    assert came._replace(replayed=True) == again


@pytest.mark.parametrize("workers", [1, 2])
def test_one_replay_brings_an_event_once(bus_of: Opener, heard: Heard, workers: int) -> None:
    """What a replay sends twice, since a confirmation was lost, is passed over."""
    bus = bus_of()
    options = SubscriptionOptions(workers=workers)
    subscription = bus.subscribe("books", Paid, heard, mode="group", options=options)
    messages = past(bus, Paid(number=1))
    heard.wait(1)

    queue = bus.replay_to("books")
    queue.send(messages)
    queue.send(messages)

    wait_until(lambda: subscription.stats().duplicates == 1)
    assert [1, 1] == numbers(heard.wait(2))


def test_every_replay_counts_anew(bus_of: Opener, heard: Heard) -> None:
    """Two replays of one event call the subscriber twice."""
    bus = bus_of()
    bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1))

    bus.replay_to("books").send(messages)
    bus.replay_to("books").send(messages)

    assert [1, 1, 1] == numbers(heard.wait(3))


def test_a_publisher_that_sends_again_is_still_passed_over(bus_of: Opener, heard: Heard) -> None:
    """A replay makes nobody forget what came without one."""
    bus = bus_of()
    subscription = bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1))
    bus.replay_to("books").send(messages)
    heard.wait(2)

    bus._transport.forward([past_copy(messages[0], subscription.queue)], lambda _: None)

    wait_until(lambda: subscription.stats().duplicates == 1)
    assert [1, 1] == numbers(heard.wait(2))


def past_copy(message: Message, queue: str) -> Message:
    return Message(message.routing_key, message.body, message.headers, queue=queue)


def test_what_a_subscriber_does_not_want_is_passed_over(bus_of: Opener, heard: Heard) -> None:
    """Class, filter and origin hold for replayed events, too."""
    bus = bus_of()
    subscription = bus.subscribe("books", Paid, heard, filter={"number": 2})
    messages = past(bus, Sent(number=2), Paid(number=1), Paid(number=2))
    bus.replay_to("books").send(messages)

    wait_until(lambda: subscription.stats().unwanted == 3)
    assert [2, 2] == numbers(heard.wait(2))


def test_other_subscriptions_hear_nothing(bus_of: Opener, heard: Heard) -> None:
    """A replay goes to one queue only, and to no listener."""
    bus = bus_of()
    others = Heard()
    bus.connect(Paid, others)
    bus.subscribe("others", Paid, others)
    bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1))

    bus.replay_to("books").send(messages)
    heard.wait(2)
    bus.emit(Paid(number=2))
    heard.wait(3)

    assert [1, 1, 2, 2] == sorted(numbers(others.wait(4)))


def test_a_long_replay_comes_in_order(bus_of: Opener, heard: Heard) -> None:
    """However the events are joined into messages."""
    bus = bus_of()
    bus.subscribe("books", BaseEvent, heard)
    kinds = [Paid, Paid, Sent]
    messages = past(bus, *(kinds[number % 3](number=number) for number in range(600)))
    heard.wait(600)

    bus.replay_to("books").send(messages)

    assert list(range(600)) == numbers(heard.wait(1200)[600:])


def test_a_failing_event_of_a_replay_is_tried_again(bus_of: Opener) -> None:
    """It is retried and buried as any other, and its neighbours are handled."""
    bus = bus_of()
    options = SubscriptionOptions(delivery_limit=2, retry_delay_s=0)
    calls: list[int] = []

    def fail(event: Any) -> None:
        calls.append(event.number)
        if len(calls) > 2 and event.number == 1:
            raise ValueError(event.number)

    subscription = bus.subscribe("books", Paid, fail, options=options)
    messages = past(bus, Paid(number=1), Paid(number=2))
    wait_until(lambda: len(calls) == 2)

    bus.replay_to("books").send(messages)

    wait_until(lambda: subscription.stats().dead == 1)
    assert [1, 1, 1, 2, 2] == sorted(calls)


def test_what_is_left_of_a_replay_comes_to_the_next_subscriber(
    bus_of: Opener, heard: Heard
) -> None:
    """Closed in the midst of a message: the rest of it comes singly, and nothing twice."""
    bus = bus_of()
    begun, go_on = threading.Event(), threading.Event()

    def hear(event: Any) -> None:
        heard(event)
        if event._delivery.replayed and event.number == 2:
            begun.set()
            go_on.wait(10)

    subscription = bus.subscribe("books", Paid, hear)
    messages = past(bus, *(Paid(number=number) for number in range(6)))
    heard.wait(6)
    bus.replay_to("books").send(messages)
    begun.wait(10)
    closing = threading.Thread(target=subscription.close)
    closing.start()
    wait_until(lambda: subscription.is_closed)
    go_on.set()
    closing.join(10)

    bus.subscribe("books", Paid, heard)
    bus.emit(Paid(number=6))

    assert [0, 1, 2, 3, 4, 5, 6] == numbers(heard.wait(13)[6:])


def test_what_was_handled_at_the_second_attempt_is_known_too(bus_of: Opener, heard: Heard) -> None:
    """A copy of it in the same replay is passed over."""
    bus = bus_of()

    def hear(event: Any) -> None:
        heard(event)
        if len(heard.events) == 2:
            raise ValueError("once")

    options = SubscriptionOptions(retry_delay_s=0)
    subscription = bus.subscribe("books", Paid, hear, options=options)
    messages = past(bus, Paid(number=1))
    queue = bus.replay_to("books")
    queue.send(messages)
    heard.wait(3)
    queue.send(messages)

    wait_until(lambda: subscription.stats().duplicates == 1)
    assert 3 == len(heard.events)


def test_a_dead_letter_stays_in_its_replay(bus_of: Opener, memory_url: str) -> None:
    """Else nobody would handle it when it is sent back: its id was handled before."""
    bus = bus_of()

    def hear(event: Any) -> None:
        if event._delivery.replayed:
            raise ValueError("not again")

    options = SubscriptionOptions(delivery_limit=1)
    subscription = bus.subscribe("books", Paid, hear, options=options)
    queue = bus.replay_to("books")
    queue.send(past(bus, Paid(number=1), Paid(number=2)))
    wait_until(lambda: subscription.stats().dead == 2)
    with open_browser(memory_url) as browser:
        letter = browser.get(dead_queue(bus.system))

    assert letter is not None
    assert queue.mark == (letter.message.headers or {})[REPLAY_HEADER]


def test_a_queue_that_is_not_there_is_told(bus_of: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """And named."""
    monkeypatch.setattr("antiphon.messaging.replaying._DELAYS_S", (0.01,))
    bus = bus_of()
    messages = past(bus, Paid(number=1))

    with pytest.raises(QueueMissing, match=r"antiphon\.sub\.nobody"):
        bus.replay_to("nobody").send(messages)


def test_a_broker_that_is_away_is_waited_for(
    bus_of: Opener, memory_broker: MemoryBroker, heard: Heard
) -> None:
    """The replay goes on when it is back."""
    bus = bus_of()
    bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1))
    heard.wait(1)
    memory_broker.stop()
    wait_until(lambda: not bus.is_connected)

    sending = threading.Thread(target=bus.replay_to("books").send, args=(messages,))
    sending.start()
    memory_broker.start()
    sending.join(10)

    assert [1, 1] == numbers(heard.wait(2))


def test_patience_with_a_broker_ends(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """After as long as was said."""
    bus = bus_of()
    messages = past(bus, Paid(number=1))
    memory_broker.stop()
    wait_until(lambda: not bus.is_connected)

    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"within 0\.3 s"):
        bus.replay_to("books", timeout_s=0.3).send(messages)

    assert 5 > time.monotonic() - began


def test_what_is_no_message_is_refused_before_anything_is_sent(
    bus_of: Opener, heard: Heard
) -> None:
    """Also if it is the last of several."""
    bus = bus_of()
    subscription = bus.subscribe("books", Paid, heard)
    messages = past(bus, Paid(number=1))
    heard.wait(1)

    with pytest.raises(CorruptMessage):
        bus.replay_to("books").send([*messages, Message("antiphon:BaseEvent", b"\x92\x01\x01")])

    assert 1 == subscription.stats().received


@pytest.mark.parametrize("asked", [{}, {"subscription": "a", "queue": "b"}, {"queue": ""}])
def test_a_replay_needs_one_queue(bus_of: Opener, asked: dict[str, str]) -> None:
    """Neither none nor two."""
    with pytest.raises(InvalidBusOption, match="replay_to takes"):
        bus_of().replay_to(**asked)


def test_a_closed_bus_replays_nothing(bus_of: Opener) -> None:
    """Also if it was closed between two portions."""
    bus = bus_of()
    messages = past(bus, Paid(number=1))
    queue = bus.replay_to("books")
    bus.close()

    with pytest.raises(BusClosed):
        queue.send(messages)


@pytest.mark.parametrize(
    "value", [None, 7, b"0" * 24, "0" * 23, "0" * 25, "G" * 24, "0" * 24 + "\n", ["0" * 24]]
)
def test_what_is_no_mark_is_none(value: object) -> None:
    """Whoever may publish could make a process remember anything, else."""
    assert b"" == mark_of({REPLAY_HEADER: value})


def test_marks_differ() -> None:
    """Each replay has its own."""
    one, other = new_mark(), new_mark()

    assert one != other
    assert bytes.fromhex(one) == mark_of({REPLAY_HEADER: one})
