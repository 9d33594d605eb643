"""A cache with bounds, on each medium: it stays within them, and reads are right."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.caching.applier import Applier
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.ledger import Usage
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue


@pytest.fixture(params=["memory", "sqlite", "files"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AbstractStore]:
    """A store that can hold a cache."""
    if request.param == "files":
        init_shared_store(tmp_path / "files")
    stores: dict[str, Callable[[], Any]] = {
        "memory": DictMemoryStore,
        "sqlite": lambda: SqliteStore(tmp_path / "cache.db", durable=False),
        "files": lambda: FileSystemStore(tmp_path / "files"),
    }
    with stores[request.param]() as store:
        yield store


@pytest.fixture
def backing() -> Iterator[DictMemoryStore]:
    """The store that is cached: 200 keys of 10 bytes, and one of 500."""
    with DictMemoryStore() as backing:
        for number in range(200):
            backing.set(f"p/k{number}", StringValue(b"%010d" % number))
        backing.set("p/large", StringValue(b"x" * 500))
        yield backing


def mounted(
    medium: AbstractStore,
    backing: DictMemoryStore,
    *,
    max_bytes: int | None = None,
    max_entries: int | None = None,
) -> MountedStore:
    """Return a connected cache that is known to be right."""
    store = MountedStore(
        "p/", medium, backing, fill=True, max_bytes=max_bytes, max_entries=max_entries
    )
    store.connect()
    ledger = store.filling.ledger
    Applier(ledger, backing, "p/").catch_up(lambda *told: None, after_doubt=False)
    ledger.beat()
    return store


def test_a_bounded_cache_stays_within_its_bounds(
    medium: AbstractStore, backing: DictMemoryStore
) -> None:
    """Entries and bytes; what is read is right, and what went is told in the counts."""
    store = mounted(medium, backing, max_bytes=300, max_entries=50)
    read = [store.get(f"p/k{number}").data.read() for number in range(200)]
    usage = store.filling.ledger.usage()
    stats = store.cache_stats()

    assert [f"{number:010}".encode() for number in range(200)] == read
    assert Usage(30, 300) == usage
    assert (200, 170) == (stats.fills, stats.evicted)


def test_what_is_read_often_stays(medium: AbstractStore, backing: DictMemoryStore) -> None:
    """Among many keys that are read once."""
    store = mounted(medium, backing, max_entries=20)
    for number in range(200):
        store.get(f"p/k{number % 5}")
        store.get(f"p/k{number}")

    assert {f"p/k{number}" for number in range(5)} <= set(store.filling.ledger.keys())
    assert store.cache_stats().hits >= 190


def test_a_value_larger_than_the_bound_is_served_and_not_kept(
    medium: AbstractStore, backing: DictMemoryStore
) -> None:
    """Nothing else goes for it."""
    store = mounted(medium, backing, max_bytes=100)
    store.get("p/k1")
    large = [store.get("p/large").data.read() for _ in range(2)]

    assert [b"x" * 500] * 2 == large
    assert ["p/k1"] == list(store.filling.ledger.keys())
    assert 0 == store.cache_stats().evicted


def test_the_users_own_keys_are_not_counted_and_do_not_go(
    medium: AbstractStore, backing: DictMemoryStore
) -> None:
    """They are no cache entries (P6)."""
    store = mounted(medium, backing, max_entries=2, max_bytes=50)
    for number in range(10):
        store.set(f"p/own{number}", StringValue(b"mine" * 20))
        store.get(f"p/k{number}")
        store.get(f"p/own{number}")

    assert [b"mine" * 20] * 10 == [store.to_bytes(f"p/own{number}") for number in range(10)]
    assert Usage(2, 20) == store.filling.ledger.usage()


def test_threads_that_fill_stay_within_a_value_each(
    medium: AbstractStore, backing: DictMemoryStore
) -> None:
    """Looked at while they are at it."""
    store = mounted(medium, backing, max_entries=10)
    most: list[int] = []

    def read(step: int) -> None:
        for number in range(200):
            store.get(f"p/k{number * step % 199}")
            most.append(store.filling.ledger.usage().entries)

    threads = [threading.Thread(target=read, args=(step,)) for step in (1, 3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(most) <= 10 + len(threads)
    assert store.filling.ledger.usage().entries <= 10


@pytest.mark.parametrize("bound", [0, -5, 1.5])
def test_a_bound_that_is_none_is_refused(backing: DictMemoryStore, bound: int) -> None:
    """At once, when the cache is made."""
    with pytest.raises(ValueError, match="max_entries is"):
        MountedStore("p/", DictMemoryStore(), backing, fill=True, max_entries=bound)
    with pytest.raises(ValueError, match="max_bytes is"):
        MountedStore("p/", DictMemoryStore(), backing, fill=True, max_bytes=bound)
