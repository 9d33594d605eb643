"""Reads pickles of plain data without running them.

Encore kept metadata as pickles (protocol 2, made by Python 2 or 3).  A pickle is
a program, and Python's own reader runs it; this one knows the few instructions
that plain data are made of, calls nothing, imports nothing, and refuses the rest.
"""

from __future__ import annotations

import datetime
import pickletools
from collections.abc import Callable
from typing import Any

#: Longest pickle that is read, in bytes: 64 MiB.
MAX_BYTES = 1 << 26

#: Values that one may hold, or eight times as many characters.  Those that it
#: refers to again count again: what takes a line to write down may be 2**32.
MAX_VALUES = 1 << 20

#: How deep they may be nested, as in metadata.
_MAX_DEPTH = 40

_MAX_BITS = 64


class RefusedPickle(ValueError):
    """A pickle holds what is no plain data, or is broken; says what."""


class _OldText(bytes):
    """Python 2's ``str``, which was text to some and bytes to others."""

    def plain(self) -> str | bytes:
        try:
            return self.decode()
        except UnicodeDecodeError:
            return bytes(self)


class _Global(str):
    """The name of a class or function, ``module.name``."""

    __slots__ = ()


class _Members:
    """A set that is to be."""

    def __init__(self, kind: type, members: list[Any]) -> None:
        self.kind = kind
        self.members = members


_MARK = object()


def read_pickle(data: bytes) -> Any:
    """Return the plain data that were pickled as *data*.

    None, bool, int, float, str, bytes, list, tuple, dict (with text as keys),
    set, frozenset, datetime and date.  A ``str`` of Python 2 becomes text if it
    is UTF-8, else bytes.

    Raises:
        RefusedPickle: there is something else in it; nothing was run.
    """
    if len(data) > MAX_BYTES:
        raise RefusedPickle(f"it has {len(data)} bytes; at most {MAX_BYTES} are read")
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        result = machine.result
    except RefusedPickle:
        raise
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as exc:
        raise RefusedPickle(f"it is broken ({type(exc).__name__}: {exc!s:.100})") from exc
    return _Converter().plain(result, 0)


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        # A dictionary: a list would have to be as long as the highest number used.
        self._memo: dict[int, Any] = {}

    @property
    def result(self) -> Any:
        (value,) = self._stack
        return value

    def step(self, name: str, argument: Any) -> None:
        """Do what one instruction says."""
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _MEMO_PUT:
            self._memo[argument] = self._stack[-1]
        elif name in _MEMO_GET:
            self._stack.append(self._memo[argument])
        elif name in _TUPLES:
            count = _TUPLES[name]
            self._stack[-count:] = [tuple(self._stack[-count:])]
        else:
            do = _OTHERS.get(name)
            if do is None:
                raise RefusedPickle(f"it makes objects ({name}), not plain data")
            do(self, argument)

    def _since_mark(self) -> list[Any]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise RefusedPickle("it is broken (no mark)")
        items = self._stack[at + 1 :]
        del self._stack[at:]
        return items

    def _old_text(self, argument: str) -> None:
        self._stack.append(_OldText(argument.encode("latin-1")))

    def _mark(self, argument: None) -> None:
        self._stack.append(_MARK)

    def _pop(self, argument: None) -> None:
        self._stack.pop()

    def _tuple(self, argument: None) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _append(self, argument: None) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self, argument: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise RefusedPickle("it is broken (it appends to what is no list)")
        target.extend(items)

    def _set_item(self, argument: None) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _set_items(self, argument: None) -> None:
        self._set(self._since_mark())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise RefusedPickle("it is broken (it sets items of what is no dictionary)")
        for key, value in zip(items[::2], items[1::2], strict=True):
            name = key.plain() if type(key) is _OldText else key
            if type(name) is not str:
                raise RefusedPickle(
                    f"a dictionary in it has a key that is no text ({type(name).__name__})"
                )
            target[name] = value

    def _global(self, argument: str) -> None:
        name = argument.replace(" ", ".", 1)
        if name not in _MAKERS:
            raise RefusedPickle(f"it holds {name!r:.200}, which is no plain data")
        self._stack.append(_Global(name))

    def _reduce(self, argument: None) -> None:
        arguments, maker = self._stack.pop(), self._stack.pop()
        if type(maker) is not _Global or type(arguments) is not tuple:
            raise RefusedPickle("it is broken (it calls what is no class)")
        try:
            self._stack.append(_MAKERS[maker](*arguments))
        except (TypeError, ValueError, OverflowError, AttributeError) as exc:
            raise RefusedPickle(f"it holds no valid {maker}: {exc!s:.100}") from exc


def _bytes_of(state: object) -> bytes:
    if isinstance(state, bytes):
        return bytes(state)
    raise ValueError(f"made of {type(state).__name__}")


def _encoded(text: object, encoding: object) -> bytes:
    if type(text) is not str or encoding not in ("latin1", "latin-1", _OldText(b"latin1")):
        raise ValueError("no bytes")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""


def _moment(state: object, zone: object = None) -> datetime.datetime:
    raw = _bytes_of(state)
    if zone is None:
        return datetime.datetime(raw)  # type: ignore[arg-type, call-arg]
    if type(zone) is not datetime.timezone:
        raise ValueError("its time zone is none")
    return datetime.datetime(raw, zone)  # type: ignore[arg-type, call-arg]


def _date(state: object) -> datetime.date:
    return datetime.date(_bytes_of(state))  # type: ignore[arg-type, call-arg]


def _zone(offset: object) -> datetime.timezone:
    if type(offset) is not datetime.timedelta:
        raise ValueError("its offset is none")
    return datetime.timezone(offset)


def _duration(days: object, seconds: object, microseconds: object) -> datetime.timedelta:
    parts = (days, seconds, microseconds)
    if not all(type(part) is int and part.bit_length() < _MAX_BITS for part in parts):
        raise ValueError("its parts are no integers")
    return datetime.timedelta(days, seconds, microseconds)  # type: ignore[arg-type]


def _set_of(members: object = ()) -> _Members:
    return _Members(set, _listed(members))


def _frozenset_of(members: object = ()) -> _Members:
    return _Members(frozenset, _listed(members))


def _listed(members: object) -> list[Any]:
    if type(members) is list or members == ():
        return members  # type: ignore[return-value]
    raise ValueError(f"made of {type(members).__name__}")


_MAKERS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "__builtin__.bytes": _no_bytes,
    "__builtin__.set": _set_of,
    "__builtin__.frozenset": _frozenset_of,
    "datetime.datetime": _moment,
    "datetime.date": _date,
    "datetime.timezone": _zone,
    "datetime.timedelta": _duration,
}

_PUSHED = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG"}) | {
    "BINFLOAT",
    "BINUNICODE",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
_MEMO_PUT = frozenset({"BINPUT", "LONG_BINPUT"})
_MEMO_GET = frozenset({"BINGET", "LONG_BINGET"})
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OTHERS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, argument: None,
    "STOP": lambda machine, argument: None,
    "SHORT_BINSTRING": _Machine._old_text,
    "BINSTRING": _Machine._old_text,
    "MARK": _Machine._mark,
    "POP": _Machine._pop,
    "TUPLE": _Machine._tuple,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "GLOBAL": _Machine._global,
    "REDUCE": _Machine._reduce,
}


class _Converter:
    """Makes plain data of what a pickle left, and counts them."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def plain(self, value: Any, depth: int) -> Any:
        """Return *value* as plain data."""
        self._count(value)
        if depth > _MAX_DEPTH:
            raise RefusedPickle(f"it is nested more than {_MAX_DEPTH} deep")
        kind = type(value)
        if kind is _OldText:
            return value.plain()
        if kind is int and value.bit_length() > _MAX_BITS:
            raise RefusedPickle(f"it holds an integer of {value.bit_length()} bits")
        if kind is list or kind is tuple:
            return kind(self.plain(item, depth + 1) for item in value)
        if kind is dict:
            for name in value:
                self._count(name)
            return {name: self.plain(item, depth + 1) for name, item in value.items()}
        if kind is _Members:
            return self._set(value, depth)
        if kind in _PLAIN:
            return value
        raise RefusedPickle(f"it holds {value!r:.200}, which is no plain data")

    def _count(self, value: Any) -> None:
        self._left -= 1
        if isinstance(value, (str, bytes)):
            self._left -= len(value) >> 3
        if self._left < 0:
            raise RefusedPickle(f"it holds more than {MAX_VALUES} values, or their like")

    def _set(self, value: _Members, depth: int) -> Any:
        # Hashed only now that it is known not to be nested without end.
        members = [self.plain(item, depth + 1) for item in value.members]
        try:
            return value.kind(members)
        except TypeError as exc:
            raise RefusedPickle(f"a set in it cannot be: {exc}") from exc


_PLAIN = frozenset({type(None), bool, int, float, str, bytes, datetime.datetime, datetime.date})
