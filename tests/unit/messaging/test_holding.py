"""Events that are known to come together go out in few messages."""

from __future__ import annotations

import threading
import time

import pytest

from antiphon.messaging import holding
from antiphon.messaging.batching import BufferPolicy
from antiphon.messaging.holding import Gathering
from antiphon.messaging.outgoing import OutgoingBuffer

KEY = ("key", None)


def buffer(max_events: int = 10_000, **policy: object) -> tuple[OutgoingBuffer, list[int]]:
    """Return a buffer that joins 10, of a bulk 100, and what counts its wakes."""
    wakes: list[int] = []
    given = {"batch_events": 10, "bulk_events": 100, "bulk_bytes": 10**6, **policy}
    made = OutgoingBuffer(
        max_events,
        10**6,
        BufferPolicy(publisher="me", **given),  # type: ignore[arg-type]
        wake=lambda: wakes.append(1),
    )
    return made, wakes


def add(to: OutgoingBuffer, count: int) -> None:
    for _ in range(count):
        to.add(KEY, b"\x01")


def counts(outgoing: OutgoingBuffer) -> list[int]:
    return [message.count for message in outgoing.take(1000)]


@pytest.fixture
def long_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test depend on how quick the machine is."""
    monkeypatch.setattr(holding, "MAX_HELD_S", 60.0)


def test_held_events_share_a_message() -> None:
    """What was added during a hold goes out together when that ends."""
    outgoing, _ = buffer()
    outgoing.hold.begin()
    add(outgoing, 60)
    held = counts(outgoing)
    outgoing.hold.end()

    assert ([], [60]) == (held, counts(outgoing))


def test_older_events_are_not_held() -> None:
    """What was there before the hold goes out meanwhile."""
    outgoing, _ = buffer()
    add(outgoing, 3)
    outgoing.hold.begin()
    add(outgoing, 50)

    assert [3] == counts(outgoing)


def test_a_step_lets_out_what_came() -> None:
    """After a step what came before it may go, and the rest is held."""
    outgoing, _ = buffer()
    outgoing.hold.begin()
    add(outgoing, 100)
    outgoing.hold.step()
    add(outgoing, 7)

    assert [100] == counts(outgoing)


def test_events_of_two_threads_are_let_out_at_the_last_end() -> None:
    """While somebody still holds, what came since the last step waits."""
    outgoing, _ = buffer()
    outgoing.hold.begin()
    outgoing.hold.begin()
    add(outgoing, 5)
    outgoing.hold.end()
    first = counts(outgoing)
    outgoing.settle(1)
    add(outgoing, 6)
    second = counts(outgoing)
    outgoing.hold.end()

    assert ([5], [], [6]) == (first, second, counts(outgoing))


def test_a_part_of_a_bulk_waits_for_a_confirm() -> None:
    """What does not fill a message waits while something is under way, and wakes nobody."""
    outgoing, wakes = buffer()
    outgoing.hold.begin()
    add(outgoing, 150)
    outgoing.hold.end()
    outgoing.take(1)
    wakes.clear()
    held = counts(outgoing), list(wakes)
    outgoing.settle(1)

    assert (([], []), [50]) == (held, counts(outgoing))


def test_held_events_wake_nobody() -> None:
    """Events that are held back cost no wake each; the end does."""
    outgoing, wakes = buffer()
    outgoing.hold.begin()
    outgoing.take(10)
    wakes.clear()
    add(outgoing, 50)
    during = len(wakes)
    outgoing.hold.end()

    assert (during <= 1, True) == (True, len(wakes) > during)


def test_after_a_bulk_all_is_as_before() -> None:
    """Events after a bulk are joined by the small measure, and wake again."""
    outgoing, wakes = buffer()
    outgoing.hold.begin()
    add(outgoing, 100)
    outgoing.hold.end()
    outgoing.take(10)
    outgoing.settle(1)
    outgoing.take(10)
    wakes.clear()
    add(outgoing, 25)

    assert (True, [10, 10, 5]) == (len(wakes) > 0, counts(outgoing))


def test_a_full_buffer_is_emptied_during_a_hold() -> None:
    """Whoever finds no room lets out what is held: else there is never room."""
    outgoing, _ = buffer(20, when_full="block", block_timeout_s=30.0)
    outgoing.hold.begin()
    add(outgoing, 20)
    thread = threading.Thread(target=lambda: add(outgoing, 1))
    thread.start()
    deadline = time.monotonic() + 30
    taken: list[int] = []
    while not taken and time.monotonic() < deadline:
        taken = counts(outgoing)
    outgoing.settle(1)
    thread.join(30)

    assert ([20], False) == (taken, thread.is_alive())


def test_whoever_waits_lets_out_what_is_held() -> None:
    """Waiting for the confirms of events that are held back lets them out: ``flush`` in a bulk."""
    outgoing, _ = buffer()
    outgoing.hold.begin()
    add(outgoing, 5)
    left = outgoing.wait_settled(5, 0.0)

    assert (5, [5]) == (left, counts(outgoing))


def test_a_gathering_lets_out_full_messages(long_held: None) -> None:
    """A block steps whenever a message is full."""
    outgoing, _ = buffer()
    with Gathering(outgoing.hold) as block:
        for _ in range(250):
            add(outgoing, 1)
            block.emitted()
        during = counts(outgoing)
    outgoing.settle(len(during))

    assert ([100, 100], [50]) == (during, counts(outgoing))


def test_a_listener_that_waits_gets_its_event_out(
    long_held: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was emitted before a listener that takes long goes out while it is at work."""
    monkeypatch.setattr(holding, "MAX_LISTENING_S", 0.001)
    outgoing, _ = buffer()
    with Gathering(outgoing.hold):
        add(outgoing, 1)
        deadline = time.monotonic() + 30
        taken: list[int] = []
        while not taken and time.monotonic() < deadline:
            taken = counts(outgoing)

    assert [1] == taken


def test_a_gathering_holds_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """When listeners between two events take long, what is held goes out before it is much."""
    monkeypatch.setattr(holding, "MAX_HELD_S", 0.0)
    outgoing, _ = buffer()
    with Gathering(outgoing.hold) as block:
        add(outgoing, 1)
        block.emitted()

        assert [1] == counts(outgoing)
