"""What an outbox costs those who commit.

    .venv/bin/python -m benchmarks.stores.outbox [--sets 2000] [--rounds 9]

One process sets values in a store whose event manager is a bus on ``memory:``;
with an outbox and without, in turns.  ``thread`` is the processor time of the
thread that sets, which other processes hardly change; ``process`` that of all
threads, the bus's and the outbox's among them; ``clock`` the time that passed.
Times are the least of all rounds, in microseconds a set.  ``idle`` is the
processor time of the whole process, in milliseconds a second, while nothing is
committed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from antiphon import BusOptions, open_bus, open_store

_URLS = {
    "sqlite": "sqlite:{path}/store.db",
    "sqlite, durable=no": "sqlite:{path}/store.db?durable=no",
    "files": "file:{path}/store",
    "files, durable=no": "file:{path}/store?durable=no",
}


class Side:
    """A store with a bus of its own, and the least that its sets have taken."""

    def __init__(self, url: str, *, outbox: bool) -> None:
        self.bus = open_bus(f"memory://{outbox}-{id(self)}", options=BusOptions(outbox=outbox))
        self.store: Any = open_store(url, event_manager=self.bus)
        self.store.connect()
        self.least: list[float] = [float("inf")] * 3

    def play(self, sets: int) -> None:
        """Set *sets* values."""
        clocks = (time.thread_time, time.process_time, time.perf_counter)
        began = [clock() for clock in clocks]
        for number in range(sets):
            self.store.from_bytes(f"key-{number % 100}", b"x" * 100)
        took = [1e6 * (clock() - since) / sets for clock, since in zip(clocks, began, strict=True)]
        self.least = [min(pair) for pair in zip(self.least, took, strict=True)]

    def close(self) -> None:
        """Close both."""
        self.store.disconnect()
        self.bus.close()


def idle_ms(seconds: float) -> float:
    """Return the processor time of this process in *seconds*, in milliseconds a second."""
    began = time.process_time()
    time.sleep(seconds)
    return 1e3 * (time.process_time() - began) / seconds


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="What an outbox costs those who commit.")
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    print(f"{'':20} {'':8} {'thread':>8} {'process':>8} {'clock':>8} {'idle':>8}")
    for name, url in _URLS.items():
        with tempfile.TemporaryDirectory() as path:
            sides = {}
            for kind, outbox in (("without", False), ("with", True)):
                (Path(path) / kind).mkdir()
                sides[kind] = Side(url.format(path=Path(path) / kind), outbox=outbox)
            for number in range(given.rounds):
                for side in list(sides.values())[:: -1 if number % 2 else 1]:
                    side.play(given.sets)
            for side in sides.values():
                side.close()
            for kind, outbox in (("without", False), ("with", True)):
                alone = Side(url.format(path=Path(path) / kind), outbox=outbox)
                figures = "".join(f"{each:9.1f}" for each in sides[kind].least)
                print(f"{name:20} {kind:8}{figures} {idle_ms(3.0):8.2f}", flush=True)
                alone.close()


if __name__ == "__main__":
    main()
