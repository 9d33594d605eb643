"""Stores beside the least that their medium needs, and beside other libraries.

    .venv/bin/python -m benchmarks.stores.memory [--keys 10000] [--save]

Every module here is one medium.  It gives *contenders*: first the limit (what
the medium takes at least, by hand), then ours, then the peers, each with the
operations that it has.  All are measured in one run, in turns: in each turn
every contender does every operation a number of times, one after the other, so
that what disturbs the machine disturbs all.

The *share of the limit* is the limit's time over that of a contender, for the
time of all calls of one turn; shown is the median of the turns.  Percentiles
are those of single calls of all turns.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import itertools
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent

#: Bytes of a value.
VALUE_BYTES = 1024

#: Keys that have the same metadata entry ``group``, so the hits of a query.
HITS = 100

#: Keys that are written by one call of a bulk operation.
BULK = 100

#: Seconds for which a contender may do one operation in one turn; what is
#: slower does fewer calls.
_TURN_S = 0.25

_FILLER = random.Random(1).randbytes(VALUE_BYTES + 997)


# -- What is stored ----------------------------------------------------------


def key_of(number: int) -> str:
    """Return a key; those of neighbouring numbers are no neighbours in a tree of keys."""
    return f"catalogue/{number * 7919 % 1000:03d}/item-{number:07d}"


def data_of(number: int, round: int = 0) -> bytes:
    """Return 1 KiB that compresses badly and differs from round to round."""
    begin = (number * 31 + round) % 997
    return _FILLER[begin : begin + VALUE_BYTES]


def metadata_of(number: int, round: int = 0) -> dict[str, Any]:
    """Return three entries: one that 100 keys share, one of few values, and a number."""
    return {
        "group": f"group-{number // HITS}",
        "owner": f"user-{(number + round) % 97}",
        "weight": number / 7,
    }


@dataclass(frozen=True, slots=True)
class Item:
    """What one call is about; made before the clock starts.

    Attributes:
        key, data, metadata: to be written, or, of a key that is there, read.
        group: what a query asks the entry ``group`` for.
        bulk: those that a bulk operation writes; empty for others.
    """

    key: str
    data: bytes
    metadata: dict[str, Any]
    group: str
    bulk: tuple[Item, ...] = ()

    @classmethod
    def of(cls, number: int, round: int = 0, *, bulk: bool = False) -> Item:
        """Return that of a key's number in a round; *bulk*: with its neighbours'."""
        begin = number // BULK * BULK
        numbers = range(begin, begin + BULK) if bulk else ()
        return cls(
            key_of(number),
            data_of(number, round),
            metadata_of(number, round),
            f"group-{number // HITS}",
            tuple(cls.of(each, round) for each in numbers),
        )


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
        calls: of each call.
    """

    turns: list[float | None] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)


class Measured:
    """Everything that was measured."""

    def __init__(self, names: Sequence[str], of: Sequence[Operation], keys: int) -> None:
        self.names = names
        self.operations = of
        self.keys = keys
        self.cells: dict[tuple[str, str], Cell] = {}
        self.fill_s: dict[str, float] = {}

    def share(self, operation: str, name: str) -> float | None:
        """Return the share of the limit that *name* has, None if it lacks the operation."""
        limit, own = self.cells.get((operation, self.names[0])), self.cells.get((operation, name))
        if limit is None or own is None:
            return None
        ratios = [
            least / took
            for least, took in zip(limit.turns, own.turns, strict=True)
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


# -- How it is shown ---------------------------------------------------------


def report(measured: Measured) -> Iterator[str]:
    """Yield the lines of the tables."""
    width = max(map(len, measured.names)) + 2
    yield f"share of the limit ({measured.keys:,} keys, {VALUE_BYTES} bytes, 3 metadata entries)"
    yield "".ljust(16) + "target".rjust(8) + "".join(n.rjust(width) for n in measured.names)
    for operation in measured.operations:
        line = operation.name.ljust(16)
        line += ("" if operation.target is None else f"{operation.target:g}").rjust(8)
        for name in measured.names:
            share = measured.share(operation.name, name)
            line += (
                "-" if share is None else f"{share:.2g}" if share < 0.1 else f"{share:.2f}"
            ).rjust(width)
        yield line
    yield ""
    yield (
        "microseconds a call".ljust(20)
        + "".ljust(width)
        + "".join(text.rjust(12) for text in ("min", "median", "p90", "p99", "max", "calls"))
    )
    for operation in measured.operations:
        for name in measured.names:
            cell = measured.cells.get((operation.name, name))
            if cell is not None:
                yield operation.name.ljust(20) + name.ljust(width) + _figures(cell.calls)
    yield ""
    yield "filling: " + ", ".join(
        f"{name} {seconds:.1f} s ({seconds / measured.keys * 1e6:.1f} us a key)"
        for name, seconds in measured.fill_s.items()
    )
    yield from _bulk(measured)
    yield ""
    yield from _verdict(measured)


def _figures(calls: Sequence[float]) -> str:
    ordered = sorted(calls)

    def quantile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    figures = (ordered[0], quantile(0.5), quantile(0.9), quantile(0.99), ordered[-1])
    return "".join(f"{each:,.1f}".rjust(12) for each in figures) + f"{len(ordered):,}".rjust(12)


def _bulk(measured: Measured) -> Iterator[str]:
    for name in measured.names:
        for one_by_one, together in (("set", "multiset"), ("get", "multiget")):
            single = measured.cells.get((one_by_one, name))
            bulk = measured.cells.get((together, name))
            if single is not None and bulk is not None:
                ratios = [
                    one * BULK / many
                    for one, many in zip(single.turns, bulk.turns, strict=True)
                    if one is not None and many is not None
                ]
                ratio = statistics.median(ratios)
                yield f"{name}: {BULK} keys by {together} are {ratio:.1f} x as quick"


def _verdict(measured: Measured) -> Iterator[str]:
    ours = measured.names[1]
    missed = [
        f"missed: {each.name} {measured.share(each.name, ours):.2f}, not {each.target:g}"
        for each in measured.operations
        if each.target is not None and (measured.share(each.name, ours) or 0) < each.target
    ]
    yield from missed or ["All targets are met."]


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def circumstances(module: str, libraries: str, seconds: float) -> list[str]:
    """Return command, commit, machine and versions."""
    info = Path("/proc/cpuinfo")
    models = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in models if "model name" in line), "")
    changed = " with changes" if _git("status", "--porcelain", "--", "../../src") else ""
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    return [
        f"command: python -m benchmarks.stores.{module} {' '.join(sys.argv[1:])}".rstrip(),
        f"commit: {_git('rev-parse', '--short', 'HEAD')}{changed}",
        f"date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s",
        f"machine: {model or platform.machine()}, {os.cpu_count()} CPUs, load {load},"
        f" {platform.system()} {platform.release()}",
        f"python: {platform.python_implementation()} {platform.python_version()}",
        f"libraries: {libraries}",
        "",
    ]


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
