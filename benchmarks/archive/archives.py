"""The archives to search in: made once, and used again by those who name their folder.

python -m benchmarks.archive.archives --archive FOLDER [--events 10000000]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from antiphon.archive import open_archive
from benchmarks.archive.made import AT_ONCE, events

#: Events in the large archive.
EVENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Archives:
    """Two archives.

    Attributes:
        large: path of the one with all events.
        small: of the one with each tenth of them.
        count: events in the large one.
    """

    large: Path
    small: Path
    count: int


def arguments(made: argparse.ArgumentParser) -> None:
    """Add the options that say which archives are searched."""
    made.add_argument("--archive", type=Path, help="folder of archives to make, or to use again")
    made.add_argument("--events", type=int, default=EVENTS, help="in the large archive, if made")


@contextlib.contextmanager
def archives_of(chosen: argparse.Namespace) -> Iterator[Archives]:
    """Yield the archives that the options name; made if need be, and removed if nobody named them.

    An archive that is not complete is gone on with: events that it has are saved once.
    """
    folder = chosen.archive or Path(tempfile.mkdtemp(prefix="antiphon-archives-"))
    folder.mkdir(exist_ok=True, parents=True)
    large, small = folder / "large.db", folder / "small.db"
    try:
        _fill(small, range(0, chosen.events, 10))
        _fill(large, range(chosen.events))
        yield Archives(large, small, chosen.events)
    finally:
        if chosen.archive is None:
            shutil.rmtree(folder)


def _fill(path: Path, numbers: range) -> None:
    began = time.monotonic()
    with open_archive(f"sqlite://{path.resolve()}") as archive:
        there = archive.head()
        if there >= len(numbers):
            return
        made = events(numbers[there:])
        while batch := list(islice(made, AT_ONCE)):
            archive.save_many(batch)
            there += len(batch)
            if there % (10 * AT_ONCE) == 0:
                rate = there / (time.monotonic() - began)
                print(f"{path.name}: {there:,} events, {rate:,.0f} a second", flush=True)
    print(f"{path.name}: {os.stat(path).st_size / 1e9:.1f} GB", flush=True)


def main() -> None:
    """Make the archives."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments(made)
    chosen = made.parse_args()
    if chosen.archive is None:
        made.error("name the folder: --archive FOLDER")
    with archives_of(chosen):
        pass


if __name__ == "__main__":
    main()
