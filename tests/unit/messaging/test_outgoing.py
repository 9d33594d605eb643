"""The buffer of what the broker has not confirmed."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import PublishBufferFull
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.transport import Message


def message(number: int, size: int = 1) -> Message:
    return Message("key", b"%d" % number + b"x" * size)


def filled(count: int) -> OutgoingBuffer:
    buffer = OutgoingBuffer(1000, 10**6)
    for number in range(count):
        buffer.append(message(number))
    return buffer


def test_gives_out_in_order() -> None:
    """What is appended first is taken first."""
    buffer = filled(5)

    taken = [*buffer.take(2), *buffer.take(10)]

    assert [message(number) for number in range(5)] == taken
    assert not buffer.take(10)


def test_rewind_gives_out_again() -> None:
    """After a lost connection what was taken and not confirmed comes first, in order."""
    buffer = filled(5)
    buffer.take(4)
    buffer.settle(1)

    buffer.rewind()
    buffer.append(message(5))

    assert [message(number) for number in range(1, 6)] == list(buffer.take(10))


def test_counts() -> None:
    """Emitted, confirmed and buffered events are told apart."""
    buffer = filled(5)
    buffer.take(3)
    buffer.settle(2)
    buffer.returned(message(0))

    assert (5, 2, 3, 1) == (buffer.appended, buffer.confirmed, len(buffer), buffer.unroutable)


def test_full_by_count() -> None:
    """At the bound appending raises, and nothing that was there is dropped."""
    buffer = OutgoingBuffer(2, 10**6)
    buffer.append(message(0))
    buffer.append(message(1))

    with pytest.raises(PublishBufferFull, match=r"2 events .* not emitted"):
        buffer.append(message(2))

    assert [message(0), message(1)] == list(buffer.take(10))


def test_full_by_bytes() -> None:
    """Large messages fill the buffer before many do."""
    buffer = OutgoingBuffer(1000, 100)
    buffer.append(message(0, 60))

    with pytest.raises(PublishBufferFull):
        buffer.append(message(1, 60))


def test_room_again() -> None:
    """What is confirmed makes room."""
    buffer = OutgoingBuffer(1, 100)
    buffer.append(message(0, 60))
    buffer.take(1)
    buffer.settle(1)

    buffer.append(message(1, 60))

    assert 1 == len(buffer)


def test_one_message_always_fits() -> None:
    """A message larger than the bound passes an empty buffer, or it could never be sent."""
    buffer = OutgoingBuffer(1000, 10)

    buffer.append(message(0, 60))

    assert 1 == len(buffer)


def test_wait_settled() -> None:
    """Waiting ends when the events are confirmed that there were at its beginning."""
    buffer = filled(3)
    buffer.take(3)
    waited: list[int] = []
    thread = threading.Thread(target=lambda: waited.append(buffer.wait_settled(2, 30)))
    thread.start()

    buffer.settle(2)
    thread.join(10)

    assert [0] == waited


def test_wait_settled_in_vain() -> None:
    """After the time is over it says how many are missing."""
    buffer = filled(3)

    assert 3 == buffer.wait_settled(3, 0.01)


def test_wait_settled_ends_with_its_owner() -> None:
    """Nobody waits for a buffer that will not be emptied any more."""
    buffer = filled(3)

    assert 3 == buffer.wait_settled(3, 60, lambda: False)


@given(st.lists(st.sampled_from(["append", "take", "settle", "rewind"]), max_size=60))
def test_nothing_is_lost_or_reordered(steps: list[str]) -> None:
    """Whatever happens, everything comes out in order, from the oldest unconfirmed on."""
    buffer = OutgoingBuffer(1000, 10**6)
    appended = settled = 0
    under_way: list[Message] = []
    for step in steps:
        if step == "append":
            buffer.append(message(appended))
            appended += 1
        elif step == "take":
            under_way += buffer.take(2)
        elif step == "settle" and under_way:
            under_way.pop(0)
            buffer.settle(1)
            settled += 1
        elif step == "rewind":
            buffer.rewind()
            under_way = []
        assert [message(n) for n in range(settled, settled + len(under_way))] == under_way

    buffer.rewind()
    assert [message(n) for n in range(settled, appended)] == list(buffer.take(1000))
