"""A process that changes a file store until it is killed; see test_filesystem_processes."""

from __future__ import annotations

import io
import itertools
import random
import sys

from antiphon.errors import VersionConflict
from antiphon.storage import file_medium
from antiphon.storage.filesystem_store import FileSystemStore

#: So that the log begins anew often.
file_medium.CHECKPOINT_BYTES = 20_000
file_medium.sync_all = lambda layout, log, end: None  # not for a power cut


def write_for_ever(path: str, seed: int) -> None:
    """Change keys at random, telling on standard output after each commit."""
    chance = random.Random(seed)
    with FileSystemStore(path, journal_length=100_000) as store:
        for number in itertools.count():
            key = f"K{chance.randrange(6)}"
            kind = chance.randrange(5)
            if kind == 0 and store.exists(key):
                store.delete(key)
            elif kind == 1:
                with store.transaction("three at once"):
                    for part in range(3):
                        store.set_metadata(f"t{part}", {"n": number})
            elif kind == 2:
                data = bytes([number % 256]) * chance.choice([70_000, (1 << 20) + 100])
                store.set(key, (io.BytesIO(data), {"n": number, "size": len(data)}))
            else:
                data = bytes([number % 256]) * chance.randrange(2000)
                store.set(key, (io.BytesIO(data), {"n": number, "size": len(data)}))
            print(number, flush=True)  # noqa: T201 - the test reads it


def count(path: str, times: int) -> None:
    """Add 1 to a counter, *times* times, while others do the same."""
    with FileSystemStore(path, durable=False, journal_length=100_000) as store:
        done = 0
        while done < times:
            found = store.get("counter")
            try:
                store.set_metadata("counter", {"n": found.metadata["n"] + 1}, expect=found.version)
            except VersionConflict:
                continue
            done += 1


if __name__ == "__main__":
    _, task, where, amount = sys.argv
    {"write": write_for_ever, "count": count}[task](where, int(amount))
