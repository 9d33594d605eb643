"""The msgpack libraries: the only file that imports them.

ormsgpack does the work where it is installed; msgpack-python does where it is
not, and writes and reads the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgpack  # type: ignore[import-untyped]

from antiphon.wire.extensions import from_ext
from antiphon.wire.values import FROZENSET, MAP, MAX_EXTENSIONS, SET, TUPLE, to_plain

try:
    import ormsgpack
except ImportError:  # pragma: no cover - no wheel for this machine
    ormsgpack = None  # type: ignore[assignment]


class Library(Protocol):
    """What the codec needs of a msgpack library."""

    @property
    def pack_quickly(self) -> Callable[..., bytes]:
        """Called with a value and the next two; ``TypeError`` for what the slow way must do."""

    @property
    def default(self) -> Callable[[Any], object] | None:
        """Its hook for types that msgpack does not have."""

    @property
    def option(self) -> int | None:
        """Its options."""

    @property
    def unpack(self) -> Callable[..., Any]:
        """Called with bytes and ``ext_hook=``; ``ValueError`` if they are not of this format.

        What follows the value in the bytes is ignored.
        """

    @property
    def ext_hook(self) -> Callable[[int, bytes], Any]:
        """Its hook for extensions."""

    def pack(self, plain: object) -> bytes:
        """Return the bytes of *plain*, made of msgpack's types and ``ext`` only."""

    def ext(self, code: int, data: bytes) -> object:
        """Return an extension value."""


def _hook_at(level: int, unpack: Callable[..., Any]) -> Callable[[int, bytes], Any]:
    """Return a hook that decodes extensions, and others in them while the levels last."""
    inner_hook = _hook_at(level + 1, unpack) if level < MAX_EXTENSIONS else None

    def unpack_inner(data: bytes) -> Any:
        if inner_hook is None:
            raise ValueError(f"more than {MAX_EXTENSIONS} extensions inside each other")
        return unpack(data, ext_hook=inner_hook)

    def ext_hook(code: int, data: bytes) -> Any:
        return from_ext(code, data, unpack_inner)

    return ext_hook


class MsgpackLibrary:
    """msgpack-python."""

    def __init__(self) -> None:
        self.default: None = None
        self.option: None = None
        self.unpack = _unpack_with_msgpack
        self.ext_hook = _hook_at(0, self.unpack)

    def pack_quickly(self, value: object, default: None, option: None) -> bytes:
        """Refuse: this library has no hook for subclasses, tuples and keys."""
        raise TypeError

    def pack(self, plain: object) -> bytes:
        """Return the bytes of *plain*, made of msgpack's types and ``ext`` only."""
        packed: bytes = msgpack.packb(plain)
        return packed

    def ext(self, code: int, data: bytes) -> object:
        """Return an extension value."""
        return msgpack.ExtType(code, data)


def _unpack_with_msgpack(data: bytes, *, ext_hook: Callable[[int, bytes], Any]) -> Any:
    try:
        return msgpack.unpackb(data, ext_hook=ext_hook, object_pairs_hook=_map_of, timestamp=3)
    except msgpack.ExtraData as exc:
        return exc.unpacked
    except (msgpack.UnpackException, OverflowError, MemoryError) as exc:
        # MemoryError: the library makes an array as long as its head says, before it looks.
        raise ValueError(f"malformed msgpack: {exc!r}") from exc


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    for key, _ in pairs:
        if type(key) is not str:
            raise ValueError(f"a map has a {type(key).__name__} as key")
    return dict(pairs)


class OrmsgpackLibrary:
    """ormsgpack, several times as quick."""

    def __init__(self) -> None:
        # Everything that msgpack does not have goes to ``default``.  Keys that are no str are
        # errors (there is an option that allows them, and turns dates and UUIDs into text).
        self.option = (
            ormsgpack.OPT_PASSTHROUGH_BIG_INT
            | ormsgpack.OPT_PASSTHROUGH_DATACLASS
            | ormsgpack.OPT_PASSTHROUGH_DATETIME
            | ormsgpack.OPT_PASSTHROUGH_ENUM
            | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
            | ormsgpack.OPT_PASSTHROUGH_TUPLE
            | ormsgpack.OPT_PASSTHROUGH_UUID
        )
        self.pack_quickly = ormsgpack.packb
        self.unpack = ormsgpack.unpackb
        self.ext_hook = _hook_at(0, self.unpack)

    def default(self, value: Any) -> object:
        """Return *value*, of a type that msgpack does not have, as one that it has."""
        return to_plain(value, self)

    def pack(self, plain: object) -> bytes:
        """Return the bytes of *plain*, made of msgpack's types and ``ext`` only."""
        return ormsgpack.packb(plain)

    def ext(self, code: int, data: bytes) -> object:
        """Return an extension value."""
        return ormsgpack.Ext(code, data)


def split_array(data: bytes) -> list[bytes]:
    """Return the bytes of each item of the array at the beginning of *data*, unread.

    Raises:
        ValueError: there is no such array.
    """
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    items = []
    try:
        count = unpacker.read_array_header()
        begin = unpacker.tell()
        for _ in range(count):
            unpacker.skip()
            end = unpacker.tell()
            items.append(data[begin:end])
            begin = end
    except (msgpack.UnpackException, ValueError, OverflowError) as exc:
        raise ValueError(f"malformed msgpack: {exc!r}") from exc
    return items


class _TooMany(Exception):
    """There are more containers than were to be counted."""


def has_more_containers(data: bytes, limit: int) -> bool:
    """Return whether the value in *data* has more than *limit* containers and extensions.

    Those inside extensions count as well.  Nothing is kept of what is read, so that
    it takes no more memory than an array of the longest; malformed bytes are not told of.
    """
    # The library makes timestamps without asking its hook.
    left = limit - sum(map(data.count, _TIMESTAMPS))
    if left < 0:
        return True

    def count(_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMany

    def count_extension(code: int, inner: bytes, level: int = 0) -> None:
        count(None)
        if code in _NESTING and level <= MAX_EXTENSIONS:
            walk(inner, lambda code, data: count_extension(code, data, level + 1))

    def walk(part: bytes, ext_hook: Callable[[int, bytes], None]) -> None:
        msgpack.unpackb(
            part, list_hook=count, object_pairs_hook=count, ext_hook=ext_hook, strict_map_key=False
        )

    try:
        walk(data, count_extension)
    except (_TooMany, MemoryError):  # MemoryError: of arrays inside each other that claim too much
        return True
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return False  # whoever reads it in earnest says what is wrong
    return False


_NESTING = frozenset({TUPLE, SET, FROZENSET, MAP})
_TIMESTAMPS = (b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff")


def reason(data: bytes, error: Exception) -> str:
    """Return what is wrong with *data*, which could not be unpacked.

    ormsgpack does not tell what its hook for extensions raised; msgpack-python does.
    """
    reference = MsgpackLibrary()
    try:
        reference.unpack(data, ext_hook=reference.ext_hook)
    except (ValueError, RecursionError) as exc:
        error = exc
    return str(error) or type(error).__name__


#: The quickest library of this machine.
library: Library = MsgpackLibrary() if ormsgpack is None else OrmsgpackLibrary()
