"""Which deliveries are acknowledged, and when."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.messaging.amqp_consumer import MAX_UNACKNOWLEDGED_S, Consumption
from antiphon.messaging.topology import QueueSpec


class Channel:
    """Keeps the acknowledgements."""

    def __init__(self) -> None:
        self.acks: list[int] = []

    def basic_ack(self, tag: int, *, multiple: bool) -> None:
        assert multiple
        self.acks.append(tag)


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
    consumption.handled = 2

    consumption.acknowledge(now=True)
    consumption.acknowledge(now=True)

    assert [2] == channel.acks


def test_not_one_by_one(consumption: Consumption, channel: Channel) -> None:
    """Acknowledging waits until a quarter of the prefetch was handled, or for the next tick."""
    consumption.received(1, is_echo=False)
    consumption.handled = 1

    consumption.acknowledge(now=False)
    assert [] == channel.acks
    consumption.received(2, is_echo=False)
    consumption.handled = 2
    assert consumption.is_due()
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

    consumption.handled = 1
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
