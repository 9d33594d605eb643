"""A process that saves events until it is killed; see test_archive_processes."""

from __future__ import annotations

import itertools
import sys

from antiphon.archive import Event, open_archive

#: Events of each batch.
BATCH = 50


def batch(number: int) -> list[Event]:
    """Return the events of one batch; their flag tells which, and each has its size."""
    return [
        Event(f"b{number}-{n}", "writer", n, ["all", f"batch:{number}"], "x" * 300, message=b"m")
        for n in range(BATCH)
    ]


def write_for_ever(url: str, first: int) -> None:
    """Save batches, and delete some, telling on standard output after each commit."""
    with open_archive(url) as archive:
        for number in itertools.count(first):
            archive.save_many(batch(number))
            print(number, flush=True)  # noqa: T201 - the test reads it
            if number % 3 == 2:
                archive.purge(keep=0, flags=[f"batch:{number}"])


if __name__ == "__main__":
    write_for_ever(sys.argv[1], int(sys.argv[2]))
