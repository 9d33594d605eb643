"""Plans: whom to call with events of one class, and in which order.

A plan is made of the listeners of the class and of all its bases.  When those
change, it is stale, and the next event of the class renews or replaces it.  There
are three kinds, by what has to be found out for each event: nothing, one
attribute, or more.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from antiphon.events.class_listeners import ClassListeners, Layer
from antiphon.events.filters import EXACT_TYPES, MISSING, Entry, FilterIndex, name_of
from antiphon.events.listeners import Call, listener_of

if TYPE_CHECKING:
    import threading

logger = logging.getLogger(__name__)

#: Up to so many listeners are put one by one into the order of another class's.
_FEW = 32


def call_each(calls: Sequence[Call], event: Any) -> None:
    """Call *calls* with *event* until one of them has marked it as handled."""
    state = event.__dict__
    for call in calls:
        try:
            call(event)
        except Exception:
            report(call, event)
        # Cheaper than asking for an attribute that mostly only the class has.
        if "_handled" in state and event._handled:
            break


def report(call: Call, event: Any) -> None:
    """Log the error that *call* raised; call this where it is handled."""
    logger.exception("listener %r failed for %s", listener_of(call), name_of(event))


class PlainPlan:
    """The plan where every event of the class goes to the same listeners.

    Attributes:
        sources: the listeners of the class and of its bases.
        stale: True since listeners have changed.
    """

    __slots__ = ("_calls", "_cls", "_lock", "_sole", "sources", "stale")

    def __init__(
        self,
        cls: type,
        sources: Sequence[ClassListeners],
        calls: Sequence[Call],
        lock: threading.RLock,
    ) -> None:
        self._cls = cls
        self.sources = sources
        self._sole = sources[0] if len(sources) == 1 else None
        self._calls = calls
        self._lock = lock
        self.stale = False

    def _renew(self) -> bool:
        """Take in what has changed; return False if that needs a new plan."""
        self._lock.acquire()
        try:
            sole = self._sole
            if sole is None or sole.indexes or len(sole.levels) > 1:
                return False
            sole.dependents[self._cls] = self
            self._calls = tuple(sole.first.values())
            self.stale = False
            if self._cls not in sole.dependents:
                self.stale = True  # a finalizer has changed something just now
            return True
        finally:
            self._lock.release()

    def retire(self) -> None:
        """Make the plan stale for good; another takes its place."""
        # Who still holds it must not renew it, and have it told of changes instead of that.
        self._sole = None
        self.stale = True

    def select(self, event: Any) -> Sequence[Call]:
        """Return what to call with *event*, in order."""
        return self._calls

    def run(self, event: Any) -> bool:
        """Call the listeners that *event* matches.

        Returns:
            False if listeners have changed since it was made; nothing was called.
        """
        if self.stale and not self._renew():
            return False
        # ``call_each``, without calling it: this is the way of most events.
        state = event.__dict__
        for call in self._calls:
            try:
                call(event)
            except Exception:
                report(call, event)
            if "_handled" in state and event._handled:
                break
        return True


class FilteredPlan:
    """The plan where some listeners have filters: found through their indexes.

    Attributes:
        sources: the listeners of the class and of its bases.
        stale: True since listeners have changed otherwise than in the indexes.
    """

    __slots__ = ("_layers", "_plain", "_probes", "sources", "stale")

    def __init__(
        self,
        sources: Sequence[ClassListeners],
        layers: Sequence[Layer],
        indexes: Sequence[FilterIndex],
    ) -> None:
        self.sources = sources
        self._layers = layers
        self._plain = in_order(layers)
        self._probes = [(index.name, index.hashed, index) for index in indexes]
        self.stale = False

    def retire(self) -> None:
        """Make the plan stale for good; another takes its place."""
        self.stale = True

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
        if not found:
            return self._plain
        found.sort()
        return woven(self._layers, found)

    def run(self, event: Any) -> bool:
        """Call the listeners that *event* matches; see ``PlainPlan.run``."""
        if self.stale:
            return False
        calls = self.select(event)
        if self.stale:
            # A listener that is being connected anew might be found twice, or not at all.
            return False
        call_each(calls, event)
        return True


class KeyPlan(FilteredPlan):
    """The plan where all listeners filter by one attribute: mostly one lookup."""

    __slots__ = ("_hashed", "_index", "_name")

    def __init__(
        self,
        sources: Sequence[ClassListeners],
        layers: Sequence[Layer],
        indexes: Sequence[FilterIndex],
    ) -> None:
        super().__init__(sources, layers, indexes)
        ((self._name, self._hashed, self._index),) = self._probes

    def run(self, event: Any) -> bool:
        """Call the listeners that *event* matches; see ``PlainPlan.run``."""
        name = self._name
        try:
            value = self._index.value_in(event) if name is None else getattr(event, name, MISSING)
        except Exception:
            self._index.report(event)
            return True
        if type(value) in EXACT_TYPES and not self._index.others:
            leaf = self._hashed.get(value)
            if self.stale:
                return False
            if leaf is None:
                return True
            if type(leaf) is tuple:
                call = leaf[2]
                rest = leaf[3]
                if rest is None or rest.passes(event, call):
                    try:
                        call(event)
                    except Exception:
                        report(call, event)
                return True
        return super().run(event)


Plan: TypeAlias = PlainPlan | FilteredPlan


def make_plan(cls: type, sources: Sequence[ClassListeners], lock: threading.RLock) -> Plan:
    """Return a plan for events of class *cls*, which concern all of *sources*.

    Call it while holding *lock*, without which nothing in them is changed.
    """
    layers: Sequence[Layer] = ()
    indexes: list[FilterIndex] = []
    for source in sources:
        own = source.sorted
        if own is None:
            own = source.layers()
        if own:
            layers = joined(layers, own) if layers else own
        if source.indexes:
            indexes += source.indexes.values()
    if not indexes:
        return PlainPlan(cls, sources, in_order(layers), lock)
    if len(indexes) == 1 and not layers:
        return KeyPlan(sources, layers, indexes)
    return FilteredPlan(sources, layers, indexes)


def in_order(layers: Sequence[Layer]) -> Sequence[Call]:
    """Return what *layers* call, as one sequence."""
    if not layers:
        return ()
    if len(layers) == 1:
        return layers[0][2]
    return tuple(call for layer in layers for call in layer[2])


def joined(left: Sequence[Layer], right: Sequence[Layer]) -> Sequence[Layer]:
    """Return the layers of two classes as those of one."""
    if len(left) == len(right) == 1 and left[0][0] == right[0][0]:
        return [_merged(left[0], right[0])]
    by_rank = {layer[0]: layer for layer in left}
    for layer in right:
        there = by_rank.get(layer[0])
        by_rank[layer[0]] = layer if there is None else _merged(there, layer)
    return [by_rank[rank] for rank in sorted(by_rank)]


def _merged(left: Layer, right: Layer) -> Layer:
    """Return two layers of one priority as one, in the order of connecting."""
    if left[1][0] > right[1][0]:
        left, right = right, left
    rank, numbers, calls = left
    if numbers[-1] < right[1][0]:
        return rank, [*numbers, *right[1]], [*calls, *right[2]]
    if len(numbers) < len(right[1]):
        left, right = right, left
    numbers, calls = list(left[1]), list(left[2])
    if len(right[1]) <= _FEW:
        # Next to a hundred thousand others, sorting would take longer than calling them.
        for number, call in zip(right[1], right[2], strict=True):
            at = bisect_left(numbers, number)
            numbers.insert(at, number)
            calls.insert(at, call)
        return rank, numbers, calls
    by_number = dict(zip(numbers, calls, strict=True))
    by_number.update(zip(right[1], right[2], strict=True))
    numbers = sorted(by_number)
    return rank, numbers, [by_number[number] for number in numbers]


def woven(layers: Sequence[Layer], found: Sequence[Entry]) -> list[Call]:
    """Return what *layers* and *found*, both sorted, call together, in order."""
    if len(found) == len(layers) == 1:
        # Mostly so, and then a third of the work.
        ((rank, numbers, plain),) = layers
        ((own_rank, number, call, _, _, _),) = found
        at = bisect_left(numbers, number) if own_rank == rank else len(plain) * (own_rank > rank)
        return [*plain[:at], call, *plain[at:]]
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
