"""Exchanges beside a bus's own: where events go that have a topic, and who hears them there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from antiphon import BaseEvent
from antiphon.errors import BrokerRefused, BusClosed
from antiphon.messaging import exchanges as exchanges_module
from antiphon.messaging.bus import BrokerEventManager
from antiphon.messaging.exchanges import Exchanges
from antiphon.messaging.topics import TopicPattern
from antiphon.messaging.topology import ExchangeSpec, Topology

Opener = Callable[..., BrokerEventManager]


class Measured(BaseEvent):
    """An event with an exchange and a topic of its own."""

    wire_name = "test:Measured"
    _exchange = "measures"

    @property
    def topic(self) -> str:
        return str(self.place)


@pytest.fixture
def topology() -> Topology:
    return Topology("shop.events")


@pytest.mark.parametrize("name", ["events.topic", "shop.events.topic"])
def test_an_exchange_is_declared_once(topology: Topology, name: str) -> None:
    """When it is first asked for, with the system before its name, feeding the own one."""
    told: list[None] = []
    exchanges = Exchanges("shop", topology, lambda: told.append(None))

    assert "shop.events.topic" == exchanges.named(name) == exchanges.named(name)
    assert 1 == len(told)
    assert (ExchangeSpec("shop.events.topic", feeds_main=True),) == topology.snapshot().exchanges


def test_the_class_key_goes_along(topology: Topology) -> None:
    """The broker routes by BCC as well, and the transport gives the key back on arrival."""
    exchanges = Exchanges("shop", topology, lambda: None)

    assert (
        "1001.x",
        {"origin": "ö", "antiphon-key": "a.b", "BCC": ["a.b"]},
        "shop.t",
    ) == exchanges.address("a.b", {"origin": "ö"}, exchange="t", topic="1001.x")


def test_by_topic_and_by_class(bus_of: Opener, heard: Any) -> None:
    """An event with an exchange reaches listeners of both kinds, once each, and no others."""
    sender, by_topic, by_class, neither = (bus_of() for _ in range(4))
    others: list[Any] = []
    by_topic.connect_topic(
        "measures", "sea.*", Measured, heard, None, lambda event: event.place.startswith("sea.")
    )
    by_class.connect(Measured, others.append, origin="x")
    neither.connect_topic("measures", "land.*", Measured, others.append, None, lambda _: True)

    for place in ("sea.north", "land", "sea.south"):
        sender.emit(Measured(place=place, origin="x"))
    sender.emit(BaseEvent(place="sea.east"))
    sender.flush(5)

    assert ["sea.north", "sea.south"] == [event.place for event in heard.wait(2)]
    assert 2 == by_topic.stats().received
    assert 0 == neither.stats().received


def test_a_refused_exchange_is_told(bus_of: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller learns it, nothing is connected or emitted, and a later call asks again."""
    bus = bus_of()
    asked: list[int] = []

    def refuse(generation: int, timeout_s: float) -> bool:
        asked.append(generation)
        raise BrokerRefused("no")

    monkeypatch.setattr(bus._topology, "wait", refuse)
    for _ in range(2):
        with pytest.raises(BrokerRefused, match="no"):
            bus.connect_topic("measures", "#", Measured, print)
        with pytest.raises(BrokerRefused, match="no"):
            bus.emit(Measured(place="x"))

    assert 1 == len(asked)
    assert ([], 0) == (bus.get_listeners(Measured), bus.stats().emitted)
    monkeypatch.undo()
    monkeypatch.setattr(exchanges_module, "REFUSAL_S", 0)
    bus.connect_topic("measures", "#", Measured, print)
    bus.emit(Measured(place="x"))
    bus.flush(5)


def test_a_closed_bus_declares_nothing(bus_of: Opener) -> None:
    """Neither an exchange nor a listener."""
    bus = bus_of()
    bus.close()

    with pytest.raises(BusClosed):
        bus.put_exchange("measures")
    with pytest.raises(BusClosed):
        bus.connect_topic("measures", "#", Measured, print)


@pytest.mark.parametrize(
    ("pattern", "key", "is_match"),
    [
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.#", "a", True),
        ("#.c", "a.b.c", True),
        ("*.#", "", False),
        ("a.b", "a.bc", False),
    ],
)
def test_one_pattern(pattern: str, key: str, is_match: bool) -> None:
    """By the same rules as a table of them."""
    assert is_match == TopicPattern(pattern).matches(key)
