"""Stores beside the least that their medium needs, and beside other libraries.

    .venv/bin/python -m benchmarks.stores.memory [--keys 10000] [--save]

Every module here is one medium.  It gives *contenders*: first the limit (what
the medium takes at least, by hand), then ours, then the peers, each with the
operations that it has.  All are measured in one run, in turns: in each turn
every contender does every operation a number of times, one after the other, so
that what disturbs the machine disturbs all.

The *share of the limit* is the limit's time over that of a contender: for the
median call of a turn, and for all calls of the turn together, which counts what
happens now and then (syncs, checkpoints, the collector), and also whatever else
the machine does meanwhile.  Shown is the median of the turns.  Percentiles are
those of single calls of all turns.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import itertools
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.stores.items import BULK, HITS, VALUE_BYTES, Item, data_of, key_of, metadata_of
from benchmarks.stores.report import HERE, circumstances, report

__all__ = [
    "BULK",
    "HERE",
    "HITS",
    "OPERATIONS",
    "VALUE_BYTES",
    "ByHand",
    "Call",
    "Contender",
    "Item",
    "Measured",
    "Operation",
    "StoreContender",
    "circumstances",
    "data_of",
    "key_of",
    "main",
    "measure",
    "metadata_of",
    "operations",
    "report",
    "scratch_folder",
]

#: Seconds for which a contender may do one operation in one turn; what is
#: slower does fewer calls.
_TURN_S = 0.25

#: What a contender does in one call, given what ``prepare`` made of an item.
Call = Callable[[Any], object]


# -- Who takes part ----------------------------------------------------------


class Contender(Protocol):
    """One store that takes part.

    Attributes:
        name: shown in the tables.
    """

    name: str

    def fill(self, items: Iterator[Item]) -> None:
        """Write all *items*, in whatever way is quickest."""

    def operations(self) -> Mapping[str, Call]:
        """Return the operations that it has; for their names see ``OPERATIONS``."""

    def prepare(self, operation: str, item: Item) -> Any:
        """Return what the call gets for *item*; not timed."""

    def close(self) -> None:
        """Let go of everything."""


class ByHand:
    """Base of contenders that take items as they are."""

    def prepare(self, operation: str, item: Item) -> Any:
        return item


class StoreContender:
    """A store with the API of Encore's, ours or Encore's own.

    Args:
        name: shown in the tables.
        store: connected.
        value: makes a value of data and metadata (each has its ``StringValue``).
        without: operations to leave out.
    """

    def __init__(
        self, name: str, store: Any, value: Callable[..., Any], without: Iterable[str] = ()
    ) -> None:
        self.name = name
        self.store = store
        self._value = value
        self._without = frozenset(without)

    def fill(self, items: Iterator[Item]) -> None:
        while some := list(itertools.islice(items, 1000)):
            self.store.multiset(
                [each.key for each in some],
                [self._value(each.data, each.metadata) for each in some],
            )

    def operations(self) -> Mapping[str, Call]:
        store = self.store
        present: dict[str, Call] = {
            "set": lambda given: store.set(given[0], given[1]),
            "set, new key": lambda given: store.set(given[0], given[1]),
            "get": self._get,
            "get_metadata": lambda item: store.get_metadata(item.key),
            "query": lambda item: list(store.query(group=item.group)),
            "query_keys": lambda item: list(store.query_keys(group=item.group)),
            "multiset": lambda given: store.multiset(given[0], given[1]),
        }
        return {name: call for name, call in present.items() if name not in self._without}

    def prepare(self, operation: str, item: Item) -> Any:
        # A value's stream is read once, so each call gets a value of its own.
        if operation.startswith("set"):
            return item.key, self._value(item.data, item.metadata)
        if operation == "multiset":
            keys = [each.key for each in item.bulk]
            return keys, [self._value(each.data, each.metadata) for each in item.bulk]
        return item

    def _get(self, item: Item) -> object:
        value = self.store.get(item.key)
        return value.data.read(), value.metadata

    def close(self) -> None:
        self.store.disconnect()


def scratch_folder() -> Path:
    """Return a new folder for files of contenders, removed when the program ends.

    It is where TMPDIR says; that has to be a disk, or durability costs nothing.
    """
    folder = tempfile.mkdtemp(prefix="antiphon-stores-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


# -- What is measured --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: as in ``Contender.operations``.
        calls: calls a turn.
        target: share of the limit that ours has to have; None if it has none.
        new: whether its keys are not there yet.
    """

    name: str
    calls: int
    target: float | None = None
    new: bool = False


#: The usual operations, for ``operations(set=0.5, …)`` to give targets to.
OPERATIONS = (
    Operation("set", 200),
    Operation("set, new key", 100, new=True),
    Operation("get", 300),
    Operation("get_metadata", 300),
    Operation("query", 20),
    Operation("query_keys", 20),
    Operation("multiset", 5),
)


def operations(**targets: float) -> tuple[Operation, ...]:
    """Return ``OPERATIONS`` with *targets*."""
    return tuple(
        Operation(each.name, each.calls, targets.get(each.name), each.new) for each in OPERATIONS
    )


@dataclass(slots=True)
class Cell:
    """The times of one operation with one contender, in microseconds.

    Attributes:
        turns: mean of each turn, None for one that was left out.
        medians: median of each turn, likewise.
        calls: of each call.
    """

    turns: list[float | None] = field(default_factory=list)
    medians: list[float | None] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)


class Measured:
    """Everything that was measured."""

    def __init__(self, names: Sequence[str], of: Sequence[Operation], keys: int) -> None:
        self.names = names
        self.operations = of
        self.keys = keys
        self.cells: dict[tuple[str, str], Cell] = {}
        self.fill_s: dict[str, float] = {}

    def share(self, operation: str, name: str, *, whole: bool = False) -> float | None:
        """Return the share of the limit that *name* has, None if it lacks the operation.

        Args:
            operation, name: what, and who.
            whole: of all calls of a turn together, instead of its median call.
        """
        limit, own = self.cells.get((operation, self.names[0])), self.cells.get((operation, name))
        if limit is None or own is None:
            return None
        least_times = limit.turns if whole else limit.medians
        own_times = own.turns if whole else own.medians
        ratios = [
            least / took
            for least, took in zip(least_times, own_times, strict=True)
            if least is not None and took is not None
        ]
        return statistics.median(ratios)


def measure(
    contenders: Sequence[Contender], of: Sequence[Operation], *, keys: int, turns: int
) -> Measured:
    """Fill all, then measure them in turns."""
    measured = Measured([each.name for each in contenders], of, keys)
    for contender in contenders:
        began = time.perf_counter()
        contender.fill(Item.of(number) for number in range(keys))
        measured.fill_s[contender.name] = time.perf_counter() - began
        print(
            f"{contender.name}: filled in {measured.fill_s[contender.name]:.1f} s", file=sys.stderr
        )
    gc.collect()
    gc.freeze()
    calls = {each.name: each.operations() for each in contenders}
    rotation = list(contenders)
    for turn in range(turns):
        for operation in of:
            items = _items(operation, keys, turn)
            for contender in rotation:
                call = calls[contender.name].get(operation.name)
                if call is not None:
                    given = [contender.prepare(operation.name, item) for item in items]
                    cell = measured.cells.setdefault((operation.name, contender.name), Cell())
                    _take_turn(cell, call, given, turn)
        rotation.append(rotation.pop(0))
    gc.unfreeze()
    return measured


def _items(operation: Operation, keys: int, turn: int) -> list[Item]:
    draw = random.Random(f"{operation.name} {turn}")
    if operation.new:
        begin = keys + turn * operation.calls
        numbers = list(range(begin, begin + operation.calls))
    else:
        numbers = [draw.randrange(keys) for _ in range(operation.calls)]
    return [Item.of(each, turn + 1, bulk=operation.name.startswith("multi")) for each in numbers]


def _take_turn(cell: Cell, call: Call, given: Sequence[Any], turn: int) -> None:
    # Slow ones need not, and must not, hold up the others for minutes.
    slow_us = cell.calls[-1] if cell.calls else 0.0
    if slow_us > _TURN_S * 4e6 and turn % 4:
        cell.turns.append(None)
        cell.medians.append(None)
        return
    clock, total_ns, done = time.perf_counter_ns, 0, 0
    for each in given:
        began = clock()
        call(each)
        took = clock() - began
        total_ns += took
        done += 1
        cell.calls.append(took / 1000)
        if total_ns > _TURN_S * 1e9:
            break
    cell.turns.append(total_ns / 1000 / done)
    cell.medians.append(statistics.median(cell.calls[-done:]))


def main(
    module: str,
    contenders: Callable[[int], Sequence[Contender]],
    of: Sequence[Operation],
    *,
    libraries: str,
    remarks: Sequence[str] = (),
    keys: int = 10_000,
) -> None:
    """Read the command line, measure, print, and keep the result if asked to.

    Args:
        module: name of the medium, for the command and the name of the result.
        contenders: makes them for a number of keys: the limit, ours, the peers.
        of: the operations.
        libraries: names and versions of what is compared.
        remarks: lines that say what the limit is, and what the figures mean.
        keys: number of keys unless the command line says another.
    """
    parser = argparse.ArgumentParser(description=f"Measure {module} stores.")
    parser.add_argument("--keys", type=int, default=keys, help="keys in each store")
    parser.add_argument("--turns", type=int, default=20, help="turns that each takes")
    parser.add_argument("--only", default="", help="contenders whose name has this in it")
    parser.add_argument("--save", action="store_true", help="keep the text in results/")
    options = parser.parse_args()
    began = time.monotonic()
    everyone = contenders(options.keys)
    chosen = [
        each for number, each in enumerate(everyone) if number < 2 or options.only in each.name
    ]
    try:
        measured = measure(chosen, of, keys=options.keys, turns=options.turns)
    finally:
        for each in everyone:
            each.close()
    lines = circumstances(module, libraries, time.monotonic() - began)
    text = "\n".join([*lines, *report(measured), *([""] if remarks else []), *remarks, ""])
    print(text)
    if options.save:
        path = HERE / "results" / f"{datetime.now(UTC):%Y-%m-%d}-{module}-{options.keys}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
