"""The recorder end to end: events a second and processor time an event, from RabbitMQ into sqlite.

    python -m benchmarks.archive.recording [--events 30000] [--rounds 5] [--save]

So many events wait at the broker; a process then takes them, in one of these ways, by
turns, each with a queue of its own:

- a batched subscription whose listener only counts: what the transport itself carries;
- the same, and makes of each event what the archive keeps;
- the recorder, whose archive takes them and throws them away;
- the recorder, with an archive in sqlite, durable;
- the same without batches: a commit for each event;
- pika and sqlite3 by hand: messages of 240 bytes into a table of id and message, a
  commit each 500.

The differences of one row to the row above are what a step costs.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pika

from antiphon import open_bus
from antiphon.archive import Event, open_archive
from antiphon.archive.recorded import recorded
from antiphon.archive.recorder import Recorder
from antiphon.events.api import BaseEvent
from antiphon.messaging.subscription_batches import Received
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.storage.events import StoreSetEvent
from benchmarks.archive.report import parser, write_report
from benchmarks.messaging.report import broker_at

GIVE_UP_S = 120.0

#: Keys that the events tell of, in turn.
KEYS = 5_000

#: Of the recorder.
BATCH = 500

_context = multiprocessing.get_context("spawn")


class Counted:
    """Tells when so many events were taken.

    Args:
        target: how many.
    """

    def __init__(self, target: int) -> None:
        self._left = target
        self.reached = threading.Event()

    def add(self, count: int) -> None:
        """Count events."""
        self._left -= count
        if self._left <= 0:
            self.reached.set()


class Nowhere:
    """An archive that keeps nothing."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def save_many(self, events: Iterable[Event]) -> int:
        """Count the events."""
        count = len(list(events))
        self._counted.add(count)
        return count


class Into:
    """An archive in sqlite that counts what it took."""

    def __init__(self, path: Path, counted: Counted) -> None:
        self._archive = open_archive(f"sqlite://{path}")
        self._counted = counted

    def save_many(self, events: Iterable[Event]) -> int:
        """Save the events."""
        saved = list(events)
        count = self._archive.save_many(saved)
        self._counted.add(len(saved))
        return count


def _subscribe(bus: Any, counted: Counted, _folder: Path) -> Any:
    def listener(received: Sequence[Received[Any]]) -> None:
        counted.add(len(received))

    return bus.subscribe_batches("taken", BaseEvent, listener, max_events=BATCH, mode="single")


def _convert(bus: Any, counted: Counted, _folder: Path) -> Any:
    def listener(received: Sequence[Received[Any]]) -> None:
        for one in received:
            recorded(one.event, one.message, received=1.0)
        counted.add(len(received))

    return bus.subscribe_batches("taken", BaseEvent, listener, max_events=BATCH, mode="single")


class _Recording:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder.start()

    def close(self, timeout_s: float = 5.0) -> None:
        self._recorder.stop(timeout_s)


def _record_nowhere(bus: Any, counted: Counted, _folder: Path) -> Any:
    return _Recording(Recorder(bus, Nowhere(counted), name="taken"))


def _record(bus: Any, counted: Counted, folder: Path) -> Any:
    return _Recording(Recorder(bus, Into(folder / f"{uuid.uuid4()}.db", counted), name="taken"))


def _record_each(bus: Any, counted: Counted, folder: Path) -> Any:
    archive = Into(folder / f"{uuid.uuid4()}.db", counted)
    options = SubscriptionOptions(prefetch=200)
    return _Recording(Recorder(bus, archive, name="taken", max_events=1, options=options))


#: What is done with the events, by the name in the table.
WAYS: dict[str, Callable[[Any, Counted, Path], Any]] = {
    "subscription, counts": _subscribe,
    "subscription, converts": _convert,
    "recorder, into nothing": _record_nowhere,
    "recorder, into sqlite": _record,
    "recorder, a commit each": _record_each,
}

BY_HAND = "pika, sqlite3 by hand"


@dataclass(slots=True)
class Found:
    """What one way took, by round.

    Attributes:
        rates: events a second.
        cpu_us: microseconds of processor time for an event, all threads.
    """

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def measure(amqp: str, way: str, folder: Path, count: int) -> tuple[float, float]:
    """Return seconds, and processor seconds, that it took to take *count* events."""
    system = f"bench-recording-{uuid.uuid4().hex[:8]}"
    ours, theirs = _context.Pipe()
    process = _context.Process(
        target=_take_by_hand if way == BY_HAND else _take,
        args=(amqp, system, way, folder, count, theirs),
        daemon=True,
    )
    process.start()
    ours.recv()
    if way == BY_HAND:
        _publish(amqp, system, count)
    else:
        with open_bus(amqp, system=system) as bus:
            for number in range(count):
                bus.emit(StoreSetEvent(None, key=f"prices/{number % KEYS:06}", metadata={}))
            bus.flush(GIVE_UP_S)
    ours.send("go")
    if not ours.poll(GIVE_UP_S):
        raise TimeoutError(f"{way} did not take {count} events in {GIVE_UP_S:.0f} s")
    seconds, cpu = ours.recv()
    process.join()
    return seconds, cpu


def _take(amqp: str, system: str, way: str, folder: Path, count: int, pipe: Connection) -> None:
    with open_bus(amqp, system=system) as bus:
        WAYS[way](bus, Counted(count), folder).close()  # now the queue is there
        pipe.send("ready")
        pipe.recv()
        counted = Counted(count)
        began, cpu = time.perf_counter(), time.process_time()
        taking = WAYS[way](bus, counted, folder)
        counted.reached.wait(GIVE_UP_S)
        pipe.send((time.perf_counter() - began, time.process_time() - cpu))
        taking.close()


def _publish(amqp: str, queue: str, count: int) -> None:
    channel = pika.BlockingConnection(pika.URLParameters(f"{amqp}?heartbeat=0")).channel()
    properties = pika.BasicProperties(delivery_mode=2)
    for number in range(count):
        properties.message_id = f"{number:032x}"
        channel.basic_publish("", queue, b"x" * 240, properties)
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"end", properties)
    channel.connection.close()


def _take_by_hand(
    amqp: str, system: str, way: str, folder: Path, count: int, pipe: Connection
) -> None:
    channel = pika.BlockingConnection(pika.URLParameters(f"{amqp}?heartbeat=0")).channel()
    channel.queue_declare(system, durable=True)
    connection = sqlite3.connect(folder / f"{system}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE kept(id TEXT PRIMARY KEY, message BLOB) WITHOUT ROWID")
    pipe.send("ready")
    pipe.recv()
    began, cpu = time.perf_counter(), time.process_time()
    channel.basic_qos(prefetch_count=2 * BATCH)
    rows: list[tuple[str, bytes]] = []
    for taken, (method, properties, body) in enumerate(channel.consume(system), 1):
        rows.append((properties.message_id, body))
        if len(rows) == BATCH or taken == count:
            connection.execute("BEGIN")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            channel.basic_ack(method.delivery_tag, multiple=True)
            rows.clear()
        if taken == count:
            break
    pipe.send((time.perf_counter() - began, time.process_time() - cpu))


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--url", help="a broker to use, instead of a private one")
    options.add_argument("--events", type=int, default=30_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    found = {way: Found() for way in (*WAYS, BY_HAND)}
    with broker_at(chosen.url) as amqp, tempfile.TemporaryDirectory() as folder:
        for _ in range(chosen.rounds):
            for way, each in found.items():
                count = chosen.events // 10 if way.endswith("each") else chosen.events
                seconds, cpu = measure(amqp, way, Path(folder), count)
                each.rates.append(count / seconds)
                each.cpu_us.append(cpu / count * 1e6)
    lines = [
        f"{chosen.events:,} events that wait at the broker (a tenth where each has a commit),"
        f" medians of {chosen.rounds} rounds",
        "",
        f"{'':26}{'events/s':>10}{'worst':>10}{'best':>10}{'CPU µs':>9}{'best':>9}",
    ]
    for way, each in found.items():
        lines.append(
            f"{way:26}{statistics.median(each.rates):10,.0f}{min(each.rates):10,.0f}"
            f"{max(each.rates):10,.0f}{statistics.median(each.cpu_us):9.1f}{min(each.cpu_us):9.1f}"
        )
    write_report("recording", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
