"""Trap 9: subclasses, diamonds, long keys and moved classes reach exactly their listeners."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest
from bus_helpers import Heard, Numbered, python, wait_until

from antiphon import BaseEvent, BrokerEventManager, EventManager, Prefix, open_bus

_examples = itertools.count()

ORIGINS = ("", "a", "a.b", "a..b", "ä.ö", "#.*", "a.b.c.d.e.f.g", "x" * 90)

WORDS = ("Plain", "Mit Punkt.#", "ünï*!", "L" * 70)


def draw_classes(rng: random.Random) -> list[type[BaseEvent]]:
    """Return a hierarchy with diamonds; deep ones have keys that AMQP cannot hold."""
    example = next(_examples)
    classes: list[type[BaseEvent]] = [BaseEvent]
    for index in range(rng.choice((4, 8, 25))):
        # Mostly on from the newest: deep, with diamonds across.
        bases = [classes[-1], *rng.sample(classes, min(len(classes), rng.randrange(3)))]
        name = f"trap9-{example}:{rng.choice(WORDS)}{index}"
        for attempt in (tuple(dict.fromkeys(bases)), (bases[0],)):
            try:
                classes.append(type(f"C{index}", attempt, {"wire_name": name}))
            except TypeError:  # no consistent order of these bases
                continue
            break
    return classes


class Witness:
    """Notes which listener heard which event."""

    def __init__(self) -> None:
        self.heard: set[tuple[int, int]] = set()

    def listener(self, index: int) -> Any:
        return lambda event: self.heard.add((index, event.index))


@pytest.fixture
def buses(
    amqp_url: str, system: str
) -> Iterator[tuple[BrokerEventManager, BrokerEventManager, Heard]]:
    end = Heard()
    with open_bus(amqp_url, system=system) as here, open_bus(amqp_url, system=system) as there:
        there.connect(Numbered, end)
        yield here, there, end


@pytest.mark.filterwarnings("ignore:origin '#")
@pytest.mark.parametrize("seed", range(12))
def test_remote_is_as_in_process(
    buses: tuple[BrokerEventManager, BrokerEventManager, Heard], seed: int
) -> None:
    """What a remote listener hears is what a plain event manager calls it with."""
    here, there, end = buses
    rng = random.Random(seed)
    classes = draw_classes(rng)
    plain, local, remote = EventManager(), Witness(), Witness()
    events = [
        (rng.choice(classes), {"index": index, "origin": rng.choice(ORIGINS)})
        for index in range(12)
    ]
    for index in range(8):
        cls = rng.choice(classes)
        plain.connect(cls, local.listener(index))
        there.connect(cls, remote.listener(index))
    # A plain manager knows no origins: those are matched here as it is written down.
    for index in range(8, 12):
        cls, origin = rng.choice(classes), rng.choice(ORIGINS)
        plain.connect(cls, local.listener(index), filter={"origin": origin})
        there.connect(cls, remote.listener(index), origin=origin)

    for cls, attributes in events:
        plain.emit(cls(**attributes))
        here.emit(cls(**attributes))
    here.emit(Numbered(index=-1))
    end.wait(1)

    assert local.heard == {pair for pair in remote.heard if pair[1] >= 0}
    assert local.heard


def test_origins_below_a_prefix(
    buses: tuple[BrokerEventManager, BrokerEventManager, Heard],
) -> None:
    """A prefix takes whole words, whatever is in them."""
    here, there, end = buses
    heard: list[str] = []
    there.connect(BaseEvent, lambda event: heard.append(event.origin), origin=Prefix("a.b"))
    origins = ["a.b", "a.b.c", "a.bc", "a", "a.b.#", "b.a.b", "a..b"]
    for origin in origins:
        here.emit(BaseEvent(origin=origin))
    here.emit(Numbered(number=0))
    end.wait(1)

    assert ["a.b", "a.b.c", "a.b.#"] == heard


class Moved(BaseEvent):
    """A class that had another name, in another module, when others were deployed."""

    wire_name = "trap9.now:Moved"
    wire_aliases = ("trap9.before:Moved",)


_OLD_PROGRAM = """
import sys
from antiphon import open_bus
from antiphon.events.api import BaseEvent

class Moved(BaseEvent):
    wire_name = "trap9.before:Moved"

class Special(Moved):
    wire_name = "trap9.before:Special"

with open_bus(sys.argv[1], system=sys.argv[2]) as bus:
    print("ready", flush=True)
    sys.stdin.readline()
    bus.emit(Moved(number=1))
    bus.emit(Special(number=2))
    bus.emit(BaseEvent(number=3))
    bus.flush(10)
    print("done", flush=True)
"""


def test_class_that_has_moved(amqp_url: str, system: str) -> None:
    """Events of a program that still has the class under its old name arrive as the new class."""
    heard = Heard()
    with (
        open_bus(amqp_url, system=system) as bus,
        python(_OLD_PROGRAM, amqp_url, system) as program,
    ):
        bus.connect(Moved, heard)
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
        events = heard.wait(2)
        wait_until(lambda: bus.stats().received == 2, "both are received")

        assert [1, 2] == [event.number for event in events]
        assert type(events[0]) is Moved
        assert isinstance(events[1], Moved)
