"""P1 and P2: remote listeners hear what local ones do, and nothing needless crosses the wire."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from bus_helpers import Heard, Numbered, python, wait_until
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon import BaseEvent, BrokerEventManager, Prefix, open_bus
from antiphon.events.delivery import delivery_of

_examples = itertools.count()

#: Few enough that what is asked for is often there, and related in every way.
ORIGINS = [
    "",
    "a",
    "a.b",
    "a.b.c",
    "ab",
    "a..b",
    "b",
    "ä ö",
    "#.*",
    "a.b.c.d.e.f.g.h",
    "a.b.c.d.e.f.x",
    "a." + "x" * 40,
]

origins = st.sampled_from(ORIGINS)
specs = st.one_of(
    st.none(),
    origins,
    origins.map(Prefix),
    st.lists(st.one_of(origins, origins.map(Prefix)), max_size=3),
)
values = st.sampled_from([None, 0, 1, True, 1.0, "1", b"1", "ü"])
filters = st.one_of(
    st.none(), st.dictionaries(st.sampled_from(["kind", "source.origin"]), values, max_size=2)
)


class Source:
    """Something that events come from."""

    def __init__(self, origin: str | None) -> None:
        self.origin = origin


@st.composite
def hierarchies(draw: st.DrawFn) -> list[type[BaseEvent]]:
    """Return event classes with up to three bases each, diamonds included."""
    example = next(_examples)
    classes: list[type[BaseEvent]] = [BaseEvent]
    for index in range(draw(st.integers(1, 7))):
        bases = draw(st.lists(st.sampled_from(classes), min_size=1, max_size=3, unique=True))
        word = draw(st.sampled_from(["Plain", "Mit Punkt.#", "ünï*", "L" * 60]))
        body = {"wire_name": f"test{example}:{word}{index}"}
        try:
            classes.append(type(f"C{index}", tuple(bases), body))
        except TypeError:  # no consistent order of these bases
            classes.append(type(f"C{index}", (bases[0],), body))
    return classes


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    """Return listeners (class, filter, priority, origin), and events to emit."""
    classes = draw(hierarchies())
    listeners = draw(
        st.lists(
            st.tuples(st.sampled_from(classes), filters, st.integers(-1, 1), specs),
            min_size=1,
            max_size=6,
        )
    )
    events = draw(
        st.lists(
            st.tuples(
                st.sampled_from(classes),
                st.dictionaries(st.just("kind"), values),
                st.one_of(st.none(), origins),  # the event's own
                st.one_of(st.none(), st.one_of(st.none(), origins).map(Source)),
            ),
            min_size=1,
            max_size=6,
        )
    )
    return listeners, events


class Pair:
    """A bus that emits and listens, and one that listens in its place."""

    def __init__(self, url: str, system: str) -> None:
        self.here = open_bus(url, origin="a.b", system=system)
        self.there = open_bus(url, origin="ä ö", system=system)
        self.end = Heard()
        self.there.connect(Numbered, self.end)

    def close(self) -> None:
        self.here.close()
        self.there.close()

    def play(self, listeners: list[Any], events: list[Any]) -> tuple[list[Any], list[Any]]:
        """Emit *events*, and return who was called with which of them, here and there."""
        called: dict[BrokerEventManager, list[Any]] = {self.here: [], self.there: []}
        connected = []
        for bus, calls in called.items():
            for index, (cls, filter, priority, origin) in enumerate(listeners):

                def listener(event: Any, index: int = index, calls: Any = calls) -> None:
                    if type(event) is not Numbered:
                        calls.append((event.index, index))

                with warnings.catch_warnings():
                    # Of a word that looks like a wildcard people are warned; it is in ORIGINS.
                    warnings.filterwarnings("ignore", "origin '#", UserWarning)
                    bus.connect(cls, listener, filter, priority, origin=origin)
                connected.append((bus, cls, listener))
        for index, (cls, attributes, origin, source) in enumerate(events):
            own = {} if origin is None else {"origin": origin}
            self.here.emit(cls(source, index=index, **attributes, **own))
        expected = len(self.end.events) + 1
        self.here.emit(Numbered())
        self.end.wait(expected)
        for bus, cls, listener in connected:
            bus.disconnect(cls, listener)
        return called[self.here], called[self.there]


def check_parity(pair: Pair, scene: tuple[list[Any], list[Any]]) -> None:
    here, there = pair.play(*scene)

    assert here == there


@pytest.fixture
def memory_pair() -> Iterator[Pair]:
    pair = Pair("memory://parity", "parity")
    yield pair
    pair.close()


@pytest.fixture
def amqp_pair(amqp_url: str, system: str) -> Iterator[Pair]:
    pair = Pair(amqp_url, system)
    yield pair
    pair.close()


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scene=scenes())
def test_parity_in_memory(memory_pair: Pair, scene: tuple[list[Any], list[Any]]) -> None:
    """Whatever classes, filters, priorities and origins: the same calls, in the same order."""
    check_parity(memory_pair, scene)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scene=scenes())
def test_parity_over_rabbitmq(amqp_pair: Pair, scene: tuple[list[Any], list[Any]]) -> None:
    """The same, with RabbitMQ's matching in place of ours."""
    check_parity(amqp_pair, scene)


def test_only_what_was_asked_for_is_sent(amqp_url: str, system: str) -> None:
    """Two processes that listen to different origins do not receive each other's events."""
    with (
        open_bus(amqp_url, system=system, origin="north") as north,
        open_bus(amqp_url, system=system, origin="south") as south,
        open_bus(amqp_url, system=system) as ear_north,
        open_bus(amqp_url, system=system) as ear_south,
    ):
        heard_north, heard_south = Heard(), Heard()
        ear_north.connect(Numbered, heard_north, origin="north")
        ear_south.connect(Numbered, heard_south, origin=Prefix("south"))
        for number in range(20):
            north.emit(Numbered(number=number))
            south.emit(Numbered(number=-number))
            south.emit(BaseEvent(number=number))
        north.flush(10)
        south.flush(10)

        heard_north.wait(20)
        heard_south.wait(20)

        assert (20, 20) == (ear_north.stats().received, ear_south.stats().received)
        assert (0, 20) == (north.stats().returned, south.stats().returned)
        assert (0, 0) == (north.stats().received, south.stats().received)


_CHILD = """
import sys
from antiphon import open_bus
from antiphon.events.api import BaseEvent

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

class Special(Numbered):
    wire_name = "test:Special"

with open_bus(sys.argv[1], system=sys.argv[2], origin="child.one") as bus:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(5):
        bus.emit(Special(number=number, note="n%d" % number))
        bus.emit(Numbered(number=-number))
    bus.flush(10)
"""


def test_class_that_only_the_other_process_has(amqp_url: str, system: str) -> None:
    """An event of a class unknown here arrives, by its base, with everything in it."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus, python(_CHILD, amqp_url, system) as child:
        bus.connect(Numbered, heard, filter={"note": "n3"}, origin=Prefix("child"))
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()

        event = heard.wait()[0]

        assert ("Special", 3, True) == (
            type(event).__name__,
            event.number,
            isinstance(event, Numbered),
        )
        delivery = delivery_of(event)
        assert delivery is not None
        assert "child.one" == delivery.origin


def test_systems_on_one_broker(amqp_url: str, system: str) -> None:
    """Two systems never hear each other."""
    heard, unheard = Heard(), Heard()
    with (
        open_bus(amqp_url, system=f"{system}-1") as one,
        open_bus(amqp_url, system=f"{system}-1") as same,
        open_bus(amqp_url, system=f"{system}-2") as other,
    ):
        same.connect(BaseEvent, heard)
        other.connect(BaseEvent, unheard)
        one.emit(Numbered(number=1))
        one.flush(10)

        heard.wait()
        wait_until(lambda: same.stats().received == 1, "it is received")

        assert 0 == other.stats().received
        assert [] == unheard.events
