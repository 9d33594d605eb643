"""What a durable subscription does whose listener gets many events at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from subscription_stage import DEAD, MAIN, RETRY, BatchStage, codec

from antiphon.messaging import subscription_batches
from antiphon.messaging.subscription_batch import GivenBack
from antiphon.messaging.subscription_batches import Received


@pytest.fixture
def stage() -> Iterator[BatchStage]:
    made = BatchStage()
    yield made
    made.close()


def hold(stage: BatchStage) -> Any:
    """Have the listener held with an event, so that what comes meanwhile comes together."""
    stage.held.clear()
    first = stage.deliver(stage.message(0))
    stage.wait(lambda: stage.calls == [[0]])
    return first


def test_messages_are_handled_together_in_order(stage: BatchStage) -> None:
    """All are settled when the call has returned, and not before."""
    stage.open()
    first = hold(stage)
    others = [stage.deliver(stage.message(1, 2)), stage.deliver(stage.message(3))]
    settled_before = list(stage.transport.settled)
    stage.held.set()
    stage.wait_settled(first, *others)

    assert ([[0], [1, 2, 3]], []) == (stage.calls, settled_before)
    assert 4 == stage.subscription.stats().handled


def test_a_call_gets_so_many_events_at_most(stage: BatchStage) -> None:
    """A long message is parted; it is settled when the last of it is handled."""
    stage.open()
    arrival = stage.deliver(stage.message(*range(12)))
    stage.wait_settled(arrival)

    assert [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]] == stage.calls
    assert [arrival] == stage.transport.settled


def test_the_first_event_waits_for_others(stage: BatchStage) -> None:
    """What comes a little later joins it."""
    stage.max_events, stage.max_wait_s = 2, 5.0
    stage.open()
    first = stage.deliver(stage.message(1))
    stage.wait(lambda: not stage.subscription._hand.arrivals)
    second = stage.deliver(stage.message(2))
    stage.wait_settled(first, second)

    assert [[1, 2]] == stage.calls


def test_nobody_waits_for_what_the_broker_holds_back(stage: BatchStage) -> None:
    """With as many messages in hand as it sends ahead, no more can come."""
    stage.max_events, stage.max_wait_s = 100, 60.0
    stage.open(prefetch=2)
    stage.wait_settled(stage.deliver(stage.message(1)), stage.deliver(stage.message(2)))

    assert [[1, 2]] == stage.calls


@pytest.mark.parametrize("ordered", [False, True])
def test_one_that_fails_harms_no_neighbour(stage: BatchStage, ordered: bool) -> None:
    """Each gets a call of its own; only what fails then goes to the dead letters."""
    stage.failing[2] = 99
    stage.open(ordered=ordered)
    first = hold(stage)
    others = [stage.deliver(stage.message(1, 2)), stage.deliver(stage.message(3))]
    stage.held.set()
    stage.wait_settled(first, *others)

    assert ([0, 1, 3], [2]) == (stage.called, stage.forwarded(DEAD))
    assert [[0], [1, 2, 3], [1], [2]] == stage.calls[:4]
    assert 3 == stage.calls.count([2])


def test_a_failure_that_passes_is_none(stage: BatchStage) -> None:
    """What a call failed with is handled by the next ones, in order."""
    stage.failing[2] = 1
    stage.open()
    stage.wait_settled(stage.deliver(stage.message(1, 2, 3)), stage.deliver(stage.message(4)))

    assert [1, 2, 3, 4] == stage.called
    assert (4, 0) == (stage.subscription.stats().handled, stage.subscription.stats().dead)


def test_an_event_that_fails_alone_counts_as_tried(stage: BatchStage) -> None:
    """It is called as often as any other listener would be."""
    stage.failing[1] = 99
    stage.open(delivery_limit=2)
    stage.wait_settled(stage.deliver(stage.message(1)))

    assert ([[1], [1]], [1]) == (stage.calls, stage.forwarded(DEAD))


def test_what_is_tried_again_does_not_wait_for_a_pause(stage: BatchStage) -> None:
    """An event whose time has come gets its turn between two calls, however much there is."""
    stage.failing[1] = 1
    stage.open(retry_delay_s=0)
    stage.wait_settled(stage.deliver(stage.message(1)))
    stage.wait_settled(stage.deliver(stage.message(2)))

    assert [1, 2] == stage.called


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_listener_of_batches_cannot_end_the_subscription(
    stage: BatchStage, error: type[BaseException]
) -> None:
    """Whatever it raises is a failure."""
    stage.error = error
    stage.failing[1] = 1
    stage.open()
    stage.wait_settled(stage.deliver(stage.message(1, 2)))

    assert [1, 2] == stage.called


def test_events_that_come_twice_are_handled_once(stage: BatchStage) -> None:
    """In one call as in several: a publisher sends again what was not confirmed."""
    stage.open()
    message = stage.message(1, 2)
    first = hold(stage)
    copies = [stage.deliver(message), stage.deliver(message)]
    stage.held.set()
    stage.wait_settled(first, *copies)
    stage.wait_settled(stage.deliver(message))

    assert ([0, 1, 2], 4) == (stage.called, stage.subscription.stats().duplicates)


def test_a_copy_waits_for_what_is_tried_again(stage: BatchStage) -> None:
    """It is settled with the first, and calls nobody."""
    stage.failing[1] = 2
    stage.open(retry_delay_s=0.1)
    message = stage.message(1)
    first = stage.deliver(message)
    stage.wait(lambda: bool(stage.subscription._hand.items))
    stage.wait_settled(first, stage.deliver(message))

    assert ([1], 1) == (stage.called, stage.subscription.stats().duplicates)


def test_what_is_not_wanted_is_passed_over(stage: BatchStage) -> None:
    """Nobody is called with it, nor for it alone."""
    stage.unwanted |= {1, 2, 4}
    stage.open()
    stage.wait_settled(stage.deliver(stage.message(1, 2)), stage.deliver(stage.message(3, 4)))

    assert ([[3]], 3) == (stage.calls, stage.subscription.stats().unwanted)


def test_large_messages_make_small_batches(
    stage: BatchStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many events a call may have, their memory is bounded."""
    monkeypatch.setattr(subscription_batches, "MAX_BYTES", 1)
    stage.open()
    first = hold(stage)
    others = [stage.deliver(stage.message(number)) for number in (1, 2, 3)]
    stage.held.set()
    stage.wait_settled(first, *others)

    assert [[0], [1], [2], [3]] == stage.calls


def test_what_is_wanted_does_not_wait_for_what_is_not(
    stage: BatchStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to be passed over."""
    monkeypatch.setattr(subscription_batches, "SIFTING_S", 0.0)
    stage.max_wait_s = 0.0
    stage.unwanted |= {2, 3}
    stage.open()
    first = hold(stage)
    others = [stage.deliver(stage.message(number)) for number in (1, 2, 3, 4)]
    stage.held.set()
    stage.wait_settled(first, *others)

    assert [[0], [1], [4]] == stage.calls


def test_each_event_has_a_message_of_its_own(stage: BatchStage) -> None:
    """Whatever others it came with."""
    stage.open()
    message = stage.message(1, 2, 3)
    stage.wait_settled(stage.deliver(message))

    found = [codec.decode(message.routing_key, None, body) for body in stage.bodies]
    assert [[1], [2], [3]] == [[event.number for event in one] for one in found]  # type: ignore[attr-defined]


def test_events_of_a_lost_connection_are_dropped_from_batches(stage: BatchStage) -> None:
    """The broker gives them out again; those of the call under way are not handled twice."""
    stage.max_events = 2
    stage.open()
    stage.held.clear()
    message = stage.message(1, 2, 3)
    old = stage.deliver(message)
    stage.wait(lambda: stage.calls == [[1, 2]])
    stage.transport.stale.add(id(old))
    stage.held.set()
    stage.wait_settled(stage.deliver(message, count=1))

    assert [[1, 2], [3]] == stage.calls


def test_attempts_are_counted_on_after_a_lost_connection(stage: BatchStage) -> None:
    """An event that fails is tried so often, and for itself, however it comes."""
    stage.failing[1] = 99
    stage.open(retry_delay_s=0.1)
    message = stage.message(1)
    old = stage.deliver(message)
    stage.wait(lambda: stage.calls == [[1]])
    stage.transport.stale.add(id(old))
    stage.wait(lambda: not stage.subscription._hand.items)
    first = hold_with(stage, [[1], [0]])
    again = stage.deliver(message, count=1)
    neighbour = stage.deliver(stage.message(2))
    stage.held.set()
    stage.wait_settled(first, again, neighbour)

    assert ([0, 2], [1]) == (stage.called, stage.forwarded(DEAD))
    assert 3 == stage.calls.count([1])


def hold_with(stage: BatchStage, calls: list[list[int]]) -> Any:
    """As ``hold``, after other calls."""
    stage.held.clear()
    first = stage.deliver(stage.message(0))
    stage.wait(lambda: stage.calls == calls)
    return first


def test_isolated_events_get_a_call_of_their_own(stage: BatchStage) -> None:
    """They may be what ended a process: nothing else is in hand meanwhile."""
    stage.open()
    first = hold(stage)
    others = [stage.deliver(stage.message(1)), stage.deliver(stage.message(2))]
    isolated = stage.deliver(stage.message(7), RETRY)
    stage.held.set()
    stage.wait_settled(first, isolated, *others)

    assert [[0], [7], [1, 2]] == stage.calls


def test_what_is_behind_a_suspicious_message_stays_behind(stage: BatchStage) -> None:
    """Those before it are handled, it is parted, and those after it wait for its parts."""
    stage.open()
    first = hold(stage)
    before = stage.deliver(stage.message(1))
    suspicious = stage.deliver(stage.message(2, 3), count=2)
    behind = stage.deliver(stage.message(4))
    stage.held.set()
    stage.wait_settled(suspicious)
    for message in [one for one in stage.transport.forwarded if one.queue == RETRY]:
        stage.deliver(message, RETRY)
    stage.wait_settled(first, before, behind)

    assert [[0], [1], [2], [3], [4]] == stage.calls


def given_back(_: Any) -> None:
    raise GivenBack


def test_what_is_given_back_is_kept(stage: BatchStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that will not handle it has not failed; the next subscriber gets all of it."""
    calls: list[list[int]] = []

    def give_back(received: Any) -> None:
        calls.append([one.event.number for one in received])
        raise GivenBack

    monkeypatch.setattr(stage, "_call_all", give_back)
    subscription = stage.open()
    arrival = stage.deliver(stage.message(1, 2))
    stage.wait(lambda: bool(calls))
    subscription.close(5)

    assert ([[1, 2]], []) == (calls, stage.transport.forwarded)
    assert arrival not in stage.transport.settled
    assert 0 == subscription.stats().failures


def test_closing_waits_for_the_call_and_keeps_the_rest(stage: BatchStage) -> None:
    """What was not begun with waits for the next subscriber, each event once."""
    stage.max_events = 2
    stage.open()
    stage.held.clear()
    parted = stage.deliver(stage.message(1, 2, 3))
    untouched = stage.deliver(stage.message(4))
    stage.wait(lambda: stage.calls == [[1, 2]])
    threading.Timer(0.1, stage.held.set).start()
    stage.subscription.close(5)

    assert ([1, 2], [3]) == (stage.called, stage.forwarded(RETRY))
    assert [parted] == stage.transport.settled
    assert untouched not in stage.transport.settled


def test_a_call_that_does_not_return_settles_nothing(stage: BatchStage) -> None:
    """Its events come again, with those of the message that were not begun with."""
    stage.max_events = 2
    stage.open()
    stage.wait_settled(stage.deliver(stage.message(0)))
    stage.held.clear()
    arrivals = [stage.deliver(stage.message(1, 2)), stage.deliver(stage.message(3))]
    stage.wait(lambda: stage.calls == [[0], [1, 2]])
    stage.subscription.close(0.05)
    settled = list(stage.transport.settled)
    stage.held.set()

    assert not any(one in settled for one in arrivals)
    assert [] == stage.forwarded(RETRY)


def test_a_call_that_does_not_return_keeps_what_was_handled_before(
    stage: BatchStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a message that is handled in part, the other part goes back, that of the call included."""
    call_all = stage._call_all

    def held_at_three(received: Sequence[Received[Any]]) -> None:
        if received[0].event.number == 3:
            stage.held.clear()
        call_all(received)

    monkeypatch.setattr(stage, "_call_all", held_at_three)
    stage.max_events = 2
    stage.open()
    parted = stage.deliver(stage.message(1, 2, 3, 4, 5))
    stage.wait(lambda: stage.calls == [[1, 2], [3, 4]])
    stage.subscription.close(0.05)

    assert ([1, 2], [3, 4, 5]) == (stage.called, stage.forwarded(RETRY))
    assert [parted] == stage.transport.settled


def test_a_call_beyond_the_brokers_patience_lends_all_back(stage: BatchStage) -> None:
    """The queues are left until it returns; nothing is moved, and nothing settled meanwhile."""
    subscription = stage.open(broker_patience_s=1.2)
    topology = subscription._means.topology
    first = hold(stage)
    behind = stage.deliver(stage.message(1))
    stage.wait(lambda: topology.part(MAIN) is None and topology.part(RETRY) is None)
    stage.transport.stale |= {id(first), id(behind)}
    stage.held.set()
    stage.wait(lambda: topology.part(MAIN) is not None and topology.part(RETRY) is not None)

    assert [] == stage.transport.forwarded
    assert [[0]] == stage.calls


def test_a_subscription_that_was_lent_back_can_be_closed(stage: BatchStage) -> None:
    """The call that returns too late takes nothing any more."""
    subscription = stage.open(broker_patience_s=1.2)
    topology = subscription._means.topology
    hold(stage)
    stage.wait(lambda: topology.part(MAIN) is None)
    subscription.close(0.05)
    stage.held.set()
    stage.wait(lambda: bool(stage.called))

    assert topology.part(MAIN) is None


def test_a_subscription_that_was_lent_back_can_be_deleted(stage: BatchStage) -> None:
    """Its queues go, although they were not there at that moment."""
    subscription = stage.open(broker_patience_s=1.2)
    topology = subscription._means.topology
    hold(stage)
    stage.wait(lambda: topology.part(MAIN) is None)
    subscription.delete(0.05)
    stage.held.set()

    assert {MAIN, RETRY} == {one.what.name for one in topology.snapshot().deletions}  # type: ignore[union-attr]
