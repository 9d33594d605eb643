"""Values that travel exactly: what msgpack has, and what this format adds to it.

Everything here is independent of the library that writes the bytes, so that
two libraries write the same ones.  ``extensions`` is the other half, which
reads.  docs/reference/wire-format.md has the table of extension types.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

#: Levels of containers in one attribute, itself included.
MAX_DEPTH = 200
#: Tuples, sets and maps with keys other than text that may be inside each other: each costs
#: its reader a few frames of Python's stack.
MAX_EXTENSIONS = 32

#: Bytes of the longest integer: Python prints none of more than 4300 digits (1786 bytes), so
#: that whoever logs an event with one would get a ValueError.
MAX_INT_BYTES = 1024
#: Sets and maps of this size may be as bad as they like.
FREE_COLLISIONS = 64

TUPLE, SET, FROZENSET, BIG_INT, DATETIME, DATE, UUID_, DECIMAL, MAP, TIMEDELTA = range(1, 11)
#: msgpack's own timestamp: read, never written, because it has no offset.
TIMESTAMP = -1

#: What dates and times are counted from.
EPOCH = datetime(1970, 1, 1)
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
_MAX_UINT, _MIN_INT = 2**64 - 1, -(2**63)
_ALLOWED = (
    "None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, "
    "timedelta, UUID and Decimal"
)


class Library(Protocol):
    """What is needed of a msgpack library."""

    def pack(self, plain: object) -> bytes:
        """Return the bytes of a value made of msgpack's own types and ``ext``."""

    def ext(self, code: int, data: bytes) -> object:
        """Return the library's object for an extension value."""


class Refused(TypeError):
    """A value cannot travel.

    Attributes:
        reason: what is wrong with it.
        path: where it stands in the attribute: ``['a'][3]``; empty for the whole.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def to_plain(value: Any, library: Library, depth: int = 1, extensions: int = 0) -> object:
    """Return *value* in msgpack's own types and extension objects.

    Args:
        value: anything.
        library: makes the extension objects.
        depth: containers that it stands in, itself included if it is one.
        extensions: extensions that it stands in.

    Raises:
        Refused: it, or something in it, cannot travel; says where.
    """
    kind = type(value)
    if kind in _UNCHANGED:
        return value
    if kind is str:
        return _text(value)
    if kind is int:
        if _MIN_INT <= value <= _MAX_UINT:
            return value
        if value.bit_length() >= 8 * MAX_INT_BYTES:
            raise Refused(f"it is an integer of more than {MAX_INT_BYTES} bytes")
        return library.ext(BIG_INT, _int_bytes(value))
    if kind in _SCALARS:
        code, encode = _SCALARS[kind]
        return library.ext(code, encode(value))
    if depth > MAX_DEPTH:
        raise Refused(f"it is nested deeper than {MAX_DEPTH} levels, or contains itself")
    if kind is list:
        return _items(value, library, depth, extensions)
    if kind is dict:
        return _mapping(value, library, depth, extensions)
    if kind is tuple:
        return library.ext(
            TUPLE, library.pack(_items(value, library, depth, _one_more(extensions)))
        )
    if kind is set or kind is frozenset:
        _check_hashes(value)
        items = _items(value, library, depth, _one_more(extensions))
        return library.ext(SET if kind is set else FROZENSET, _sorted_array(items, library))
    return to_plain(_as_base(value), library, depth, extensions)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise Refused(f"it is text with a lone surrogate at index {exc.start}") from None
    return value


def _one_more(extensions: int) -> int:
    if extensions == MAX_EXTENSIONS:
        raise Refused(
            f"it has more than {MAX_EXTENSIONS} tuples, sets or dicts with keys other than text "
            f"inside each other"
        )
    return extensions + 1


def _items(values: Iterable[Any], library: Library, depth: int, extensions: int) -> list[object]:
    plain = []
    for index, item in enumerate(values):
        try:
            plain.append(to_plain(item, library, depth + 1, extensions))
        except Refused as exc:
            raise Refused(exc.reason, f"[{index}]{exc.path}") from None
    return plain


def _mapping(value: dict[Any, Any], library: Library, depth: int, extensions: int) -> object:
    if all(type(key) is str and is_utf8(key) for key in value):
        return {key: _item(value, key, library, depth, extensions) for key in value}
    _check_hashes(value)
    flat: list[object] = []
    extensions = _one_more(extensions)
    for key in value:
        try:
            flat.append(to_plain(key, library, depth + 1, extensions))
        except Refused as exc:
            raise Refused(f"of its key {_short(key)}: {exc.reason}", exc.path) from None
        flat.append(_item(value, key, library, depth, extensions))
    return library.ext(MAP, library.pack(flat))


def _item(value: dict[Any, Any], key: Any, library: Library, depth: int, extensions: int) -> object:
    try:
        return to_plain(value[key], library, depth + 1, extensions)
    except Refused as exc:
        raise Refused(exc.reason, f"[{_short(key)}]{exc.path}") from None


def _check_hashes(items: Collection[Any]) -> None:
    if has_colliding_hashes(items):
        raise Refused(f"it has more than {FREE_COLLISIONS} items or keys whose hashes are the same")


def has_colliding_hashes(items: Collection[Any]) -> bool:
    """Return whether a hash table of *items* is slow to make.

    Hashes of numbers, UUIDs and tuples can be made to collide, and a table of
    n such takes n² comparisons; so no reader makes one.
    """
    if len(items) <= FREE_COLLISIONS:
        return False
    return len(items) - len(set(map(hash, items))) > FREE_COLLISIONS


def is_utf8(text: str) -> bool:
    """Return whether *text* can be written as UTF-8, which has no lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sorted_array(items: list[object], library: Library) -> bytes:
    # By their bytes: the order of a set is another in every process.
    packed = sorted(map(library.pack, items))
    return array_header(len(packed)) + b"".join(packed)


def array_header(length: int) -> bytes:
    """Return the bytes that begin a msgpack array of *length* items."""
    if length < 16:
        return bytes((0x90 | length,))
    if length < 0x10000:
        return b"\xdc" + length.to_bytes(2, "big")
    return b"\xdd" + length.to_bytes(4, "big")


def _as_base(value: Any) -> Any:
    """Return the value of a built-in type that *value*, of a subclass of it, equals."""
    for base, convert in _BASES.items():
        if isinstance(value, base):
            plain = convert(value)
            # Filters compare, there as here; so only what compares alike may travel.
            if plain == value or (plain != plain and value != value):
                return plain
            raise Refused(f"it is a {_kind(value)} that does not equal its {base.__name__}")
    hint = "; give its value" if any(c.__name__ == "Enum" for c in type(value).__mro__) else ""
    raise Refused(f"it is a {_kind(value)}{hint} (what travels: {_ALLOWED})")


def _kind(value: object) -> str:
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}" if cls.__module__ != "builtins" else cls.__name__


def _short(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 40 else text[:39] + "…"


def _int_bytes(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def _datetime_bytes(value: datetime) -> bytes:
    offset = value.utcoffset()
    wall = ((value.replace(tzinfo=None, fold=0) - EPOCH) // _MICROSECOND).to_bytes(
        8, "big", signed=True
    )
    if offset is None:
        return wall + b"\x01" if value.fold else wall
    micros = offset // _MICROSECOND
    if micros % 1_000_000:
        return wall + micros.to_bytes(8, "big", signed=True)
    return wall + (micros // 1_000_000).to_bytes(4, "big", signed=True)


def _date_bytes(value: date) -> bytes:
    return (value.toordinal() - EPOCH_DAY).to_bytes(4, "big", signed=True)


def _timedelta_bytes(value: timedelta) -> bytes:
    return _int_bytes(value // _MICROSECOND)


def _decimal_bytes(value: Decimal) -> bytes:
    if value.is_snan():
        raise Refused("it is a signalling NaN, which cannot be compared")
    return str(value).encode("ascii")


_UNCHANGED = frozenset({type(None), bool, float, bytes})
_SCALARS: dict[type, tuple[int, Callable[[Any], bytes]]] = {
    datetime: (DATETIME, _datetime_bytes),
    date: (DATE, _date_bytes),
    timedelta: (TIMEDELTA, _timedelta_bytes),
    UUID: (UUID_, lambda value: value.bytes),
    Decimal: (DECIMAL, _decimal_bytes),
}
# Not the constructors: str(x) and the like run methods that a subclass may have replaced.
_BASES: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    bytearray: bytes,
    memoryview: bytes,
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(set(frozenset.__iter__(value))),
    datetime: lambda v: datetime(
        v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, v.tzinfo, fold=v.fold
    ),
    date: lambda value: date(value.year, value.month, value.day),
    timedelta: lambda value: timedelta(value.days, value.seconds, value.microseconds),
    UUID: lambda value: UUID(int=value.int),
    Decimal: Decimal,
}


def is_too_deep(container: Any, levels: int = MAX_DEPTH) -> bool:
    """Return whether *container* has more than *levels* containers inside each other.

    Keys are not looked at: what can be a key is made of extensions, of which
    only ``MAX_EXTENSIONS`` can be inside each other.
    """
    if not levels:
        return True
    # A loop, not any(): this is called for each event of a body with many.
    for item in container.values() if isinstance(container, dict) else container:
        if type(item) in LEAVES:
            continue
        if isinstance(item, _CONTAINERS) and is_too_deep(item, levels - 1):
            return True
    return False


def are_too_deep(containers: Iterable[Any], levels: int = MAX_DEPTH) -> bool:
    """Return whether one of *containers*, as they were decoded, is ``is_too_deep``.

    Level by level through all of them: in half the time of one after the other.
    """
    some = list(containers)
    while some:
        if not levels:
            return True
        levels -= 1
        some = [
            item
            for one in some
            for item in (one.values() if type(one) is dict else one)
            if type(item) in DECODED_CONTAINERS
        ]
    return False


_CONTAINERS = (list, dict, tuple, set, frozenset)
#: Types of what is decoded and has values in it.
DECODED_CONTAINERS = frozenset(_CONTAINERS)
#: Types of values that have none in them.
LEAVES = frozenset({str, bytes, int, float, bool, type(None)})
