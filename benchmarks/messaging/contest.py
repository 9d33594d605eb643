"""Contenders take turns: each has a process that sends and one that receives.

All are up from the beginning to the end of a case and are measured in rounds,
one after the other, so that what disturbs the machine disturbs all; those that
are not at turn do nothing.  A round's time is from before the first event is
sent until the last was handled and, where that is asked for, confirmed.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import statistics
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.messaging.case import Case, Tally, now_ns

#: Those that take part, the first being what the others are compared with.
PEERS = (
    "pika_blocking",
    "antiphon_bus",
    "pika_select",
    "pika_packed",
    "with_kombu",
    "with_aio_pika",
    "with_amqpstorm",
    "with_faststream",
    "bare_socket",
)

#: Seconds after which a contender is given up.
GIVE_UP_S = 60.0

#: Events of the first round, which warms up and tells how many make the wished-for time.
FIRST_COUNT = 1000

#: Events of a round at most: ours keeps them all in memory.
MAX_COUNT = 80_000

_context = multiprocessing.get_context("spawn")


@dataclass(slots=True)
class Found:
    """What one contender did in one case.

    Attributes:
        rates: events a second, by round.
        costs_us: microseconds an event in the thread that sends, by round: until all
            were handed over, or, for those that wait, confirmed.
        latencies_us: of each event, by round.
        failure: why it was given up, if it was.
    """

    rates: list[float] = field(default_factory=list)
    costs_us: list[float] = field(default_factory=list)
    latencies_us: list[list[float]] = field(default_factory=list)
    failure: str = ""


class Contender:
    """One peer in one case, with its two processes."""

    def __init__(self, url: str, peer: str, case: Case, *, is_timed: bool = False) -> None:
        module = _module(peer)
        self.name: str = module.NAME
        self.found = Found()
        self._processes = []
        self._receiver, theirs = _context.Pipe()
        self._start(_receive, url, peer, case, theirs, is_timed)
        self._sender, theirs = _context.Pipe()
        self._answer(self._receiver)
        self._start(_send, url, peer, case, theirs)
        self._answer(self._sender)
        self.count = FIRST_COUNT

    @property
    def pids(self) -> tuple[int, int]:
        """Numbers of the processes that receive and send."""
        first, second = self._processes
        return first.pid, second.pid

    def _start(self, target: Any, *arguments: Any) -> None:
        process = _context.Process(target=target, args=arguments, daemon=True)
        process.start()
        self._processes.append(process)

    def _answer(self, pipe: Connection) -> Any:
        if not pipe.poll(GIVE_UP_S):
            raise TimeoutError(f"{self.name} did not answer in {GIVE_UP_S:.0f} s")
        answer = pipe.recv()
        if isinstance(answer, str) and answer != "ready":
            raise RuntimeError(f"{self.name}: {answer}")
        return answer

    def round(self, seconds: float | None = None, *, is_warming: bool = False) -> float:
        """Send ``count`` events; return and keep events a second."""
        self._expect(self.count)
        self._sender.send(("send", self.count))
        began, handed = self._answer(self._sender)
        ended, _ = self._answer(self._receiver)
        rate = self.count / (max(ended, handed) - began) * 1e9
        if not is_warming:
            self.found.rates.append(rate)
            self.found.costs_us.append((handed - began) / self.count / 1e3)
        if seconds is not None:
            self.count = max(200, min(MAX_COUNT, int(rate * seconds))) // 100 * 100
        return rate

    def pace(self, count: int, rate: float, *, is_warming: bool = False) -> None:
        """Send *count* events, *rate* a second, and keep their latencies."""
        self._expect(count)
        self._sender.send(("pace", count, rate))
        self._answer(self._sender)
        _, latencies = self._answer(self._receiver)
        if not is_warming:
            self.found.latencies_us.append([each / 1e3 for each in latencies])

    def _expect(self, count: int) -> None:
        self._receiver.send(count)
        self._answer(self._receiver)

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.kill()
            process.join()


def compete(
    url: str, case: Case, peers: Sequence[str], *, rounds: int, seconds: float
) -> dict[str, Found]:
    """Return what each of *peers* did in *case*, in rounds of about *seconds*."""
    contenders, found = _open_all(url, case, peers, is_timed=False)
    for number in range(-2, rounds):
        for contender in tuple(contenders):
            try:
                contender.round(seconds if number < 0 else None, is_warming=number < 0)
            except (TimeoutError, RuntimeError, EOFError, OSError) as exc:
                contender.found.failure = f"{type(exc).__name__}: {exc}"
                contenders.remove(contender)
                contender.close()
    for contender in contenders:
        contender.close()
    return found


def compete_in_latency(
    url: str, case: Case, peers: Sequence[str], *, rounds: int, count: int, rate: float
) -> dict[str, Found]:
    """Return the latencies of each of *peers* in *case*."""
    contenders, found = _open_all(url, case, peers, is_timed=True)
    for number in range(-1, rounds):
        for contender in contenders:
            contender.pace(count, rate, is_warming=number < 0)
    for contender in contenders:
        contender.close()
    return found


def _open_all(
    url: str, case: Case, peers: Sequence[str], *, is_timed: bool
) -> tuple[list[Contender], dict[str, Found]]:
    contenders, found = [], {}
    for peer in peers:
        try:
            contenders.append(Contender(url, peer, case, is_timed=is_timed))
        except (ImportError, TimeoutError, RuntimeError, EOFError, OSError) as exc:
            found[peer] = Found(failure=f"{type(exc).__name__}: {exc}")
        else:
            found[contenders[-1].name] = contenders[-1].found
    return contenders, found


def ratio(found: Found, first: Found, *, of: str = "rates") -> float:
    """Return the median over the rounds of what *found* has, by what *first* has."""
    pairs = zip(getattr(found, of), getattr(first, of), strict=False)
    return statistics.median(own / other for own, other in pairs)


def describe(peers: Sequence[str]) -> list[str]:
    """Return a line for each of *peers* that says what it does."""
    lines = []
    for peer in peers:
        try:
            module = _module(peer)
        except ImportError:
            continue
        lines.append(f"{module.NAME:17} {module.SAYS}")
    return lines


# -- In the processes ----------------------------------------------------------


def _module(peer: str) -> Any:
    return importlib.import_module(f"benchmarks.messaging.peers.{peer}")


def _receive(url: str, peer: str, case: Case, pipe: Connection, is_timed: bool) -> None:
    tally = Tally(pipe)

    def expect() -> None:
        while True:
            tally.expect(pipe.recv())
            tally.ready()

    threading.Thread(target=expect, daemon=True).start()
    try:
        _module(peer).receive(_own_url(url, peer), case, tally, is_timed=is_timed)
    except Exception:
        pipe.send(traceback.format_exc(limit=-3))


def _send(url: str, peer: str, case: Case, pipe: Connection) -> None:
    try:
        sender = _module(peer).open_sender(_own_url(url, peer), case)
        pipe.send("ready")
        while True:
            what, count, *rate = pipe.recv()
            sender.prepare(count)
            gc.collect()
            gc.freeze()  # else the events that were made ahead cost the collector's time
            began = now_ns()
            if what == "send":
                sender.send(count)
            else:
                sender.pace(count, *rate)
            pipe.send((began, now_ns()))
            gc.unfreeze()
    except EOFError:
        pass
    except Exception:
        pipe.send(traceback.format_exc(limit=-3))


def _own_url(url: str, peer: str) -> str:
    # Peers that run their loop only while they are at turn cannot answer heartbeats.
    return url if peer == "antiphon_bus" else f"{url}?heartbeat=0"
