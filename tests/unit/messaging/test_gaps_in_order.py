"""Listeners hear of a gap before they hear what came behind it."""

from __future__ import annotations

import pytest

from antiphon import BaseEvent
from antiphon.events.event_id import next_event_id
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.topology import BROADCAST
from antiphon.messaging.transport import Arrival, Message
from antiphon.wire.codec import Codec


class Ear:
    """An inbox, and what comes out of it in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.codec = Codec()
        self.inbox = Inbox(
            self.codec,
            lambda source: None,
            lambda event: self.heard.append(event.number),
            lambda arrival: None,
            "test",
        )
        self.inbox.when_interrupted = lambda: 7.5
        self.inbox.when_resumed = lambda since: self.inbox.tell(self.heard.append, f"gap {since}")
        self.inbox.start()

    def deliver(self, number: int) -> None:
        event = BaseEvent(number=number)
        encoded = self.codec.encode(event, origin=None, event_id=next_event_id(), time_ns=1)
        body = Codec.join((encoded.envelope,))
        message = Message(encoded.routing_key, body, encoded.headers, "other")
        self.inbox.deliver(Arrival(message, BROADCAST))

    def end(self) -> list[object]:
        self.inbox.stop(10)
        return self.heard


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_events_before_the_connection_counts_as_made(ear: Ear) -> None:
    """The queue may deliver before the other half of the connection stands."""
    ear.inbox.changed(True, None)
    ear.deliver(1)
    ear.inbox.interrupted()
    ear.inbox.changed(False, None)
    ear.deliver(3)
    ear.inbox.changed(True, None)
    ear.deliver(4)

    assert [1, "gap 7.5", 3, 4] == ear.end()


def test_no_event_comes_afterwards(ear: Ear) -> None:
    """The gap is told when everything stands again, also if nothing comes."""
    ear.inbox.changed(True, None)
    ear.inbox.interrupted()
    ear.inbox.changed(False, None)
    ear.inbox.changed(True, None)

    assert ["gap 7.5"] == ear.end()


def test_only_the_other_half_was_lost(ear: Ear) -> None:
    """A break of the half that publishes costs a listener nothing."""
    ear.inbox.changed(True, None)
    ear.inbox.changed(False, None)
    ear.deliver(1)
    ear.inbox.changed(True, None)

    assert [1] == ear.end()
