"""A recorder writes what goes over a bus into an archive, whatever happens to that."""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon import BaseEvent, open_archive
from antiphon.archive import Event, EventStore
from antiphon.archive.recorded import decode_recorded
from antiphon.archive.recorder import Recorder
from antiphon.errors import ArchiveFull, InvalidEvent
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription_options import SubscriptionOptions
from patience import wait_until

#: Poison is buried at once.
IMPATIENT = SubscriptionOptions(delivery_limit=2, retry_delay_s=0.01)


class Recorded(BaseEvent):
    """Something happened."""

    wire_name = "test:Recorded"


class RecordedToo(Recorded):
    """Something else happened."""

    wire_name = "test:RecordedToo"


class NotRecorded(BaseEvent):
    """Nobody asked for it."""

    wire_name = "test:NotRecorded"


@pytest.fixture
def memory_url() -> str:
    """URL of a broker that no other test uses."""
    return f"memory://{secrets.token_hex(6)}"


@pytest.fixture
def bus(memory_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(memory_url, origin="shop") as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"


@pytest.fixture
def archive(path: Path) -> Iterator[EventStore]:
    with open_archive(f"sqlite:///{path}", timeout_s=0.05) as opened:
        yield opened


@pytest.fixture
def recorder_of(bus: BrokerEventManager, archive: EventStore) -> Iterator[Callable[..., Recorder]]:
    """Start recorders, and stop them after the test."""
    recorders: list[Recorder] = []

    def started(**options: Any) -> Recorder:
        options.setdefault("archive", archive)
        options.setdefault("bus", bus)
        recorders.append(Recorder(options.pop("bus"), options.pop("archive"), **options).start())
        return recorders[-1]

    yield started
    for one in recorders:
        one.stop()


class Moody:
    """An archive that refuses what the test says."""

    def __init__(self, archive: EventStore) -> None:
        self.archive = archive
        self.errors: list[Exception] = []  # of the next calls
        self.refused: set[int] = set()
        self.calls = 0

    def save_many(self, events: Iterable[Event]) -> int:
        self.calls += 1
        events = list(events)
        if self.errors:
            raise self.errors.pop(0)
        for event in events:
            if json.loads(event.content)["attributes"].get("number") in self.refused:
                raise InvalidEvent(f"no {event.id}")
        return self.archive.save_many(events)


def emit(bus: BrokerEventManager, *numbers: int, cls: type[BaseEvent] = Recorded) -> None:
    for number in numbers:
        bus.emit(cls(number=number))
    bus.flush(5)


def found(archive: EventStore, flag: str = "test:Recorded") -> list[int]:
    """Return the numbers of all archived events with *flag*, in their order."""
    events = archive.search(0, flags=[flag])
    return [decode_recorded(event).number for event in events]  # type: ignore[attr-defined]


def wait_for(archive: EventStore, *numbers: int) -> None:
    wait_until(lambda: found(archive) == list(numbers), f"{numbers} in the archive")


def test_what_is_emitted_can_be_found(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """By class, bases included, and by origin; with both times."""
    recorder_of()
    emit(bus, 1)
    emit(bus, 2, cls=RecordedToo)
    wait_for(archive, 1, 2)
    (event,) = archive.search(0, flags=["test:RecordedToo", "origin:shop"])

    assert event.received is not None
    assert 0 <= event.received - event.timestamp < 10


def test_what_is_emitted_while_it_is_away_is_archived(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """Under its name the events wait at the broker."""
    recorder_of().stop()
    emit(bus, 1, 2)
    recorder_of()

    wait_for(archive, 1, 2)


def test_many_events_share_a_commit(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """A commit costs as much as a hundred events."""
    recorder_of().stop()
    emit(bus, *range(200))
    recorder = recorder_of(max_events=100)
    wait_for(archive, *range(200))
    wait_until(lambda: recorder.stats().recorded == 200, "all counted")

    assert recorder.stats().commits <= 10


def test_an_event_that_comes_twice_is_archived_once(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """The first one is kept, and the second one counted."""
    first, second = recorder_of(name="a"), recorder_of(name="b")
    emit(bus, 1)
    wait_until(lambda: first.stats().commits == second.stats().commits == 1, "both have it")

    assert [1] == found(archive)
    assert (1, 1) == tuple(
        getattr(first.stats(), name) + getattr(second.stats(), name)
        for name in ("recorded", "known")
    )


def test_classes_and_origins_can_be_chosen(
    bus: BrokerEventManager,
    memory_url: str,
    archive: EventStore,
    recorder_of: Callable[..., Recorder],
) -> None:
    """The rest does not even come here."""
    recorder_of(classes=(Recorded,), origin="shop")
    emit(bus, 1, cls=NotRecorded)
    with open_bus(memory_url, origin="elsewhere") as other:
        emit(other, 2)
    emit(bus, 3)
    wait_for(archive, 3)

    assert [] == found(archive, "test:NotRecorded")


def test_a_locked_archive_is_waited_for(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder], path: Path
) -> None:
    """Nothing is lost, nothing goes to the dead letters, and it says what it waits for."""
    recorder = recorder_of()
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    emit(bus, 1, 2)
    wait_until(lambda: recorder.stats().failures >= 2, "it tried again")
    problem, waiting_s = recorder.problem(), recorder.stats().waiting_s
    locker.execute("ROLLBACK")
    locker.close()
    wait_for(archive, 1, 2)
    wait_until(lambda: recorder.problem() is None, "it says that all is well")

    assert problem is not None
    assert "locked by others" in problem
    assert waiting_s > 0
    assert 0 == bus.durable_subscriptions[0].stats().dead


def test_a_full_disk_is_waited_for(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """As long as it takes, without another call for each event."""
    moody = Moody(archive)
    moody.errors = [ArchiveFull("no room")] * 3
    recorder = recorder_of(archive=moody)
    emit(bus, 1)
    wait_for(archive, 1)

    assert (3, 1) == (recorder.stats().failures, recorder.stats().recorded)


def test_a_recorder_that_waits_can_be_stopped(
    bus: BrokerEventManager,
    archive: EventStore,
    recorder_of: Callable[..., Recorder],
    memory_url: str,
) -> None:
    """What it has in hand stays at the broker, and is archived by the next one."""
    moody = Moody(archive)
    moody.errors = [ArchiveFull("no room")] * 1000
    recorder = recorder_of(archive=moody)
    emit(bus, 1, 2)
    wait_until(lambda: moody.calls > 0, "it tried")
    recorder.stop()
    before = found(archive)
    recorder_of()
    wait_for(archive, 1, 2)

    assert [] == before


def test_restarts_while_the_archive_is_away_lose_nothing(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """What was in hand each time may look like what kills recorders; it is archived in order."""
    moody = Moody(archive)
    moody.errors = [ArchiveFull("no room")] * 1000
    recorder_of(archive=moody).stop()
    for number in range(30):
        emit(bus, number)
    for _ in range(4):
        calls = moody.calls
        recorder = recorder_of(archive=moody, max_events=7)
        wait_until(lambda calls=calls: moody.calls > calls, "it tried")
        recorder.stop()
    moody.errors.clear()
    recorder_of(archive=moody, max_events=7)

    wait_for(archive, *range(30))


def test_a_closed_bus_ends_the_waiting(
    archive: EventStore, recorder_of: Callable[..., Recorder], memory_url: str
) -> None:
    """Nobody needs to stop the recorder first."""
    moody = Moody(archive)
    moody.errors = [ArchiveFull("no room")] * 1000
    other = open_bus(memory_url, origin="other")
    recorder = recorder_of(bus=other, archive=moody)
    emit(other, 1)
    wait_until(lambda: moody.calls > 0, "it tried")
    other.close()

    assert all("recorder" not in thread.name for thread in threading.enumerate())
    assert recorder.is_alive()


def test_what_no_archive_can_keep_is_a_dead_letter(
    bus: BrokerEventManager,
    archive: EventStore,
    recorder_of: Callable[..., Recorder],
    memory_url: str,
) -> None:
    """Those beside it are archived."""
    moody = Moody(archive)
    moody.refused = {2}
    recorder_of().stop()
    emit(bus, 1, 2, 3)
    recorder_of(archive=moody, options=IMPATIENT)
    wait_for(archive, 1, 3)
    broker = MemoryBroker.named(memory_url.removeprefix("memory://"))
    wait_until(lambda: broker.depth("antiphon.dead") == 1, "one dead letter")

    assert 1 == bus.durable_subscriptions[0].stats().dead


def test_where_events_may_be_missing_is_in_the_archive(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """It does not pretend to be whole; the first note is of its beginning."""
    recorder_of()
    emit(bus, 1)
    wait_for(archive, 1)
    (note,) = archive.search(0, flags=["EventsMayBeMissing"])

    assert "recorder" == json.loads(note.content)["attributes"]["subscription"]
    assert 1 == archive.stats().flags["test:Recorded"]


def test_a_stop_beside_a_long_commit_saves_notes_once(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """Whichever of the two saves that events may be missing, neither fails."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def save_many(self, events: Iterable[Event]) -> int:
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                go_on.wait(10)
            return archive.save_many(events)

    recorder = recorder_of(archive=Slow())
    emit(bus, 1)
    assert begun.wait(10)
    (subscription,) = bus.durable_subscriptions
    recorder.stop(0.1)
    go_on.set()
    wait_for(archive, 1)
    wait_until(lambda: recorder.stats().recorded + recorder.stats().known, "the commit was counted")

    assert 0 == subscription.stats().failures
    assert 1 == archive.stats().flags["EventsMayBeMissing"]


def test_another_recorder_takes_over(
    bus: BrokerEventManager,
    memory_url: str,
    archive: EventStore,
    recorder_of: Callable[..., Recorder],
) -> None:
    """Of those with one name one works, and the others stand by."""
    with open_bus(memory_url, origin="standby") as other:
        first, second = recorder_of(), recorder_of(bus=other)
        emit(bus, 1)
        wait_for(archive, 1)
        first.stop()
        emit(bus, 2)
        wait_for(archive, 1, 2)
        second.stop()

    assert 1 == second.stats().recorded


def test_stopping_and_starting_twice_is_fine(
    bus: BrokerEventManager, archive: EventStore, recorder_of: Callable[..., Recorder]
) -> None:
    """Also the same recorder again."""
    recorder = recorder_of()
    assert recorder.start() is recorder
    recorder.stop()
    recorder.stop()
    emit(bus, 1)
    with recorder:
        wait_for(archive, 1)

    assert recorder.is_alive()
