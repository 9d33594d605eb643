"""The parts of durable subscriptions: options, memories of ids, pace, timetable, dead letters."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from antiphon import BaseEvent, Prefix, SubscriptionOptions
from antiphon.errors import CorruptMessage, InvalidBusOption
from antiphon.events.event_id import EventId, next_event_id
from antiphon.messaging.dead_letters import MAX_ERROR_LENGTH, Rationing, dead_letter
from antiphon.messaging.matching import checked_origins
from antiphon.messaging.recent_ids import HandledIds, RecentIds
from antiphon.messaging.subscription import retry_queue
from antiphon.messaging.subscription_options import BROADCAST_EXPIRES_S
from antiphon.messaging.subscription_pace import Pace
from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefetch", 0),
        ("prefetch", 70_000),
        ("prefetch", 1.5),
        ("prefetch", True),
        ("workers", 0),
        ("workers", "2"),
        ("delivery_limit", 0),
        ("retry_delay_s", -1),
        ("retry_delay_s", float("nan")),
        ("retry_max_delay_s", None),
        ("expires_s", 0),
        ("expires_s", 10**9),
        ("max_messages", 0),
        ("broker_patience_s", 0),
        ("ordered", 1),
    ],
)
def test_options_that_make_no_sense_are_refused(name: str, value: Any) -> None:
    """The message names the option and the value."""
    with pytest.raises(InvalidBusOption, match=rf"{name}.*{value!r}"):
        SubscriptionOptions(**{name: value})


def test_order_and_several_workers_exclude_each_other() -> None:
    """The message says so."""
    with pytest.raises(InvalidBusOption, match="ordered=True needs workers=1"):
        SubscriptionOptions(ordered=True, workers=2)


def test_retries_must_end_before_the_broker_takes_the_event_back() -> None:
    """The message does the sum."""
    with pytest.raises(InvalidBusOption, match=r"add up to \d+ s"):
        SubscriptionOptions(delivery_limit=100)


def test_delays_double_up_to_the_longest() -> None:
    """Starting with the first."""
    options = SubscriptionOptions(retry_delay_s=1, retry_max_delay_s=5, delivery_limit=9)

    assert [1, 2, 4, 5, 5] == [options.delay_s(attempts) for attempts in range(1, 6)]


def test_only_broadcast_queues_expire_unless_told_otherwise() -> None:
    """A group has others who may come; what is given is taken."""
    default = SubscriptionOptions()

    assert (BROADCAST_EXPIRES_S, None, None) == (
        default.expiry_s("broadcast"),
        default.expiry_s("group"),
        default.expiry_s("single"),
    )
    assert (None, 60) == (
        SubscriptionOptions(expires_s=None).expiry_s("broadcast"),
        SubscriptionOptions(expires_s=60).expiry_s("group"),
    )


def test_recent_ids_are_known() -> None:
    """As many as were asked for, at least; twice as many at most."""
    recent = RecentIds(100)
    ids = [EventId(b"p", number) for number in range(1000)]
    first = [recent.add(one) for one in ids]
    second = [recent.add(one) for one in ids[-100:]]

    assert ([True] * 1000, [False] * 100) == (first, second)
    assert 100 <= sum(one in recent for one in ids) <= 200


def test_an_id_that_several_threads_add_is_new_to_one() -> None:
    """Also while generations turn."""
    recent, start = RecentIds(10), threading.Barrier(4)
    ids = [EventId(b"p", number) for number in range(300)]
    new: list[EventId] = []

    def add() -> None:
        start.wait()
        for one in ids:
            if recent.add(one):
                new.append(one)
            start.wait()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ids == new


def arrived(number: int, publisher: bytes = b"p") -> BaseEvent:
    """An event that came from the broker."""
    event = BaseEvent(number=number)
    event._came = (publisher, number, None, 0, None, False, None)
    return event


def test_events_that_came_before_are_left_out() -> None:
    """Also those of several publishers in one message, and when generations turn meanwhile."""
    recent = RecentIds(100)
    events = [arrived(number, bytes([number % 3])) for number in range(250)]
    first = list(recent.new_of(events))
    second = list(recent.new_of([*events[-100:], arrived(1000)]))

    assert (events, [1000], 100) == (first, [event.number for event in second], recent.repeated)


def test_an_event_counts_as_known_from_its_turn_on() -> None:
    """What somebody tells of meanwhile is not heard a second time, and the other way round."""
    recent = RecentIds(100)
    told = []
    for event in recent.new_of([arrived(1), arrived(2), arrived(3)]):
        told.append((event.number, recent.add(EventId(b"p", event.number))))
        if event.number == 1:
            told.append((2, recent.add(EventId(b"p", 2))))

    assert [(1, False), (2, True), (3, False)] == told


def test_what_is_handled_is_new_once() -> None:
    """Unless it is taken back, from whichever generation."""
    handled = HandledIds(10)
    one = EventId(b"p", 1)
    told = [handled.add(one), handled.add(one)]
    for number in range(2, 12):
        handled.add(EventId(b"p", number))
    told.append(handled.add(one))
    handled.discard(one)
    told.append(handled.add(one))

    assert [True, False, False, True] == told


def test_handled_ids_are_known() -> None:
    """Of several publishers, and not more than twice as many as were asked for."""
    handled = HandledIds(100)
    ids = [EventId(bytes([number % 3]), number) for number in range(1000)]
    for one in ids:
        handled.add(one)

    assert all(one in handled for one in ids[-100:])
    assert 100 <= sum(one in handled for one in ids) <= 200
    assert EventId(b"other", 999) not in handled


def test_many_busy_publishers_are_known() -> None:
    """When all send again what they had under way, as after a restart of the broker."""
    handled, recent = HandledIds(8192), RecentIds(8192)
    ids = [EventId(bytes([one]), number) for number in range(8000) for one in range(10)]
    for one in ids:
        handled.add(one)
        recent.add(one)

    assert all(one in handled and one in recent for one in ids)


def test_ids_are_bounded() -> None:
    """However many publishers there are, or pretend to be."""
    handled = HandledIds(1000)
    for number in range(5000):
        handled.add(EventId(number.to_bytes(8, "big"), 1))

    assert 2000 >= len(handled._new) + len(handled._old)


def test_a_slow_listener_lowers_the_prefetch_at_once() -> None:
    """Of each worker one message stays; quick ones raise it after a while."""
    pace = Pace(prefetch=50, workers=2, hold_s=600)
    changed = pace.note(600, 1)
    lowered = pace.prefetch
    changes = [pace.note(0.001, 1) for _ in range(100)]

    assert (True, 2, 50, 1) == (changed, lowered, pace.prefetch, sum(changes))


def test_messages_with_many_events_count_as_such() -> None:
    """A second an event is nothing for single ones, and too much for hundreds."""
    single, many = Pace(50, 1, 600), Pace(50, 1, 600)
    for _ in range(50):
        single.came(1)
        many.came(200)
    single.note(1, 1)
    many.note(200, 200)

    assert (50, 1) == (single.prefetch, many.prefetch)


def test_a_timetable_calls_in_order_of_time() -> None:
    """On one thread, which an error does not end."""
    timetable, called, done = Timetable("test"), [], threading.Event()
    timetable.after(0.05, lambda: (called.append(3), done.set())[0])
    timetable.after(0.02, lambda: called.append(2))
    timetable.after(0, lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    timetable.after(0.01, lambda: called.append(1))
    came = done.wait(10)

    assert (True, [1, 2, 3]) == (came, called)
    assert timetable.stop(5)


def test_a_stopped_timetable_calls_nothing() -> None:
    """It forgets what was to come, and takes no more; stopping it twice is fine."""
    timetable, called = Timetable("test"), []
    timetable.after(30, lambda: called.append(1))
    ended = timetable.stop(5)
    timetable.after(0, lambda: called.append(2))

    assert (True, True, []) == (ended, timetable.stop(5), called)


def test_rationing() -> None:
    """So many in so many seconds."""
    now = [0.0]
    ration = Rationing(2, 10, lambda: now[0])
    first = [ration.passes() for _ in range(4)]
    now[0] = 10
    second = [ration.passes() for _ in range(3)]

    assert ([True, True, False, False], [True, True, False]) == (first, second)


def test_errors_in_dead_letters_are_cut_and_can_be_written() -> None:
    """Whatever a listener's exception says."""
    letter = dead_letter(
        Message("key", b"body"),
        queue="dead",
        subscription="books",
        reason="failed",
        error="\ud800" + "x" * 5000,
        attempts=3,
    )
    assert letter.headers is not None
    text = letter.headers["antiphon-error"]

    assert MAX_ERROR_LENGTH == len(text)
    assert text.encode()


def test_isolation_queues_of_foreign_queues_have_names_of_their_own() -> None:
    """So that a subscription of that name does not share it."""
    assert "shop.retry.books" == retry_queue("shop", "shop.sub.books")
    assert "shop.retry.!shop.books" == retry_queue("shop", "shop.books")


def test_bodies_are_split_into_their_envelopes() -> None:
    """Byte for byte."""
    codec = Codec()
    envelopes = [
        codec.encode(
            BaseEvent(number=number), origin=None, event_id=next_event_id(), time_ns=1
        ).envelope
        for number in range(70_000)
    ]
    for count in (1, 2, 15, 16, 70_000):
        assert envelopes[:count] == Codec.split(Codec.join(envelopes[:count]))


@pytest.mark.parametrize("body", [b"", b"\x91\x01", b"\x92\x02\x90", b"\x01", b"\x93\x01\x90"])
def test_other_bodies_cannot_be_split(body: bytes) -> None:
    """They are no messages."""
    with pytest.raises(CorruptMessage):
        Codec.split(body)


@pytest.mark.parametrize("origin", ["till.*", "#", ["a", "b.#.c"], Prefix("a.*")])
def test_origins_with_wildcards_are_warned_of(origin: Any) -> None:
    """They are matched as they are written, which hardly anybody means."""
    with pytest.warns(UserWarning, match=r"use Prefix\("):
        checked_origins(origin)
