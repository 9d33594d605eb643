"""Saving, beside bare sqlite3 with the same schema and rows, and beside Theia's stores.

    python -m benchmarks.archive.saving [--turns 100] [--theia FOLDER] [--save]

All take turns, a batch each, in files of one folder.  Every commit is durable
(``synchronous=FULL``), but Theia's store of files calls no ``fsync``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

from antiphon.archive import Event, open_archive
from benchmarks.archive.bare import Bare, contents_of
from benchmarks.archive.made import event
from benchmarks.archive.report import parser, percentiles, write_report
from benchmarks.archive.theia_peer import Naive, Relational, add_to_path, theirs

#: Ratio to the first that is aimed at, for batches.
TARGET = 0.6

#: Events that are saved before the clock runs, and those of a turn where each is saved alone.
FIRST, ALONE = 5_000, 20

#: Sizes at which Theia's stores are filled.
SIZES = (10_000, 100_000)


@dataclass(slots=True)
class Contender:
    """One way to save.

    Attributes:
        name: for the table.
        prepare: makes of events what is handed to ``save``; not timed.
        save: what is timed.
        seconds: what each turn took.
        cpu: processor seconds of it.
    """

    name: str
    prepare: Callable[[list[Event]], object]
    save: Callable[..., object]
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, events: list[Event]) -> None:
        """Save *events*, and take the time."""
        prepared = self.prepare(events)
        began, cpu = time.perf_counter(), time.process_time()
        self.save(prepared)
        self.cpu.append(time.process_time() - cpu)
        self.seconds.append(time.perf_counter() - began)


def made(keys: int | None) -> Iterator[Event]:
    """Return events without end, of so many keys in turn; None is a key of its own for each."""
    number = 0
    while True:
        one = event(number)
        key = f"key:own/{number if keys is None else number * 7919 % keys:07}"
        yield replace(one, tags=[*one.tags[:-1], key])
        number += 1


def race(
    folder: Path, source: Iterator[Event], *, turns: int, count: int, theia: bool
) -> list[Contender]:
    """Save batches of *count* events by turns; the first contender is what others compare with."""
    folder.mkdir()
    ready, built = Bare(folder / "ready.db"), Bare(folder / "built.db")
    archive = open_archive(f"sqlite://{folder}/ours.db")

    def save_ours(events: list[Event]) -> None:
        if count == 1:
            archive.save(events[0])
        else:
            archive.save_many(events)

    contenders = [
        Contender("sqlite3, rows ready", ready.rows_of, ready.write),
        Contender("sqlite3, from events", list, lambda events: built.write(built.rows_of(events))),
        Contender("antiphon", list, save_ours),
    ]
    if theia:
        naive, relational = Naive(folder / "naive"), Relational(folder / "theia.db")
        as_theirs = lambda events: [theirs(each) for each in events]  # noqa: E731
        contenders.append(Contender("Theia, files", as_theirs, naive.save_each))
        if count == 1:
            contenders.append(Contender("Theia, sqlite", as_theirs, relational.save_each))
    first = list(islice(source, FIRST))
    for each in contenders[:2]:
        each.save(each.prepare(first))
    archive.save_many(first)
    for number in range(turns):
        events = list(islice(source, count))
        # Whoever is first finds the processor's caches as the others' batch left them.
        shift = number % len(contenders)
        for each in contenders[shift:] + contenders[:shift]:
            each.turn(events)
    ready.close()
    built.close()
    archive.close()
    if theia:
        naive.close()
        relational.close()
    expected = contents_of(folder / "ready.db")
    if contents_of(folder / "ours.db") != expected or contents_of(folder / "built.db") != expected:
        raise AssertionError("the archives differ: what was compared is not the same")
    return contenders


def table(contenders: list[Contender], count: int) -> list[str]:
    """Return the lines that show a race."""
    lines = [
        f"{'':24}{'events/s':>10}{'ratio':>8}{'10 %':>8}{'90 %':>8}"
        f"{'CPU ratio':>11}{'median':>10}{'p90':>8}{'p99':>8}{'max':>8}  (µs an event)"
    ]
    unit = contenders[0]
    for each in contenders:
        ratios = sorted(a / b for a, b in zip(unit.seconds, each.seconds, strict=True))
        per = percentiles([one / count * 1e6 for one in each.seconds])
        tenth = len(ratios) // 10
        lines.append(
            f"{each.name:24}{1e6 / per[50]:10,.0f}{statistics.median(ratios):8.2f}"
            f"{ratios[tenth]:8.2f}{ratios[-1 - tenth]:8.2f}{sum(unit.cpu) / sum(each.cpu):11.2f}"
            f"{per[50]:10.1f}{per[90]:8.1f}{per[99]:8.1f}{per[100]:8.1f}"
        )
    return [*lines, ""]


def filling(folder: Path) -> list[str]:
    """Return how long it takes to save so many events as a program of Theia's would."""
    lines = [
        f"{'filled, one by one (antiphon: 500 at once), s':46}"
        + "".join(f"{s:>10,}" for s in SIZES)
    ]
    ways: dict[str, Callable[[Path, list[Event]], object]] = {
        "antiphon": _fill_ours,
        "Theia, files, written each second": partial(_fill_naive, flush_ms=1000),
        "Theia, files, written after each (1 000 events)": partial(_fill_naive, flush_ms=0),
        "Theia, sqlite (1 000 events)": _fill_relational,
    }
    for name, fill in ways.items():
        cells = []
        for size in (1_000,) if name.endswith("(1 000 events)") else SIZES:
            events = [event(number) for number in range(size)]
            began = time.perf_counter()
            fill(folder / f"{name.replace(' ', '')}{size}", events)
            cells.append(f"{time.perf_counter() - began:10.2f}")
        lines.append(f"{name:46}{''.join(cells)}")
    return [*lines, ""]


def _fill_ours(path: Path, events: list[Event]) -> None:
    with open_archive(f"sqlite://{path}") as archive:
        for first in range(0, len(events), 500):
            archive.save_many(events[first : first + 500])


def _fill_naive(path: Path, events: list[Event], flush_ms: int) -> None:
    store = Naive(path, flush_ms)
    store.save_each([theirs(each) for each in events])
    store.flush()
    store.close()


def _fill_relational(path: Path, events: list[Event]) -> None:
    store = Relational(path)
    store.save_each([theirs(each) for each in events])
    store.close()


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    options.add_argument("--turns", type=int, default=100)
    chosen = options.parse_args()
    lines = [
        f"{chosen.turns} turns; ratios are medians of those of turns; target {TARGET} in batches",
        "",
    ]
    absent = add_to_path(chosen.theia)
    lines += [absent, ""] if absent else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for title, keys, count in (
            ("batches of 500, 5 000 keys in turn", 5_000, 500),
            ("batches of 500, a new key each", None, 500),
            (f"one by one, 5 000 keys in turn ({ALONE} times the turns)", 5_000, 1),
        ):
            turns = chosen.turns * (ALONE if count == 1 else 1)
            has_theia = absent is None and keys is not None
            found = race(
                folder / f"{keys}-{count}", made(keys), turns=turns, count=count, theia=has_theia
            )
            lines += [title, *table(found, count)]
        if absent is None:
            lines += filling(folder)
    write_report("saving", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
