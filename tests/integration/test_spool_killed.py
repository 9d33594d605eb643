"""Publishers with a spool are killed: everything whose emit returned arrives, once, in order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import Heard, Numbered, python, wait_until
from small_disk import small_disk

from antiphon import BrokerEventManager, open_bus
from antiphon.errors import SpoolUnwritable
from antiphon.messaging.bus import BusOptions
from antiphon.messaging.memory import MemoryBroker
from antiphon.testing.servers import RabbitMQ

#: Emits until it is killed, and tells each number when emit has returned.
PUBLISHER = """
import itertools, os, sys
from antiphon import BaseEvent, open_bus
from antiphon.messaging.bus import BusOptions

class Numbered(BaseEvent):
    wire_name = "test:Numbered"

options = BusOptions(spool=sys.argv[2], buffer_events=500)
bus = open_bus(sys.argv[1], wait=False, options=options)
for number in itertools.count(int(sys.argv[3])):
    bus.emit(Numbered(number=number, text="x" * 300))
    os.write(1, b"%d\\n" % number)
"""


@pytest.fixture
def receiver(broker_url: str) -> Iterator[BrokerEventManager]:
    with open_bus(f"{broker_url}?heartbeat=2") as bus:
        yield bus


def run_and_kill(url: str, spool: Path, first: int, count: int) -> int:
    """Let a publisher emit at least *count* events, kill it, and return the next number."""
    with python(PUBLISHER, url, str(spool), str(first)) as process:
        assert process.stdout is not None
        for _ in range(count):
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
        process.kill()
        last = [line, *process.stdout][-1]
        # A line may be cut off, and then is not the whole number.
        return int(line if not last.endswith("\n") else last) + 1


def lives(url: str, spool: Path, counts: Iterable[int]) -> set[int]:
    """Let one publisher after the other emit and be killed; return the numbers that were told.

    One more event of each may have been written, so they leave gaps between them.
    """
    told: set[int] = set()
    for life, count in enumerate(counts):
        first = life * 100_000
        told |= set(range(first, run_and_kill(url, spool, first, count)))
    return told


def assert_all_came(heard: Heard, told: set[int]) -> None:
    """Wait for all of *told*; nothing may come twice, or out of order."""
    wait_until(lambda: told <= set(heard.numbers), "all have come", 60)
    assert sorted(set(heard.numbers)) == heard.numbers


def test_killed_while_all_is_well(
    broker_url: str, receiver: BrokerEventManager, tmp_path: Path
) -> None:
    """Lives that end at random points are gone on with by the next."""
    heard = Heard()
    receiver.connect(Numbered, heard)
    chance = random.Random(4)

    told = lives(broker_url, tmp_path / "spool", [chance.randrange(1, 800) for _ in range(5)])
    with open_bus(broker_url, options=BusOptions(spool=tmp_path / "spool")) as bus:
        bus.flush(60)

        assert 0 == bus.stats().buffered
    assert_all_came(heard, told)


def outage(broker: RabbitMQ, kind: str) -> Callable[[], Any]:
    """Begin an outage; return what ends it."""
    if kind == "killed":
        broker.kill()
        return broker.start
    broker.pause()
    return broker.resume


@pytest.mark.parametrize("kind", ["killed", "paused"])
def test_killed_in_an_outage(
    broker: RabbitMQ, broker_url: str, receiver: BrokerEventManager, tmp_path: Path, kind: str
) -> None:
    """What was emitted while there was no broker is sent by the next life, before its own."""
    heard = Heard()
    receiver.connect(Numbered, heard)
    spool = tmp_path / "spool"
    end = outage(broker, kind)
    told = lives(broker_url, spool, (1500, 40))
    end()
    broker.wait_ready()
    wait_until(lambda: receiver.is_connected, "the receiver is back", 60)

    options = BusOptions(spool=spool, buffer_events=500)
    with open_bus(broker_url, options=options, connect_timeout_s=30) as bus:
        bus.emit(Numbered(number=10**6))
        bus.flush(60)

        assert bus.stats().recovered >= len(told)
    assert_all_came(heard, told | {10**6})


def test_small_disk(tmp_path: Path) -> None:
    """A full disk refuses the event that it has no room for, and loses nothing before it."""
    broker = MemoryBroker.named("small-disk")
    heard = Heard()
    with small_disk(tmp_path) as disk, open_bus("memory://small-disk") as receiver:
        receiver.connect(Numbered, heard)
        options = BusOptions(spool=disk.folder / "spool", buffer_events=50)
        broker.hold_confirms()
        with open_bus("memory://small-disk", options=options) as bus:
            emitted = 0
            with disk.full(200_000), pytest.raises(SpoolUnwritable, match="cannot be written"):
                for emitted in range(100_000):
                    bus.emit(Numbered(number=emitted, text="x" * 300))
            assert emitted == bus.stats().emitted
            bus.emit(Numbered(number=emitted))
            broker.release_confirms()
            bus.flush(30)

        assert list(range(emitted + 1)) == [event.number for event in heard.wait(emitted + 1)]
        assert emitted > 100
