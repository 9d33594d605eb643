"""Durable subscriptions, in the simple cases, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from subscription_helpers import Heard, wait_until

from antiphon import BaseEvent, Prefix, SubscriptionOptions
from antiphon.errors import (
    BusClosed,
    InvalidBusOption,
    SubscriptionClosed,
    SubscriptionConflict,
)
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription import Subscription

Opener = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""

    wire_name = "test:SubscribedSaved"


class SavedTwice(Saved):
    """A document was saved again."""

    wire_name = "test:SubscribedSavedTwice"


class Other(BaseEvent):
    """Something else."""

    wire_name = "test:SubscribedOther"


def numbers(heard: Heard, count: int) -> list[int]:
    return [event.number for event in heard.wait(count)]


def emit(bus: BrokerEventManager, *wanted: int, **attributes: Any) -> None:
    for number in wanted:
        bus.emit(Saved(number=number, **attributes))
    bus.flush(5)


def test_events_come_from_every_process(bus_of: Opener, heard: Heard) -> None:
    """Also from the subscriber's own, in order."""
    bus, other = bus_of(), bus_of()
    bus.subscribe("books", Saved, heard)
    emit(bus, 1, 2)
    emit(other, 3)

    assert [1, 2, 3] == numbers(heard, 3)


def test_not_ready_before_it_is_declared(
    bus_of: Opener, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds a subscription of another thread, which is about to declare it, has to wait."""
    found: list[bool] = []
    start = Subscription.start

    def start_late(subscription: Subscription, *arguments: Any) -> None:
        found.append(subscription.wait_ready(0.03))
        start(subscription, *arguments)
        found.append(subscription.wait_ready(5))

    monkeypatch.setattr(Subscription, "start", start_late)
    bus_of().subscribe("books", Saved, heard)

    assert [False, True] == found


def test_events_wait_while_nobody_is_there(bus_of: Opener, heard: Heard) -> None:
    """What was emitted between close and the next subscribe comes then."""
    bus = bus_of()
    bus.subscribe("books", Saved, heard).close()
    emit(bus, 1, 2)
    second = Heard()
    bus_of().subscribe("books", Saved, second)

    assert [1, 2] == numbers(second, 2)
    assert [] == heard.events


def test_a_closed_subscription_can_be_opened_again_on_its_bus(bus_of: Opener, heard: Heard) -> None:
    """The name is free when close() has returned."""
    bus = bus_of()
    bus.subscribe("books", Saved, Heard()).close()
    bus.subscribe("books", Saved, heard)
    emit(bus, 7)

    assert [7] == numbers(heard, 1)


def test_a_deleted_subscription_keeps_nothing(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """Both queues are gone."""
    bus = bus_of()
    bus.subscribe("books", Saved, Heard()).delete()

    assert ["antiphon.dead"] == [one for one in memory_broker.queue_names() if ".gen-" not in one]


def test_what_was_closed_is_not_deleted(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """The queue would stay, and nobody would know; deleting twice is fine."""
    bus = bus_of()
    closed = bus.subscribe("books", Saved, Heard())
    closed.close()
    with pytest.raises(SubscriptionClosed, match="'books' was closed, so its queue stays"):
        closed.delete()
    again = bus.subscribe("books", Saved, Heard())
    again.delete()
    again.delete()
    again.close()

    assert ["antiphon.dead"] == [one for one in memory_broker.queue_names() if ".gen-" not in one]


def test_a_group_shares_the_work(bus_of: Opener) -> None:
    """Each event comes to one of its members."""
    both = Heard()
    hearers: set[int] = set()

    def member(number: int) -> Callable[[Any], None]:
        return lambda event: (hearers.add(number), both(event))[1]

    for number in (1, 2):
        bus_of().subscribe("workers", Saved, member(number), mode="group")
    sender = bus_of()
    for number in range(10):
        emit(sender, number)  # a message each: the broker shares messages out

    assert list(range(10)) == sorted(numbers(both, 10))
    assert {1, 2} == hearers


def test_a_message_with_much_work_is_shared_with_the_group(
    bus_of: Opener, memory_broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one member has not begun with in time goes back, each event for itself."""
    monkeypatch.setattr("antiphon.messaging.subscription.SHARE_AFTER_S", 0.1)
    slow, quick, held = Heard(), Heard(), threading.Event()

    def hold(event: Any) -> None:
        slow(event)
        held.wait(10)

    sender = bus_of()
    bus_of().subscribe("workers", Saved, hold, mode="group")
    with memory_broker.lock:  # so that they become one message
        for number in range(10):
            sender.emit(Saved(number=number))
    slow.wait(1)
    bus_of().subscribe("workers", Saved, quick, mode="group")
    quick.wait(3)
    held.set()

    def all_numbers() -> list[int]:
        return sorted(event.number for event in (*slow.events, *quick.events))

    wait_until(lambda: list(range(10)) == all_numbers())


def test_of_single_subscribers_one_gets_all_and_another_takes_over(bus_of: Opener) -> None:
    """The second hears nothing until the first has gone."""
    first, second = Heard(), Heard()
    one = bus_of().subscribe("ledger", Saved, first, mode="single")
    bus_of().subscribe("ledger", Saved, second, mode="single")
    sender = bus_of()
    emit(sender, 1, 2)
    first.wait(2)
    one.close()
    emit(sender, 3)

    assert [3] == numbers(second, 1)
    assert 2 == len(first.events)


def test_only_what_was_asked_for_comes(bus_of: Opener, heard: Heard) -> None:
    """Class (or subclass), filter and origin are matched as for connect."""
    bus = bus_of(origin="elsewhere")
    bus.subscribe("books", Saved, heard, filter={"kind": "book"}, origin=Prefix("shop"))
    emit(bus, 1, kind="book")
    emit(bus, 2, kind="book", origin="shop.north")
    emit(bus, 3, kind="pen", origin="shop")
    bus.emit(SavedTwice(number=4, kind="book", origin="shop"))
    bus.emit(Other(number=5, kind="book", origin="shop"))
    emit(bus, 6, kind="book", origin="shop")

    assert [2, 4, 6] == numbers(heard, 3)


def test_several_classes_share_a_subscription(bus_of: Opener, heard: Heard) -> None:
    """Their events come in the order of emitting."""
    bus = bus_of()
    bus.subscribe("books", [Saved, Other], heard)
    bus.emit(Other(number=1))
    emit(bus, 2)

    assert [1, 2] == numbers(heard, 2)


def test_handled_and_priority_mean_nothing_to_a_subscription(bus_of: Opener, heard: Heard) -> None:
    """A listener that marks the event as handled keeps it from no subscription."""
    bus = bus_of()
    bus.connect(Saved, lambda event: event.mark_as_handled(), priority=10)
    bus.subscribe("books", Saved, heard)
    emit(bus, 1)

    assert [1] == numbers(heard, 1)


def test_what_came_is_not_sent_back(bus_of: Opener, heard: Heard) -> None:
    """A listener that emits the event on the bus it came over reaches this process only."""
    bus, far = bus_of(), Heard()
    bus_of().connect(Saved, far)
    bus.subscribe("books", Saved, lambda event: (bus.emit(event), heard(event)))
    emit(bus, 1)
    heard.wait(1)
    emit(bus, 2)
    heard.wait(2)

    assert [1, 2] == numbers(far, 2)


def test_disabled_classes_are_passed_over(bus_of: Opener, heard: Heard) -> None:
    """As for every listener of the process."""
    bus = bus_of()
    subscription = bus.subscribe("books", Saved, heard)
    bus.disable(SavedTwice)
    sender = bus_of()
    sender.emit(SavedTwice(number=1))
    emit(sender, 2)

    assert [2] == numbers(heard, 1)
    assert 1 == subscription.stats().unwanted


def test_several_workers_work_at_once(bus_of: Opener) -> None:
    """As many listeners are at work as there are workers."""
    bus, meeting = bus_of(), threading.Barrier(3)
    heard = Heard()

    def meet(event: Any) -> None:
        meeting.wait(10)
        heard(event)

    subscription = bus.subscribe("books", Saved, meet, options=SubscriptionOptions(workers=3))
    emit(bus, *range(6))

    assert list(range(6)) == sorted(numbers(heard, 6))
    assert not subscription.is_closed


def test_statistics(bus_of: Opener, heard: Heard) -> None:
    """Events are counted by what became of them."""
    bus = bus_of()
    subscription = bus.subscribe("books", Saved, heard)
    emit(bus, 1, 2)
    heard.wait(2)
    subscription.close()
    stats = subscription.stats()

    assert (2, 2, 0, 0) == (stats.received, stats.handled, stats.failures, stats.in_hand)


def test_the_first_subscription_is_told_that_its_queue_is_new(bus_of: Opener) -> None:
    """It cannot be told from one that has expired; the second one is told nothing."""
    bus, missing = bus_of(), Heard()
    bus.connect(EventsMayBeMissing, missing)
    bus.subscribe("books", Saved, Heard()).close()
    missing.wait(1)
    bus.subscribe("books", Saved, Heard())
    bus.subscribe("pens", Saved, Heard())

    assert [("books", None), ("pens", None)] == [
        (event.subscription, event.since) for event in missing.wait(2)
    ]


def test_a_deleted_queue_is_made_again_and_told_of(
    bus_of: Opener, heard: Heard, memory_broker: MemoryBroker
) -> None:
    """Whatever had waited in it may be missing; later events come."""
    bus, missing = bus_of(), Heard()
    bus.connect(EventsMayBeMissing, missing)
    subscription = bus.subscribe("books", Saved, heard)
    missing.wait(1)
    memory_broker.delete_queue(subscription.queue)
    told = missing.wait(2)[1]
    subscription.wait_ready(5)
    emit(bus, 1)

    assert [1] == numbers(heard, 1)
    assert ("books", None) == (told.subscription, told.since)


def test_a_lost_connection_is_told_to_listeners_without_a_name(
    bus_of: Opener, memory_broker: MemoryBroker
) -> None:
    """With the time since when, and only where somebody listens."""
    deaf, bus, missing, none = bus_of(), bus_of(), Heard(), Heard()
    deaf.connect(EventsMayBeMissing, none, scope="local")
    bus.connect(EventsMayBeMissing, missing, scope="local")
    bus.connect(Saved, Heard())
    memory_broker.disconnect_all()
    (told,) = missing.wait(1)
    deaf.wait_connected(5)

    assert ("broadcast", []) == (told.subscription, none.events)
    assert told.since is not None


@pytest.mark.parametrize("name", ["", "a b", "-a", "a/b", "a" * 101, "ä", 7, None])
def test_names_are_checked(bus_of: Opener, name: Any) -> None:
    """They become names of queues."""
    with pytest.raises(InvalidBusOption, match="the name of a subscription is"):
        bus_of().subscribe(name, Saved, print)


def test_an_unknown_mode_is_refused_with_a_hint(bus_of: Opener) -> None:
    """The message tells what there is."""
    with pytest.raises(InvalidBusOption, match="did you mean 'group'"):
        bus_of().subscribe("books", Saved, print, mode="groups")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cls", "shown"),
    [(int, "int"), ("Saved", "'Saved'"), ([], "none"), ([Saved, int], "int"), (None, "None")],
)
def test_what_is_no_event_class_is_refused(bus_of: Opener, cls: Any, shown: str) -> None:
    """The message tells what is wanted, and what was given."""
    with pytest.raises(InvalidBusOption, match=f"subscribe takes .*not .*{shown}"):
        bus_of().subscribe("books", cls, print)


def test_a_listener_must_be_callable(bus_of: Opener) -> None:
    """The message shows what was given."""
    with pytest.raises(InvalidBusOption, match="must be callable"):
        bus_of().subscribe("books", Saved, 7)  # type: ignore[arg-type]


def test_functions_are_no_filter_values(bus_of: Opener) -> None:
    """Nothing that travels equals one."""
    with pytest.raises(InvalidBusOption, match="the filter value of 'number' is the function"):
        bus_of().subscribe("books", Saved, print, filter={"number": lambda number: number > 3})


def test_a_filter_is_a_mapping(bus_of: Opener) -> None:
    """Of a list of names nobody knows the values."""
    with pytest.raises(TypeError, match=r"values; \['number'\] does not"):
        bus_of().subscribe("books", Saved, print, filter=["number"])  # type: ignore[arg-type]


def test_options_must_be_options(bus_of: Opener) -> None:
    """A mapping will not do."""
    with pytest.raises(InvalidBusOption, match="options are SubscriptionOptions"):
        bus_of().subscribe("books", Saved, print, options={"prefetch": 1})  # type: ignore[arg-type]


def test_a_name_is_used_once_on_a_bus(bus_of: Opener) -> None:
    """The first subscription goes on."""
    bus = bus_of()
    first = bus.subscribe("books", Saved, print)
    with pytest.raises(InvalidBusOption, match="already"):
        bus.subscribe("books", Saved, print)

    assert not first.is_closed


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("single", SubscriptionOptions()),
        ("group", SubscriptionOptions(expires_s=60)),
        ("group", SubscriptionOptions(max_messages=5)),
    ],
)
def test_other_options_than_the_queue_has_are_refused(
    bus_of: Opener, mode: Any, options: SubscriptionOptions
) -> None:
    """The name is free again afterwards."""
    bus_of().subscribe("books", Saved, print, mode="group")
    bus = bus_of()
    with pytest.raises(SubscriptionConflict, match="has subscription 'books' with another"):
        bus.subscribe("books", Saved, print, mode=mode, options=options)
    again = bus.subscribe("books", Saved, print, mode="group")

    assert again.wait_ready(5)


def test_a_closed_bus_closes_its_subscriptions(bus_of: Opener) -> None:
    """And takes no more."""
    bus = bus_of()
    subscription = bus.subscribe("books", Saved, print)
    bus.close()
    with pytest.raises(BusClosed):
        bus.subscribe("pens", Saved, print)

    assert subscription.is_closed


def test_subscribing_without_a_connection(
    bus_of: Opener, heard: Heard, memory_broker: MemoryBroker
) -> None:
    """It is declared when the broker is there."""
    bus = bus_of()
    memory_broker.stop()
    subscription = bus.subscribe("books", Saved, heard)
    was_ready = subscription.wait_ready(0.1)
    memory_broker.start()

    assert (False, True) == (was_ready, subscription.wait_ready(10))
    emit(bus, 1)
    assert [1] == numbers(heard, 1)


def test_a_listener_at_work_may_emit_while_its_bus_is_closed(bus_of: Opener) -> None:
    """What it emits belongs to its event, which is then handled."""
    bus, other, at_work, far = bus_of(), bus_of(), threading.Event(), Heard()
    other.connect(Other, far)
    closing = threading.Event()

    def answer(event: Any) -> None:
        at_work.set()
        closing.wait(10)
        bus.emit(Other(number=event.number))

    subscription = bus.subscribe("books", Saved, answer)
    emit(other, 1)
    at_work.wait(10)
    closer = threading.Thread(target=bus.close)
    closer.start()
    wait_until(lambda: subscription.is_closed)
    closing.set()
    closer.join(10)

    assert [1] == numbers(far, 1)
    assert (1, 0) == (subscription.stats().handled, subscription.stats().failures)


def test_events_that_never_travel_cannot_be_subscribed_to(bus_of: Opener) -> None:
    """No queue would get them; connect() is what hears them."""
    with pytest.raises(InvalidBusOption, match="stay in the process"):
        bus_of().subscribe("books", EventsMayBeMissing, print)
