"""What is kept of listeners: those of one class, and the plan for one kind of event.

``ClassListeners`` is what was connected to one class.  A ``Plan`` joins those of
an event's class and of all its bases.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

from antiphon.events.filters import (
    EXACT_TYPES,
    MISSING,
    Entry,
    Filtered,
    FilterIndex,
    hashes_exactly,
)
from antiphon.events.listeners import Call

#: Empty indexes that a class may keep, so that a listener that comes and goes costs no new plans.
SPARE_INDEXES = 8

#: Up to so many listeners are put one by one into the order of another class's.
_FEW = 32

#: One priority: -priority, the listeners' numbers in ascending order, and what to call for each.
Layer: TypeAlias = tuple[float, Sequence[int], Sequence[Call]]


class ClassListeners:
    """The listeners that are connected to one event class.

    Attributes:
        entries: all of them, by what tells listeners apart.
        levels: the unfiltered ones: rank -> number -> what to call.  These dicts
            keep the order of connecting, and lose a listener at no cost.
        indexes: the filtered ones, by the attribute that they were indexed by.
        layers: what ``sorted_layers`` returned; None when a plan made of it is
            out of date.
        dependents: the event classes that have plans made of this.
    """

    __slots__ = ("dependents", "entries", "indexes", "layers", "levels")

    def __init__(self) -> None:
        self.entries: dict[Hashable, Entry] = {}
        self.levels: dict[float, dict[int, Call]] = {0: {}}
        self.indexes: dict[str, FilterIndex] = {}
        self.layers: list[Layer] | None = None
        self.dependents: set[type] = set()

    def add(self, key: Hashable, entry: Entry) -> None:
        """Add an unfiltered listener."""
        self.entries[key] = entry
        level = self.levels.get(entry[0])
        if level is None:
            level = self.levels[entry[0]] = {}
        level[entry[1]] = entry[2]
        self.layers = None

    def add_filtered(
        self,
        key: Hashable,
        order: tuple[float, int],
        call: Call,
        filter: dict[str, Any],
        condition: Callable[[Any], bool] | None,
    ) -> None:
        """Add a filtered listener."""
        exact = [path for path, value in filter.items() if hashes_exactly(value)]
        path = min(exact, key=lambda path: self._crowd(path, filter[path])) if exact else ""
        path = path or next(iter(filter), "")
        index = self.indexes.get(path)
        if index is None:
            index = self.indexes[path] = FilterIndex(path)
            self.layers = None
        filtered = Filtered(index, filter, bool(exact), condition)
        entry = (*order, call, filtered if filtered.is_needed() else None, filtered)
        self.entries[key] = entry
        index.add(entry, filtered)

    def _crowd(self, path: str, value: Any) -> float:
        """Return how many listeners an event that matches must be compared with.

        ``{"action": "set", "key": …}`` goes by key if many ask for that action.
        """
        index = self.indexes.get(path)
        # Of two free places the one in an index that is there anyway.
        return 0.5 if index is None else index.crowd(value)

    def remove(self, key: Hashable, entry: Entry) -> None:
        """Remove a listener."""
        del self.entries[key]
        filtered = entry[4]
        if filtered is None:
            level = self.levels[entry[0]]
            del level[entry[1]]
            if not level and entry[0]:
                del self.levels[entry[0]]
            self.layers = None
        else:
            filtered.index.remove(entry, filtered)
            if len(self.indexes) > SPARE_INDEXES and not filtered.index:
                del self.indexes[filtered.index.path]
                self.layers = None

    def sorted_layers(self) -> list[Layer]:
        """Return the unfiltered listeners in order; all plans share them until they change."""
        if self.layers is None:
            self.layers = [
                (rank, list(level), tuple(level.values()))
                for rank in sorted(self.levels)
                if (level := self.levels[rank])
            ]
        return self.layers


class Plan:
    """Whom to call with events of one class.

    Attributes:
        calls: what to call, in order, if it is the same for every event; None
            if there are filtered listeners, and ``select`` must be asked.
        stale: True once the plan is out of date.
    """

    __slots__ = ("_layers", "_plain", "_probes", "calls", "stale")

    def __init__(self, listeners: Sequence[ClassListeners]) -> None:
        self._layers = _joined([one.sorted_layers() for one in listeners])
        self._plain: Sequence[Call] = (
            self._layers[0][2]
            if len(self._layers) == 1
            else tuple(call for layer in self._layers for call in layer[2])
        )
        self._probes = tuple(
            (index.name, index.hashed, index) for one in listeners for index in one.indexes.values()
        )
        self.calls = None if self._probes else self._plain
        self.stale = False

    def select(self, event: Any) -> Sequence[Call]:
        """Return what to call with *event*, in order.

        A test that raises is logged, and counts as not passed.
        """
        found: list[Entry] = []
        for name, hashed, index in self._probes:
            try:
                value = index.value_in(event) if name is None else getattr(event, name, MISSING)
            except Exception:
                index.report(event)
                continue
            if type(value) in EXACT_TYPES and not index.others:
                leaf = hashed.get(value)
                if leaf is None:
                    continue
                if type(leaf) is tuple and leaf[3] is None:
                    found.append(leaf)
                    continue
            if value is not MISSING:
                found += index.matching(value, event)
        if len(found) == 1 and not self._plain:
            return (found[0][2],)
        if not found:
            return self._plain
        found.sort()
        return _woven(self._layers, found)


def _joined(classes: Sequence[Sequence[Layer]]) -> Sequence[Layer]:
    """Return the layers of several classes as those of one."""
    some = [layers for layers in classes if layers]
    if len(some) == 1:
        return some[0]
    by_rank: dict[float, list[Layer]] = {}
    for layers in some:
        for layer in layers:
            by_rank.setdefault(layer[0], []).append(layer)
    return [_merged(by_rank[rank]) for rank in sorted(by_rank)]


def _merged(layers: list[Layer]) -> Layer:
    """Return layers of one priority as one, in the order of connecting."""
    if len(layers) == 1:
        return layers[0]
    layers.sort(key=lambda layer: len(layer[1]))
    rank, numbers, calls = layers.pop()
    if sum(len(layer[1]) for layer in layers) <= _FEW:
        # Next to a hundred thousand others, sorting would take longer than calling them.
        numbers, calls = list(numbers), list(calls)
        for layer in layers:
            for number, call in zip(layer[1], layer[2], strict=True):
                at = bisect_left(numbers, number)
                numbers.insert(at, number)
                calls.insert(at, call)
        return rank, numbers, calls
    by_number = dict(zip(numbers, calls, strict=True))
    for layer in layers:
        by_number.update(zip(layer[1], layer[2], strict=True))
    numbers = sorted(by_number)
    return rank, numbers, tuple(map(by_number.__getitem__, numbers))


def _woven(layers: Sequence[Layer], found: Sequence[Entry]) -> list[Call]:
    """Return the calls of *layers* and those of *found*, both sorted, in one order."""
    calls: list[Call] = []
    at, end = 0, len(found)
    for rank, numbers, plain in layers:
        while at < end and found[at][0] < rank:
            calls.append(found[at][2])
            at += 1
        start = 0
        while at < end and found[at][0] == rank:
            stop = bisect_left(numbers, found[at][1], start)
            calls += plain[start:stop]
            calls.append(found[at][2])
            start = stop
            at += 1
        calls += plain[start:]
    calls += [entry[2] for entry in found[at:]]
    return calls
