"""What many caches ask of the backing store when the broker restarts and nobody reads.

    python -m benchmarks.caches.restart [--caches 50] [--keys 100000] [--save]

Each cache is a memory store of its own, with a bus of its own, some to a process.
All are full.  The broker is killed and started again; meanwhile a few keys are
changed.  Counted at Redis is all that it does from the kill until every cache is
trusted again, and some seconds longer: commands (those inside scripts included,
so more than the requests) and bytes out.  A full reload would be a ``get`` of each key by
each cache.  Then the same with a journal that was truncated meanwhile.
"""

from __future__ import annotations

import logging
import multiprocessing
import time
from io import BytesIO
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import redis as redis_py

from antiphon import CacheInvalidator, MountedStore, open_bus, open_store
from antiphon.storage.ledger import Fill
from antiphon.storage.string_value import StringValue
from antiphon.testing.servers import rabbitmq, redis
from benchmarks.caches.report import parser, write_report

SYSTEM = "bench-restart"

#: Keys that are changed while the broker is away.
CHANGED = 10

#: Seconds that are counted on after all caches are trusted again.
AFTERMATH_S = 5.0

#: What the requests may be of a full reload.
TARGET = 0.01

GIVE_UP_S = 300.0

_context = multiprocessing.get_context("spawn")


def hold(amqp: str, url: str, caches: int, keys: int, pipe: Connection) -> None:
    """Keep full caches, and answer questions about them."""
    logging.disable(logging.WARNING)
    held = []
    for _ in range(caches):
        bus = open_bus(amqp, system=SYSTEM)
        source = open_store(url, event_manager=bus)
        source.connect()
        mounted = MountedStore("prices/", open_store("memory:"), source, fill=True)
        mounted.connect()
        held.append((mounted, CacheInvalidator(mounted, bus).start()))
        fill(mounted, keys)
    pipe.send("ready")
    while True:
        what = pipe.recv()
        if what == "trusted":
            pipe.send(sum(invalidator.is_trusted for _, invalidator in held))
        elif what == "entries":
            pipe.send([mounted.filling.ledger.usage().entries for mounted, _ in held])
        else:
            for mounted, _ in held:
                for number in range(what):
                    mounted.get(f"prices/{number:06}").data.close()
            pipe.send("read")


def fill(mounted: MountedStore, keys: int) -> None:
    """Put every key into the cache, as a reader would; the store is asked for one version."""
    ledger = mounted.filling.ledger
    version = mounted.backing_store.get("prices/000000").version
    for number in range(keys):
        name = f"prices/{number:06}"
        entry = ledger.fill(ledger.reserve(name), Fill(BytesIO(b"1"), {}, 0.0, 0.0, version))
        if entry is not None:
            entry.data.close()


class Counter:
    """What a Redis has done."""

    def __init__(self, url: str) -> None:
        self._client = redis_py.Redis.from_url(url)
        self._before = self._now()

    def _now(self) -> dict[str, int]:
        info: Any = self._client.info("stats")
        names = ("total_commands_processed", "total_reads_processed", "total_net_output_bytes")
        return {name: info[name] for name in names}

    def since(self) -> tuple[int, int, int]:
        """Return commands, reads of sockets and bytes out since the last time."""
        before, self._before = self._before, self._now()
        return tuple(self._before[name] - before[name] for name in before)  # type: ignore[return-value]


class Holders:
    """The processes with the caches."""

    def __init__(self, amqp: str, url: str, caches: int, keys: int, processes: int) -> None:
        self._caches = caches
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for number in range(processes):
            share = caches // processes + (number < caches % processes)
            ours, theirs = _context.Pipe()
            process = _context.Process(
                target=hold, args=(amqp, url, share, keys, theirs), daemon=True
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        for pipe in self._pipes:
            if not pipe.poll(GIVE_UP_S):
                raise TimeoutError("the caches are not full in time")
            pipe.recv()

    def ask(self, what: object) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(what)
        return [pipe.recv() for pipe in self._pipes]

    def await_trust(self, *, lost_first: bool) -> float:
        """Return after how many seconds all caches are trusted (again)."""
        began = time.monotonic()
        if lost_first:
            self._await(lambda trusted: trusted < self._caches)
        self._await(lambda trusted: trusted == self._caches)
        return time.monotonic() - began

    def _await(self, is_so: Any) -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while not is_so(sum(self.ask("trusted"))):
            if time.monotonic() > deadline:
                raise TimeoutError("the caches are not trusted in time")
            time.sleep(0.05)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--caches", type=int, default=50)
    options.add_argument("--keys", type=int, default=100_000)
    options.add_argument("--processes", type=int, default=10)
    chosen = options.parse_args()
    reload = chosen.caches * chosen.keys
    lines = [f"{chosen.caches} caches of {chosen.keys:,} keys; a full reload: {reload:,} gets", ""]
    with rabbitmq(given=False) as broker, redis(given=False) as server:
        url = f"{server.url}?namespace=bench-restart"
        writer = open_store(url)
        writer.connect()
        writer.multiset(
            (f"prices/{number:06}" for number in range(1000)),
            (StringValue(b"1") for _ in range(1000)),
        )
        counter = Counter(server.url)
        holders = Holders(broker.url, url, chosen.caches, chosen.keys, chosen.processes)
        holders.await_trust(lost_first=False)
        for what in ("journal intact", "journal truncated"):
            counter.since()
            began = time.monotonic()
            broker.kill()
            for number in range(CHANGED):
                writer.set(f"prices/{number:06}", StringValue(b"2"))
            if what == "journal truncated":
                _truncate(server.url, writer)
            broker.restart()
            holders.await_trust(lost_first=False)
            took_s = time.monotonic() - began
            time.sleep(AFTERMATH_S)
            commands, reads, sent = counter.since()
            share = commands / reload
            entries = sum(map(sum, holders.ask("entries")))
            lines.append(
                f"{what}: {commands:,} commands ({reads:,} reads of sockets, {sent:,} bytes out)"
                f" in {took_s + AFTERMATH_S:.0f} s, {share:.3%} of a reload;"
                f" entries kept: {entries:,};"
                f" asked for: {TARGET:.0%}, {'met' if share < TARGET else 'MISSED'}"
            )
            holders.ask(100)
            commands, reads, sent = counter.since()
            lines.append(
                f"    then 100 keys are read in each: {commands:,} commands, {sent:,} bytes out"
            )
        holders.close()
        writer.disconnect()
    write_report("restart", lines, keep=chosen.save)


def _truncate(url: str, writer: Any) -> None:
    """Leave only the newest entry of the journal."""
    parts = urlsplit(url)
    client = redis_py.Redis(host=parts.hostname or "", port=parts.port or 6379)
    for name in client.scan_iter("*journal*"):
        client.xtrim(name, maxlen=1, approximate=False)


if __name__ == "__main__":
    main()
