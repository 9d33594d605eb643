"""The canary: what it sends, what it makes of the answer, and when it has the link made anew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon.messaging import canary as canary_module
from antiphon.messaging.canary import Canary
from antiphon.messaging.topology import BROADCAST, Topology
from antiphon.messaging.transport import Arrival, Message


class Wire:
    """What a canary needs of a transport and of an inbox."""

    def __init__(self) -> None:
        self.arrivals = self.backlog = 0
        self.sent: list[Message] = []
        self.renewed: list[str] = []
        #: What becomes of a message.
        self.answer: Callable[[Message, Callable[[bool], None]], None] = lambda *_: None
        self._moved = threading.Condition()

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        with self._moved:
            self.sent.extend(messages)
            self._moved.notify_all()
        self.answer(messages[0], done)

    def renew(self, error: AntiphonError) -> None:
        with self._moved:
            self.renewed.append(str(error))
            self._moved.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        with self._moved:
            assert self._moved.wait_for(condition, 10), (self.sent, self.renewed)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """A wire on which a missing answer is noticed within 50 ms."""
    monkeypatch.setattr(canary_module, "LOOK_S", 0.01)
    monkeypatch.setattr(canary_module, "LATE_S", 0.05)
    return Wire()


@pytest.fixture
def canary(wire: Wire) -> Iterator[Canary]:
    """One that is sent every 20 ms, once there is a connection."""
    made = Canary("1.2.ab", 0.02, wire, wire)  # type: ignore[arg-type]
    made.start(Topology("x"))
    yield made
    made.stop()


def answer(canary: Canary) -> Callable[[Message, Any], None]:
    """Bring each message back."""

    def answered(message: Message, done: Callable[[bool], None]) -> None:
        done(True)
        assert canary.took(Arrival(message, BROADCAST))

    return answered


def test_it_is_sent_once_connected(wire: Wire, canary: Canary) -> None:
    """At once after a connect, then every so often, with a key of its own."""
    wire.answer = answer(canary)
    began = time.monotonic()
    canary.changed(True)

    wire.wait(lambda: len(wire.sent) >= 3)
    assert time.monotonic() - began >= 0.03
    assert {"!canary.1.2.ab"} == {message.routing_key for message in wire.sent}
    assert "" == wire.sent[0].publisher
    assert canary.problem() is None
    assert canary.round_trip_s is not None
    assert canary.age_s is not None
    assert 0 <= canary.round_trip_s < 1
    assert [] == wire.renewed


def test_nothing_is_sent_without_a_connection(wire: Wire, canary: Canary) -> None:
    """Neither before it, nor after it, nor while the broker takes nothing."""
    wire.answer = answer(canary)
    canary.blocked(True)
    canary.changed(True)
    canary.changed(False)
    canary.blocked(False)

    assert [] == wire.sent
    assert canary.problem() == "no canary has come back from the broker since it was connected"


def test_a_lost_one_renews_the_connection(wire: Wire, canary: Canary) -> None:
    """When nothing comes in although the connection stands, it is made anew."""
    wire.answer = lambda _, done: done(True)
    canary.changed(True)

    wire.wait(lambda: wire.renewed)
    assert "a queue has taken it, and gives it to nobody" in wire.renewed[0]
    assert 1 <= canary.renewals


def test_one_that_no_queue_takes_renews_at_once(wire: Wire, canary: Canary) -> None:
    """A binding that is gone is told by the broker itself."""
    canary_module.LOOK_S = 0.2  # the fixture puts it back
    began = time.monotonic()
    wire.answer = lambda _, done: done(False)
    canary.changed(True)

    wire.wait(lambda: wire.renewed)
    assert "no queue is bound" in wire.renewed[0]
    assert time.monotonic() - began < 0.2 * canary_module.LOOKS


def test_other_traffic_is_no_silence(wire: Wire, canary: Canary) -> None:
    """While other messages come from its queue, it waits behind them; but it is told."""

    def arrive(_: Message, done: Callable[[bool], None]) -> None:
        done(True)
        wire.arrivals += 1

    wire.answer = arrive
    canary.changed(True)

    wire.wait(lambda: len(wire.sent) > 3)
    assert [] == wire.renewed
    assert "no canary has come back" in str(canary.problem())


def test_one_that_is_not_published_yet_is_not_lost(wire: Wire, canary: Canary) -> None:
    """A broker that confirms slowly is given up by who publishes, and not for a canary."""
    canary.changed(True)

    wire.wait(lambda: len(wire.sent) > 3)
    assert [] == wire.renewed


def test_a_backlog_is_no_loss(wire: Wire, canary: Canary) -> None:
    """A canary behind what slow listeners hold up renews nothing; the problem says so."""
    wire.backlog = 1000
    wire.answer = lambda _, done: done(True)
    canary.changed(True)
    wire.wait(lambda: len(wire.sent) > 3)

    assert [] == wire.renewed
    assert "listeners are slow: 1000 messages wait" in str(canary.problem())


def test_a_lost_connection_is_no_lost_canary(wire: Wire, canary: Canary) -> None:
    """What was under way when the connection broke is forgotten."""
    wire.answer = lambda *_: canary.changed(False)
    canary.changed(True)
    wire.wait(lambda: wire.sent)
    wire.answer = answer(canary)
    canary.changed(True)
    wire.wait(lambda: len(wire.sent) > 1)

    assert [] == wire.renewed


def test_a_late_answer_counts(wire: Wire, canary: Canary) -> None:
    """On a slow broker each is overtaken by the next, and yet they go round."""
    canary.changed(True)
    wire.wait(lambda: len(wire.sent) > 2)
    assert canary.took(Arrival(wire.sent[0], BROADCAST))

    assert canary.age_s is not None
    assert canary.round_trip_s is not None
    assert canary.round_trip_s > 0.02


def test_the_answer_of_somebody_else_does_not_count(wire: Wire, canary: Canary) -> None:
    """What is no canary of this connection is taken out, and proves nothing."""
    canary.changed(True)
    wire.wait(lambda: wire.sent)
    old = wire.sent[0]
    canary.changed(False)
    canary.changed(True)

    assert canary.took(Arrival(old, BROADCAST))
    assert canary.took(Arrival(Message(canary.binding.pattern, b"x"), BROADCAST))
    assert canary.took(Arrival(Message("!canary.other", b"1"), BROADCAST))
    assert not canary.took(Arrival(Message("!.@x", b"1"), BROADCAST))
    assert canary.age_s is None


def test_age_of_the_last_one(wire: Wire, canary: Canary, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that came back too long ago is a problem, with its age."""
    wire.answer = answer(canary)
    canary.changed(True)
    wire.wait(lambda: wire.sent)
    canary.stop()
    later = time.monotonic() + 7
    monkeypatch.setattr(canary_module.time, "monotonic", lambda: later)

    assert canary.problem() == "the last canary came back from the broker 7 s ago"


def test_it_can_be_switched_off() -> None:
    """An interval of 0 costs neither a thread nor a binding, and is no problem."""
    wire, topology = Wire(), Topology("x")
    off = Canary("1", 0, wire, wire)  # type: ignore[arg-type]

    off.start(topology)
    off.changed(True)
    off.stop()

    assert () == topology.snapshot().bindings
    assert (None, True, []) == (off.problem(), off.is_alive(), wire.sent)
