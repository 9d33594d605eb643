"""Whatever is killed: what the broker has confirmed is in the archive, each event once."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import Numbered, wait_until
from recorder_process import RecorderProcess

from antiphon import open_archive, open_bus
from antiphon.archive import EventStore
from antiphon.archive.recorded import decode_recorded
from antiphon.testing.servers import RabbitMQ

SEED = 6
PUBLISHERS = 3
EVENTS = 800


class Publisher:
    """Emits numbered events, a few at a time, as long as it takes until all are confirmed."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._url = url
        self._thread = threading.Thread(target=self._run)
        self.is_done = False

    def _run(self) -> None:
        pause = threading.Event()
        with open_bus(self._url, origin=self.name) as bus:
            for number in range(EVENTS):
                bus.emit(Numbered(number=number, thread=self.name))
                if number % 7 == 0:
                    pause.wait(0.01)
            bus.flush(60)
        self.is_done = True

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)


@pytest.fixture
def recorder(tmp_path: Path, broker_url: str) -> Iterator[RecorderProcess]:
    with RecorderProcess(tmp_path, broker_url, batch_events=40, batch_wait_s=0.01) as process:
        process.wait_ready()
        yield process


def history(archive: EventStore) -> dict[str, list[int]]:
    """Return the numbers of each publisher's events, in the order of saving."""
    found: dict[str, list[int]] = {}
    place = 0
    while (portion := archive.since(place, flags=["test:Numbered"])).place != place:
        place = portion.place
        for event in portion.events:
            decoded: Any = decode_recorded(event)
            found.setdefault(decoded.thread, []).append(decoded.number)
    return found


def test_nothing_is_lost_and_nothing_twice(
    broker: RabbitMQ, broker_url: str, recorder: RecorderProcess
) -> None:
    """The recorder is killed at points that a seed chose, and so is the broker, meanwhile."""
    chosen = random.Random(SEED)
    publishers = [Publisher(broker_url, f"publisher-{number}") for number in range(PUBLISHERS)]
    with open_archive(f"{recorder.archive_url}?read_only=1") as archive:
        with publishers[0], publishers[1], publishers[2]:
            for number in range(4):
                goal = archive.head() + chosen.randrange(20, 250)
                wait_until(lambda goal=goal: archive.head() >= goal, f"{goal} events")
                recorder.kill()
                if number == 1:
                    broker.kill()
                    broker.start()
                recorder.start()
        wait_until(lambda: sum(map(len, history(archive).values())) >= PUBLISHERS * EVENTS, "all")
        status = recorder.stop()

        assert all(one.is_done for one in publishers)
        assert {one.name: list(range(EVENTS)) for one in publishers} == history(archive)
        assert 0 == status


def test_it_ends_in_time_although_the_archive_is_locked(
    broker_url: str, recorder: RecorderProcess
) -> None:
    """It says why it is not ready; what it has in hand waits at the broker for the next start."""
    path = recorder.archive_url.removeprefix("sqlite:///")
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    with open_bus(broker_url, origin="shop") as bus:
        for number in range(100):
            bus.emit(Numbered(number=number, thread="shop"))
        bus.flush(10)
    wait_until(lambda: recorder.readiness().get("ready") is False, "it is not ready")
    problem = recorder.readiness()["checks"]["archive"]
    status = recorder.stop()
    locker.execute("ROLLBACK")
    locker.close()
    recorder.start()
    with open_archive(f"{recorder.archive_url}?read_only=1") as archive:
        wait_until(lambda: len(history(archive).get("shop", [])) >= 100, "all is archived")
        found = history(archive)

    assert "locked by others" in problem
    assert 0 == status
    assert {"shop": list(range(100))} == found
