"""A cache in a database that others hold locked costs its readers little."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore

#: Far below the 30 s that a write to the database waits.
QUICK_S = 10.0


def test_who_misses_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    """What cannot be kept in time is served from the source, and kept later."""
    source, medium = DictMemoryStore(), SqliteStore(tmp_path / "cache.db")
    for number in range(20):
        source.from_bytes(f"k{number}", b"%d" % number)
    cache = MountedStore("", medium, source, fill=True)
    cache.connect()
    began = time.monotonic()

    with contextlib.closing(sqlite3.connect(tmp_path / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        found = [cache.get(f"k{number}").data.read() for number in range(20)]
        took_s = time.monotonic() - began

    assert [b"%d" % number for number in range(20)] == found
    assert QUICK_S > took_s
    assert [] == list(cache.filling.ledger.keys())
    while not list(cache.filling.ledger.keys()):
        assert b"0" == cache.get("k0").data.read()
        assert time.monotonic() - began < 3 * QUICK_S
    medium.disconnect()
