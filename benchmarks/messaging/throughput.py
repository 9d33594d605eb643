"""Events a second from emit in one process to the listener in another, beside raw pika.

    python benchmarks/messaging/throughput.py [--url amqp://…] [--events 20000] [--rounds 3]

Ours is confirmed by the broker, in order, and sent again after a loss; raw pika
publishes and forgets.  Also told: what an emit costs its caller.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import struct
import sys
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from latency import BODY_BYTES, body_bytes, now_ns, set_event
from raw_pika import RawPublisher, consume
from report import percentiles, write_report

from antiphon.messaging.bus import BrokerEventManager, BusOptions, open_bus
from antiphon.storage.events import StoreSetEvent

SYSTEM = "throughput-benchmark"


def listen_antiphon(url: str, pipe: Connection, count: int) -> None:
    """Tell when *count* events came, again and again."""
    heard = 0

    def listener(event: StoreSetEvent) -> None:
        nonlocal heard
        heard += 1
        if heard % count == 0:
            pipe.send(now_ns())

    with open_bus(url, system=SYSTEM) as bus:
        bus.connect(StoreSetEvent, listener)
        pipe.send("ready")
        pipe.recv()


def listen_raw(url: str, pipe: Connection, count: int) -> None:
    """Tell when *count* bodies came, again and again."""
    heard = 0

    def handle(body: bytes) -> None:
        nonlocal heard
        heard += 1
        if heard % count == 0:
            pipe.send(now_ns())

    consume(url, lambda: pipe.send("ready"), handle)


def round_of_antiphon(
    bus: BrokerEventManager, pipe: Connection, count: int, padding: int
) -> tuple[float, float]:
    """Return events a second, and microseconds an emit."""
    events = [set_event(padding) for _ in range(count)]
    began = now_ns()
    for event in events:
        bus.emit(event)
    emitted = now_ns()
    bus.flush(120)
    return count / (pipe.recv() - began) * 1e9, (emitted - began) / count / 1e3


def round_of_raw(publisher: RawPublisher, pipe: Connection, count: int) -> tuple[float, float]:
    """Return bodies a second, and microseconds a publish."""
    body = struct.pack("q", 1) + b"x" * (BODY_BYTES - 8)
    began = now_ns()
    for _ in range(count):
        publisher.publish(body)
    published = now_ns()
    return count / (pipe.recv() - began) * 1e9, (published - began) / count / 1e3


def main() -> None:
    """Measure, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default=os.environ.get("ANTIPHON_AMQP_URL", "amqp://localhost"))
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="write benchmarks/messaging/results/")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, target in (("antiphon", listen_antiphon), ("raw pika", listen_raw)):
        pipes[name], theirs = context.Pipe()
        arguments = (options.url, theirs, options.events)
        processes.append(context.Process(target=target, args=arguments, daemon=True))
        processes[-1].start()
    for pipe in pipes.values():
        assert pipe.recv() == "ready"
    found: dict[str, list[tuple[float, float]]] = {"raw pika": [], "antiphon": []}
    with open_bus(
        options.url, system=SYSTEM, options=BusOptions(buffer_events=options.events + 1)
    ) as bus:
        padding = 1
        while body_bytes(bus, padding) < BODY_BYTES:
            padding += 1
        publisher = RawPublisher(options.url)
        for _ in range(options.rounds):
            found["raw pika"].append(round_of_raw(publisher, pipes["raw pika"], options.events))
            found["antiphon"].append(
                round_of_antiphon(bus, pipes["antiphon"], options.events, padding)
            )
        publisher.close()
    for process in processes:
        process.terminate()
        process.join()
    lines = [f"{'':10} {'events/s':>10} {'best':>10} {'us in the caller':>18}"]
    for name, rounds in found.items():
        rates, costs = zip(*rounds, strict=True)
        lines.append(
            f"{name:10} {percentiles(rates)[50]:10.0f} {max(rates):10.0f} {min(costs):18.1f}"
        )
    ratio = (
        percentiles([r for r, _ in found["antiphon"]])[50]
        / percentiles([r for r, _ in found["raw pika"]])[50]
    )
    lines.append(f"antiphon / raw pika: {ratio:.2f}   (one event a message; no target yet)")
    write_report("throughput", lines, keep=options.keep)


if __name__ == "__main__":
    main()
