"""Filters, and finding those that an event passes by hash where that is exact.

``index[value]`` and ``==`` do not always agree: a list cannot be hashed, NaN
equals nothing but is found in a dict by identity, and a class may define
``__eq__`` as it likes.  So only values are hashed whose type is known to compare
as it hashes; the rest is compared one by one.
"""

from __future__ import annotations

import enum
import functools
import logging
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias
from uuid import UUID

from antiphon.events.listeners import Call, listener_of

logger = logging.getLogger(__name__)

#: Types whose values compare with each other exactly as they hash, but for NaN.
EXACT_TYPES: Final = frozenset({type(None), bool, int, float, complex, str, bytes, UUID})

# Subclasses of those that override neither method, and everything that has identity only.
_EXACT_METHODS: Final = frozenset(
    {(cls.__eq__, cls.__hash__) for cls in (*EXACT_TYPES, object)}
    | {(object.__eq__, enum.Enum.__hash__)}
)

# Values of these types equal only values of their own kind, none of which can be hashed.
_ALOOF_METHODS: Final[tuple[object, ...]] = (list.__eq__, dict.__eq__, set.__eq__)

_TUPLE_METHODS: Final[tuple[object, object]] = (tuple.__eq__, tuple.__hash__)

#: What an event has in place of an attribute that it has not.
MISSING: Final = object()

#: Returns an attribute of an event; raises ``AttributeError`` if it has none.
Reader: TypeAlias = Callable[[Any], Any]

_reader: Callable[[str], Reader] = functools.lru_cache(maxsize=1024)(operator.attrgetter)


class Rest:
    """What is left to test when an event has been found to concern a listener.

    Attributes:
        tests: readers and the values that what they read must equal.
        condition: one more test; None for none.
    """

    __slots__ = ("condition", "tests")

    def __init__(
        self,
        tests: Iterable[tuple[str, Any]],
        found_by: str | None,
        condition: Callable[[Any], bool] | None,
    ) -> None:
        """Keep of *tests* what finding the event by the attribute *found_by* leaves open."""
        self.tests: list[tuple[Reader, Any]] = [
            (_reader(path), value) for path, value in tests if path != found_by
        ]
        self.condition = condition

    def passes(self, event: Any, call: Call) -> bool:
        """Return whether *event*, found in the index, passes what is left to test.

        What a test raises is logged; then the event does not pass.
        """
        try:
            for read, value in self.tests:
                try:
                    found = read(event)
                except AttributeError:
                    return False
                if found == value:  # not "!=", which a class may define apart from "=="
                    continue
                return False
            condition = self.condition
            return condition is None or bool(condition(event))
        except Exception:
            logger.exception(
                "the filter of %r failed for %s: it is not called",
                listener_of(call),
                name_of(event),
            )
            return False


#: One connected listener: -priority and its number in the order of connecting (it sorts
#: by these two), what to call, what is left to test; if it has a filter or a condition,
#: the index that it stands in, and the value there (``MISSING`` among the others).
Entry: TypeAlias = tuple[float, int, Call, "Rest | None", "FilterIndex | None", Any]

#: The listeners that filter on one value: mostly one, else several by their number.
Leaf: TypeAlias = "Entry | dict[int, Entry]"


class FilterIndex:
    """The filtered listeners of one event class that were indexed by one attribute.

    Readers need no lock: each dict is changed by single operations, and a leaf of
    several listeners is copied before it is walked through.

    Attributes:
        path: dotted name of the attribute; None for listeners that have no filter,
            only a condition.
        name: the path if it has no dots, else None.
        hashed: value -> leaf.
        others: listeners whose value cannot be hashed exactly, by their number.
    """

    __slots__ = ("_read", "hashed", "name", "others", "path")

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.name = path if path is not None and "." not in path else None
        self.hashed: dict[Any, Leaf] = {}
        self.others: dict[int, Entry] = {}
        self._read = None if path is None else _reader(path)

    def __bool__(self) -> bool:
        return bool(self.hashed or self.others)

    def crowd(self, value: Any) -> int:
        """Return how many listeners stand at *value*, which must hash exactly."""
        leaf = self.hashed.get(value)
        if leaf is None:
            return 0
        return len(leaf) if isinstance(leaf, dict) else 1

    def add(self, entry: Entry) -> None:
        """Add a listener."""
        value = entry[5]
        if value is MISSING:
            self.others[entry[1]] = entry
            return
        leaf = self.hashed.setdefault(value, entry)
        if leaf is entry:
            return
        if isinstance(leaf, dict):
            leaf[entry[1]] = entry
        else:
            self.hashed[value] = {leaf[1]: leaf, entry[1]: entry}

    def remove(self, entry: Entry) -> None:
        """Remove a listener, which must be there."""
        value = entry[5]
        if value is MISSING:
            del self.others[entry[1]]
            return
        leaf = self.hashed[value]
        if leaf is entry or len(leaf) == 1:
            del self.hashed[value]
        else:
            del leaf[entry[1]]  # type: ignore[union-attr]

    def value_in(self, event: Any) -> Any:
        """Return the attribute of *event*, ``MISSING`` if it has none."""
        if self._read is None:
            return None
        try:
            return self._read(event)
        except AttributeError:
            return MISSING

    def matching(self, value: Any, event: Any) -> list[Entry]:
        """Return the listeners whose filter *event* passes; *value* is its attribute."""
        return [
            entry
            for entry in [*self._hashed_at(value, event), *list(self.others.values())]
            if entry[3] is None or entry[3].passes(event, entry[2])
        ]

    def _hashed_at(self, value: Any, event: Any) -> Iterable[Entry]:
        if hashes_exactly(value):
            leaf = self.hashed.get(value)
            return () if leaf is None else _walk(leaf)
        if not self.hashed or type(value).__eq__ in _ALOOF_METHODS:
            return ()
        # A type that we know nothing of: its __eq__ decides, value by value.
        found: list[Entry] = []
        for other, leaf in list(self.hashed.items()):
            try:
                if value == other:
                    found += _walk(leaf)
            except Exception:
                self.report(event)
        return found

    def report(self, event: Any) -> None:
        """Log the error that kept an event from being compared; call it where that is handled."""
        logger.exception(
            "%r of %s cannot be compared: listeners that filter by it are not called",
            self.path,
            name_of(event),
        )


def _walk(leaf: Leaf) -> Iterable[Entry]:
    """Return the listeners of *leaf*, safe from changes meanwhile."""
    return list(leaf.values()) if isinstance(leaf, dict) else (leaf,)


def hashes_exactly(value: Any) -> bool:
    """Return whether looking *value* up in a dict of such values is the same as ``==``."""
    cls = type(value)
    if cls in EXACT_TYPES or (cls.__eq__, cls.__hash__) in _EXACT_METHODS:
        return bool(value == value)  # false for NaN
    if (cls.__eq__, cls.__hash__) == _TUPLE_METHODS:
        return all(map(hashes_exactly, value))
    return False


def name_of(event: Any) -> str:
    """Return how logs name *event*: its class, and its id if it has one."""
    name = type(event).__qualname__
    event_id = getattr(event, "_event_id", None)
    return name if event_id is None else f"{name} {event_id}"


def check_filter(filter: object) -> None:
    """Raise ``TypeError`` if *filter* is neither a mapping nor empty."""
    if filter and not isinstance(filter, Mapping):
        raise TypeError(f"a filter maps dotted names of attributes to values; {filter!r} does not")


def check_name(path: object) -> None:
    """Raise ``TypeError`` if *path*, a key of a filter, is no text."""
    if not isinstance(path, str):
        raise TypeError(
            f"filter key {path!r} is no attribute name: a filter maps dotted names to values"
        )
