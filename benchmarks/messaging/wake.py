"""What it costs to wake an I/O thread: pika's own way, and a bell.

    python -m benchmarks.messaging.wake [--save]

For each way a thread runs pika's loop; another wakes it and waits until its
callback has run, 200 times a second, as an event that comes alone does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pika.adapters.select_connection import IOLoop

from antiphon.messaging.bell import Bell
from benchmarks.messaging.report import parser, percentiles, write_report

ROUNDS = 1000


def measure(prepare: Callable[[IOLoop, Callable[[], None]], Callable[[], None]]) -> list[list[int]]:
    """Return nanoseconds of the call itself, and until the callback ran."""
    loop = IOLoop()
    ran_at: list[int] = []
    calls, delays = [], []
    came = threading.Event()

    def ran() -> None:
        ran_at.append(time.perf_counter_ns())
        came.set()

    wake = prepare(loop, ran)
    thread = threading.Thread(target=loop.start)
    thread.start()
    for _ in range(ROUNDS):
        time.sleep(0.005)
        came.clear()
        began = time.perf_counter_ns()
        wake()
        calls.append(time.perf_counter_ns() - began)
        came.wait()
        delays.append(ran_at[-1] - began)
    loop.add_callback_threadsafe(loop.stop)
    thread.join()
    loop.close()
    return [calls, delays]


def pikas_way(loop: IOLoop, ran: Callable[[], None]) -> Callable[[], None]:
    """``add_callback_threadsafe``."""
    return lambda: loop.add_callback_threadsafe(ran)


def by_bell(loop: IOLoop, ran: Callable[[], None]) -> Callable[[], None]:
    """A bell that the loop watches."""
    bell = Bell()

    def rung(_fd: int, _events: int) -> None:
        bell.hush()
        ran()

    loop.add_handler(bell.fileno(), rung, loop.READ)
    return bell.ring


def main() -> None:
    """Measure both, in turns, and report."""
    options = parser(__doc__).parse_args()
    found: dict[str, list[list[int]]] = {}
    for _ in range(3):
        for name, prepare in (("pika's own way", pikas_way), ("bell", by_bell)):
            for kept, new in zip(found.setdefault(name, [[], []]), measure(prepare), strict=True):
                kept += new
    lines = [f"{'microseconds':16} {'':14} {'p50':>7} {'p90':>7} {'p99':>7} {'max':>7}"]
    for name, (calls, delays) in found.items():
        for what, values in (("the call", calls), ("until it ran", delays)):
            numbers = " ".join(f"{v / 1e3:7.1f}" for v in percentiles(values).values())
            lines.append(f"{name:16} {what:14} {numbers}")
    write_report("wake", lines, keep=options.save)


if __name__ == "__main__":
    main()
