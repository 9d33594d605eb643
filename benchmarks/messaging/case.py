"""What is measured: events of 200 bytes, in several ways; and who counts them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

#: Bytes of a message with one event.
BODY_BYTES = 200

#: Routing keys of the events: the second is for mixed traffic.
KEYS = (
    "antiphon:BaseEvent.antiphon:StoreEvent.antiphon:StoreKeyEvent"
    ".antiphon:StoreModificationEvent.antiphon:StoreSetEvent",
    "antiphon:BaseEvent.antiphon:StoreEvent.antiphon:StoreKeyEvent"
    ".antiphon:StoreModificationEvent.antiphon:StoreDeleteEvent",
)

#: Messages that a receiver may have unacknowledged, everywhere.
PREFETCH = 1000

#: Deliveries that those acknowledge together who can.
ACK_EVERY = 100

#: Messages that those have unconfirmed who need not wait for each.
WINDOW = 1000

_stamp = struct.Struct("q")
_FILLING = bytes(range(BODY_BYTES - _stamp.size))


@dataclass(frozen=True, slots=True)
class Case:
    """One way to send.

    Attributes:
        name: shown, and part of the names of queues.
        persistent: to a durable quorum queue, confirmed and acknowledged; else to a
            queue of the receiver's own, neither.
        mixed: events with one routing key and another in turns.
        single: one event a message, of ours too.
        target: what ours is to be, of the first contender.
    """

    name: str
    persistent: bool = False
    mixed: bool = False
    single: bool = False
    target: float | None = None


class Sender(Protocol):
    """The end that publishes; every call comes from one thread."""

    def send(self, count: int) -> None:
        """Send *count* events as fast as it goes; return when the broker has (confirmed) them."""

    def pace(self, count: int, rate: float) -> None:
        """Send *count* events, *rate* a second, each with the time in it."""

    def prepare(self, count: int) -> None:
        """Make what ``send`` will send, where that is no part of sending."""


class SimpleSender:
    """Base of those that send one event by a call."""

    def __init__(self) -> None:
        self.keys = KEYS[:1]

    def prepare(self, count: int) -> None:
        pass

    def publish(self, key: str, body: bytes) -> None:
        """Publish one event."""
        raise NotImplementedError

    def send(self, count: int) -> None:
        publish, (first, *others) = self.publish, self.keys
        second = others[0] if others else first
        body = stamped()
        for _ in range(count // 2):
            publish(first, body)
            publish(second, body)

    def pace(self, count: int, rate: float) -> None:
        paced(count, rate, lambda: self.publish(self.keys[0], stamped()))


class Tally:
    """Counts what a receiver hears, and tells when all of it came.

    Args:
        pipe: to whoever runs the contest.

    Attributes:
        heard: counts one event; a plain function, which is quick to call for everyone.
        expect: begins to count, up to a number.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._latencies: list[int] = []
        heard = target = 0

        def count(_event: object) -> None:
            nonlocal heard
            heard += 1
            if heard == target:
                pipe.send((now_ns(), ()))

        def expect(number: int) -> None:
            nonlocal heard, target
            heard, target = 0, number
            self._target = number
            self._latencies.clear()

        self.heard = count
        self.expect = expect
        expect(0)

    def ready(self) -> None:
        """Tell that events can come."""
        self._pipe.send("ready")

    def timed(self, sent_ns: int) -> None:
        """Count one event that was sent at *sent_ns*."""
        self._latencies.append(now_ns() - sent_ns)
        if len(self._latencies) == self._target:
            self._pipe.send((now_ns(), tuple(self._latencies)))

    def of_body(self, *, is_timed: bool) -> Callable[[bytes], None]:
        """Return what counts a body that ``stamped`` made."""
        if not is_timed:
            return self.heard
        return lambda body: self.timed(_stamp.unpack_from(body)[0])


def now_ns() -> int:
    """The clock that all processes of the machine share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def stamped() -> bytes:
    """Return a body with the time in it."""
    return _stamp.pack(now_ns()) + _FILLING


def paced(count: int, rate: float, send: Callable[[], object]) -> None:
    """Call *send* *count* times, evenly spaced."""
    begin = time.perf_counter()
    for index in range(count):
        wait = begin + index / rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        send()
