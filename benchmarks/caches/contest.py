"""Contenders take turns: each has a process that writes and one that reads.

All are up from beginning to end and are measured in rounds, one after the
other, so that what disturbs the machine disturbs all; those that are not at
turn sleep.
"""

from __future__ import annotations

import importlib
import multiprocessing
import random
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.caches.case import Servers, now_ns, read_stamp, stamped

#: Those that take part, the first being what the others are compared with.
PEERS = (
    "redis_pubsub",
    "redis_pipelined",
    "antiphon_mount",
    "antiphon_switch",
    "antiphon_events",
    "redis_tracking",
    "pika_topic",
    "with_zeo",
    "bare_socket",
)

#: Seconds after which a contender is given up.
GIVE_UP_S = 30.0


_context = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Case:
    """How it is written and read.

    Attributes:
        title: heads the table.
        is_busy: whether the reader reads without pause.
        pause_s: seconds between two writes, at least and at most: evenly spread, so
            that they meet every phase of a reader.
    """

    title: str
    is_busy: bool
    pause_s: tuple[float, float]


#: In milliseconds a processor has forgotten what it did for others: code that runs now and
#: then takes several times as long as in a loop, and a sleeping core wakes up.
CASES = (
    Case("idle reader, a write each 16 ms", False, (0.008, 0.024)),
    Case("idle reader, a write each 2 ms", False, (0.001, 0.003)),
    Case("busy reader, a write each 16 ms", True, (0.008, 0.024)),
)


@dataclass(slots=True)
class Found:
    """What one contender did.

    Attributes:
        latencies_us: from the start of a write until it was read, of each, by round.
        read_us: microseconds of a cached read without pause, by round.
        failure: why it was given up, if it was.
    """

    latencies_us: list[list[float]] = field(default_factory=list)
    read_us: list[float] = field(default_factory=list)
    failure: str = ""


class Contender:
    """One peer, with its two processes."""

    def __init__(self, servers: Servers, peer: str) -> None:
        self.name: str = module_of(peer).NAME
        self.found = {case: Found() for case in CASES}
        self._processes: list[Any] = []
        self._reader = self._start(_read, servers, peer)
        self._writer = self._start(_write, servers, peer)
        self._answer(self._reader)
        self._answer(self._writer)
        self._next = 0

    def _start(self, target: Any, servers: Servers, peer: str) -> Connection:
        ours, theirs = _context.Pipe()
        process = _context.Process(target=target, args=(servers, peer, theirs), daemon=True)
        process.start()
        self._processes.append(process)
        return ours

    def _answer(self, pipe: Connection) -> Any:
        if not pipe.poll(GIVE_UP_S):
            raise TimeoutError(f"{self.name} did not answer in {GIVE_UP_S:.0f} s")
        answer = pipe.recv()
        if isinstance(answer, str) and answer != "ready":
            raise RuntimeError(answer)
        return answer

    def round(self, count: int, case: Case, *, is_warming: bool) -> None:
        """Write *count* values, and keep how long each took to be read."""
        first, self._next = self._next, self._next + count
        self._reader.send((self._next - 1, case.is_busy))
        self._answer(self._reader)
        self._writer.send((first, count, case.pause_s))
        latencies, reads, seconds = self._answer(self._reader)
        self._answer(self._writer)
        if not is_warming:
            found = self.found[case]
            found.latencies_us.append([each / 1e3 for each in latencies])
            if case.is_busy:
                found.read_us.append(seconds / reads * 1e6)

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.kill()
            process.join()


def compete(
    servers: Servers, peers: Sequence[str], *, rounds: int, count: int
) -> dict[str, dict[Case, Found]]:
    """Return what each of *peers* did: by name and case."""
    contenders: list[Contender] = []
    found: dict[str, dict[Case, Found]] = {}
    for peer in peers:
        try:
            contenders.append(Contender(servers, peer))
        except (ImportError, TimeoutError, RuntimeError, EOFError, OSError) as exc:
            failed = Found(failure=f"{type(exc).__name__}: {exc}")
            found[peer] = dict.fromkeys(CASES, failed)
        else:
            found[contenders[-1].name] = contenders[-1].found
    try:
        for number in range(-1, rounds):
            for case in CASES:
                _take_turns(contenders, count, case, is_warming=number < 0)
    finally:
        for contender in contenders:
            contender.close()
    return found


def _take_turns(contenders: list[Contender], count: int, case: Case, *, is_warming: bool) -> None:
    for contender in tuple(contenders):
        try:
            contender.round(count, case, is_warming=is_warming)
        except (TimeoutError, RuntimeError, EOFError, OSError) as exc:
            contender.found[case].failure = f"{type(exc).__name__}: {exc}"
            contenders.remove(contender)
            contender.close()


def module_of(peer: str) -> Any:
    """Return the module of a peer."""
    return importlib.import_module(f"benchmarks.caches.peers.{peer}")


# -- In the processes ----------------------------------------------------------


def _read(servers: Servers, peer: str, pipe: Connection) -> None:
    try:
        reader = module_of(peer).open_reader(servers)
        reader.read()
        pipe.send("ready")
        while True:
            last, is_busy = pipe.recv()
            pipe.send("ready")
            pipe.send((_read_busily if is_busy else _read_when_told)(reader, last))
    except (EOFError, ConnectionError):  # the other end is done
        pass
    except Exception:
        pipe.send(traceback.format_exc(limit=-3))


def _read_when_told(reader: Any, last: int) -> tuple[list[int], int, float]:
    latencies: list[int] = []
    seen = read_stamp(reader.read())[0]
    deadline = time.monotonic() + GIVE_UP_S
    while seen < last:
        reader.wait(1.0)
        number, made_ns = read_stamp(reader.read())
        if number > seen:
            latencies.append(now_ns() - made_ns)
            seen = number
        elif time.monotonic() > deadline:
            raise TimeoutError(f"value {last} was not read, but {number}")
    return latencies, 0, 0.0


def _read_busily(reader: Any, last: int) -> tuple[list[int], int, float]:
    latencies: list[int] = []
    seen = read_stamp(reader.read())[0]
    read = reader.read
    reads = 0
    began = time.perf_counter()
    while seen < last:
        number, made_ns = read_stamp(read())
        reads += 1
        if number != seen:
            latencies.append(now_ns() - made_ns)
            seen = number
    return latencies, reads, time.perf_counter() - began


def _write(servers: Servers, peer: str, pipe: Connection) -> None:
    try:
        write = module_of(peer).open_writer(servers)
        pipe.send("ready")
        chance = random.Random(peer)
        while True:
            first, count, pause_s = pipe.recv()
            for number in range(first, first + count):
                time.sleep(chance.uniform(*pause_s))
                write(stamped(number))
            pipe.send("ready")
    except (EOFError, ConnectionError):  # the other end is done
        pass
    except Exception:
        pipe.send(traceback.format_exc(limit=-3))
