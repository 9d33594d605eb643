"""An archive that takes nothing for a while: the recorder waits, and nothing is lost."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from bus_helpers import PATIENCE_S, Numbered, wait_until
from small_disk import SmallDisk, small_disk

from antiphon import SubscriptionOptions, open_archive, open_bus
from antiphon.archive import EventStore
from antiphon.archive.recorded import decode_recorded
from antiphon.archive.recorder import Recorder


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of the test's own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with small_disk(folder) as found:
        yield found


def numbers(archive: EventStore) -> list[int]:
    """Return the numbers of all archived events, in the order of saving."""
    events = archive.since(0, flags=["test:Numbered"], limit=10_000).events
    return [decode_recorded(event).number for event in events]  # type: ignore[attr-defined]


def test_a_lock_beyond_the_brokers_patience_loses_nothing(
    impatient_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is in hand goes back in time, so no channel is closed; each event is archived once."""
    path = tmp_path / "archive.db"
    options = SubscriptionOptions(prefetch=10, broker_patience_s=PATIENCE_S, retry_delay_s=0.01)
    with (
        caplog.at_level(logging.WARNING, "antiphon"),
        open_archive(f"sqlite:///{path}", timeout_s=0.1) as archive,
        open_bus(impatient_url) as bus,
        Recorder(bus, archive, max_events=5, options=options) as recorder,
    ):
        locker = sqlite3.connect(path, isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        for number in range(30):
            bus.emit(Numbered(number=number))
            if number % 10 == 0:
                bus.flush(10)
        bus.flush(10)
        wait_until(lambda: recorder.stats().waiting_s > 1.5 * PATIENCE_S, "it is locked for long")
        locker.execute("ROLLBACK")
        locker.close()
        wait_until(lambda: len(numbers(archive)) >= 30, "all is archived")
        subscription = bus.durable_subscriptions[0]
        wait_until(lambda: subscription.stats().in_hand == 0, "all is settled")
        reconnects, stats = bus.stats().reconnects, subscription.stats()
        found = numbers(archive)
        subscription.delete()

    assert list(range(30)) == found
    assert (0, 0, 0) == (reconnects, stats.dead, stats.moved)
    assert "goes back to the queue until it returns" in caplog.text
    assert "is tried again" not in caplog.text  # what a lost channel is logged with


def test_a_full_disk_loses_nothing(disk: SmallDisk, system: str) -> None:
    """It says so while it lasts, and goes on when there is room again."""
    with (
        open_archive(f"sqlite:///{disk.folder}/archive.db") as archive,
        open_bus("memory:", system=system) as bus,
        Recorder(bus, archive, max_events=20) as recorder,
    ):
        bus.emit(Numbered(number=0))
        wait_until(lambda: numbers(archive) == [0], "the first event")
        with disk.full(left=100_000):
            for number in range(1, 200):
                bus.emit(Numbered(number=number, text="x" * 10_000))
            bus.flush(10)
            wait_until(lambda: recorder.problem() is not None, "it says that there is no room")
            problem = recorder.problem()
            wait_until(lambda: recorder.stats().failures >= 2, "it tried again")
            before = len(numbers(archive))
        wait_until(lambda: len(numbers(archive)) >= 200, "all is archived")
        dead = bus.durable_subscriptions[0].stats().dead
        found = numbers(archive)

    assert problem is not None
    assert before < 200
    assert list(range(200)) == found
    assert 0 == dead


def test_restarts_while_the_archive_is_away_lose_nothing(
    amqp_url: str, system: str, tmp_path: Path
) -> None:
    """The broker counts what came back, as if it had killed recorders; it is archived in order."""
    with open_archive(f"sqlite:///{tmp_path}/archive.db", timeout_s=0.05) as archive:
        with open_bus(amqp_url, system=system) as bus:
            Recorder(bus, archive).start().stop()
            for number in range(60):
                bus.emit(Numbered(number=number))
                if number % 3 == 0:
                    bus.flush(10)
            bus.flush(10)
        locker = sqlite3.connect(tmp_path / "archive.db", isolation_level=None)
        locker.execute("BEGIN IMMEDIATE")
        for _ in range(4):
            with (
                open_bus(amqp_url, system=system) as bus,
                Recorder(bus, archive, max_events=7) as recorder,
            ):
                stats = recorder.stats
                wait_until(lambda stats=stats: stats().failures > 0, "it tried")
        locker.execute("ROLLBACK")
        locker.close()
        with (
            open_bus(amqp_url, system=system) as bus,
            Recorder(bus, archive, max_events=7),
        ):
            wait_until(lambda: len(numbers(archive)) >= 60, "all is archived")
            found = numbers(archive)
            subscription = bus.durable_subscriptions[0]
            wait_until(lambda: subscription.stats().in_hand == 0, "all is settled")
            dead = subscription.stats().dead
            subscription.delete()

    assert list(range(60)) == found
    assert 0 == dead
