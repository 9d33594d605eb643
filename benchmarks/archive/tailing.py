"""From a commit to the tail in another process, and what waiting costs.

    python -m benchmarks.archive.tailing [--events 300] [--save]

One process saves an event each 5 to 25 ms; others follow, all at once: a tail, and by
hand a loop that asks sqlite3 for what is new each 10 and each 1 ms.  Measured from the
moment when ``save`` returned, so that below zero is possible.  *Idle* is the share of a
core that a follower takes while nothing is saved.
"""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from antiphon.archive import CAUGHT_UP, Event, open_archive, tail
from benchmarks.archive.made import event
from benchmarks.archive.report import parser, percentiles, write_report

GIVE_UP_S = 60.0

#: Seconds for which idle followers are watched.
IDLE_S = 5.0

_LAST = "last"

_context = multiprocessing.get_context("spawn")


def _tailed(path: Path) -> Iterator[str]:
    with open_archive(f"sqlite://{path}") as archive:
        for each in tail(archive):
            if each is not CAUGHT_UP:
                yield each.id


def _asked(path: Path, pause_s: float) -> Iterator[str]:
    connection = sqlite3.connect(path, isolation_level=None)
    (place,) = connection.execute("SELECT head FROM archive").fetchone()
    while True:
        rows = connection.execute("SELECT * FROM events WHERE seq > ?", (place,)).fetchall()
        for row in rows:
            place = row[0]
            yield row[1]
        if not rows:
            time.sleep(pause_s)


def _asked_each_10_ms(path: Path) -> Iterator[str]:
    return _asked(path, 0.01)


def _asked_each_1_ms(path: Path) -> Iterator[str]:
    return _asked(path, 0.001)


#: Followers, by the name in the table.
FOLLOWERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "tail": _tailed,
    "sqlite3, a look each 10 ms": _asked_each_10_ms,
    "sqlite3, a look each 1 ms": _asked_each_1_ms,
}


def _follow(name: str, path: Path, pipe: Connection) -> None:
    came: dict[str, float] = {}
    found = FOLLOWERS[name](path)
    pipe.send("ready")
    next(found)  # one to begin with: whatever is imported late is there then
    began = time.process_time()
    next(found)  # the end of idleness
    pipe.send(time.process_time() - began)
    for each in found:
        came[each] = time.monotonic()
        if each == _LAST:
            break
    pipe.send(came)


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--events", type=int, default=300)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tailed.db"
        with open_archive(f"sqlite://{path}") as archive:
            pipes = {}
            for name in FOLLOWERS:
                pipes[name], theirs = _context.Pipe()
                _context.Process(target=_follow, args=(name, path, theirs), daemon=True).start()
                pipes[name].recv()
            time.sleep(1)
            archive.save(Event("begin", "bench"))
            time.sleep(IDLE_S)
            archive.save(Event("idle", "bench"))
            idle = {name: _answer(pipe) / IDLE_S for name, pipe in pipes.items()}
            chance = random.Random(6)
            saved: dict[str, float] = {}
            for number in range(chosen.events):
                time.sleep(chance.uniform(0.005, 0.025))
                one = event(number)
                archive.save(one)
                saved[one.id] = time.monotonic()
            archive.save(Event(_LAST, "bench"))
            came = {name: _answer(pipe) for name, pipe in pipes.items()}
    lines = [
        f"{chosen.events} events, milliseconds from the commit",
        "",
        f"{'':28}{'median':>9}{'p90':>9}{'p99':>9}{'max':>9}{'idle %':>9}",
    ]
    for name, times in came.items():
        per = percentiles([(times[each] - at) * 1e3 for each, at in saved.items()])
        figures = "".join(f"{figure:9.2f}" for figure in per.values())
        lines.append(f"{name:28}{figures}{idle[name] * 100:9.2f}")
    write_report("tailing", lines, keep=chosen.save)


def _answer(pipe: Connection) -> object:
    if not pipe.poll(GIVE_UP_S):
        raise TimeoutError("a follower did not answer")
    return pipe.recv()


if __name__ == "__main__":
    main()
