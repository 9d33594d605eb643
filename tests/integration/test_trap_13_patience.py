"""Trap 13: the broker closes a channel whose deliveries stay unacknowledged for too long."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from bus_helpers import PATIENCE_S, Heard, Numbered, wait_until

from antiphon import SubscriptionOptions, open_bus
from antiphon.messaging.subscription_options import Mode


class Slow(Heard):
    """A listener that takes its time."""

    def __init__(self, takes_s: float) -> None:
        super().__init__()
        self.takes_s = takes_s
        self._pause = threading.Event()

    def __call__(self, event: Any) -> None:
        super().__call__(event)
        self._pause.wait(self.takes_s)


def test_a_channel_is_closed_by_an_impatient_broker(impatient_url: str) -> None:
    """What these tests guard against happens: without looking after it, the event comes again."""
    slow = Slow(PATIENCE_S + 1.5)
    with open_bus(impatient_url) as bus:
        subscription = bus.subscribe("books", Numbered, slow)
        bus.emit(Numbered(number=1))
        wait_until(lambda: subscription.stats().duplicates > 0, "it came again")

    assert [1] == slow.numbers


@pytest.mark.parametrize("mode", ["single", "group"])
def test_a_slow_listener_with_many_events_in_hand(
    impatient_url: str, mode: Mode, caplog: pytest.LogCaptureFixture
) -> None:
    """Prefetch 50, in one message and in many: each is handled once, and no channel is closed."""
    slow = Slow(0.25)
    options = SubscriptionOptions(prefetch=50, broker_patience_s=PATIENCE_S, retry_delay_s=0.01)
    with (
        caplog.at_level(logging.WARNING, "antiphon"),
        open_bus(impatient_url) as sender,
        open_bus(impatient_url) as bus,
    ):
        bus.subscribe("books", Numbered, slow, mode=mode, options=options)
        for number in range(6):
            sender.emit(Numbered(number=number))
        sender.flush(10)
        for number in range(6, 12):
            sender.emit(Numbered(number=number))
            sender.flush(10)
        slow.wait(12)
        subscription = bus.durable_subscriptions[0]
        wait_until(lambda: subscription.stats().in_hand == 0, "all is settled")
        reconnects = bus.stats().reconnects

    numbers = slow.numbers if mode == "single" else sorted(slow.numbers)
    assert list(range(12)) == numbers
    assert 0 == reconnects
    assert "is tried again" not in caplog.text  # what a lost channel is logged with


def test_one_slow_call_costs_nothing(impatient_url: str) -> None:
    """Those behind it are handled when it returns, once, over the same channel."""
    slow = Slow(0)
    options = SubscriptionOptions(broker_patience_s=PATIENCE_S, retry_delay_s=0.01)
    with open_bus(impatient_url) as bus:
        subscription = bus.subscribe("books", Numbered, slow, options=options)
        slow.takes_s = PATIENCE_S * 0.8
        for number in range(5):
            bus.emit(Numbered(number=number))
        slow.wait(1)
        slow.takes_s = 0
        slow.wait(5)
        stats = subscription.stats()

    assert (list(range(5)), 0) == (slow.numbers, stats.duplicates)
