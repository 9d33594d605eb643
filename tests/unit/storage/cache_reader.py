"""A process that reads through a cache that others share; see test_sqlite_cache_processes."""

from __future__ import annotations

import random
import sys
import threading
import time

from antiphon.storage.eviction import Eviction
from antiphon.storage.ledger import CacheLedger, Fill
from antiphon.storage.sqlite_store import SqliteStore


def read_until_told(source: SqliteStore, ledger: CacheLedger, keys: list[str]) -> dict[str, int]:
    """Read keys in turn until standard input ends, but not before there were hits and fills."""
    counts = {"hits": 0, "fills": 0, "confirmed": 0, "refused": 0}
    is_over, slow = threading.Event(), random.Random()

    def wait() -> None:
        sys.stdin.read()
        is_over.set()

    threading.Thread(target=wait, daemon=True).start()
    eviction = Eviction(ledger, max_entries=3)
    while not (is_over.is_set() and counts["hits"] and counts["fills"]):
        for key in keys:
            entry = ledger.lookup(key).entry
            if entry is not None and entry.checked:
                counts["hits"] += 1
                eviction.touched(key)
                continue
            reservation = ledger.reserve(key)
            value = source.get(key)
            # A slow source: what is read may have changed before it is kept.
            time.sleep(slow.random() * 0.002)
            if entry is not None and ledger.confirm(reservation, value.version):
                counts["confirmed"] += 1
                continue
            fill = Fill(value.data, value.metadata, None, None, value.version)
            kept = ledger.fill(reservation, fill)
            counts["refused" if kept is None else "fills"] += 1
            if kept is not None:
                eviction.added(key, kept.size)
    return counts


if __name__ == "__main__":
    _, source_path, cache_path, *wanted = sys.argv
    with SqliteStore(source_path) as backing, SqliteStore(cache_path) as cache:
        print("ready", flush=True)  # noqa: T201 - the test reads it
        print(read_until_told(backing, cache.cache_ledger(), wanted))  # noqa: T201
