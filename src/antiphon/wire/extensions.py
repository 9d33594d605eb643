"""The values of extensions: the half of ``values`` that reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from antiphon.wire.values import (
    BIG_INT,
    DATE,
    DATETIME,
    DECIMAL,
    EPOCH,
    EPOCH_DAY,
    FROZENSET,
    MAP,
    MAX_INT_BYTES,
    SET,
    TIMEDELTA,
    TIMESTAMP,
    TUPLE,
    UUID_,
    has_colliding_hashes,
)


def from_ext(code: int, data: bytes, unpack: Callable[[bytes], Any]) -> Any:
    """Return the value of an extension.

    Args:
        code: its type.
        data: its payload.
        unpack: decodes a payload that is msgpack itself.

    Raises:
        ValueError: it has no value of this format.
    """
    try:
        return _DECODERS[code](data, unpack)
    except KeyError:
        raise ValueError(f"extension type {code} is not of this format") from None
    except (TypeError, OverflowError, InvalidOperation) as exc:
        raise ValueError(f"extension of type {code} has no value: {exc}") from exc


def _array(data: bytes, unpack: Callable[[bytes], Any]) -> list[Any]:
    items = unpack(data)
    if type(items) is not list:
        raise ValueError(f"payload is a {type(items).__name__}, not an array")
    return items


def _hashed(items: list[Any]) -> list[Any]:
    """Return *items*, having made sure that a hash table of them is quick to make."""
    if has_colliding_hashes(items):
        raise ValueError(f"too many of {len(items)} items have the same hash")
    return items


def _make_set(data: bytes, unpack: Callable[[bytes], Any]) -> set[Any]:
    items = _hashed(_array(data, unpack))
    made = set(items)
    if len(made) != len(items):
        raise ValueError("a set has the same item twice")
    return made


def _make_map(data: bytes, unpack: Callable[[bytes], Any]) -> dict[Any, Any]:
    flat = _array(data, unpack)
    if len(flat) % 2:
        raise ValueError("a map has a key without a value")
    return dict(zip(_hashed(flat[::2]), flat[1::2], strict=True))


def _make_int(data: bytes, _: object) -> int:
    if len(data) > MAX_INT_BYTES:
        raise ValueError(f"an integer has {len(data)} bytes (at most {MAX_INT_BYTES} are read)")
    return int.from_bytes(data, "big", signed=True)


def _make_datetime(data: bytes, _: object) -> datetime:
    wall = EPOCH + timedelta(microseconds=int.from_bytes(data[:8], "big", signed=True))
    rest = data[8:]
    if len(data) == 8:
        return wall
    if len(data) == 9 and rest == b"\x01":
        return wall.replace(fold=1)
    if len(data) not in (12, 16):
        raise ValueError(f"a datetime has {len(data)} bytes")
    offset = int.from_bytes(rest, "big", signed=True)
    step = timedelta(seconds=offset) if len(data) == 12 else timedelta(microseconds=offset)
    return wall.replace(tzinfo=timezone(step) if step else UTC)


def _make_timestamp(data: bytes, _: object) -> datetime:
    if len(data) == 4:
        nanos, seconds = 0, int.from_bytes(data, "big")
    elif len(data) == 8:
        both = int.from_bytes(data, "big")
        nanos, seconds = both >> 34, both & (2**34 - 1)
    elif len(data) == 12:
        nanos = int.from_bytes(data[:4], "big")
        seconds = int.from_bytes(data[4:], "big", signed=True)
    else:
        raise ValueError(f"a timestamp has {len(data)} bytes")
    if nanos > 999_999_999:
        raise ValueError("a timestamp has more than a second of nanoseconds")
    return EPOCH.replace(tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)


def _make_date(data: bytes, _: object) -> date:
    if len(data) != 4:
        raise ValueError(f"a date has {len(data)} bytes")
    return date.fromordinal(int.from_bytes(data, "big", signed=True) + EPOCH_DAY)


def _make_timedelta(data: bytes, _: object) -> timedelta:
    return timedelta(microseconds=int.from_bytes(data, "big", signed=True))


def _make_decimal(data: bytes, _: object) -> Decimal:
    text = data.decode("ascii")
    value = Decimal(text)
    if str(value) != text or value.is_snan():
        raise ValueError("a decimal is not as this format writes it")
    return value


_DECODERS: dict[int, Callable[[bytes, Callable[[bytes], Any]], Any]] = {
    TUPLE: lambda data, unpack: tuple(_array(data, unpack)),
    SET: _make_set,
    FROZENSET: lambda data, unpack: frozenset(_make_set(data, unpack)),
    BIG_INT: _make_int,
    DATETIME: _make_datetime,
    DATE: _make_date,
    UUID_: lambda data, _: UUID(bytes=data),
    DECIMAL: _make_decimal,
    MAP: _make_map,
    TIMEDELTA: _make_timedelta,
    TIMESTAMP: _make_timestamp,
}
