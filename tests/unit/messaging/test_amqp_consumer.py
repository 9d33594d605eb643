"""Which deliveries are acknowledged, and when."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.messaging.amqp_settling import MAX_UNACKNOWLEDGED_S, Consumption
from antiphon.messaging.topology import QueueSpec


class Channel:
    """Keeps the acknowledgements."""

    def __init__(self) -> None:
        self.is_open = True
        self.acks: list[int] = []
        self.singly: list[int] = []

    def basic_ack(self, tag: int, *, multiple: bool) -> None:
        (self.acks if multiple else self.singly).append(tag)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def consumption(channel: Any) -> Consumption:
    return Consumption(QueueSpec("q", prefetch=8), channel)


def test_only_what_was_handled(consumption: Consumption, channel: Channel) -> None:
    """A delivery that a listener still has is not acknowledged."""
    for tag in (1, 2, 3):
        consumption.received(tag, is_echo=False)
    consumption.settle(1)
    consumption.settle(2)

    consumption.acknowledge(now=True)
    consumption.acknowledge(now=True)

    assert [2] == channel.acks


def test_a_channel_that_is_closing(consumption: Consumption, channel: Channel) -> None:
    """Nothing is said on it: the broker gives what was under way out again."""
    consumption.received(1, is_echo=False)
    consumption.settle(1)
    channel.is_open = False

    consumption.acknowledge(now=True)

    assert [] == channel.acks


def test_not_one_by_one(consumption: Consumption, channel: Channel) -> None:
    """Acknowledging waits until a quarter of the prefetch was handled, or for the next tick."""
    consumption.received(1, is_echo=False)
    assert not consumption.settle(1)

    consumption.acknowledge(now=False)
    assert [] == channel.acks
    consumption.received(2, is_echo=False)
    assert consumption.settle(2)
    consumption.acknowledge(now=False)

    assert [2] == channel.acks


def test_echoes_count_as_handled(consumption: Consumption, channel: Channel) -> None:
    """Own messages that come back are acknowledged although no listener sees them."""
    for tag in (1, 2, 3):
        consumption.received(tag, is_echo=True)

    consumption.acknowledge(now=True)

    assert [3] == channel.acks


def test_echoes_behind_a_slow_listener(consumption: Consumption, channel: Channel) -> None:
    """An echo does not acknowledge what came before it and is still being handled."""
    consumption.received(1, is_echo=False)
    consumption.received(2, is_echo=True)
    consumption.acknowledge(now=True)
    assert [] == channel.acks

    consumption.settle(1)
    consumption.acknowledge(now=True)

    assert [2] == channel.acks


def test_slow_listener(
    consumption: Consumption, channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the broker's limit a private queue's deliveries are acknowledged all the same."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for tag in (1, 2):
        consumption.received(tag, is_echo=False)
    now[0] += MAX_UNACKNOWLEDGED_S + 1

    consumption.acknowledge(now=True)
    consumption.acknowledge(now=True)

    assert [2] == channel.acks


def test_slow_listener_on_a_shared_queue(channel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process could take over, nothing is acknowledged before it was handled."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    consumption = Consumption(QueueSpec("q", is_exclusive=False, prefetch=8), channel)
    consumption.received(1, is_echo=False)
    now[0] += MAX_UNACKNOWLEDGED_S + 1

    consumption.acknowledge(now=True)

    assert [] == channel.acks


@pytest.fixture
def shared(channel: Any) -> Consumption:
    """A durable queue, of which eight deliveries came."""
    consumption = Consumption(QueueSpec("q", "q", is_exclusive=False, prefetch=16), channel)
    for tag in range(1, 9):
        consumption.received(tag, is_echo=False)
    return consumption


def test_any_order(shared: Consumption, channel: Channel) -> None:
    """What overtook a slow one is acknowledged singly, and never twice."""
    for tag in (2, 3, 5):
        shared.settle(tag)
    shared.acknowledge(now=True)
    assert ([], [2, 3, 5]) == (channel.acks, channel.singly)

    shared.settle(1)
    shared.acknowledge(now=True)

    assert ([1], [2, 3, 5]) == (channel.acks, channel.singly)


def test_cumulative_end(shared: Consumption, channel: Channel) -> None:
    """A cumulative acknowledgement ends in a tag that was not acknowledged singly."""
    shared.settle(3)
    shared.acknowledge(now=True)
    for tag in (1, 2, 4):
        shared.settle(tag)

    shared.acknowledge(now=True)

    assert ([4], [3]) == (channel.acks, channel.singly)


def test_shared_queue_at_rest(shared: Consumption, channel: Channel) -> None:
    """When all that came from a durable queue is handled, the broker hears of it at once."""
    for tag in range(1, 4):
        assert not shared.settle(tag)
    for tag in range(4, 8):
        shared.settle(tag)

    assert shared.settle(8)
    shared.acknowledge(now=False)

    assert ([8], []) == (channel.acks, channel.singly)


def test_prefetch_of_one(channel: Any) -> None:
    """One delivery at a time is acknowledged one at a time."""
    consumption = Consumption(QueueSpec("q", "q", is_exclusive=False, prefetch=1), channel)
    consumption.received(1, is_echo=False)
    consumption.acknowledge(now=False)
    assert [] == channel.acks

    assert consumption.settle(1)
    consumption.acknowledge(now=False)

    assert [1] == channel.acks


def test_after_the_end(shared: Consumption, channel: Channel) -> None:
    """What is settled after its channel has gone is not acknowledged on it."""
    shared.is_over = True
    for tag in range(1, 9):
        shared.settle(tag)

    shared.acknowledge(now=True)

    assert ([], []) == (channel.acks, channel.singly)
