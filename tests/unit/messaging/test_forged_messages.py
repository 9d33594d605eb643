"""Messages that say what only a bus itself can know: from a process that may publish, and lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from subscription_helpers import wait_until

from antiphon import BaseEvent, EventsMayBeMissing
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.dead_letters import QUEUE_HEADER, dead_letter
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.transport import Message

Opener = Callable[..., BrokerEventManager]


def forged() -> EventsMayBeMissing:
    """Return an event that is sent although its class says that it stays."""
    event = EventsMayBeMissing(reason="a lie")
    event.travels = True  # type: ignore[misc]
    return event


def test_a_gap_is_told_by_nobody_else(bus_of: Opener, heard: Any) -> None:
    """It would have caches look for what they miss; it counts as a message nobody can read."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(BaseEvent, heard)
    sender.emit(forged())
    sender.emit(BaseEvent(number=1))
    heard.wait()

    assert [1] == [event.number for event in heard.events]
    assert 1 == receiver.stats().corrupt


def test_a_gap_is_told_by_no_queue(bus_of: Opener, heard: Any) -> None:
    """To a subscription it is a dead letter."""
    sender, receiver = bus_of(), bus_of()
    subscription = receiver.subscribe("all", BaseEvent, heard)
    sender.emit(forged())
    sender.emit(BaseEvent(number=1))
    heard.wait()
    wait_until(lambda: subscription.stats().dead == 1)

    assert [1] == [event.number for event in heard.events]


@pytest.mark.parametrize("home", [None, "shop.sub.books"])
def test_a_letter_goes_home_only(home: str | None) -> None:
    """Where a replay puts it is said by who could not handle it, not by who sent it."""
    message = Message("key", b"", {QUEUE_HEADER: "shop.sub.payroll", "a": 1})
    letter = dead_letter(
        message,
        queue="shop.dead",
        subscription="books",
        reason="failed",
        error="",
        attempts=1,
        home=home,
    )

    assert (home, 1) == ((letter.headers or {}).get(QUEUE_HEADER), (letter.headers or {})["a"])


def test_canaries_of_others(bus_of: Opener) -> None:
    """One that was not sent, or has another body than a number, counts as none."""
    bus = bus_of()
    inbox: Inbox = bus._inbox
    canary = bus._canary
    returned = canary.returned
    for body in (b"999999", b"", b"x", b"9" * 5000):
        bus._transport.forward([Message(canary.binding.pattern, body)], lambda _: None)
    bus.emit(BaseEvent())
    bus.flush(5)

    assert returned <= canary.returned < 999_999
    assert 0 == inbox.corrupt
