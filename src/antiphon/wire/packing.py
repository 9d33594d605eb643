"""The msgpack libraries: the only file that imports them.

ormsgpack does the work where it is installed; msgpack-python does where it is
not, and writes and reads the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]

from antiphon.wire.values import (
    MAX_EXTENSIONS,
    Refused,
    from_ext,
    to_plain,
)

try:
    import ormsgpack
except ImportError:  # pragma: no cover - no wheel for this machine
    ormsgpack = None  # type: ignore[assignment]

#: Bytes that begin an array.  As keys of maps ormsgpack makes tuples of them, whose hashes
#: can be made to collide; more than this many are looked at one by one.
_MAX_UNSEEN_ARRAYS = 1024
_NOT_ARRAY_HEADERS = bytes(
    byte for byte in range(256) if not (0x90 <= byte <= 0x9F or byte in (0xDC, 0xDD))
)

ExtHook = Callable[[int, bytes], Any]


class MsgpackLibrary:
    """msgpack-python."""

    def pack(self, plain: object) -> bytes:
        """Return the bytes of *plain*, made of msgpack's types and ``ext`` only."""
        packed: bytes = msgpack.packb(plain)
        return packed

    def ext(self, code: int, data: bytes) -> object:
        """Return an extension value."""
        return msgpack.ExtType(code, data)

    def pack_attributes(self, attributes: dict[str, Any]) -> bytes:
        """Return the bytes of *attributes*; ``TypeError`` if a value cannot travel."""
        return self.pack(to_plain(attributes, self, 0))

    def unpack(self, data: bytes) -> Any:
        """Return the value of *data*; what follows it is ignored.

        Raises:
            ValueError: *data* is not of this format.
        """
        return self._unpack(data, 0)

    def _unpack(self, data: bytes, level: int) -> Any:
        def ext_hook(code: int, payload: bytes) -> Any:
            if level >= MAX_EXTENSIONS:
                raise ValueError(f"more than {MAX_EXTENSIONS} extensions inside each other")
            return from_ext(code, payload, lambda inner: self._unpack(inner, level + 1))

        try:
            return msgpack.unpackb(
                data,
                ext_hook=ext_hook,
                object_pairs_hook=_strict_map,
                strict_map_key=False,
                timestamp=3,
            )
        except msgpack.ExtraData as exc:
            return exc.unpacked
        except (msgpack.UnpackException, OverflowError, MemoryError) as exc:
            raise ValueError(f"malformed msgpack: {exc!r}") from exc


def _strict_map(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    arrays = sum(type(key) is list for key, _ in pairs)
    if arrays > _MAX_UNSEEN_ARRAYS:
        raise ValueError(f"a map has {arrays} arrays as keys")
    return {_strict_key(key): value for key, value in pairs}


def _strict_key(key: Any) -> Any:
    kind = type(key)
    if kind is list:
        return tuple(map(_strict_key, key))
    if kind is int and not -(2**63) <= key < 2**64:
        raise ValueError("a map has an extension as key")
    if kind not in _KEY_TYPES:
        raise ValueError(f"a map has a {kind.__name__} as key")
    return key


_KEY_TYPES = frozenset({type(None), bool, int, float, str, bytes})


class OrmsgpackLibrary:
    """ormsgpack, several times as quick."""

    def __init__(self) -> None:
        self._strict = MsgpackLibrary()
        self._hooks = self._make_hooks()
        # Everything that msgpack does not have goes to ``default``.  Keys do not: without
        # OPT_NON_STR_KEYS a key that is no str is an error, and the slow way does it exactly.
        self._option = (
            ormsgpack.OPT_PASSTHROUGH_BIG_INT
            | ormsgpack.OPT_PASSTHROUGH_DATACLASS
            | ormsgpack.OPT_PASSTHROUGH_DATETIME
            | ormsgpack.OPT_PASSTHROUGH_ENUM
            | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
            | ormsgpack.OPT_PASSTHROUGH_TUPLE
            | ormsgpack.OPT_PASSTHROUGH_UUID
        )

    def pack(self, plain: object) -> bytes:
        """Return the bytes of *plain*, made of msgpack's types and ``ext`` only."""
        return ormsgpack.packb(plain, None, ormsgpack.OPT_NON_STR_KEYS)

    def ext(self, code: int, data: bytes) -> object:
        """Return an extension value."""
        return ormsgpack.Ext(code, data)

    def pack_attributes(self, attributes: dict[str, Any]) -> bytes:
        """Return the bytes of *attributes*; ``TypeError`` if a value cannot travel."""
        try:
            return ormsgpack.packb(attributes, self._default, self._option)
        except TypeError:
            # A key that is no str, or something that cannot travel: this way tells what.
            return self.pack(to_plain(attributes, self, 0))

    def _default(self, value: Any) -> object:
        return to_plain(value, self)

    def unpack(self, data: bytes) -> Any:
        """Return the value of *data*; what follows it is ignored.

        Raises:
            ValueError: *data* is not of this format.
        """
        return self._unpack(data, 0)

    def _unpack(self, data: bytes, level: int) -> Any:
        if (
            len(data) > _MAX_UNSEEN_ARRAYS
            and len(data.translate(None, _NOT_ARRAY_HEADERS)) > _MAX_UNSEEN_ARRAYS
        ):
            return self._strict._unpack(data, level)
        return ormsgpack.unpackb(
            data, ext_hook=self._hooks[level], option=ormsgpack.OPT_NON_STR_KEYS
        )

    def _make_hooks(self) -> list[ExtHook]:
        return [self._hook_at(level) for level in range(MAX_EXTENSIONS + 1)]

    def _hook_at(self, level: int) -> ExtHook:
        def ext_hook(code: int, payload: bytes) -> Any:
            if level >= MAX_EXTENSIONS:
                raise ValueError(f"more than {MAX_EXTENSIONS} extensions inside each other")
            return from_ext(code, payload, lambda inner: self._unpack(inner, level + 1))

        return ext_hook


#: The quickest library of this machine.
library: MsgpackLibrary | OrmsgpackLibrary = (
    MsgpackLibrary() if ormsgpack is None else OrmsgpackLibrary()
)

__all__ = ["MsgpackLibrary", "OrmsgpackLibrary", "Refused", "library"]
