"""Throw bytes at the codec, and see that only CorruptMessage comes back.

    python tests/wire/fuzz.py 100000            # messages; a seed may follow
    ANTIPHON_FUZZ=100000 make unit ARGS="-k fuzz"

Messages are random bytes, valid messages with a few bytes changed, and valid
msgpack of the wrong shape.  Both libraries read each of them, and must agree.
``test_wire_fuzz.py`` runs the short form.
"""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import msgpack

from antiphon.errors import CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.wire import ClassRegistry, Codec
from antiphon.wire.packing import MsgpackLibrary

#: Bytes that a message may take while it is read, for each of its own: the worst is an empty
#: map of one byte, whose dict takes 64 and its place in a list 8.
MEMORY_FACTOR = 110
MEMORY_FLOOR = 200_000
#: Seconds that one message may take.
PATIENCE_S = 1.0

#: What begins each of msgpack's forms, and some that begin more than there is.
HEADS = [bytes((byte,)) for byte in range(0x80, 0xE0)] + [
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xdc\xff\xff",
    b"\xc7\x05\x02\x94\x01\x01\x01\x01",
    b"\xd4\xff\x01",
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
]


class FuzzedEvent(BaseEvent):
    """What the valid messages carry."""


class Source:
    """Its source."""

    store_id = UUID(int=7)
    origin = "elsewhere"


def valid_messages(codec: Codec) -> list[tuple[str, dict[str, object] | None, bytes]]:
    """Return a few messages that have everything in them."""
    values: dict[str, object] = {
        "plain": [None, True, 1, -1.5, "text", b"bytes", {"a": [{}]}],
        "more": ((1, 2), {3, 4}, frozenset({"x"}), 2**70, {1: 2, (3, 4): 5}),
        "when": [datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, tzinfo=UTC), UUID(int=9)],
    }
    event = FuzzedEvent(Source(), **values)
    event._position = (UUID(int=7), 1, 2, b"12345678")
    messages: list[tuple[str, dict[str, object] | None, bytes]] = []
    for origin in (None, "a.b", "a" * 40, ".".join("abcdefgh"), "ü%.*"):
        encoded = codec.encode(
            event,
            origin=origin,
            event_id=EventId(bytes(12), 3),
            time_ns=4,
            replayed=origin is None,
            traceparent=origin,
        )
        body = codec.join([encoded.envelope] * 2)
        messages.append((encoded.routing_key, encoded.headers, body))
    return messages


def weird_value(rng: random.Random, depth: int = 0) -> object:
    """Return something that msgpack can write and a message should not have."""
    kind = rng.randrange(11 if depth < 6 else 7)
    if kind == 0:
        return rng.choice([None, True, False, 0, 1, -1, 2**64 - 1, -(2**63), float("nan")])
    if kind == 1:
        return rng.choice(["", "_private", "source", "key", "text", "ü"])
    if kind == 2:
        if rng.random() < 0.2:
            seconds = rng.choice([0, 1, -1, 2**32, 2**34, 2**62, -(2**62), 253402300800])
            return msgpack.Timestamp(seconds, rng.randrange(10**9))
        return rng.randbytes(rng.choice([0, 1, 8, 12, 16]))
    if kind <= 6:
        data = rng.randbytes(rng.choice([0, 4, 8, 9, 12, 16, 20]))
        if rng.random() < 0.5:
            data = msgpack.packb([weird_value(rng, depth + 3) for _ in range(rng.randrange(4))])
        return msgpack.ExtType(rng.randrange(0, 13), data)
    if kind <= 8:
        return [weird_value(rng, depth + 1) for _ in range(rng.randrange(9))]
    return {
        rng.choice(["a", "_b", "source", "", 1, b"x", None]): weird_value(rng, depth + 1)
        for _ in range(rng.randrange(4))
    }


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return *data* with a few bytes changed, put in or left out."""
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(changed) + 1)
        way = rng.randrange(4)
        if way == 0 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif way == 1:
            changed[at:at] = rng.choice(HEADS)
        elif way == 2:
            del changed[at : at + rng.randrange(1, 9)]
        else:
            changed[at : at + 1] = rng.choice(HEADS)
    return bytes(changed)


def mutated_text(rng: random.Random, text: str) -> str:
    """Return a routing key or a header with a few characters changed."""
    letters = list(text)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(letters) + 1)
        letters[at : at + rng.randrange(2)] = [rng.choice(".@+!~%#*aüZ0\ud800\0 ")]
    return "".join(letters)


def messages(
    rng: random.Random, valid: list[tuple[str, dict[str, object] | None, bytes]]
) -> object:
    """Return one (routing key, headers, body) that nobody sends."""
    key, headers, body = rng.choice(valid)
    way = rng.randrange(6)
    if way == 0:
        return key, headers, rng.randbytes(rng.randrange(300))
    if way == 1:
        return key, headers, b"\x92\x01" + rng.choice(HEADS) * rng.randrange(1, 300)
    if way == 2:
        envelope = [weird_value(rng) for _ in range(rng.randrange(13))]
        if rng.random() < 0.8:
            envelope[:4] = [1, bytes(12), 2, {"a": weird_value(rng)}]
        return key, headers, msgpack.packb([1, envelope])
    if way == 3:
        return mutated_text(rng, key), headers, body
    if way == 4 and headers:
        name = rng.choice(list(headers))
        value = headers[name]
        changed = mutated_text(rng, value) if isinstance(value, str) else weird_value(rng)
        return key, {**headers, name: changed}, body
    return key, headers, mutated(rng, body)


def outcome(codec: Codec, message: object) -> str:
    """Return what became of *message*: ``refused``, or the events as text.

    Raises:
        AssertionError: it took too long or too much memory.
        Exception: whatever the codec raises and must not.
    """
    key, headers, body = message  # type: ignore[misc]
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    started = time.perf_counter()
    try:
        events = codec.decode(key, headers, body)
    except CorruptMessage:
        result = "refused"
    else:
        result = repr([(type(e).__name__, sorted(vars(e).items())) for e in events])
    took = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1] - before
    limit = MEMORY_FLOOR + MEMORY_FACTOR * (len(body) + len(key))
    assert took < PATIENCE_S, f"{took:.1f} s for {message!r}"
    assert peak < limit, f"{peak} bytes for {message!r}"
    return result


def fuzz(count: int, seed: int) -> Counter[str]:
    """Read *count* messages with both libraries; return how many were refused and read.

    Raises:
        AssertionError: on the first message that does harm, or that the two
            libraries do not agree about.
    """
    rng = random.Random(seed)
    registry = ClassRegistry()
    quick, reference = Codec(registry), Codec(registry, library=MsgpackLibrary())
    valid = valid_messages(quick)
    modules = set(sys.modules)
    counts: Counter[str] = Counter()
    tracemalloc.start()
    try:
        for number in range(count):
            message = messages(rng, valid)
            try:
                one, other = outcome(quick, message), outcome(reference, message)
            except Exception as exc:
                raise AssertionError(f"seed {seed}, message {number}: {message!r}") from exc
            assert one == other, f"seed {seed}, message {number}: {message!r}\n{one}\n{other}"
            counts["refused" if one == "refused" else "read"] += 1
    finally:
        tracemalloc.stop()
    assert set(sys.modules) <= modules, f"imported {set(sys.modules) - modules}"
    return counts


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    chosen = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(2**32)
    print(f"seed {chosen}: {dict(fuzz(wanted, chosen))}")  # noqa: T201 - a script
