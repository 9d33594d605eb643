"""The values of the wire format once more, for ``other_language``.

Made from docs/reference/wire-format.md alone: nothing of Antiphon is imported here.
"""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import msgpack

MAX_INTEGER_BYTES = 1024
MAX_DEPTH = 200
MAX_EXTENSIONS = 32
MAX_CONTAINERS = 200_000

TUPLE, SET, FROZEN_SET, INTEGER, DATETIME, DATE, UUID_, DECIMAL, MAP, SPAN = range(1, 11)

BEGAN = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


class RefusedMessage(ValueError):
    """A message that must be refused."""


def packed(value: Any) -> bytes:
    """Return the bytes of a value."""
    raw: bytes = msgpack.packb(_plain(value), strict_types=True)
    return raw


def array_head(count: int) -> bytes:
    """Return the bytes that begin an array."""
    raw: bytes = msgpack.Packer().pack_array_header(count)
    return raw


def _integer(value: int) -> bytes:
    size = 1
    while not -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
        size += 1
    return value.to_bytes(size, "big", signed=True)


def _when(value: datetime) -> bytes:
    wall = value.replace(tzinfo=None, fold=0)
    raw = struct.pack(">q", (wall - BEGAN) // MICROSECOND)
    offset = value.utcoffset()
    if offset is None:
        return raw + (b"\x01" if value.fold else b"")
    if offset % timedelta(seconds=1):
        return raw + struct.pack(">q", offset // MICROSECOND)
    return raw + struct.pack(">i", offset // timedelta(seconds=1))


def _plain(value: Any) -> Any:
    """Return a value in msgpack's own types."""
    if isinstance(value, int) and not isinstance(value, bool):
        fits = -(2**63) <= value < 2**64
        return value if fits else msgpack.ExtType(INTEGER, _integer(value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):  # [V1]
            return {key: _plain(item) for key, item in value.items()}
        flat = [part for pair in value.items() for part in pair]
        return msgpack.ExtType(MAP, packed(flat))
    if isinstance(value, tuple):
        return msgpack.ExtType(TUPLE, packed(list(value)))
    if isinstance(value, set | frozenset):
        items = sorted(packed(item) for item in value)  # [V4]
        code = SET if isinstance(value, set) else FROZEN_SET
        return msgpack.ExtType(code, array_head(len(items)) + b"".join(items))
    if isinstance(value, datetime):
        return msgpack.ExtType(DATETIME, _when(value))
    if isinstance(value, date):
        return msgpack.ExtType(DATE, struct.pack(">i", (value - BEGAN.date()).days))
    if isinstance(value, timedelta):
        return msgpack.ExtType(SPAN, _integer(value // MICROSECOND))
    if isinstance(value, UUID):
        return msgpack.ExtType(UUID_, value.bytes)
    if isinstance(value, Decimal):
        return msgpack.ExtType(DECIMAL, str(value).encode("ascii"))
    return value


class Pairs(list[tuple[Any, Any]]):
    """A map of msgpack, whose keys may be anything, and there twice."""


class Reader:
    """Reads the values of one body, and counts what is limited."""

    def __init__(self) -> None:
        self._left = MAX_CONTAINERS

    def unpacked(self, raw: bytes) -> Any:
        """Return the first value in *raw*, its extensions unread; what follows is ignored [D3]."""
        unpacker = msgpack.Unpacker(
            strict_map_key=False, object_pairs_hook=Pairs, max_buffer_size=0
        )
        unpacker.feed(raw)
        try:
            return unpacker.unpack()
        except (msgpack.UnpackException, ValueError, RecursionError) as exc:
            raise RefusedMessage(f"no msgpack: {exc!r}") from None

    def array(self, raw: bytes) -> list[Any]:
        """Return the array in *raw*."""
        found = self.unpacked(raw)
        if not isinstance(found, list) or isinstance(found, Pairs):
            raise RefusedMessage("no array")
        return found

    def count(self) -> None:
        """Take note of a container, or an extension [L4]."""
        self._left -= 1
        if self._left < 0:
            raise RefusedMessage("too many containers")

    def value(self, item: Any, depth: int = 1, extensions: int = 0) -> Any:
        """Return an unpacked item as a value."""
        if isinstance(item, msgpack.Timestamp):
            self.count()
            seconds = timedelta(seconds=item.seconds, microseconds=item.nanoseconds // 1000)
            return BEGAN.replace(tzinfo=UTC) + seconds  # [V6]
        if isinstance(item, msgpack.ExtType):
            return self._extension(item.code, item.data, depth, extensions)
        if isinstance(item, list):
            self.count()
            if depth > MAX_DEPTH:  # [L1]
                raise RefusedMessage("nested too deeply")
            if isinstance(item, Pairs):
                return self._map(item, depth, extensions)
            return [self.value(one, depth + 1, extensions) for one in item]
        return item

    def _map(self, pairs: Pairs, depth: int, extensions: int) -> dict[str, Any]:
        if not all(isinstance(key, str) for key, _ in pairs):  # [V1]
            raise RefusedMessage("a map has a key that is no text")
        return {key: self.value(one, depth + 1, extensions) for key, one in pairs}

    def _extension(self, code: int, raw: bytes, depth: int, extensions: int) -> Any:
        self.count()
        if code in (TUPLE, SET, FROZEN_SET, MAP):
            if depth > MAX_DEPTH or extensions == MAX_EXTENSIONS:  # [L1, L2]
                raise RefusedMessage("nested too deeply")
            items = [self.value(one, depth + 1, extensions + 1) for one in self.array(raw)]
            return _container(code, items)
        try:
            return _SCALARS[code](raw)
        except KeyError:  # [V8]
            raise RefusedMessage(f"extension type {code}") from None
        except (ValueError, OverflowError, InvalidOperation, struct.error) as exc:
            raise RefusedMessage(f"no value of type {code}: {exc}") from None


def _container(code: int, items: list[Any]) -> Any:
    if code == TUPLE:
        return tuple(items)
    if code == MAP and len(items) % 2:
        raise RefusedMessage("a map has a key without a value")
    try:
        if code == MAP:
            return dict(zip(items[::2], items[1::2], strict=True))
        found = set(items)
    except TypeError:
        raise RefusedMessage("a list, or another table, cannot be a key") from None
    if len(found) != len(items):
        raise RefusedMessage("a set has an item twice")
    return found if code == SET else frozenset(found)


def _read_integer(raw: bytes) -> int:
    if len(raw) > MAX_INTEGER_BYTES:  # [L3]
        raise ValueError("too long")
    return int.from_bytes(raw, "big", signed=True)


def _read_when(raw: bytes) -> datetime:
    (wall,) = struct.unpack(">q", raw[:8])
    moment, rest = BEGAN + wall * MICROSECOND, raw[8:]
    if not rest:
        return moment
    if rest == b"\x01":
        return moment.replace(fold=1)
    if len(rest) == 4:
        offset = timedelta(seconds=struct.unpack(">i", rest)[0])
    else:
        offset = struct.unpack(">q", rest)[0] * MICROSECOND
    return moment.replace(tzinfo=timezone(offset) if offset else UTC)


def _read_decimal(raw: bytes) -> Decimal:
    found = Decimal(raw.decode("ascii"))
    if found.is_snan() or str(found).encode() != raw:
        raise ValueError("not as str writes it")
    return found


_SCALARS: dict[int, Any] = {
    INTEGER: _read_integer,
    DATETIME: _read_when,
    DATE: lambda raw: BEGAN.date() + timedelta(days=struct.unpack(">i", raw)[0]),
    UUID_: lambda raw: UUID(bytes=raw),
    DECIMAL: _read_decimal,
    SPAN: lambda raw: _read_integer(raw) * MICROSECOND,
}
