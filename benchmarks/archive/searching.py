"""Searching: the time to the first result, in large and small archives, warm and cold.

    python -m benchmarks.archive.searching [--archive FOLDER] [--theia FOLDER] [--save]

The small archive has the same events with rare flags, and a tenth of the others: what
takes as long in both does not grow with what does not match.  (Two of the
frequent flags are in the large one only.)  Beside it the same
search in SQL by hand, on the same file; and Theia's stores at sizes that they can do.

*Cold* is a fresh process, after the kernel dropped the file's pages: opening the
archive, and its first result.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.archive import EventStore, open_archive
from benchmarks.archive.archives import Archives, archives_of
from benchmarks.archive.archives import arguments as archive_arguments
from benchmarks.archive.made import LARGE_ONLY, time_of
from benchmarks.archive.report import parser, percentiles, write_report
from benchmarks.archive.searches import SEARCHES, WORST, Search, asked, by_hand, first_result
from benchmarks.archive.searching_cold import cold
from benchmarks.archive.searching_theia import theias
from benchmarks.archive.theia_peer import add_to_path

#: Milliseconds to the first result that are aimed at.
TARGET_MS = 50


@dataclass(slots=True)
class Found:
    """Seconds of one search: in each archive, and by hand in the large one."""

    large: list[float] = field(default_factory=list)
    small: list[float] = field(default_factory=list)
    hand: list[float] = field(default_factory=list)


def warm(archives: Archives, rounds: int) -> list[str]:
    """Measure all searches by turns in one process."""
    found = {search: Found() for search in SEARCHES}
    chance = random.Random(6)
    connection = sqlite3.connect(f"file:{archives.large}?mode=ro", uri=True)
    with (
        open_archive(f"sqlite://{archives.large}") as large,
        open_archive(f"sqlite://{archives.small}") as small,
    ):
        for number in range(-1, rounds):
            for search, seconds in found.items():
                # It takes seconds: a few times are enough.
                if search is WORST and number >= 3:
                    continue
                one = asked(search, archives.count, chance)
                turn = (first_result(large, one), first_result(small, one))
                hand = by_hand(connection, one)
                if number >= 0:
                    seconds.large.append(turn[0])
                    seconds.small.append(turn[1])
                    seconds.hand.append(hand)
        others = _others(large, small, rounds)
    connection.close()
    return [*_warm_table(found), "", *others, ""]


def _warm_table(found: dict[Search, Found]) -> list[str]:
    lines = [
        f"{'warm, first result':38}{'median':>9}{'p90':>9}{'p99':>9}{'max':>9}"
        f"{'small':>9}{'ratio':>7}{'by hand':>9}{'ratio':>7}  (ms)"
    ]
    for search, seconds in found.items():
        per = percentiles([each * 1e3 for each in seconds.large])
        small, hand = (statistics.median(kept) * 1e3 for kept in (seconds.small, seconds.hand))
        beside = f"{small:9.2f}{per[50] / small:7.2f}"
        if LARGE_ONLY.intersection(search.flags):
            beside = f"{'-':>9}{'-':>7}"  # there it is an unknown flag
        lines.append(
            f"{search.title:38}{per[50]:9.2f}{per[90]:9.2f}{per[99]:9.2f}{per[100]:9.2f}"
            f"{beside}{hand:9.2f}{per[50] / hand:7.2f}"
        )
    return lines


def _others(large: EventStore, small: EventStore, rounds: int) -> list[str]:
    lines = [
        f"{'warm, other calls':38}{'median':>9}{'p90':>9}{'p99':>9}{'max':>9}{'small':>9}  (ms)"
    ]
    ids = _some_ids(large)
    calls: dict[str, Callable[[EventStore], object]] = {
        "get": lambda store: store.get(random.choice(ids)),
        "head": lambda store: store.head(),
        "since: the last 100": lambda store: store.since(store.head() - 100),
        "stats": lambda store: store.stats(),
    }
    for name, call in calls.items():
        times: list[list[float]] = []
        for store in (large, small):
            call(store)
            times.append([_seconds(call, store) * 1e3 for _ in range(rounds)])
        per = percentiles(times[0])
        lines.append(
            f"{name:38}{per[50]:9.3f}{per[90]:9.3f}{per[99]:9.3f}{per[100]:9.3f}"
            f"{statistics.median(times[1]):9.3f}"
        )
    for size in (1_000, 100_000):
        began = time.perf_counter()
        got = sum(1 for _ in zip(range(size), large.search(time_of(1000)), strict=False))
        lines.append(
            f"a walk over {got:,} results: {got / (time.perf_counter() - began):,.0f} a second"
        )
    return lines


def _some_ids(store: EventStore) -> list[str]:
    """Return ids that both archives have."""
    found = store.search(time_of(0), flags=["key:prices/watched"])
    return [event.id for event in found]


def _seconds(call: Callable[[EventStore], object], store: EventStore) -> float:
    began = time.perf_counter()
    call(store)
    return time.perf_counter() - began


def main() -> None:
    """Measure, print and keep the result."""
    options = parser(__doc__)
    archive_arguments(options)
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--cold-rounds", type=int, default=7)
    chosen = options.parse_args()
    absent = add_to_path(chosen.theia)
    with archives_of(chosen) as archives, tempfile.TemporaryDirectory() as folder:
        sizes = [os.stat(path).st_size / 1e9 for path in (archives.large, archives.small)]
        lines = [
            f"{archives.count:,} events ({sizes[0]:.1f} GB), small: a tenth ({sizes[1]:.1f} GB);"
            f" {chosen.rounds} rounds warm, {chosen.cold_rounds} cold; target {TARGET_MS} ms",
            "",
            *warm(archives, chosen.rounds),
            *cold(archives, chosen.cold_rounds),
            *([absent] if absent else theias(Path(folder), 3)),
        ]
    write_report("searching", lines, keep=chosen.save)


if __name__ == "__main__":
    main()
