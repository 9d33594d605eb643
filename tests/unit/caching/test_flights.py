"""Single flight: one reads the source, and who may take what it brings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from antiphon.storage.flights import Flights

DEADLINE_S = 20.0


class Airport:
    """Flights of one key that land when they are let."""

    def __init__(self) -> None:
        self.now = 100.0
        self.flights: Flights[str] = Flights(lambda: self.now)
        self.taken_off: list[threading.Event] = []
        self.cargoes = ["first", "second", "third"]
        self.landed: dict[str, str | None] = {}

    def fly(self) -> str | None:
        cargo = self.cargoes[len(self.taken_off)]
        may_land = threading.Event()
        self.taken_off.append(may_land)
        assert may_land.wait(DEADLINE_S)
        return cargo

    def read(self, name: str, within_s: float) -> threading.Thread:
        def run() -> None:
            landed = self.flights.run("k", self.fly, within_s=within_s)
            self.landed[name] = None if landed is None else landed.cargo

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def wait_for(self, count: int) -> None:
        self.wait_until(lambda: len(self.taken_off) == count, f"{count} flights")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"
            threading.Event().wait(0.001)


@pytest.fixture
def airport() -> Airport:
    return Airport()


def waiting(thread: threading.Thread) -> threading.Thread:
    """Give *thread* the time to come to where it waits."""
    thread.join(0.05)
    assert thread.is_alive()
    return thread


def test_who_comes_within_the_bound_takes_what_another_reads(airport: Airport) -> None:
    """The source is asked once."""
    first = airport.read("a", 3)
    airport.wait_for(1)
    others = [waiting(airport.read(name, 3)) for name in "bc"]
    airport.taken_off[0].set()
    for thread in [first, *others]:
        thread.join(DEADLINE_S)

    assert dict.fromkeys("abc", "first") == airport.landed
    assert 2 == airport.flights.shared


def test_who_must_not_be_behind_waits_and_flies_again_once_for_all(airport: Airport) -> None:
    """A flight that began before one's own read may bring what was there before it."""
    first = airport.read("a", 0)
    airport.wait_for(1)
    others = [waiting(airport.read(name, 0)) for name in "bc"]
    airport.taken_off[0].set()
    airport.wait_for(2)
    airport.taken_off[1].set()
    for thread in [first, *others]:
        thread.join(DEADLINE_S)

    assert {"a": "first", "b": "second", "c": "second"} == airport.landed


def test_a_flight_that_took_longer_than_the_bound_is_not_shared(airport: Airport) -> None:
    """What it brings was right when it took off, and that is too long ago."""
    first = airport.read("a", 3)
    airport.wait_for(1)
    other = waiting(airport.read("b", 3))
    airport.now += 3.1
    airport.taken_off[0].set()
    airport.wait_for(2)
    airport.taken_off[1].set()
    first.join(DEADLINE_S)
    other.join(DEADLINE_S)

    assert {"a": "first", "b": "second"} == airport.landed


def test_after_an_own_write_a_flight_is_not_shared(airport: Airport) -> None:
    """Neither with who waits for it, nor with who comes later."""
    first = airport.read("a", 3)
    airport.wait_for(1)
    before = waiting(airport.read("b", 3))
    airport.flights.void("k")
    after = airport.read("c", 3)
    airport.wait_for(2)
    airport.taken_off[0].set()
    airport.wait_for(3)
    for landing in airport.taken_off[1:]:
        landing.set()
    for thread in (first, before, after):
        thread.join(DEADLINE_S)

    assert "first" == airport.landed["a"]
    assert {"second", "third"} == {airport.landed["b"], airport.landed["c"]}


def test_a_flight_that_fails_is_its_own_readers_trouble(airport: Airport) -> None:
    """Others read for themselves, and do not get an error that is not theirs."""
    failed: list[str] = []

    def fail() -> str:
        airport.fly()
        raise KeyError("k")

    def run() -> None:
        try:
            airport.flights.run("k", fail, within_s=3)
        except KeyError as exc:
            failed.append(str(exc))

    first = threading.Thread(target=run, daemon=True)
    first.start()
    airport.wait_for(1)
    other = waiting(airport.read("b", 3))
    airport.taken_off[0].set()
    airport.wait_for(2)
    airport.taken_off[1].set()
    first.join(DEADLINE_S)
    other.join(DEADLINE_S)

    assert ["'k'"] == failed
    assert {"b": "second"} == airport.landed


def test_what_is_of_no_use_to_others_is_not_shared(airport: Airport) -> None:
    """None means that the key was voided while it was read."""
    landed = airport.flights.run("k", lambda: None, within_s=3)

    assert landed is None
    assert 0 == airport.flights.shared
