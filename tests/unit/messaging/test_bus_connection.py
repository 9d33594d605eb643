"""Opening a bus, losing the broker, and coming back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import BrokerUnavailable, InvalidBusOption, InvalidURL, UnknownScheme
from antiphon.events.api import BaseEvent
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.transport import Message

Opener = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""


class States:
    """A state callback that can be waited for."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._moved = threading.Condition()

    def __call__(self, state: str) -> None:
        with self._moved:
            self.all.append(state)
            self._moved.notify_all()

    def wait(self, *states: str) -> None:
        with self._moved:
            assert self._moved.wait_for(lambda: list(states) == self.all, 10), self.all


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"url": "ampq://localhost"}, UnknownScheme, "did you mean 'amqp'"),
        ({"url": "memory:?x=1"}, InvalidURL, "has options"),
        ({"url": 7}, InvalidURL, "URL in text"),
        ({"url": "memory:", "system": ""}, InvalidBusOption, "system"),
        ({"url": "memory:", "system": "a b"}, InvalidBusOption, "'a b'"),
        ({"url": "memory:", "system": "amq.x"}, InvalidBusOption, "amq"),
        ({"url": "memory:", "system": "x" * 101}, InvalidBusOption, "1 to 100"),
        ({"url": "memory:", "origin": 7}, InvalidBusOption, "origin"),
        ({"url": "memory:", "options": {"spool": "a"}}, InvalidBusOption, "options are BusOptions"),
    ],
)
def test_bad_arguments(arguments: Any, error: type[Exception], message: str) -> None:
    """An argument that makes no sense is one error of the tree."""
    with pytest.raises(error, match=message):
        open_bus(**arguments)


def test_repr_has_no_password(memory_url: str) -> None:
    """The password shows nowhere."""
    with open_bus("memory://me:secret@here") as bus:
        assert "secret" not in repr(bus) + bus.url


def test_broker_away(memory_url: str, memory_broker: MemoryBroker) -> None:
    """A broker that cannot be reached is an error at once."""
    memory_broker.stop()

    with pytest.raises(BrokerUnavailable, match="is stopped"):
        open_bus(memory_url)


def test_broker_away_at_first(bus_of: Opener, heard: Any, memory_broker: MemoryBroker) -> None:
    """With wait=False a bus starts without its broker, and sends when that is there."""
    memory_broker.stop()
    sender, receiver = bus_of(wait=False), bus_of(wait=False)
    receiver.connect(Saved, heard)
    sender.emit(Saved())
    assert not sender.wait_connected(0.01)
    assert isinstance(sender.last_error, BrokerUnavailable)

    memory_broker.start()

    assert receiver.wait_connected(10)
    sender.emit(Saved())  # the first may have gone before the receiver was there
    heard.wait()
    sender.flush(10)
    assert sender.last_error is None


def test_states(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """Loss and return are told in order; a callback that was taken away hears no more."""
    bus = bus_of()
    states, other = States(), States()
    bus.on_state(states)
    bus.on_state(states)
    bus.on_state(other)

    memory_broker.disconnect_all()
    states.wait("disconnected", "connected")
    other.wait("disconnected", "connected")
    bus.off_state(other)
    bus.off_state(other)
    memory_broker.disconnect_all()

    states.wait("disconnected", "connected", "disconnected", "connected")
    assert 2 == len(other.all)
    assert 2 == bus.stats().reconnects


def test_state_in_spite_of_a_slow_listener(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """A listener that takes its time does not keep the news of a loss from others."""
    sender, bus = bus_of(), bus_of()
    states = States()
    bus.on_state(states)
    begun, go_on = threading.Event(), threading.Event()
    bus.connect(Saved, lambda event: (begun.set(), go_on.wait(30)))
    sender.emit(Saved())
    begun.wait(10)

    memory_broker.disconnect_all()
    states.wait("disconnected", "connected")
    go_on.set()


def test_state_callback_that_raises(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """It keeps the state from nobody."""
    bus = bus_of()
    states = States()

    def fail(state: str) -> None:
        raise ValueError(state)

    bus.on_state(fail)
    bus.on_state(states)
    memory_broker.disconnect_all()

    states.wait("disconnected", "connected")


def test_what_was_unconfirmed_comes_once(
    bus_of: Opener, heard: Any, memory_broker: MemoryBroker
) -> None:
    """Sent again after a loss, an event that had arrived is not heard twice."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard)
    memory_broker.hold_confirms()
    for number in range(10):
        sender.emit(Saved(number=number))
    heard.wait(10)
    states = States()
    receiver.on_state(states)

    memory_broker.disconnect_all()
    states.wait("disconnected", "connected")
    memory_broker.release_confirms()
    sender.flush(10)
    sender.emit(Saved(number=10))

    assert list(range(11)) == [event.number for event in heard.wait(11)]
    assert 10 >= receiver.stats().duplicates


def test_corrupt_messages(bus_of: Opener, heard: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no message are counted, logged and dropped; the next event is heard."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(BaseEvent, heard)

    for body in (b"", b"\xff" * 20, b"\x91\x01"):
        for key in ("antiphon:BaseEvent", "antiphon:BaseEvent.", "!.@x", "!"):
            sender._outgoing.append(Message(key, body, None, "someone"))
    sender.emit(Saved())

    heard.wait()
    assert 12 == receiver.stats().corrupt
    assert 1 == caplog.text.count("cannot be read")


def test_settled_though_corrupt(bus_of: Opener, heard: Any) -> None:
    """More corrupt messages than may be under way do not stop the queue."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(BaseEvent, heard)

    for _ in range(2500):
        sender._outgoing.append(Message("antiphon:BaseEvent", b"", None, "someone"))
    sender.emit(Saved())

    heard.wait()
