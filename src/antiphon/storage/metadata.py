"""Metadata as text: one codec for all backends.

The text is JSON with sorted keys, so equal metadata have equal text, and exact
comparison is comparison of text: ``1``, ``1.0``, ``True`` and ``"1"`` are four
values.  What JSON lacks is written as an object with one key that begins with
``!``, such as ``{"!bytes": "aGk="}``; a key of the user's own that begins so is
written with one more ``!``.

Subclasses of the permitted types (an ``IntEnum``, a named tuple) are kept as
the type they derive from.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any
from uuid import UUID

from antiphon.errors import IncompatibleStore, InvalidValue

#: How deep lists, dictionaries and the like may be nested in metadata.
MAX_DEPTH = 32
#: Integers from ``-MAX_INTEGER - 1`` to ``MAX_INTEGER`` are permitted: 64 bits,
#: which is what every medium and the wire can keep.
MAX_INTEGER = 2**63 - 1

#: Characters that metadata may have as text: 4 MiB.  More would not fit the
#: message that tells of the change.
MAX_TEXT = 1 << 22

_PLAIN = frozenset({bool, float, bytes, type(None)})
_SHORT = frozenset({bool, int, float, type(None)})
# What JSON has as it is; not all floats, so none here.
_PLAIN_JSON = frozenset({bool, int, str, type(None)})


class _Refused(Exception):
    """Part of the metadata cannot be stored; says why."""


def normalise(metadata: object) -> dict[str, Any]:
    """Return a deep copy of *metadata*, made of the permitted types only.

    Raises:
        InvalidValue: it is no mapping, a name in it is no text, or an entry
            cannot be stored; the entry is named.
    """
    if type(metadata) is not dict and not isinstance(metadata, Mapping):
        raise InvalidValue(f"metadata must be a dictionary, not {type(metadata).__name__}")
    copy: dict[str, Any] = {}
    for name, value in metadata.items():
        kind = type(value)
        # What most entries are, and the rest in ``_normal_entry``.
        if type(name) is str and name.isascii():
            if kind in _PLAIN or (kind is str and value.isascii()):
                copy[name] = value
                continue
            if kind is int and -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
                copy[name] = value
                continue
        plain, normal = _normal_entry(name, value)
        copy[plain] = normal
    return copy


def _normal_entry(name: object, value: object) -> tuple[str, Any]:
    if not isinstance(name, str):
        raise InvalidValue(f"names in metadata must be text, and {name!r:.80} is not")
    try:
        return _text(name), _normal(value, 1)
    except _Refused as exc:
        raise InvalidValue(f"metadata entry {name!r:.80} cannot be stored: {exc}") from None


def is_flat(metadata: Mapping[str, Any]) -> bool:
    """Return whether nothing in *metadata* that ``normalise`` made once can be changed."""
    return _MUTABLE_TYPES.isdisjoint(map(type, metadata.values()))


def copied(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of *metadata* that ``normalise`` made once."""
    if _MUTABLE_TYPES.isdisjoint(map(type, metadata.values())):
        return dict(metadata)
    return {name: _copied(value) for name, value in metadata.items()}


def encode(metadata: Mapping[str, Any]) -> str:
    """Return the text of *metadata* that ``normalise`` made.

    Raises:
        InvalidValue: it is longer than ``MAX_TEXT``.
    """
    if _PLAIN_JSON.issuperset(map(type, metadata.values())) and "!" not in "".join(metadata):
        text = _dump(metadata)
    else:
        text = _dump({_escaped(name): _tagged(value) for name, value in metadata.items()})
    if len(text) > MAX_TEXT:
        raise InvalidValue(
            f"metadata of {len(text)} characters are too much (at most {MAX_TEXT}): put into the"
            " data what no query asks for"
        )
    return text


def check_size(metadata: Mapping[str, Any]) -> None:
    """Raise ``InvalidValue`` where ``encode`` would; quick, for backends that keep no text."""
    weight = 4
    for name, value in metadata.items():
        weight += len(name) + (len(value) + 8 if type(value) is str else 4 + _weight(value))
    # No character becomes more than twelve in the text.
    if weight > MAX_TEXT // 12:
        encode(metadata)


def decode(text: str) -> dict[str, Any]:
    """Return the metadata that ``encode`` wrote as *text*.

    Raises:
        IncompatibleStore: *text* is not of our making.
    """
    try:
        try:
            raw, end = _scan(text, 0)
        except StopIteration:
            raw, end = None, -1
        if end != len(text):
            raw = _decoder.decode(text)
        if isinstance(raw, dict):
            if "!" not in text:
                return raw
            return {_unescaped(name): _untagged(value) for name, value in raw.items()}
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as exc:
        raise IncompatibleStore(f"not metadata of this version of Antiphon: {text!r:.80}") from exc
    raise IncompatibleStore(f"metadata must be a JSON object, and {text!r:.80} is none")


def encode_value(value: object) -> str:
    """Return the text that stands for *value* in comparisons and indexes.

    Two values are the same in a query if this text is the same.

    Raises:
        InvalidValue: no metadata can have this value.
    """
    try:
        return text_of(_normal(value, 1))
    except _Refused as exc:
        raise InvalidValue(f"cannot query for {value!r:.80}: {exc}") from None


def text_of(value: Any) -> str:
    """Return what ``encode_value`` does, for a value that ``normalise`` made."""
    kind = type(value)
    if kind is str:
        return encode_basestring_ascii(value)
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    return _dump(_tagged(value))


def encode_conditions(conditions: Mapping[str, Any]) -> dict[str, str]:
    """Return the conditions of a query with the text of each value."""
    return {name: encode_value(value) for name, value in conditions.items()}


def matches(metadata: Mapping[str, Any], conditions: Mapping[str, str]) -> bool:
    """Return whether *metadata* (normalised) fulfil what ``encode_conditions`` made."""
    return all(
        name in metadata and text_of(metadata[name]) == text for name, text in conditions.items()
    )


# -- To permitted types ------------------------------------------------------


def _normal(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and kind is not bool:
        if not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
            # Python writes no number of thousands of digits.
            shown = f"{value}" if value.bit_length() < 200 else f"of {value.bit_length()} bits"
            raise _Refused(f"the integer {shown} has more than 64 bits")
        return int(value)
    if depth > MAX_DEPTH:
        raise _Refused(f"it is nested more than {MAX_DEPTH} deep")
    for permitted, convert in _CONVERSIONS:
        if isinstance(value, permitted):
            return convert(value, depth)
    raise _Refused(
        f"{kind.__name__} is not among None, bool, int, float, str, bytes, datetime, date, UUID,"
        " list, tuple, set, frozenset, dict"
    )


def _text(value: str) -> str:
    plain = str.__str__(value)
    if not plain.isascii():
        try:
            plain.encode()
        except UnicodeEncodeError:
            raise _Refused(f"the text {plain!r:.80} cannot be written as UTF-8") from None
    return plain


def _normal_dict(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    for name in value:
        if not isinstance(name, str):
            raise _Refused(f"the dictionary in it has the key {name!r:.80}, which is not text")
    return {_text(name): _normal(item, depth + 1) for name, item in value.items()}


def _members(kind: type) -> Callable[[Any, int], Any]:
    return lambda value, depth: kind(_normal(item, depth + 1) for item in value)


def _moment(value: datetime.datetime, depth: int) -> datetime.datetime:
    # A time zone is kept as the offset that it has at that moment.
    return datetime.datetime.fromisoformat(value.isoformat())


_CONVERSIONS: tuple[tuple[type, Callable[[Any, int], Any]], ...] = (
    (dict, _normal_dict),
    (list, _members(list)),
    (tuple, _members(tuple)),
    (set, _members(set)),
    (frozenset, _members(frozenset)),
    (datetime.datetime, _moment),
    (datetime.date, lambda value, depth: datetime.date(value.year, value.month, value.day)),
    (UUID, lambda value, depth: UUID(int=value.int)),
    (float, lambda value, depth: float(value)),
    (bytes, lambda value, depth: bytes(value)),
    (bytearray, lambda value, depth: bytes(value)),
    (memoryview, lambda value, depth: bytes(value)),
    (Mapping, _normal_dict),
)

_MUTABLE = (dict, list, set, tuple)
_MUTABLE_TYPES = frozenset(_MUTABLE)


def _copied(value: Any) -> Any:
    if not isinstance(value, _MUTABLE):
        return value
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return type(value)(_copied(item) for item in value)


def _weight(value: Any) -> int:
    if type(value) in _SHORT:
        return 8
    if isinstance(value, (str, bytes)):
        return len(value) + 4
    if isinstance(value, Mapping):
        return sum(len(name) + 4 + _weight(item) for name, item in value.items()) + 4
    if isinstance(value, (list, tuple, set, frozenset)):
        return sum(map(_weight, value)) + 4
    return 8


# -- To JSON and back --------------------------------------------------------


# ensure_ascii: the text has no NUL and no surprises in any medium.
_dump = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_decoder = json.JSONDecoder()
# What ``_decoder.decode`` does, without its search for blanks, which takes twice as long.
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]


def _escaped(name: str) -> str:
    return "!" + name if name.startswith("!") else name


def _unescaped(name: str) -> str:
    if not name.startswith("!"):
        return name
    if not name.startswith("!!"):
        raise ValueError(name)
    return name[1:]


def _tagged(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"!float": repr(value)}
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, list):
        return [_tagged(item) for item in value]
    if isinstance(value, dict):
        return {_escaped(name): _tagged(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return {"!bytes": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"!tuple": [_tagged(item) for item in value]}
    if isinstance(value, (set, frozenset)):
        name = "!set" if isinstance(value, set) else "!frozenset"
        # A set has no order; sorted by text, equal sets have equal text.
        return {name: sorted((_tagged(item) for item in value), key=_dump)}
    if isinstance(value, datetime.datetime):
        return {"!datetime": value.isoformat()}
    if isinstance(value, datetime.date):
        return {"!date": value.isoformat()}
    return {"!uuid": value.hex}


def _untagged(value: Any) -> Any:
    if isinstance(value, list):
        return [_untagged(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        tag, content = next(iter(value.items()))
        if tag.startswith("!") and not tag.startswith("!!"):
            return _UNTAG[tag](content)
    return {_unescaped(name): _untagged(item) for name, item in value.items()}


def _items(content: Any) -> list[Any]:
    return [_untagged(item) for item in content]


_UNTAG: dict[str, Callable[[Any], Any]] = {
    "!bytes": lambda content: base64.b64decode(content, validate=True),
    "!tuple": lambda content: tuple(_items(content)),
    "!set": lambda content: set(_items(content)),
    "!frozenset": lambda content: frozenset(_items(content)),
    "!datetime": datetime.datetime.fromisoformat,
    "!date": datetime.date.fromisoformat,
    "!uuid": UUID,
    "!float": float,
}
