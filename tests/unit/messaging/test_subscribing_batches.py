"""Subscriptions with a listener of many events, in the simple cases, and what is refused."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from antiphon import BaseEvent, SubscriptionOptions
from antiphon.errors import InvalidBusOption
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription import Subscription
from antiphon.messaging.subscription_batches import Received
from antiphon.wire.codec import Codec
from patience import wait_until

Opener = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""

    wire_name = "test:BatchSaved"


class SavedTwice(Saved):
    """A document was saved again."""

    wire_name = "test:BatchSavedTwice"


class Other(BaseEvent):
    """Something else."""

    wire_name = "test:BatchOther"


class Batches:
    """A listener that keeps what it gets; the test can hold it."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.sizes: list[int] = []
        self.received: list[Received[Any]] = []
        self.held = threading.Event()
        self.held.set()

    def __call__(self, received: Sequence[Received[Any]]) -> None:
        self.sizes.append(len(received))
        assert self.held.wait(20)
        self.received += received
        self.numbers += [one.event.number for one in received]

    def wait(self, *numbers: int) -> None:
        wait_until(lambda: len(self.numbers) >= len(numbers), f"{len(numbers)} events")
        assert list(numbers) == self.numbers


@pytest.fixture
def batches() -> Batches:
    return Batches()


def emit(bus: BrokerEventManager, *numbers: int, cls: type[BaseEvent] = Saved) -> None:
    for number in numbers:
        bus.emit(cls(number=number))
    bus.flush(5)


def test_what_waited_comes_in_order_and_together(bus_of: Opener, batches: Batches) -> None:
    """As with any other subscription under a name, and in few calls."""
    emitting, listening = bus_of("a"), bus_of("b")
    listening.subscribe_batches("n", Saved, batches).close()
    emit(emitting, *range(100))
    listening.subscribe_batches("n", Saved, batches, max_events=50)
    batches.wait(*range(100))

    assert max(batches.sizes) <= 50
    assert len(batches.sizes) <= 10


def test_the_messages_can_be_sent_again(bus_of: Opener, batches: Batches) -> None:
    """Each carries its event alone, with the key that routes it."""
    bus = bus_of("a")
    bus.subscribe_batches("n", Saved, batches)
    emit(bus, 1, 2, 3)
    batches.wait(1, 2, 3)
    messages = [one.message for one in batches.received]

    decoded = [Codec().decode(one.routing_key, one.headers, one.body) for one in messages]
    assert [[1], [2], [3]] == [[event.number for event in one] for one in decoded]  # type: ignore[attr-defined]


def test_classes_can_be_named_that_are_not_here(bus_of: Opener, batches: Batches) -> None:
    """The names on the wire say enough; subclasses are included."""
    bus = bus_of("a")
    bus.subscribe_batches("n", ["test:BatchSaved", "unknown:Thing"], batches, origin="a")
    emit(bus, 1, cls=Other)
    emit(bus, 2, cls=SavedTwice)

    batches.wait(2)


def test_classes_and_names_go_together(bus_of: Opener, batches: Batches) -> None:
    """Of some events there is a class, of others not."""
    bus = bus_of("a")
    bus.subscribe_batches("n", [Other, "test:BatchSavedTwice"], batches)
    emit(bus, 1, cls=Saved)
    emit(bus, 2, cls=SavedTwice)
    emit(bus, 3, cls=Other)

    batches.wait(2, 3)


def test_a_group_shares_batches(bus_of: Opener) -> None:
    """Each event goes to one of its processes."""
    emitting = bus_of("a")
    members = [Batches(), Batches()]
    options = SubscriptionOptions(prefetch=2)
    for number, member in enumerate(members):
        bus_of(f"member-{number}").subscribe_batches(
            "n", Saved, member, mode="group", max_events=5, options=options
        )
    for number in range(40):
        emit(emitting, number)
    wait_until(lambda: sum(len(one.numbers) for one in members) >= 40, "40 events")

    assert list(range(40)) == sorted(members[0].numbers + members[1].numbers)
    assert all(one.numbers for one in members)


def test_a_filter_passes_over_the_rest(bus_of: Opener, batches: Batches) -> None:
    """What does not match is acknowledged, and nobody is called."""
    bus = bus_of("a")
    subscription = bus.subscribe_batches("n", Saved, batches, filter={"number": 2})
    emit(bus, 1, 2, 3)
    batches.wait(2)
    wait_until(lambda: subscription.stats().in_hand == 0, "all settled")

    assert 2 == subscription.stats().unwanted


def test_a_call_that_outlasts_the_brokers_patience_repeats_nothing(
    bus_of: Opener, batches: Batches, memory_broker: MemoryBroker
) -> None:
    """What is in hand goes back, and comes again; what the call has handled is passed over."""
    bus = bus_of("a")
    batches.held.clear()
    options = SubscriptionOptions(broker_patience_s=1.2, retry_max_delay_s=0.01)
    subscription = bus.subscribe_batches("n", Saved, batches, max_events=2, options=options)
    emit(bus, 1, 2, 3)
    wait_until(lambda: bool(batches.sizes), "the call")
    emit(bus, 4)
    queue = memory_broker.find("antiphon.sub.n")
    assert queue is not None
    wait_until(lambda: not queue.consumers and len(queue.waiting) >= 2, "all is back")
    batches.held.set()
    batches.wait(1, 2, 3, 4)
    wait_until(lambda: subscription.stats().in_hand == 0, "all settled")

    assert 0 == queue.depth


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"max_events": 0}, "max_events"),
        ({"max_events": True}, "max_events"),
        ({"max_wait_s": -1}, "max_wait_s"),
        ({"max_wait_s": float("nan")}, "max_wait_s"),
        ({"options": SubscriptionOptions(workers=2)}, "one thread"),
        ({"options": {}}, "SubscriptionOptions"),
        ({"mode": "groop"}, "did you mean 'group'"),
    ],
)
def test_options_that_make_no_sense_for_batches(
    bus_of: Opener, batches: Batches, options: dict[str, Any], shown: str
) -> None:
    """Nothing is subscribed."""
    bus = bus_of("a")
    with pytest.raises(InvalidBusOption, match=shown):
        bus.subscribe_batches("n", Saved, batches, **options)

    assert () == bus.durable_subscriptions


@pytest.mark.parametrize("cls", [(), [""], [int], 7])
def test_what_is_neither_class_nor_name_is_refused(
    bus_of: Opener, batches: Batches, cls: Any
) -> None:
    """A name stands for a class, and something else for nothing."""
    with pytest.raises(InvalidBusOption, match="event class"):
        bus_of("a").subscribe_batches("n", cls, batches)


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_each_event_is_handled_once_and_in_order(
    bus_of: Opener, memory_broker: MemoryBroker, seed: int
) -> None:
    """Listeners fail, connections break, subscriptions are closed and opened, all at random."""
    chosen = random.Random(seed)
    count = 400
    fails = {number: chosen.randrange(1, 3) for number in chosen.sample(range(count), 20)}
    handled: list[int] = []

    def handle(received: Sequence[Received[Any]]) -> None:
        numbers = [one.event.number for one in received]
        failing = [number for number in numbers if fails.get(number)]
        for number in failing:
            fails[number] -= 1
        if failing:
            raise ValueError(failing)
        handled.extend(numbers)

    emitting, listening = bus_of("a"), bus_of("b")
    options = SubscriptionOptions(prefetch=20, retry_delay_s=0.01, delivery_limit=10)

    def subscribe() -> Subscription:
        return listening.subscribe_batches(
            "n", Saved, handle, max_events=chosen.randrange(1, 40), max_wait_s=0, options=options
        )

    troubles = set(fails)
    subscription = subscribe()
    for number in range(count):
        emitting.emit(Saved(number=number))
        if chosen.random() < 0.2:
            emitting.flush(10)
        if chosen.random() < 0.01:
            memory_broker.disconnect_all()
        if chosen.random() < 0.01:
            subscription.close()
            subscription = subscribe()
    wait_until(lambda: len(handled) >= count, f"{count} events", timeout_s=30)
    wait_until(lambda: subscription.stats().in_hand == 0, "all settled")

    assert list(range(count)) == sorted(handled)
    rest = [number for number in handled if number not in troubles]
    assert sorted(rest) == rest
