"""What the codec costs, against bare libraries that carry the same data.

    python benchmarks/codec/compare.py > benchmarks/codec/results/<date>-<machine>.txt

One operation is encode plus decode of one StoreSetEvent with five metadata
entries.  ``bare msgpack`` is ``msgpack.packb`` and ``msgpack.unpackb`` of a plain
dict of the attributes, ids, source and position; the codec does that, the
routing key, the envelope, and makes the event.  A program that sends bare
msgpack must also say which event it is and where it comes from; ``with class
and origin`` is the same with those two, which the codec has in the routing key.

All contenders take turns, so that what else the machine does hits them alike;
a sample is the mean of two hundred operations, short enough to lie between two
interruptions now and then.
"""

from __future__ import annotations

import argparse
import gc
import json
import pickle
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from timeit import Timer
from uuid import UUID

import msgpack
import ormsgpack

from antiphon.events.event_id import EventId
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.journal import Position
from antiphon.wire import Codec
from antiphon.wire.packing import MsgpackLibrary

try:
    import msgspec
except ImportError:
    msgspec = None

PUBLISHER = bytes.fromhex("8bfd7e451ecdc0a55fc4dae7")
TIME_NS = 1_790_000_000_123_456_789
STORE_ID = UUID("784377e8-2cf1-4d70-a17e-00391584c210")
ENTRY_ID = bytes.fromhex("0011223344556677")
METADATA = {
    "content-type": "text/csv",
    "rows": 5123,
    "currency": "eur",
    "valid": True,
    "ratio": 1.0825,
}
#: Operations in a sample, and events in the body of the batch contender.
OPERATIONS = 200
BATCH = 100

#: Contenders that others are compared with.
BARE = "bare msgpack"
BARE_WHOLE = "bare msgpack with class and origin"


class RedisStore:
    """Stands for a store."""

    store_id = STORE_ID
    origin = "catalogue"


def make_event(**more: object) -> StoreSetEvent:
    """Return the event that every contender carries, or one with more metadata."""
    event = StoreSetEvent(RedisStore(), key="prices/eur", metadata={**METADATA, **more})
    event._position = Position(STORE_ID, 1, 123_456, ENTRY_ID)
    return event


def plain_data() -> dict[str, object]:
    """Return the same data as the event's, as a plain dict."""
    return {
        "key": "prices/eur",
        "metadata": dict(METADATA),
        "counter": 1234,
        "publisher": PUBLISHER,
        "time_ns": TIME_NS,
        "source": ["RedisStore", None, STORE_ID.bytes],
        "position": [1, 123_456, ENTRY_ID],
    }


def through(codec: Codec, **more: object) -> Callable[[], object]:
    """Return one encode plus decode by *codec*."""
    event, event_id = make_event(**more), EventId(PUBLISHER, 1234)

    def operation() -> object:
        encoded = codec.encode(event, origin="catalogue", event_id=event_id, time_ns=TIME_NS)
        body = Codec.join((encoded.envelope,))
        return codec.decode(encoded.routing_key, encoded.headers, body)

    return operation


def in_batches(codec: Codec) -> Callable[[], object]:
    """Return encode plus decode of a hundred events in one body."""
    event, event_id = make_event(), EventId(PUBLISHER, 1234)

    def operation() -> object:
        encoded = [
            codec.encode(event, origin="catalogue", event_id=event_id, time_ns=TIME_NS)
            for _ in range(BATCH)
        ]
        body = codec.join([one.envelope for one in encoded])
        return codec.decode(encoded[0].routing_key, encoded[0].headers, body)

    return operation


def body_size(events: int, **more: object) -> int:
    """Return the bytes for each of several events in one body."""
    codec = Codec()
    encoded = codec.encode(
        make_event(**more), origin="catalogue", event_id=EventId(PUBLISHER, 1234), time_ns=TIME_NS
    )
    return len(codec.join([encoded.envelope] * events)) // events


def contenders() -> dict[str, tuple[Callable[[], object], int, int]]:
    """Return name -> (operation, events in it, bytes of one event)."""
    data, event, codec = plain_data(), make_event(), Codec()
    text = {key: value.hex() if isinstance(value, bytes) else value for key, value in data.items()}
    text |= {"source": ["RedisStore", None, STORE_ID.hex], "position": [1, 123_456, ENTRY_ID.hex()]}
    whole = {"event": "StoreSetEvent", "origin": "catalogue", **data}
    more = {"day": date(2026, 11, 21), "size": (3, 4)}
    size = body_size(1)
    found: dict[str, tuple[Callable[[], object], int, int]] = {
        BARE: (
            lambda: msgpack.unpackb(msgpack.packb(data)),
            1,
            len(msgpack.packb(data)),
        ),
        BARE_WHOLE: (
            lambda: msgpack.unpackb(msgpack.packb(whole)),
            1,
            len(msgpack.packb(whole)),
        ),
        "antiphon": (through(codec), 1, size),
        "antiphon, 100 in a body": (in_batches(codec), BATCH, body_size(BATCH)),
        "antiphon on msgpack-python": (through(Codec(library=MsgpackLibrary())), 1, size),
        "antiphon, a date and a tuple more": (
            through(codec, **more),
            1,
            body_size(1, **more),
        ),
        "bare ormsgpack": (
            lambda: ormsgpack.unpackb(ormsgpack.packb(data)),
            1,
            len(ormsgpack.packb(data)),
        ),
        "pickle of the dict": (
            lambda: pickle.loads(pickle.dumps(data, 5)),
            1,
            len(pickle.dumps(data, 5)),
        ),
        "pickle of the event": (
            lambda: pickle.loads(pickle.dumps(event, 5)),
            1,
            len(pickle.dumps(event, 5)),
        ),
        "json": (lambda: json.loads(json.dumps(text)), 1, len(json.dumps(text))),
    }
    if msgspec is not None:
        encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
        found["bare msgspec"] = (
            lambda: decoder.decode(encoder.encode(data)),
            1,
            len(encoder.encode(data)),
        )
    return found


def measure(rounds: int) -> dict[str, list[float]]:
    """Return name -> nanoseconds for an event, one a round, sorted."""
    timers = {name: (Timer(op), events) for name, (op, events, _) in contenders().items()}
    samples: dict[str, list[float]] = {name: [] for name in timers}
    gc.disable()
    for _ in range(rounds):
        for name, (timer, events) in timers.items():
            number = max(1, OPERATIONS // events)
            samples[name].append(timer.timeit(number) / number / events * 1e9)
        gc.collect()
    gc.enable()
    return {name: sorted(values) for name, values in samples.items()}


def percentile(values: list[float], share: float) -> float:
    """Return the value that *share* of the sorted *values* do not exceed."""
    return values[min(len(values) - 1, int(share * len(values)))]


def version_of(name: str) -> str:
    """Return the installed version of a library."""
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def describe_run(arguments: str) -> str:
    """Return the command, commit, machine, date and versions of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    libraries = ", ".join(map(version_of, ("msgpack", "ormsgpack", "msgspec")))
    return (
        f"command: python benchmarks/codec/compare.py {arguments}\n"
        f"commit:  {commit}\n"
        f"date:    {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"machine: {platform.machine()}, {cpu_model()}, Python {platform.python_version()}\n"
        f"with:    {libraries}\n"
    )


def cpu_model() -> str:
    """Return the name of the processor, where the system tells."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def measure_in_processes(processes: int, rounds: int) -> list[dict[str, list[float]]]:
    """Return what ``measure`` returned in each of some fresh processes, one after another.

    Where things lie in memory differs from process to process, and with it
    the time of each contender, by a tenth.
    """
    command = [sys.executable, __file__, "--rounds", str(rounds), "--raw"]
    runs = (subprocess.run(command, capture_output=True, check=True) for _ in range(processes))
    return [json.loads(run.stdout) for run in runs]


def ratios(runs: list[dict[str, list[float]]], name: str, base: str) -> tuple[float, str]:
    """Return the median over processes of the ratio of minima, and its range as text."""
    each = sorted(run[name][0] / run[base][0] for run in runs)
    return percentile(each, 0.5), f"{each[0]:.2f} to {each[-1]:.2f}"


def main() -> int:
    """Print the table; return 1 if the codec misses its aims."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=150, help="samples in each process")
    parser.add_argument("--processes", type=int, default=9)
    parser.add_argument("--raw", action="store_true", help="measure here, and print samples")
    options = parser.parse_args()
    if options.raw:
        print(json.dumps(measure(options.rounds)))
        return 0
    print(describe_run(f"--processes {options.processes} --rounds {options.rounds}"))
    started = time.monotonic()
    runs = measure_in_processes(options.processes, options.rounds)
    print("nanoseconds for one event, encode plus decode;")
    print("ratio: of minima to bare msgpack, median of the processes\n")
    print(f"{'':34}{'min':>8}{'median':>8}{'p90':>8}{'p99':>8}{'max':>8}{'ratio':>7}{'bytes':>7}")
    for name, (_, _, size) in contenders().items():
        values = sorted(value for run in runs for value in run[name])
        figures = [
            values[0],
            *(percentile(values, share) for share in (0.5, 0.9, 0.99)),
            values[-1],
        ]
        row = "".join(f"{figure:8.0f}" for figure in figures)
        print(f"{name:34}{row}{ratios(runs, name, BARE)[0]:7.2f}{size:7}")
    ratio, spread = ratios(runs, "antiphon", BARE)
    whole, whole_spread = ratios(runs, "antiphon", BARE_WHOLE)
    size = contenders()["antiphon"][2]
    print(f"\naims: at most 1.5 times bare msgpack: {ratio:.2f} ({spread});")
    print(f"with class and origin: {whole:.2f} ({whole_spread}); at most 180 bytes: {size}.")
    print(f"Took {time.monotonic() - started:.0f} s.")
    return 0 if ratio <= 1.5 and size <= 180 else 1


if __name__ == "__main__":
    sys.exit(main())
