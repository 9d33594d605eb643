"""Searches in Theia's stores, at sizes that they can do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from antiphon.archive import open_archive
from benchmarks.archive.made import events, time_of
from benchmarks.archive.searches import HOUR_S
from benchmarks.archive.theia_peer import Naive, Relational, theirs

#: Events in the stores.
SIZES = (10_000, 100_000)


def theias(folder: Path, rounds: int) -> list[str]:
    """Measure a few searches in archives that Theia's stores can hold."""
    lines: list[str] = []
    for size in SIZES:
        made = list(events(range(size)))
        naive, relational = Naive(folder / f"naive{size}"), Relational(folder / f"theia{size}.db")
        naive.save_each([theirs(each) for each in made])
        naive.flush()
        relational.fill(made)
        with open_archive(f"sqlite://{folder}/ours{size}.db") as ours:
            ours.save_many(made)
            stores = {"antiphon": ours, "Theia, files": naive, "Theia, sqlite": relational}
            lines += _theias_table(stores, size, rounds)
        naive.close()
        relational.close()
    return lines


def _theias_table(stores: dict[str, Any], size: int, rounds: int) -> list[str]:
    wanted: Sequence[tuple[str, float, float | None, list[str] | None, int]] = (
        (
            "one hour in the middle, first",
            time_of(size // 2),
            time_of(size // 2) + HOUR_S,
            None,
            1,
        ),
        ("the same, 100 results", time_of(size // 2), time_of(size // 2) + HOUR_S, None, 100),
        ("a class: nearly all, first", time_of(0), None, ["StoreModificationEvent"], 1),
        ("a class: 1 in 200, 10 results", time_of(0), None, ["StoreDeleteEvent"], 10),
        ("a key, all results", time_of(0), None, ["key:prices/000042"], size),
        ("a class: none", time_of(0), None, ["shop:Never"], 1),
    )
    lines = [
        f"{f'{size:,} events, medians':38}" + "".join(f"{name:>16}" for name in stores) + "  (ms)"
    ]
    for title, start, end, flags, most in wanted:
        cells = ""
        for store in stores.values():
            seconds = [_timed(store, (start, end, flags), most) for _ in range(rounds)]
            cells += f"{statistics.median(seconds) * 1e3:16.2f}"
        lines.append(f"{title:38}{cells}")
    return [*lines, ""]


def _timed(store: Any, wanted: tuple[Any, ...], most: int) -> float:
    began = time.perf_counter()
    for number, _ in enumerate(store.search(*wanted), 1):
        if number == most:
            break
    return time.perf_counter() - began
