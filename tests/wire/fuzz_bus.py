"""Throw a million spoilt messages at the codec, and at a whole bus, and watch time and memory.

    python tests/wire/fuzz_bus.py 1000000 [SEED]        # or: make fuzz

Each message is read by ``Codec.decode`` with both msgpack libraries, and then published by
a hostile client to a bus in memory, where a listener and a durable subscription wait for
the good events between.  Any error but ``CorruptMessage``, a message that takes a second,
a good event that does not arrive, and memory that grows, are failures, told with the seed.
``tests/wire/test_fuzz_bus.py`` runs the short form.
"""

from __future__ import annotations

import gc
import logging
import random
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz import FuzzedEvent, messages, mutated, valid_messages

from antiphon import BaseEvent, open_bus
from antiphon.errors import CorruptMessage
from antiphon.messaging.memory_broker import MemoryBroker
from antiphon.messaging.transport import Message
from antiphon.wire import ClassRegistry, Codec
from antiphon.wire.packing import MsgpackLibrary
from antiphon.wire.registry import MAX_RESOLVED
from antiphon.wire.routing import routing_key

#: Seconds that one message may take; the machine may be busy with something else.
PATIENCE_S = 2.0

#: Messages between two looks at caches and memory, and between two good events.
LOOK_EVERY = 20_000
GOOD_EVERY = 500

#: MiB that the process may have more at the end than after the warm-up.
MAX_GROWTH_MIB = 48

#: Placeholder classes that may be alive: those of two registries, and what waits for gc.
MAX_CLASSES = 8 * MAX_RESOLVED

#: (routing key, headers, body)
Fuzzed = tuple[str, "dict[str, Any] | None", bytes]


def spoilt(rng: random.Random, valid: list[Fuzzed]) -> Fuzzed:
    """Return one message that nobody sends: also splices, batches and unknown classes."""
    way = rng.randrange(8)
    key, headers, body = rng.choice(valid)
    if way == 0:
        other = rng.choice(valid)[2]
        return key, headers, body[: rng.randrange(len(body))] + other[rng.randrange(len(other)) :]
    if way == 1:
        envelopes = [body[2:] if rng.random() < 0.9 else mutated(rng, body[2:]) for _ in range(40)]
        return key, headers, Codec.join(envelopes[: rng.randrange(1, 41)])
    if way == 2:
        words = ["".join(rng.choices("abcü:.@+ \n", k=rng.randrange(1, 9))) for _ in range(4)]
        made = routing_key(("antiphon:BaseEvent", *(f"x:{word}" for word in words)), "a.b")
        return made.key, made.headers, body
    if way == 3:
        return key, headers, body[: rng.randrange(len(body))]
    return messages(rng, valid)  # type: ignore[return-value]


def resident_mib() -> float:
    """Return what the process takes of memory now; where there is no /proc, at most so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


class Watch:
    """Looks at memory and at the number of classes, and fails when they grow."""

    def __init__(self) -> None:
        self._base_mib: float | None = None
        self.grown_mib = 0.0

    def look(self) -> None:
        """Fail if there is more than after the first look, which ends the warm-up."""
        gc.collect()
        now = resident_mib()
        if self._base_mib is None:
            self._base_mib = now
        self.grown_mib = now - self._base_mib
        assert self.grown_mib < MAX_GROWTH_MIB, f"memory grew by {self.grown_mib:.0f} MiB"
        classes = sum(1 for _ in _subclasses(BaseEvent))
        assert classes < MAX_CLASSES, f"there are {classes} classes of events"


def _subclasses(cls: type) -> Iterator[type]:
    for derived in type.__subclasses__(cls):
        yield derived
        yield from _subclasses(derived)


def fuzz_codec(count: int, seed: int) -> Counter[str]:
    """Read *count* messages with both libraries; return how many were read and refused."""
    rng = random.Random(seed)
    registry = ClassRegistry()
    codecs = [Codec(registry), Codec(registry, library=MsgpackLibrary())]
    valid = valid_messages(codecs[0])
    counts: Counter[str] = Counter()
    watch = Watch()
    for number in range(count):
        message = spoilt(rng, valid)  # type: ignore[arg-type]
        started = time.perf_counter()
        outcomes = set()
        for codec in codecs:
            try:
                outcomes.add(len(codec.decode(*message)))
            except CorruptMessage:
                outcomes.add(0)
            except BaseException as exc:
                raise AssertionError(f"seed {seed}, message {number}: {message!r}") from exc
        took = time.perf_counter() - started
        assert took < PATIENCE_S, f"seed {seed}, message {number}: {took:.1f} s for {message!r}"
        assert len(outcomes) == 1, f"seed {seed}, message {number}: {outcomes} for {message!r}"
        counts["refused" if outcomes == {0} else "read"] += 1
        if number % LOOK_EVERY == LOOK_EVERY - 1:
            watch.look()
    watch.look()
    counts["MiB grown"] = round(watch.grown_mib)
    return counts


class _Good:
    """Waits for good events in a listener and in a durable subscription."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._numbers = {"listener": -1, "subscription": -1}

    def heard(self, who: str, event: Any) -> None:
        number = event.__dict__.get("good")
        if type(number) is int:
            with self._moved:
                self._numbers[who] = number
                self._moved.notify_all()

    def wait(self, number: int) -> None:
        with self._moved:
            arrived = self._moved.wait_for(
                lambda: all(one >= number for one in self._numbers.values()), 60
            )
        assert arrived, f"good event {number} did not arrive: {self._numbers}"


def fuzz_bus(count: int, seed: int) -> Counter[str]:
    """Publish *count* messages, each to listeners and to a durable queue; return what became."""
    rng = random.Random(seed)
    valid = valid_messages(Codec(ClassRegistry()))
    url, name = f"memory://fuzz-{seed}", f"fuzz-{seed}"
    good, watch = _Good(), Watch()
    logging.getLogger("antiphon").setLevel(logging.CRITICAL)
    with open_bus(url) as sender, open_bus(url) as bus:
        broker = MemoryBroker.named(name)
        bus.connect(BaseEvent, lambda event: good.heard("listener", event))
        subscription = bus.subscribe(
            "fuzz", BaseEvent, lambda event: good.heard("subscription", event), mode="group"
        )
        assert subscription.wait_ready(30)
        dead = 0
        for number in range(count):
            key, headers, body = spoilt(rng, valid)  # type: ignore[arg-type]
            broker.publish("antiphon.events", Message(key, body, headers, "hostile"))
            if number % GOOD_EVERY == GOOD_EVERY - 1 or number == count - 1:
                sender.emit(FuzzedEvent(good=number))
                good.wait(number)
                dead += _drain(broker)
            if number % LOOK_EVERY == LOOK_EVERY - 1:
                watch.look()
        watch.look()
        stats = bus.stats()
        assert stats.reconnects == 0
    logging.getLogger("antiphon").setLevel(logging.NOTSET)
    return Counter(
        {"received": stats.received, "corrupt": stats.corrupt, "dead letters": dead}
        | {"MiB grown": round(watch.grown_mib)}
    )


def _drain(broker: MemoryBroker) -> int:
    """Take all dead letters away; return how many there were."""
    count = 0
    with broker.lock:
        queue = broker.find("antiphon.dead")
        for message in () if queue is None else queue.waiting:
            assert (message.headers or {})["antiphon-reason"] == "undecodable"
            count += queue.remove(message)  # type: ignore[union-attr]
    return count


def main() -> None:
    """Run both, and print what came of them."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    for what, fuzz in (("codec", fuzz_codec), ("bus", fuzz_bus)):
        started = time.monotonic()
        counts = fuzz(count, seed)
        took = time.monotonic() - started
        print(f"{what}: {count} messages, seed {seed}, {took:.0f} s: {dict(counts)}", flush=True)  # noqa: T201 - a script


if __name__ == "__main__":
    main()
