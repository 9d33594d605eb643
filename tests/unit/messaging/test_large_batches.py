"""What receivers do with the messages of a bulk, of up to 1000 events each."""

from __future__ import annotations

import time
from typing import Any

import pytest
from subscription_helpers import Heard, wait_until

from antiphon import BaseEvent, SubscriptionOptions, open_bus
from antiphon.messaging.bus import BusOptions

EVENTS = 3000


class Counted(BaseEvent):
    """One of many."""

    wire_name = "test:LargeBatchCounted"


def _emit_in_bulk(bus: Any, count: int) -> None:
    with bus.gather() as bulk:
        for number in range(count):
            bus.emit(Counted(number=number, text="x" * 50))
            bulk.emitted()
    bus.flush(30)


@pytest.mark.parametrize("ordered", [False, True])
def test_one_bad_event_of_a_large_message_harms_no_other(ordered: bool) -> None:
    """It alone is tried again; the others are handled once each, and in order."""
    bad = 500
    heard: list[int] = []
    attempts: list[float] = []

    def handle(event: Any) -> None:
        if event.number == bad:
            attempts.append(time.monotonic())
            raise ValueError("as the test wants it")
        heard.append(event.number)

    options = SubscriptionOptions(ordered=ordered, delivery_limit=3, retry_delay_s=0.01)
    with open_bus("memory:") as bus:
        subscription = bus.subscribe("books", Counted, handle, mode="single", options=options)
        _emit_in_bulk(bus, EVENTS)
        wait_until(lambda: len(heard) == EVENTS - 1 and len(attempts) == 3)
        wait_until(lambda: subscription.stats().dead == 1)
        messages = bus.stats().messages

    assert messages < EVENTS / 50
    assert [number for number in range(EVENTS) if number != bad] == heard


def test_a_small_limit_of_a_bus_bounds_its_bulks() -> None:
    """Whoever reads no longer messages sends no longer ones, bulks included."""
    options = BusOptions(batch_bytes=5000, max_message_bytes=10_000)
    heard = Heard()
    with (
        open_bus("memory:", options=options) as listener,
        open_bus("memory:", options=options) as b,
    ):
        listener.connect(Counted, heard)
        _emit_in_bulk(b, EVENTS)
        events = heard.wait(EVENTS, 30)
        corrupt = listener.stats().corrupt

    assert (list(range(EVENTS)), 0) == ([event.number for event in events], corrupt)
