"""Changes that the journal itself hands out, beside the bus."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from antiphon import open_bus
from antiphon.caching import tailing
from antiphon.caching.invalidator import CacheInvalidator
from antiphon.errors import StoreUnavailable
from antiphon.events.api import EventManager
from antiphon.messaging.bus import BrokerEventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue
from patience import wait_until


class Tailed(DictMemoryStore):
    """A store whose journal hands out its entries, and is asked for them once a time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.questions = 0
        self.silent = EventManager()

    def tail(self, position: Position, timeout_s: float) -> Sequence[JournalEntry]:
        self.questions += 1
        if self.is_away or self.wait(position, timeout_s) == position:
            raise StoreUnavailable("no answer")
        return list(self.since(position))

    def has_arrivals(self) -> bool:
        return False

    def write(self, key: str, data: bytes, *, is_told: bool = False) -> None:
        """Change a key; only if it *is_told* an event of it is heard."""
        manager = self.event_manager
        if not is_told:
            self.event_manager = self.silent
        self.set(key, StringValue(data))
        self.event_manager = manager


class Scene:
    """A cache of a tailed store, whose invalidator looks into the journal once an hour."""

    def __init__(self, bus: BrokerEventManager, **options: Any) -> None:
        self.store = Tailed()
        self.store.event_manager = bus
        own = DictMemoryStore()
        own.event_manager = EventManager()
        self.mounted = MountedStore("p/", own, self.store, fill=True)
        self.mounted.event_manager = EventManager()
        self.mounted.connect()
        self.invalidator = CacheInvalidator(self.mounted, bus, check_interval_s=3600, **options)

    def read(self) -> bytes:
        return self.mounted.get("p/a").data.read()


@pytest.fixture
def bus() -> Iterator[BrokerEventManager]:
    """A bus in memory."""
    with open_bus("memory:", system="tailing") as bus:
        yield bus


@pytest.fixture
def scene(bus: BrokerEventManager) -> Iterator[Scene]:
    """A cache that has read "old"."""
    scene = Scene(bus)
    scene.store.write("p/a", b"old")
    with scene.invalidator:
        scene.read()
        yield scene


def test_a_change_of_which_no_event_tells_is_heard_of(scene: Scene) -> None:
    """The journal's own word is enough, long before it is looked into."""
    scene.store.write("p/a", b"new")

    wait_until(lambda: scene.read() == b"new", "the new value")


def test_what_comes_by_both_ways_is_applied_once(scene: Scene) -> None:
    """An event of a change that the journal has handed out changes nothing any more."""
    for number in range(10):
        scene.store.write("p/a", b"%d" % number, is_told=True)
    wait_until(lambda: scene.read() == b"9", "the last value")
    wait_until(lambda: scene.mounted.filling.ledger.position() == scene.store.head(), "the head")

    assert scene.invalidator.stats().applied == 10
    assert scene.invalidator.stats().gaps == 0


def test_who_does_not_want_it_asks_nothing(bus: BrokerEventManager) -> None:
    """With tails_journal=False events alone are heard."""
    scene = Scene(bus, tails_journal=False)
    scene.store.write("p/a", b"old")
    with scene.invalidator:
        scene.store.write("p/a", b"new", is_told=True)
        wait_until(lambda: scene.read() == b"new", "the new value")

    assert scene.store.questions == 0


def test_a_journal_that_hands_out_nothing_is_not_missed(scene: Scene) -> None:
    """While it fails the cache is vouched for, and events tell; then it is asked again."""
    scene.store.is_away = True
    scene.store.wake()
    asked = scene.store.questions
    wait_until(lambda: scene.store.questions > asked, "a question that fails")
    scene.store.write("p/a", b"told", is_told=True)
    wait_until(lambda: scene.read() == b"told", "the value of which the bus tells")
    was_trusted = scene.invalidator.is_trusted
    scene.store.is_away = False
    scene.store.write("p/a", b"new")
    wait_until(lambda: scene.read() == b"new", "the value of which the journal tells")

    assert was_trusted
    assert scene.invalidator.is_alive()


def test_changes_that_come_often_are_left_to_the_bus(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store is asked no more than so often, however fast it changes."""
    monkeypatch.setattr(tailing, "_QUESTIONS_PER_S", 5.0)
    began, asked = time.monotonic(), scene.store.questions
    for number in range(300):
        scene.store.write("p/a", b"%d" % number, is_told=True)
        time.sleep(0.0015)  # the time in which it asks again if nothing holds it back
    wait_until(lambda: scene.read() == b"299", "the last value")
    questions = scene.store.questions - asked

    assert questions <= 50 + 5.0 * (time.monotonic() - began) + 2


def test_another_history_is_found_by_it(scene: Scene) -> None:
    """An entry of another epoch has the journal read at once, as an event of it does."""
    store, told = scene.store, threading.Event()
    entry = JournalEntry(
        store.head().version._replace(epoch=2, sequence=1), "p/a", "set", None, b"", True, 0
    )
    positions = scene.invalidator._applier.positions

    def tail(position: Position, _timeout_s: float) -> Sequence[JournalEntry]:
        if told.is_set():
            raise StoreUnavailable("no answer")
        told.set()
        return [entry]

    doubts = scene.invalidator.stats().doubts
    store.tail = tail  # type: ignore[method-assign]
    store.wake()
    store.write("p/b", b"x")
    wait_until(told.is_set, "the odd entry")
    wait_until(lambda: scene.invalidator.stats().doubts > doubts, "a doubt")
    wait_until(lambda: scene.invalidator.is_trusted, "trust after the journal was read")

    assert list(positions().values()) == [store.head()]


def test_nobody_asks_while_the_bus_is_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source is not asked by all its caches because of a broker that is down."""
    monkeypatch.setattr(type(scene.invalidator._bus), "is_connected", False)
    scene.store.write("p/a", b"1")  # answers the question that stands
    asked = scene.store.questions
    scene.store.write("p/a", b"2")
    threading.Event().wait(1.5)  # longer than any pause between two attempts
    while_away = scene.store.questions - asked
    monkeypatch.undo()
    wait_until(lambda: scene.read() == b"2", "the new value")

    assert while_away <= 1
