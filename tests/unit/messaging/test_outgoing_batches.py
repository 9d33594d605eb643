"""Events that come fast go out together; in order, whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.errors import BusClosed, PublishBufferFull
from antiphon.messaging.batching import Address, BufferPolicy
from antiphon.messaging.inbox import MAX_REMEMBERED
from antiphon.messaging.outgoing import (
    GATHER_AT,
    MAX_TAKEN_BYTES,
    MAX_UNDER_WAY,
    OutgoingBuffer,
)
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec

KEY: Address = ("key", None)
OTHER: Address = ("other", {"classes": ["a"]})

PATIENCE_S = 10.0


def envelope(number: int) -> bytes:
    """Return msgpack, as the codec makes it, so that a body can be taken apart."""
    return number.to_bytes(1, "big") if number < 128 else b"\xcd" + number.to_bytes(2, "big")


def numbers(messages: list[Message]) -> list[int]:
    found = []
    for message in messages:
        for one in Codec.split(message.body):
            found.append(one[0] if len(one) == 1 else int.from_bytes(one[1:], "big"))
    return found


def buffer(max_events: int = 1000, **policy: object) -> OutgoingBuffer:
    return OutgoingBuffer(
        max_events,
        10**6,
        BufferPolicy(publisher="me", **{"batch_events": 10, **policy}),  # type: ignore[arg-type]
    )


def add(to: OutgoingBuffer, *found: int, address: Address = KEY) -> None:
    for number in found:
        to.add(address, envelope(number))


def waiting(
    action: Callable[[], None], outgoing: OutgoingBuffer, count: int = 1
) -> threading.Thread:
    """Run *action* on a thread; return when it waits for room."""
    thread = threading.Thread(target=action)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while len(outgoing._waiters) < count:
        assert time.monotonic() < deadline
    return thread


# -- Joining -------------------------------------------------------------------


def test_a_run_becomes_one_message() -> None:
    """Events with one address that wait together travel together."""
    outgoing = buffer()
    add(outgoing, 1, 2, 3)

    messages = outgoing.take(10)

    assert [3] == [message.count for message in messages]
    assert [1, 2, 3] == numbers(list(messages))
    assert ("key", None, "me") == (
        messages[0].routing_key,
        messages[0].headers,
        messages[0].publisher,
    )


def test_runs_are_not_reordered() -> None:
    """Another address ends a run: order holds over all of them."""
    outgoing = buffer()
    add(outgoing, 1, 2)
    add(outgoing, 3, address=OTHER)
    add(outgoing, 4)
    add(outgoing, 5, address=("key", None, "x.events.topic"))

    messages = list(outgoing.take(10))

    assert [1, 2, 3, 4, 5] == numbers(messages)
    assert [2, 1, 1, 1] == [message.count for message in messages]
    assert ["key", "other", "key", "key"] == [message.routing_key for message in messages]
    assert [None, None, None, "x.events.topic"] == [message.exchange for message in messages]


def test_limit_of_events() -> None:
    """A message holds so many events at most."""
    outgoing = buffer(batch_events=4)
    add(outgoing, *range(10))

    assert [4, 4, 2] == [message.count for message in outgoing.take(10)]


def test_limit_of_bytes() -> None:
    """A message of several events has so many bytes at most; one event may have more."""
    outgoing = buffer(batch_bytes=250)
    for size in (100, 100, 100, 900, 100):
        outgoing.add(KEY, b"x" * size)

    assert [2, 1, 1, 1] == [message.count for message in outgoing.take(10)]


def test_one_a_message() -> None:
    """A limit of one joins nothing."""
    outgoing = buffer(batch_events=1)
    add(outgoing, *range(20))

    assert [1] * 20 == [message.count for message in outgoing.take(100)]


def test_nothing_is_held_back_at_first() -> None:
    """While little is under way each event goes out at once."""
    outgoing = buffer()
    for number in range(GATHER_AT):
        add(outgoing, number)

        assert [number] == numbers(list(outgoing.take(10)))


def test_gathers_while_much_is_under_way() -> None:
    """With many messages unconfirmed events wait for a confirm, and go out together."""
    outgoing = buffer()
    for number in range(GATHER_AT):
        add(outgoing, number)
        outgoing.take(10)
    add(outgoing, 100, 101, 102)
    assert [] == list(outgoing.take(10))

    outgoing.settle(1)

    assert [100, 101, 102] == numbers(list(outgoing.take(10)))


def test_full_messages_do_not_wait() -> None:
    """What fills a message has nothing to gain by waiting."""
    outgoing = buffer()
    for number in range(GATHER_AT):
        add(outgoing, number)
        outgoing.take(10)
    add(outgoing, *range(100, 125))

    assert [10, 10] == [message.count for message in outgoing.take(10)]


def test_no_more_under_way_than_receivers_remember() -> None:
    """What may come again after a lost connection is less than the ids that a receiver knows."""
    outgoing = OutgoingBuffer(10**5, 10**9, BufferPolicy(batch_events=3000))
    add(outgoing, *([1] * 20_000))
    taken = [*outgoing.take(100), *outgoing.take(100)]
    assert [] == list(outgoing.take(100))

    outgoing.settle(1)

    assert MAX_UNDER_WAY == sum(message.count for message in taken)
    assert taken[0].count == sum(message.count for message in outgoing.take(100))
    assert MAX_UNDER_WAY < MAX_REMEMBERED


def test_large_events_a_few_at_a_time() -> None:
    """A buffer full of large events is not copied all at once."""
    outgoing = OutgoingBuffer(1000, 10**9, BufferPolicy(batch_events=10))
    large = bytes(MAX_TAKEN_BYTES // 2)
    for _ in range(5):
        outgoing.add(KEY, large)

    assert [2, 2, 1] == [len(outgoing.take(100)) for _ in range(3)]


def test_same_bytes_again() -> None:
    """After a lost connection the same messages go out: same bytes, same ids, same order."""
    outgoing = buffer()
    add(outgoing, 1, 2, 3)
    add(outgoing, 4, address=OTHER)
    first = list(outgoing.take(10))
    add(outgoing, 5)

    outgoing.rewind()

    again = list(outgoing.take(10))
    assert first == again[:2]
    assert [5] == numbers(again[2:])


def test_counts_events_of_returned_messages() -> None:
    """A message that nobody got counts as the events in it."""
    outgoing = buffer()
    add(outgoing, *range(7))
    (message,) = outgoing.take(10)

    outgoing.returned(Message(message.routing_key, message.body))

    assert 7 == outgoing.unroutable


def test_wakes_once() -> None:
    """Whoever takes is woken by the first event, and not again before it has looked."""
    rings: list[int] = []
    outgoing = OutgoingBuffer(
        100, 10**6, BufferPolicy(batch_events=10), wake=lambda: rings.append(1)
    )
    add(outgoing, 1, 2, 3)
    assert 1 == len(rings)

    outgoing.take(10)
    add(outgoing, 4, 5)

    assert 2 == len(rings)


# -- When full -----------------------------------------------------------------


def test_raise_when_full() -> None:
    """What finds no room is refused, and counted."""
    outgoing = buffer(2, when_full="raise")
    add(outgoing, 1, 2)

    with pytest.raises(PublishBufferFull):
        add(outgoing, 3)

    assert (2, 1) == (outgoing.appended, outgoing.rejected)


def test_block_until_there_is_room() -> None:
    """A thread that finds no room waits, and its event comes after all that were there."""
    outgoing = buffer(2, when_full="block", block_timeout_s=PATIENCE_S)
    add(outgoing, 1, 2)
    thread = waiting(lambda: add(outgoing, 3), outgoing)
    outgoing.take(10)

    outgoing.settle(1)
    thread.join(PATIENCE_S)

    assert [3] == numbers(list(outgoing.take(10)))
    assert 0 == outgoing.rejected
    assert outgoing.blocked_s > 0


def test_block_no_longer_than_told() -> None:
    """After its time the event is refused, and the next may try."""
    outgoing = buffer(1, when_full="block", block_timeout_s=0.05)
    add(outgoing, 1)

    with pytest.raises(PublishBufferFull, match=r"also after 0\.\d s"):
        add(outgoing, 2)

    outgoing.take(1)
    outgoing.settle(1)
    add(outgoing, 3)
    assert (2, 1) == (outgoing.appended, outgoing.rejected)


def test_blocked_threads_in_their_order() -> None:
    """Who waits longest comes in first; who comes later does not overtake."""
    outgoing = buffer(1, when_full="block", block_timeout_s=PATIENCE_S, batch_events=1)
    add(outgoing, 0)
    threads = [
        waiting(lambda number=number: add(outgoing, number), outgoing, number)  # type: ignore[misc]
        for number in range(1, 9)
    ]
    came = []
    for _ in range(9):
        came += numbers(list(outgoing.take(1)))
        outgoing.settle(1)
    for thread in threads:
        thread.join(PATIENCE_S)

    assert list(range(9)) == came


def test_the_end_lets_the_blocked_go() -> None:
    """When the bus is closed, whoever waits for room hears of it at once."""
    outgoing = buffer(1, when_full="block", block_timeout_s=60)
    add(outgoing, 1)
    heard: list[Exception] = []

    def emit() -> None:
        try:
            add(outgoing, 2)
        except BusClosed as exc:
            heard.append(exc)

    thread = waiting(emit, outgoing)
    outgoing.end(lambda: BusClosed("it was closed"))
    thread.join(PATIENCE_S)

    assert ["it was closed"] == [str(exc) for exc in heard]
    with pytest.raises(BusClosed):
        add(outgoing, 3)


def test_the_settling_thread_does_not_wait_for_itself() -> None:
    """An event of a finalizer, on the thread that makes room, is refused at once."""
    outgoing = buffer(1, when_full="block", block_timeout_s=60)
    add(outgoing, 1)
    outgoing.rewind()  # by this thread, which so is the transport's

    with pytest.raises(PublishBufferFull):
        add(outgoing, 2)


def test_drop_the_oldest() -> None:
    """Room is made by what waits longest; what is under way stays."""
    outgoing = buffer(4, when_full="drop_oldest", batch_events=1)
    add(outgoing, 1, 2)
    outgoing.take(2)

    add(outgoing, 3, 4, 5, 6)

    assert [5, 6] == numbers(list(outgoing.take(10)))
    assert (2, 4) == (outgoing.dropped, len(outgoing))


def test_drop_what_nobody_has_room_for() -> None:
    """With everything under way the event itself is dropped, and counted."""
    outgoing = buffer(1, when_full="drop_oldest")
    add(outgoing, 1)
    outgoing.take(1)

    add(outgoing, 2)

    assert (1, 1) == (outgoing.dropped, len(outgoing))


def test_waiting_for_dropped_events_ends() -> None:
    """Nobody waits for events that were dropped."""
    outgoing = buffer(2, when_full="drop_oldest")
    add(outgoing, 1, 2, 3, 4)
    upto = outgoing.appended
    outgoing.take(10)
    outgoing.settle(1)

    assert 0 == outgoing.wait_settled(upto, PATIENCE_S)
    assert (2, 2) == (outgoing.confirmed, outgoing.dropped)


# -- Whatever happens ------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6), st.booleans()),
        st.tuples(st.just("take"), st.integers(1, 5), st.just(True)),
        st.tuples(st.just("settle"), st.integers(1, 3), st.just(True)),
        st.tuples(st.just("rewind"), st.just(0), st.just(True)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS, st.integers(1, 5), st.sampled_from(["drop_oldest", "raise"]), st.integers(5, 40))
def test_an_order_preserving_resend(
    steps: list[tuple[str, int, bool]], batch_events: int, when_full: str, max_events: int
) -> None:
    """Appends, takes, confirms, losses and drops in any order: nothing is lost, early or twice."""
    outgoing = buffer(max_events, batch_events=batch_events, when_full=when_full)
    given = 0
    accepted: list[int] = []
    under_way: list[Message] = []
    confirmed: list[int] = []
    for step, count, is_usual in steps:
        if step == "add":
            for _ in range(count):
                given += 1
                before = outgoing.appended
                try:
                    add(outgoing, given, address=KEY if is_usual else OTHER)
                except PublishBufferFull:
                    continue
                if outgoing.appended > before:
                    accepted.append(given)
        elif step == "take":
            under_way += outgoing.take(count)
        elif step == "settle" and under_way:
            settled, under_way = under_way[:count], under_way[count:]
            confirmed += numbers(settled)
            outgoing.settle(len(settled))
        elif step == "rewind":
            outgoing.rewind()
            under_way = []
        assert len(outgoing) <= max_events
        assert outgoing.confirmed == len(confirmed)

    upto = outgoing.appended
    outgoing.rewind()
    rest: list[int] = []
    while messages := list(outgoing.take(100)):
        rest += numbers(messages)
        outgoing.settle(len(messages))

    came = confirmed + rest
    assert sorted(set(came)) == came
    assert set(came) <= set(accepted)
    if when_full == "raise":
        assert accepted == came
    assert len(came) + outgoing.dropped + outgoing.rejected == given
    assert 0 == outgoing.wait_settled(upto, 0)
    assert (len(came), 0) == (outgoing.confirmed, len(outgoing))


def test_many_threads_and_a_shaky_broker() -> None:
    """Threads emit while another takes, loses and confirms: each thread's order holds."""
    outgoing = OutgoingBuffer(
        50, 10**6, BufferPolicy(batch_events=7, when_full="block", block_timeout_s=PATIENCE_S)
    )
    total, came = 8 * 200, list[int]()
    threads = [
        threading.Thread(target=add, args=(outgoing, *range(start * 200, start * 200 + 200)))
        for start in range(8)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 30
    while len(came) < total:
        assert time.monotonic() < deadline
        under_way = list(outgoing.take(3))
        if len(came) % 5 == 3:
            outgoing.rewind()
            under_way = list(outgoing.take(2))
        for message in under_way:
            came += numbers([message])
            outgoing.settle(1)
    for thread in threads:
        thread.join(PATIENCE_S)

    for start in range(8):
        own = [number for number in came if start * 200 <= number < start * 200 + 200]
        assert list(range(start * 200, start * 200 + 200)) == own
