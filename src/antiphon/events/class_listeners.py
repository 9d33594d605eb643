"""The listeners that are connected to one event class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any, Protocol, TypeAlias

from antiphon.events.filters import EXACT_TYPES, MISSING, Entry, FilterIndex, Rest, hashes_exactly
from antiphon.events.listeners import Call

#: Empty indexes that a class may keep, so that a listener that comes and goes costs no new plans.
SPARE_INDEXES = 8

#: One priority: -priority, the listeners' numbers in ascending order, and what to call for each.
Layer: TypeAlias = tuple[float, Sequence[int], Sequence[Call]]


class Dependent(Protocol):
    """A plan (``plans.py``) that was made of the listeners of some classes."""

    stale: bool


class ClassListeners:
    """The listeners that are connected to one event class.

    An unfiltered listener stands in ``levels``: rank (that is -priority) ->
    number -> what to call.  Numbers rise, and dicts keep their order and lose
    an item at no cost, so each of them is sorted at all times.  A filtered one
    stands in one of ``indexes``, under the attribute that it is found by.

    Attributes:
        entries: all of them: for an unfiltered one of priority 0, which most are,
            its number; for others what ``Entry`` says.
        first: the level of priority 0.
        dependents: the plans that were made of this, by their event class.  They
            must be told when levels, or the set of indexes, has changed.
        sorted: what ``layers`` returned; None since levels have changed.
    """

    __slots__ = ("dependents", "entries", "first", "indexes", "levels", "sorted")

    def __init__(self) -> None:
        self.entries: dict[Hashable, int | Entry] = {}
        self.first: dict[int, Call] = {}
        self.levels: dict[float, dict[int, Call]] = {0: self.first}
        self.indexes: dict[str | None, FilterIndex] = {}
        self.dependents: dict[type, Dependent] = {}
        self.sorted: Sequence[Layer] | None = None

    # -- Changes -------------------------------------------------------------

    def add(self, key: Hashable, rank: float, number: int, call: Call) -> None:
        """Add an unfiltered listener."""
        level = self.levels.get(rank)
        if level is None:
            level = self.levels[rank] = {}
        level[number] = call
        self.entries[key] = (rank, number, call, None, None, None) if rank else number
        self.outdate()

    def add_filtered(
        self,
        key: Hashable,
        rank: float,
        number: int,
        call: Call,
        tests: Collection[tuple[str, Any]],
        condition: Callable[[Any], bool] | None,
    ) -> None:
        """Add a listener that has a filter, the items of which are *tests*, or a condition."""
        path: str | None
        if len(tests) == 1:
            ((path, value),) = tests
            # The first part is in the second, but saves most filters the call.
            exact = (type(value) in EXACT_TYPES and value == value) or hashes_exactly(value)
        else:
            path, value, exact = self._choose_index(tests)
        index = self.indexes.get(path)
        is_new = index is None
        if index is None:
            index = self.indexes[path] = FilterIndex(path)
        if exact and condition is None and len(tests) == 1:
            rest = None
        else:
            rest = Rest(tests, path if exact else None, condition)
        entry = (rank, number, call, rest, index, value if exact else MISSING)
        self.entries[key] = entry
        index.add(entry)
        if is_new:
            self.outdate()

    def _choose_index(self, tests: Collection[tuple[str, Any]]) -> tuple[str | None, Any, bool]:
        """Return the attribute to index a filter by, its value, and whether that can be hashed."""
        exact = [test for test in tests if hashes_exactly(test[1])]
        if exact:
            return (*min(exact, key=self._crowd), True)
        return next(((path, None, False) for path, _ in tests), (None, None, False))

    def _crowd(self, test: tuple[str, Any]) -> float:
        """Return how many listeners would have to be compared with an event found by *test*.

        ``{"action": "set", "key": …}`` goes by key once another asks for that action.
        """
        index = self.indexes.get(test[0])
        # Of two free places the one in an index that is there anyway.
        return 0.5 if index is None else index.crowd(test[1])

    def remove(self, key: Hashable) -> None:
        """Remove a listener, which must be there."""
        entry = self.entries.pop(key)
        if isinstance(entry, int):
            del self.first[entry]
            self.outdate()
            return
        rank, number, _, _, index, _ = entry
        if index is not None:
            index.remove(entry)
            if len(self.indexes) > SPARE_INDEXES and not index:
                del self.indexes[index.path]
                self.outdate()
            return
        level = self.levels[rank]
        del level[number]
        if not level:
            del self.levels[rank]
        self.outdate()

    def outdate(self) -> None:
        """Tell the plans that were made of this that it has changed."""
        self.sorted = None
        if self.dependents:
            for plan in self.dependents.values():
                plan.stale = True
            self.dependents.clear()

    # -- Reading -------------------------------------------------------------

    def all_entries(self) -> list[Entry]:
        """Return all listeners, in no order."""
        first = self.first
        return [
            (0, entry, first[entry], None, None, None) if isinstance(entry, int) else entry
            for entry in list(self.entries.values())
        ]

    def call_of(self, key: Hashable) -> Call | None:
        """Return what is called for a listener; None if there is no such."""
        entry = self.entries.get(key)
        return self.first[entry] if isinstance(entry, int) else entry and entry[2]

    def layers(self) -> Sequence[Layer]:
        """Return the unfiltered listeners by priority, highest first."""
        if self.sorted is None:
            if len(self.levels) == 1:
                first = self.first
                self.sorted = ((0, tuple(first), tuple(first.values())),) if first else ()
                return self.sorted
            self.sorted = [
                (rank, list(level), tuple(level.values()))
                for rank in sorted(self.levels)
                if (level := self.levels[rank])
            ]
        return self.sorted
