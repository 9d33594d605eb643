"""Which values a field may have, where its kind of event has a class for them.

The class of the values of ``direction`` is called ``Direction``, and stands in
the class of the event.  It is an ``enum.Enum``, or a plain class as ION has them::

    class Direction:
        NORTH = "NORTH"
        SOUTH = "SOUTH"
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Mapping
from typing import Any

from antiphon.errors import UnknownEnumValue


def class_name(field: str) -> str:
    """Return what the class of the values of *field* is called: ``DataKind`` for ``data_kind``."""
    return "".join(word.capitalize() for word in field.split("_"))


def values_of(cls: type, field: str) -> Mapping[str, Any] | None:
    """Return name -> value of what *field* of the event class *cls* may be; None for anything."""
    found = getattr(cls, class_name(field), None)
    if not isinstance(found, type):
        return None
    if issubclass(found, enum.Enum):
        return {name: member.value for name, member in found.__members__.items()}
    return {
        name: value
        for base in reversed(found.__mro__)
        for name, value in vars(base).items()
        if not name.startswith("_") and not callable(value)
    }


def checked_value(kind: str, field: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    """Return what *value*, a name or a value, means.

    Raises:
        UnknownEnumValue: it is neither; tells what there is.
    """
    plain = value.value if isinstance(value, enum.Enum) else value
    for name, meant in allowed.items():
        if plain == meant or value == name:
            return meant
    near = difflib.get_close_matches(str(value).upper(), allowed, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UnknownEnumValue(
        f"{kind}.{field} cannot be {value!r} (known: {', '.join(allowed)}){hint}"
    )
