"""What is stored: keys, data and metadata, the same for all contenders."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

#: Bytes of a value.
VALUE_BYTES = 1024

#: Keys that have the same metadata entry ``group``, so the hits of a query.
HITS = 100

#: Keys that are written by one call of a bulk operation.
BULK = 100

_FILLER = random.Random(1).randbytes(VALUE_BYTES + 997)


def key_of(number: int) -> str:
    """Return a key; those of neighbouring numbers are no neighbours in a tree of keys."""
    return f"catalogue/{number * 7919 % 1000:03d}/item-{number:07d}"


def data_of(number: int, round: int = 0) -> bytes:
    """Return 1 KiB that compresses badly and differs from round to round."""
    begin = (number * 31 + round) % 997
    return _FILLER[begin : begin + VALUE_BYTES]


def metadata_of(number: int, round: int = 0) -> dict[str, Any]:
    """Return three entries: one that 100 keys share, one of few values, and a number."""
    return {
        "group": f"group-{number // HITS}",
        "owner": f"user-{(number + round) % 97}",
        "weight": number / 7,
    }


@dataclass(frozen=True, slots=True)
class Item:
    """What one call is about; made before the clock starts.

    Attributes:
        key, data, metadata: to be written, or, of a key that is there, read.
        group: what a query asks the entry ``group`` for.
        bulk: those that a bulk operation writes; empty for others.
    """

    key: str
    data: bytes
    metadata: dict[str, Any]
    group: str
    bulk: tuple[Item, ...] = ()

    @classmethod
    def of(cls, number: int, round: int = 0, *, bulk: bool = False) -> Item:
        """Return that of a key's number in a round; *bulk*: with its neighbours'."""
        begin = number // BULK * BULK
        numbers = range(begin, begin + BULK) if bulk else ()
        return cls(
            key_of(number),
            data_of(number, round),
            metadata_of(number, round),
            f"group-{number // HITS}",
            tuple(cls.of(each, round) for each in numbers),
        )
