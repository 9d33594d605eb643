"""Searches in fresh processes, on files of which the kernel has nothing in memory."""

from __future__ import annotations

import multiprocessing
import os
import random
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from antiphon.archive import open_archive
from benchmarks.archive.archives import Archives
from benchmarks.archive.searches import SEARCHES, WORST, Asked, asked, first_result

_context = multiprocessing.get_context("spawn")


def drop_pages(path: Path) -> None:
    """Have the kernel forget what it keeps of a file in memory."""
    for each in path.parent.glob(f"{path.name}*"):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)  # what is not written yet cannot be dropped
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def cold(archives: Archives, rounds: int) -> list[str]:
    """Measure all searches, each in a fresh process on a file of which nothing is in memory."""
    lines = [
        f"{'cold, opening and first result':38}{'median':>9}{'max':>9}{'KiB':>7}"
        f"{'small':>9}{'max':>9}{'KiB':>7}  (ms; read from the disk)"
    ]
    chance = random.Random(7)
    for search in SEARCHES:
        if search is WORST:
            continue
        cells = ""
        for path in (archives.large, archives.small):
            found = [_cold_once(path, asked(search, archives.count, chance)) for _ in range(rounds)]
            times = [seconds * 1e3 for seconds, _ in found]
            read = statistics.median(count for _, count in found) / 1024
            cells += f"{statistics.median(times):9.2f}{max(times):9.2f}{read:7.0f}"
        lines.append(f"{search.title:38}{cells}")
    return [*lines, ""]


def _cold_once(path: Path, one: Asked) -> tuple[float, int]:
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_search_once, args=(str(path), one, theirs))
    process.start()
    ours.recv()
    drop_pages(path)
    ours.send("go")
    seconds, read = ours.recv()
    process.join()
    return seconds, read


def _search_once(path: str, one: Asked, pipe: Connection) -> None:
    # The library's own pages are warm: in a fresh process, too, they are in memory.
    with (
        tempfile.TemporaryDirectory() as folder,
        open_archive(f"sqlite://{folder}/other.db") as other,
    ):
        first_result(other, one)
    pipe.send("ready")
    pipe.recv()
    before, began = _read_bytes(), time.perf_counter()
    store = open_archive(f"sqlite://{path}")
    first_result(store, one)
    seconds = time.perf_counter() - began
    pipe.send((seconds, _read_bytes() - before))
    store.close()


def _read_bytes() -> int:
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    return 0
