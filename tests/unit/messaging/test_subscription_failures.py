"""What a durable subscription does with events that fail, on a transport of the test's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from subscription_stage import DEAD, MAIN, RETRY, Stage

from antiphon.messaging.transport import Message


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


def test_a_failing_event_is_tried_again_while_others_pass(stage: Stage) -> None:
    """Its message is settled when the last of its events is done with."""
    stage.failing[2] = 1
    stage.open(retry_delay_s=0.2)
    first = stage.deliver(stage.message(1, 2, 3))
    second = stage.deliver(stage.message(4))
    stage.wait_settled(second)
    settled_before = first in stage.transport.settled
    stage.wait_settled(first)

    assert [1, 2, 3, 4, 2] == stage.called
    assert not settled_before


def test_an_ordered_subscription_waits_for_a_failing_event(stage: Stage) -> None:
    """Nothing behind it is handled before."""
    stage.failing[2] = 2
    stage.open(ordered=True)
    stage.wait_settled(stage.deliver(stage.message(1, 2, 3)), stage.deliver(stage.message(4)))

    assert [1, 2, 2, 2, 3, 4] == stage.called


@pytest.mark.parametrize("ordered", [False, True])
def test_an_event_that_always_fails_goes_to_the_dead_letters(stage: Stage, ordered: bool) -> None:
    """Alone, with its key and the reason; and its message is settled."""
    stage.failing[2] = 99
    subscription = stage.open(ordered=ordered)
    message = stage.message(1, 2, 3)
    stage.wait_settled(stage.deliver(message))
    (letter,) = stage.transport.forwarded

    assert [2] == stage.forwarded(DEAD)
    assert 3 == stage.called.count(2)
    assert message.routing_key == letter.routing_key
    assert letter.persistent
    assert letter.headers is not None
    assert {
        "antiphon-subscription": "books",
        "antiphon-queue": MAIN,
        "antiphon-reason": "failed",
        "antiphon-error": "ValueError: no 2",
        "antiphon-attempts": 3,
    } == {name: value for name, value in letter.headers.items() if name != "antiphon-dead-at"}
    assert abs(time.time() * 1000 - letter.headers["antiphon-dead-at"]) < 60_000
    assert (2, 3, 1) == (
        subscription.stats().handled,
        subscription.stats().failures,
        subscription.stats().dead,
    )


@pytest.mark.parametrize("ordered", [False, True])
def test_a_dead_letter_is_sent_until_it_is_confirmed(stage: Stage, ordered: bool) -> None:
    """Its message is not settled before."""
    stage.failing[1] = 99
    stage.transport.answers = [False, False]
    stage.open(ordered=ordered, delivery_limit=1)
    arrival = stage.deliver(stage.message(1))
    stage.wait(lambda: len(stage.transport.answers) < 2)
    settled_before = list(stage.transport.settled)
    stage.wait_settled(arrival)

    assert ([], [1]) == (settled_before, stage.forwarded(DEAD))


def test_what_cannot_be_read_goes_to_the_dead_letters(stage: Stage) -> None:
    """As it is, and at once."""
    stage.open()
    message = Message("some.key", b"nonsense", {"mine": 1}, "publisher")
    stage.wait_settled(stage.deliver(message))
    (letter,) = stage.transport.forwarded

    assert (b"nonsense", "some.key", DEAD) == (letter.body, letter.routing_key, letter.queue)
    assert letter.headers is not None
    assert ("undecodable", 1) == (letter.headers["antiphon-reason"], letter.headers["mine"])


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_listener_cannot_end_the_subscription(stage: Stage, error: type[BaseException]) -> None:
    """Whatever it raises counts as a failure."""
    stage.failing[1] = 1
    stage.error = error
    stage.open(delivery_limit=1)
    stage.wait_settled(stage.deliver(stage.message(1)), stage.deliver(stage.message(2)))

    assert ([1, 2], [1]) == (stage.called, stage.forwarded(DEAD))


def test_an_event_that_comes_twice_is_handled_once(stage: Stage) -> None:
    """A publisher that does not know whether the broker has it sends it again."""
    subscription = stage.open()
    message = stage.message(1, 2)
    stage.wait_settled(stage.deliver(message), stage.deliver(message))

    assert [1, 2] == stage.called
    assert 2 == subscription.stats().duplicates


@pytest.mark.parametrize("workers", [1, 3])
def test_a_second_copy_waits_for_the_first(stage: Stage, workers: int) -> None:
    """While an event is in hand, its other messages are not settled."""
    stage.failing[1] = 1
    stage.open(retry_delay_s=0.2, workers=workers)
    message = stage.message(1)
    first, second = stage.deliver(message), stage.deliver(message)
    stage.wait(lambda: stage.subscription.stats().duplicates == 1)
    settled_before = list(stage.transport.settled)
    stage.wait_settled(first, second)

    assert ([], [1, 1]) == (settled_before, stage.called)


def test_a_dead_letter_that_somebody_replays_is_handled(stage: Stage) -> None:
    """It has the id that it had; what merely comes again is not handled."""
    stage.failing[1] = 3
    stage.open()
    message = stage.message(1)
    stage.wait_settled(stage.deliver(message))
    stage.wait_settled(stage.deliver(message, count=1))
    calls = len(stage.called)
    stage.wait_settled(stage.deliver(message))

    assert (3, 4) == (calls, len(stage.called))


def test_events_of_a_lost_connection_are_dropped(stage: Stage) -> None:
    """The broker gives them out again; what was handled meanwhile is not handled twice."""
    stage.held.clear()
    stage.open()
    message = stage.message(1, 2, 3)
    old = stage.deliver(message)
    stage.wait(lambda: stage.called == [1])
    stage.transport.stale.add(id(old))
    stage.held.set()
    new = stage.deliver(message, count=1)
    stage.wait_settled(new)

    assert [1, 2, 3] == stage.called


def test_attempts_are_remembered_over_a_lost_connection(stage: Stage) -> None:
    """An event that fails is tried so often, however it comes."""
    stage.failing[1] = 99
    stage.open(retry_delay_s=0.1)
    message = stage.message(1)
    old = stage.deliver(message)
    stage.wait(lambda: stage.called == [1])
    stage.transport.stale.add(id(old))
    stage.wait(lambda: not stage.subscription._hand.items)
    stage.wait_settled(stage.deliver(message, count=1))

    assert ([1, 1, 1], [1]) == (stage.called, stage.forwarded(DEAD))


def test_a_suspicious_message_is_parted(stage: Stage) -> None:
    """One that came back twice may have killed its process: each event goes for itself."""
    stage.open()
    message = stage.message(1, 2, 3)
    stage.wait_settled(stage.deliver(message, count=1), stage.deliver(message, count=2))
    stage.wait(lambda: stage.forwarded(RETRY) != [])

    assert ([1, 2, 3], [1, 2, 3]) == (stage.called, stage.forwarded(RETRY))
    assert all(one.routing_key == message.routing_key for one in stage.transport.forwarded)


def test_connections_that_broke_under_a_living_process_are_no_crashes(stage: Stage) -> None:
    """However often they broke."""
    stage.held.clear()
    stage.open()
    message = stage.message(1, 2)
    for count in range(4):
        arrival = stage.deliver(message, count=count)
        stage.wait(lambda: bool(stage.called))
        if count < 3:
            stage.transport.stale.add(id(arrival))
    stage.held.set()
    stage.wait_settled(arrival)

    assert ([1, 2], []) == (stage.called, stage.transport.forwarded)


def test_an_isolated_event_that_killed_too_often_is_dead(stage: Stage) -> None:
    """Before its listener is called again."""
    stage.open()
    stage.wait_settled(stage.deliver(stage.message(1), RETRY, count=2))
    stage.wait_settled(stage.deliver(stage.message(2), RETRY, count=3))
    (letter,) = stage.transport.forwarded

    assert ([1], [2]) == (stage.called, stage.forwarded(DEAD))
    assert letter.headers is not None
    assert ("crashed", 3) == (
        letter.headers["antiphon-reason"],
        letter.headers["antiphon-attempts"],
    )


def test_isolated_events_come_first_and_alone(stage: Stage) -> None:
    """Also with several workers, none of which works at anything else then."""
    stage.held.clear()
    stage.open(workers=4)
    first = [stage.deliver(stage.message(number)) for number in (1, 2)]
    stage.wait(lambda: len(stage.called) == 2)
    isolated = stage.deliver(stage.message(10), RETRY)
    later = stage.deliver(stage.message(3))
    called_before = sorted(stage.called)
    stage.held.set()
    stage.wait_settled(*first, isolated, later)

    assert ([1, 2], [10, 3]) == (called_before, stage.called[2:])


def test_what_was_behind_a_suspicious_message_stays_behind(stage: Stage) -> None:
    """The main queue waits until its events have come back from the isolation queue."""
    stage.open()
    message = stage.message(1, 2)
    stage.deliver(message, count=2)
    behind = stage.deliver(stage.message(3))
    stage.wait(lambda: stage.forwarded(RETRY) == [1, 2])
    for one in stage.transport.forwarded:
        stage.deliver(one, RETRY)
    stage.wait_settled(behind)

    assert [1, 2, 3] == stage.called


def test_what_waits_too_long_is_moved(stage: Stage) -> None:
    """The rest of a message, and those behind it: the broker would take them back in the end."""
    stage.held.clear()
    stage.open(broker_patience_s=0.6)
    first = stage.deliver(stage.message(1, 2, 3))
    second = stage.deliver(stage.message(4, 5))
    stage.wait_settled(second)
    moved = stage.forwarded(RETRY)
    settled_before = first in stage.transport.settled
    stage.held.set()
    stage.wait_settled(first)

    assert ([2, 3, 4, 5], [1]) == (moved, stage.called)
    assert not settled_before


def test_a_slow_listener_gets_one_message_at_a_time(stage: Stage) -> None:
    """The prefetch falls when what is in hand would take too long, and rises again."""
    subscription = stage.open(broker_patience_s=3, prefetch=50)
    topology = subscription._means.topology
    stage.held.clear()
    slow = stage.deliver(stage.message(1))
    stage.wait(lambda: bool(stage.called))
    threading.Event().wait(0.05)
    stage.held.set()
    stage.wait_settled(slow)
    stage.wait(lambda: topology.part(MAIN).queue.prefetch == 1)  # type: ignore[union-attr]
    for number in range(100):
        stage.deliver(stage.message(number))
    stage.wait(lambda: topology.part(MAIN).queue.prefetch == 50)  # type: ignore[union-attr]


def test_closing_gives_back_what_waits_for_another_attempt(stage: Stage) -> None:
    """A message of which a part is handled is parted; an untouched one goes back by itself."""
    stage.failing[2] = 1
    stage.open(retry_delay_s=20)
    parted = stage.deliver(stage.message(1, 2))
    stage.wait(lambda: stage.called == [1, 2])
    stage.failing[3] = 1
    untouched = stage.deliver(stage.message(3))
    stage.wait(lambda: stage.called == [1, 2, 3])
    stage.subscription.close(5)

    assert [2] == stage.forwarded(RETRY)
    assert [parted] == stage.transport.settled
    assert untouched not in stage.transport.settled


def test_closing_forwards_the_rest_of_a_message(stage: Stage) -> None:
    """The event at work is waited for; those behind it wait for the next subscriber."""
    stage.open()
    stage.held.clear()
    arrival = stage.deliver(stage.message(1, 2, 3))
    stage.wait(lambda: stage.called == [1])
    threading.Timer(0.1, stage.held.set).start()
    stage.subscription.close(5)

    assert ([1], [2, 3]) == (stage.called, stage.forwarded(RETRY))
    assert [arrival] == stage.transport.settled


def test_a_listener_that_does_not_return_is_left_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Its event is not settled, so that it comes again."""
    stage.open()
    stage.held.clear()
    stage.deliver(stage.message(1))
    stage.wait(lambda: stage.called == [1])
    stage.subscription.close(0.05)
    settled = list(stage.transport.settled)
    stage.held.set()

    assert [] == settled
    assert "a listener is still at work" in caplog.text


def test_what_was_left_in_isolation_comes_before_the_first_message(stage: Stage) -> None:
    """A process that died has left it there; it is older than what is in the main queue."""
    stage.open()
    behind = stage.deliver(stage.message(3))
    for number in (1, 2):
        stage.wait_settled(stage.deliver(stage.message(number), RETRY, count=1))
    stage.wait_settled(behind)

    assert [1, 2, 3] == stage.called


def test_a_group_does_not_wait_for_what_is_isolated(stage: Stage) -> None:
    """It has no order to keep: the others may be at it."""
    stage.open("group")
    message = stage.message(1, 2)
    stage.deliver(message, count=2)
    stage.wait_settled(stage.deliver(stage.message(3)))

    assert ([3], [1, 2]) == (stage.called, stage.forwarded(RETRY))


def test_what_came_back_many_times_is_published_anew(stage: Stage) -> None:
    """Though no crash brought it back: RabbitMQ 4.x drops what came back 20 times."""
    stage.held.clear()
    stage.open(delivery_limit=20, retry_delay_s=0)
    message = stage.message(1)
    for count in range(8):
        arrival = stage.deliver(message, count=count)
        stage.wait(lambda: bool(stage.called))
        stage.transport.stale.add(id(arrival))
    stage.held.set()
    stage.wait_settled(stage.deliver(message, count=8))

    assert [1] == stage.forwarded(RETRY)


def test_crashes_are_counted_on_when_an_isolated_event_is_published_anew(stage: Stage) -> None:
    """A delivery limit above what the broker counts to holds as well."""
    stage.open(delivery_limit=10, retry_delay_s=0)
    message = stage.message(1)
    stage.wait_settled(stage.deliver(message, RETRY, count=8))
    (anew,) = stage.transport.forwarded
    stage.wait_settled(stage.deliver(anew, RETRY, count=2))

    assert ([], [1], [1]) == (stage.called, stage.forwarded(RETRY), stage.forwarded(DEAD))
    letter = stage.transport.forwarded[-1]
    assert letter.headers is not None
    assert 10 == letter.headers["antiphon-attempts"]
    assert "antiphon-crashes" not in letter.headers  # a replay begins anew
