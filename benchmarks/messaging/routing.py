"""What 1 000 subscriptions cost those who emit what hardly any of them wants.

    python -m benchmarks.messaging.routing [--subscriptions 1000] [--rounds 5] [--save]

Two listeners hear all ``StoreSetEvent`` in two systems of one broker, and in one of the two
another process has bindings for as many classes and origins as asked for, none of which
matches.  What is compared is throughput (one event a message, so that the broker has
to route each) and latency.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from multiprocessing.connection import Connection

from antiphon.storage.events import StoreKeyEvent
from benchmarks.messaging.case import Case
from benchmarks.messaging.contest import Contender
from benchmarks.messaging.peers.antiphon_bus import open_case
from benchmarks.messaging.report import broker_at, parser, percentiles, write_report


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--subscriptions", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    alone, crowded = Case("alone", single=True), Case("crowded", single=True)
    lines = [f"{chosen.subscriptions} subscriptions that do not match; one event a message"]
    with broker_at(chosen.url) as url:
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        crowd = multiprocessing.get_context("spawn").Process(
            target=_crowd, args=(url, crowded, chosen.subscriptions, theirs), daemon=True
        )
        crowd.start()
        lines.append(f"declared in {ours.recv():.2f} s")
        parties = [Contender(url, "antiphon_bus", case) for case in (alone, crowded)]
        for number in range(-2, chosen.rounds):
            for party in parties:
                party.round(0.4 if number < 0 else None, is_warming=number < 0)
        rates = [percentiles(party.found.rates)[50] for party in parties]
        for party in parties:
            party.close()
        timed = [Contender(url, "antiphon_bus", case, is_timed=True) for case in (alone, crowded)]
        for number in range(-1, chosen.rounds):
            for party in timed:
                party.pace(50, 200, is_warming=number < 0)
        p50s = [
            statistics.median(one for some in party.found.latencies_us for one in some)
            for party in timed
        ]
        for party in timed:
            party.close()
        crowd.kill()
        crowd.join()
    lines.append(f"{'':10} {'events/s':>10} {'p50 us at 200/s':>18}")
    for name, rate, p50 in zip(("alone", "crowded"), rates, p50s, strict=True):
        lines.append(f"{name:10} {rate:10.0f} {p50:18.0f}")
    lines.append(f"crowded / alone: {rates[1] / rates[0]:.2f} {p50s[1] / p50s[0]:.2f}")
    write_report("routing", lines, keep=chosen.save)


def _crowd(url: str, case: Case, count: int, pipe: Connection) -> None:
    bus = open_case(url, case)
    began = time.monotonic()
    # Ten classes, each of as many origins as are needed: all different bindings.
    for number in range(count):
        if not number % 100:
            cls = type(f"Crowd{number // 100}", (StoreKeyEvent,), {})
        bus.connect(cls, _unheard, {"key": f"none-{number}"}, origin=f"nowhere.{number}")
    pipe.send(time.monotonic() - began)
    threading.Event().wait()


def _unheard(event: StoreKeyEvent) -> None:
    raise AssertionError(event)


if __name__ == "__main__":
    main()
