"""One sqlite cache, filled, invalidated, doubted and evicted from by several processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue

READER = Path(__file__).with_name("cache_reader.py")

KEYS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[SqliteStore]:
    """The backing store, which holds all keys."""
    with SqliteStore(tmp_path / "source.db", durable=False) as source:
        for key in KEYS:
            source.set(key, StringValue(b"0"))
        yield source


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[SqliteStore]:
    """The store that holds the cache."""
    with SqliteStore(tmp_path / "cache.db", durable=False) as cache:
        yield cache


@pytest.fixture
def readers(source: SqliteStore, cache: SqliteStore) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that read through the cache, and are at it."""
    # Made anew by several processes at once, too.
    command = [sys.executable, str(READER), source.location, cache.location, *KEYS]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert "ready\n" == reader.stdout.readline()
    yield readers
    for reader in readers:
        reader.kill()
        reader.communicate()


def test_no_process_finds_what_another_invalidated(
    source: SqliteStore, cache: SqliteStore, readers: list[subprocess.Popen[str]]
) -> None:
    """Rules 1 to 7 hold between processes, one of them killed; the room is counted right by all."""
    ledger = cache.cache_ledger()
    wrong = []

    def check(key: str) -> None:
        now = source.get(key).version
        entry = ledger.lookup(key).entry
        if entry is not None and entry.checked and entry.version != now:
            wrong.append(f"{key!r} is there at {entry.version} after the invalidation of {now}")

    for number in range(300):
        key = KEYS[number % 2]
        check(key)
        source.set(key, StringValue(b"%d" % number))
        now = source.get(key).version
        # Without a version only the reservation holds an old value back.
        if number % 3:
            ledger.void(key, now if number % 3 == 1 else None)
        else:
            ledger.void_many([(key, None), ("missing", now)])
        check(key)
        if number % 20 == 0:
            ledger.suspect()
        if number == 150:
            readers[0].kill()
    counts = [ast.literal_eval(reader.communicate()[0]) for reader in readers[1:]]
    sizes = dict(ledger.sizes())

    assert [] == wrong
    assert all(count["fills"] > 0 and count["hits"] > 0 for count in counts)
    assert sum(count["confirmed"] for count in counts) > 0
    assert (len(sizes), sum(sizes.values())) == ledger.usage()
    assert len(sizes) <= 3 + len(readers)
