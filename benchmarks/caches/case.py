"""What is measured: one key that one process writes and another reads through its cache."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

#: The key that is written.
KEY = "prices/eur"

#: Bytes of its value.
VALUE_BYTES = 100

_stamp = struct.Struct("<qq")
_FILLING = bytes(VALUE_BYTES - _stamp.size)


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the contenders find their servers.

    Attributes:
        amqp: URL of RabbitMQ.
        redis: URL of Redis.
        zeo: host and port of ZEO's own server; None if there is none.
    """

    amqp: str
    redis: str
    zeo: tuple[str, int] | None = None


class Reader(Protocol):
    """A cache in the reading process."""

    def read(self) -> bytes:
        """Return the value, from the cache if that has it."""

    def wait(self, timeout_s: float) -> None:
        """Sleep until something tells that the value has changed."""


#: Writes a value, and has told the readers when it returns, or soon after.
Write = Callable[[bytes], object]


class DictReader:
    """A dictionary that a thread keeps right.

    Attributes:
        values: what the thread writes into, and then calls ``changed``.
    """

    def __init__(self) -> None:
        self.values = {KEY: stamped(-1)}
        self._told = threading.Event()
        self.changed = self._told.set

    def read(self) -> bytes:
        return self.values[KEY]

    def wait(self, timeout_s: float) -> None:
        self._told.wait(timeout_s)
        self._told.clear()


def now_ns() -> int:
    """The clock that all processes of the machine share."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def stamped(number: int) -> bytes:
    """Return a value that says which one it is, and when it was made."""
    return _stamp.pack(number, now_ns()) + _FILLING


def read_stamp(value: bytes) -> tuple[int, int]:
    """Return what ``stamped`` put into *value*."""
    number, made_ns = _stamp.unpack_from(value)
    return number, made_ns
