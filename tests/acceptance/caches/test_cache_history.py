"""P5 by a history checker: no cached read is older than its bound, whatever happens."""

import bisect
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from player import BOUND_S, KEYS

from antiphon.testing.servers import RabbitMQ

PLAYER = Path(__file__).with_name("player.py")

#: Seconds by which the clocks of two processes may be read apart.
SLACK_S = 0.05

Record = dict[str, float]


class Players:
    """Processes that write and read, and all that they told."""

    def __init__(
        self, amqp_url: str, redis_url: str, system: str, cache_url: str = "memory:"
    ) -> None:
        self._arguments = [amqp_url, redis_url, system, cache_url]
        self._processes: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []

    def start(self, role: str, seconds: float, seed: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, str(PLAYER), role, *self._arguments, str(seconds), str(seed)]
        # A file, not a pipe: a full pipe would hold the process up.
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in histories()
        process = subprocess.Popen(command, stdout=output)
        self._processes.append((role, process, output))
        return process

    def wait_playing(self) -> None:
        """Wait until every reader and writer has told something."""
        deadline = time.monotonic() + 60
        for role, _, output in self._processes:
            while role != "keeper" and not os.fstat(output.fileno()).st_size:
                assert time.monotonic() < deadline, f"a {role} does not begin"
                time.sleep(0.02)

    def histories(self) -> tuple[list[Record], list[Record]]:
        """Return all writes and all reads, when every process is done."""
        told: dict[str, list[Record]] = {"writer": [], "reader": [], "guest": [], "keeper": []}
        for role, process, output in self._processes:
            assert process.wait(90) == (-9 if role == "keeper" else 0)
            with output:
                output.seek(0)
                told[role] += [json.loads(line) for line in output]
        return told["writer"], told["reader"] + told["guest"]


def stale_reads(writes: list[Record], reads: list[Record]) -> list[str]:
    """Return the reads that saw something older than the bound allows."""
    ended: dict[object, list[float]] = {}
    newest: dict[object, list[float]] = {}  # of those that had ended by then
    for write in sorted(writes, key=lambda write: write["ended"]):
        values = newest.setdefault(write["key"], [])
        values.append(max([write["value"], *values[-1:]]))
        ended.setdefault(write["key"], []).append(write["ended"])
    wrong = []
    for read in reads:
        due = bisect.bisect_right(ended.get(read["key"], []), read["began"] - BOUND_S - SLACK_S)
        if due and read["value"] < (least := newest[read["key"]][due - 1]):
            wrong.append(f"{read} although {least} was written before")
    return wrong


def last_values(writes: list[Record]) -> dict[object, float]:
    """Return what each key has in the end."""
    return {w["key"]: w["value"] for w in sorted(writes, key=lambda w: w["ended"])}


def play(
    players: Players, disturb: Callable[[], None], seconds: float
) -> tuple[list[Record], list[Record]]:
    """Let two writers write for *seconds*, and two readers read, while *disturb* does its worst."""
    for seed in (0, 1):
        players.start("reader", seconds + 3.5, seed)
        players.start("writer", seconds, seed)
    players.wait_playing()
    disturber = threading.Thread(target=disturb)
    disturber.start()
    histories = players.histories()
    disturber.join()
    return histories


def check(writes: list[Record], reads: list[Record]) -> None:
    """Assert what a cache promises of a whole history."""
    latest = {read["key"]: read["value"] for read in sorted(reads, key=lambda r: r["ended"])}
    hits = sum(read["cached"] for read in reads)

    assert [] == stale_reads(writes, reads)[:5]
    assert last_values(writes) == latest
    assert set(KEYS) == set(latest)
    assert hits > len(reads) / 10, f"only {hits} of {len(reads)} reads were served from the cache"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("disturbance", ["none", "kill", "pause"])
def test_no_cached_read_is_older_than_its_bound(
    disturbance: str, broker: RabbitMQ, broker_url: str, redis_url: str, system: str
) -> None:
    """Two writers, two caches; the broker runs, is killed and restarted, or stands still."""
    done = threading.Event()

    def disturb() -> None:
        # The waits are part of the scene: the broker dies while all are at work.
        done.wait(1.5)
        if disturbance == "kill":
            broker.kill()
            broker.restart()
        elif disturbance == "pause":
            broker.pause()
            done.wait(3.0)
            broker.resume()

    seconds = 4.0 if disturbance == "none" else 6.5
    check(*play(Players(broker_url, redis_url, system), disturb, seconds))


@pytest.mark.timeout(180)
def test_a_shared_cache_survives_the_death_of_its_invalidator(
    amqp_url: str, redis_url: str, system: str, tmp_path: Path
) -> None:
    """Two processes share a cache in sqlite; who keeps it right is killed, and comes back."""
    players = Players(amqp_url, redis_url, system, f"sqlite:///{tmp_path}/cache.db")
    keeper = players.start("keeper", 60.0, 0)
    guests = []
    for seed in (0, 1):
        guests.append(players.start("guest", 11.0, seed))
        players.start("writer", 7.0, seed)
    players.wait_playing()
    scene = threading.Event()
    scene.wait(1.5)
    keeper.kill()
    scene.wait(2.5)
    second = players.start("keeper", 60.0, 1)
    for guest in guests:
        guest.wait(90)
    second.kill()

    check(*players.histories())
