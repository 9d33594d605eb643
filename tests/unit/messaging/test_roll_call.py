"""Who is there: buses answer by themselves, and nobody else hears of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

import antiphon
from antiphon import BaseEvent, BrokerEventManager
from antiphon.errors import BrokerUnavailable, BusClosed, InvalidBusOption
from antiphon.messaging.bus import BusOptions
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.roll_call import CALL_KEY, MAX_RATE
from antiphon.messaging.topology import BROADCAST
from antiphon.messaging.transport import Arrival, Message

BusOf = Callable[..., BrokerEventManager]


class Called(BaseEvent):
    """Something to listen to."""

    wire_name = "test:Called"


def ignore(event: BaseEvent) -> None:
    """Do nothing."""


def test_everybody_else_answers(bus_of: BusOf) -> None:
    """An answer says which process it is and what it listens to."""
    asking, one = bus_of("shop.asking"), bus_of("shop.one")
    bus_of("shop.two")
    one.connect(Called, ignore, origin="shop")
    one.subscribe("audit", Called, ignore, mode="group")

    first, second = asking.roll_call(0.2)

    assert ["shop.one", "shop.two"] == [first.origin, second.origin]
    assert (os.getpid(), one.publisher_id) == (first.pid, first.publisher)
    assert (None, "#.test:Called.#.@shop") in first.bindings
    (subscription,) = first.subscriptions
    assert ("audit", "group", "antiphon.sub.audit") == (
        subscription.name,
        subscription.mode,
        subscription.queue,
    )
    assert (None, "#.test:Called.#") in subscription.bindings


def test_versions_and_clocks_are_told(bus_of: BusOf) -> None:
    """An answer has the version, and by how much the clock there is off, if it is."""
    asking = bus_of("shop.asking")
    for ahead_s in (0.0, 90.0, -90.0):
        other = bus_of(f"shop.off{ahead_s:g}")
        told = other.describe(1.0)
        other.describe = lambda up_s, told=told, ahead_s=ahead_s: (
            told
            | {  # type: ignore[method-assign, misc]
                "time": time.time() + ahead_s
            }
        )

    behind, right, ahead = asking.roll_call(0.2)

    assert (antiphon.__version__, 0.0) == (right.version, right.clock_off_s)
    assert (90, -90) == (
        pytest.approx(ahead.clock_off_s, abs=1),
        pytest.approx(behind.clock_off_s, abs=1),
    )


@pytest.mark.parametrize("said", [None, float("inf"), float("nan")])
def test_an_answer_without_a_clock(bus_of: BusOf, said: Any) -> None:
    """One of an older version says nothing of version and clock, and counts."""
    asking, other = bus_of("a"), bus_of("b")
    told = {**other.describe(1.0), "version": None, "time": said}
    other.describe = lambda up_s: told  # type: ignore[method-assign]

    (answer,) = asking.roll_call(0.2)

    assert (None, None) == (answer.version, answer.clock_off_s)


@pytest.mark.parametrize("wrong", [{"pid": float("inf")}, {"time": 10**400}, {"up_s": []}])
def test_an_answer_that_makes_no_sense_is_none(bus_of: BusOf, wrong: dict[str, Any]) -> None:
    """It is left out, and whoever asked stays connected."""
    asking, other = bus_of("a"), bus_of("b")
    told = other.describe(1.0) | wrong
    other.describe = lambda up_s: told  # type: ignore[method-assign]

    assert [] == asking.roll_call(0.2)
    assert 1 == asking.stats().connects


def test_it_is_no_event(bus_of: BusOf) -> None:
    """A listener of everything hears nothing of it, and no counter moves."""
    asking, other = bus_of(), bus_of()
    heard: list[Any] = []
    other.connect(BaseEvent, heard.append)

    asking.roll_call(0.1)
    stats = other.stats()

    assert [] == heard
    assert (0, 0, 0, 0) == (stats.received, stats.emitted, stats.corrupt, stats.duplicates)


def test_it_can_be_switched_off(bus_of: BusOf) -> None:
    """A bus that is told not to answers nobody."""
    asking = bus_of()
    bus_of(options=BusOptions(answers_roll_call=False))

    assert [] == asking.roll_call(0.1)


def test_who_asks_too_often_gets_no_answer(bus_of: BusOf) -> None:
    """Answers of a bus are few in a second, whatever others ask."""
    asking, other = bus_of(), bus_of(options=BusOptions(canary_interval_s=0))
    sent: list[Message] = []
    other._transport.forward = lambda messages, done: sent.extend(messages)  # type: ignore[method-assign]
    body = json.dumps({"answer": "!roll.answer.x", "nonce": "n"}).encode()

    for _ in range(100):
        other._roll_call.took(Arrival(Message(CALL_KEY, body), "elsewhere"))
        other._roll_call.took(Arrival(Message(CALL_KEY, body), BROADCAST))

    assert MAX_RATE == len(sent)
    assert asking.is_connected


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b'{"nonce": 1}', b'{"answer": "a.b", "nonce": 1}', b"[" * 100_000],
)
def test_nonsense_is_dropped(bus_of: BusOf, body: bytes) -> None:
    """Whatever stands in a question or an answer, nothing is published and nothing raised."""
    bus = bus_of(options=BusOptions(canary_interval_s=0))
    sent: list[Message] = []
    bus._transport.forward = lambda messages, done: sent.extend(messages)  # type: ignore[method-assign]

    for key in (CALL_KEY, f"!roll.answer.{bus.publisher_id}"):
        assert bus._roll_call.took(Arrival(Message(key, body), BROADCAST))
    assert [] == sent


@pytest.mark.parametrize("wait_s", [-1, "1", None])
def test_who_asks_waits_for_a_number_of_seconds(bus_of: BusOf, wait_s: Any) -> None:
    """The message shows what was given."""
    with pytest.raises(InvalidBusOption, match=f"wait_s is a number .*not {wait_s!r}"):
        bus_of().roll_call(wait_s)


def test_a_closed_bus_asks_nobody(bus_of: BusOf) -> None:
    """It says so."""
    bus = bus_of()
    bus.close()

    with pytest.raises(BusClosed):
        bus.roll_call(0.1)


def test_a_bus_that_is_not_connected_asks_nobody(
    bus_of: BusOf, memory_broker: MemoryBroker
) -> None:
    """It says so, too."""
    bus = bus_of()
    memory_broker.stop()

    with pytest.raises(BrokerUnavailable, match="nobody can be asked"):
        bus.roll_call(0.1)
