"""One-way latency from emit in one process to the listener in another, beside raw pika.

    python benchmarks/messaging/latency.py [--url amqp://…] [--rounds 30] [--events 50] [--rate 200]

Rounds of both alternate in one run, so that what else the machine does falls on
both alike.  Times are taken with the machine's monotonic clock, which all its
processes share: just before ``emit`` (``basic_publish``) and first thing in the
listener (callback).  The event is a ``StoreSetEvent`` whose message has 200
bytes; raw pika sends 200 bytes as they are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import struct
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from raw_pika import RawPublisher, consume
from report import percentiles, write_report

from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.storage.events import StoreSetEvent

BODY_BYTES = 200
SYSTEM = "latency-benchmark"


def now_ns() -> int:
    """The clock that all processes of the machine share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def set_event(padding: int) -> StoreSetEvent:
    """Return an event to emit; the listener reads ``metadata["sent"]``."""
    return StoreSetEvent(
        None, key="prices/eur", metadata={"sent": now_ns(), "text": "x" * padding, "size": 120}
    )


def listen_antiphon(url: str, pipe: Connection) -> None:
    """Send the latencies of each round back: the listener process of ours."""
    with open_bus(url, system=SYSTEM) as bus:
        latencies: list[int] = []
        bus.connect(
            StoreSetEvent, lambda event: latencies.append(now_ns() - event.metadata["sent"])
        )
        pipe.send("ready")
        while pipe.recv() == "round":
            pipe.send(list(latencies))
            latencies.clear()


def listen_raw(url: str, pipe: Connection) -> None:
    """Send each latency back in rounds: the listener process of raw pika."""
    latencies: list[int] = []

    def handle(body: bytes) -> None:
        sent = struct.unpack_from("q", body)[0]
        if sent:
            latencies.append(now_ns() - sent)
        else:  # the end of a round; asking over the pipe would need a thread, and so the GIL
            pipe.send(list(latencies))
            latencies.clear()

    consume(url, lambda: pipe.send("ready"), handle)


def paced(count: int, rate: float, send: object) -> None:
    """Call *send* *count* times, evenly spaced."""
    begin = time.perf_counter()
    for index in range(count):
        wait = begin + index / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        send()  # type: ignore[operator]


def round_of_antiphon(
    bus: BrokerEventManager, pipe: Connection, count: int, rate: float, padding: int
) -> list[int]:
    """Emit *count* events and return their latencies in nanoseconds."""
    paced(count, rate, lambda: bus.emit(set_event(padding)))
    bus.flush(10)
    time.sleep(0.1)
    pipe.send("round")
    return pipe.recv()


def round_of_raw(publisher: RawPublisher, pipe: Connection, count: int, rate: float) -> list[int]:
    """Publish *count* bodies and return their latencies in nanoseconds."""
    rest = b"x" * (BODY_BYTES - 8)
    paced(count, rate, lambda: publisher.publish(struct.pack("q", now_ns()) + rest))
    time.sleep(0.1)
    publisher.publish(struct.pack("q", 0) + rest)
    return pipe.recv()


def body_bytes(bus: BrokerEventManager, padding: int) -> int:
    """Return the bytes of the message of one event."""
    from antiphon.events.event_id import next_event_id

    encoded = bus._codec.encode(
        set_event(padding), origin=None, event_id=next_event_id(), time_ns=time.time_ns()
    )
    return len(bus._codec.join([encoded.envelope]))


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default=os.environ.get("ANTIPHON_AMQP_URL", "amqp://localhost"))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/messaging/results/")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, target in (("antiphon", listen_antiphon), ("raw pika", listen_raw)):
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=target, args=(options.url, theirs), daemon=True))
        processes[-1].start()
    for pipe in pipes.values():
        assert pipe.recv() == "ready"
    latencies: dict[str, list[int]] = {"raw pika": [], "antiphon": []}
    ratios = []
    with open_bus(options.url, system=SYSTEM) as bus:
        padding = 1
        while body_bytes(bus, padding) < BODY_BYTES:
            padding += 1
        publisher = RawPublisher(options.url)
        for number in range(options.rounds + 1):
            raw = round_of_raw(publisher, pipes["raw pika"], options.events, options.rate)
            ours = round_of_antiphon(bus, pipes["antiphon"], options.events, options.rate, padding)
            assert len(raw) == len(ours) == options.events, (len(raw), len(ours))
            if number:  # the first round warms up
                latencies["raw pika"] += raw
                latencies["antiphon"] += ours
                ratios.append(percentiles(ours)[50] / percentiles(raw)[50])
        publisher.close()
    pipes["antiphon"].send("end")
    for process in processes:
        process.terminate()
        process.join()
    lines = [f"{'':10} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8}   microseconds"]
    for name, values in latencies.items():
        found = percentiles(values)
        numbers = " ".join(f"{found[p] / 1e3:8.0f}" for p in (50, 90, 99, 100))
        lines.append(f"{name:10} {numbers}")
    overall = percentiles(latencies["antiphon"])[50] / percentiles(latencies["raw pika"])[50]
    lines.append(f"p50 of antiphon / p50 of raw pika: {overall:.2f}   (asked for: at most 1.40)")
    spread = percentiles(ratios)
    lines.append(f"ratio by round: half below {spread[50]:.2f}, nine tenths below {spread[90]:.2f}")
    write_report("latency", lines, keep=options.keep)


if __name__ == "__main__":
    main()
