"""One medium for several mounts, and for one source after another."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon.caching.applier import Applier
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.ledger import Fill
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.sqlite_store import SqliteStore

Medium = DictMemoryStore | SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Medium]:
    store: Medium = (
        DictMemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "cache.db")
    )
    store.connect()
    yield store
    store.disconnect()


def connected() -> DictMemoryStore:
    store = DictMemoryStore()
    store.connect()
    return store


def mounted(point: str, medium: Medium, source: DictMemoryStore) -> MountedStore:
    store = MountedStore(point, medium, source, fill=True, freshness="strict")
    store.connect()
    return store


def applier_of(cache: MountedStore, source: DictMemoryStore) -> Applier:
    return Applier(cache.filling.ledger, source, cache.mount_point)


def read(cache: MountedStore, key: str) -> bytes:
    return cache.get(key).data.read()


def test_who_counts_a_change_has_dropped_it_for_all_mounts(medium: Medium) -> None:
    """An applier of one mount point leaves no stale entry of another below its position."""
    source = connected()
    one, other = mounted("a/", medium, source), mounted("b/", medium, source)
    applier = applier_of(one, source)
    applier.catch_up(after_doubt=True)
    source.from_bytes("b/k", b"1")
    applier.catch_up(after_doubt=False)
    assert read(other, "b/k") == read(other, "b/k")
    assert 1 == other.cache_stats().hits

    source.from_bytes("b/k", b"2")
    applier.catch_up(after_doubt=False)

    assert b"2" == read(other, "b/k")


def test_a_fill_of_another_mount_is_voided_too(medium: Medium) -> None:
    """A change outside the mount point ends the reservations of its key."""
    source = connected()
    applier = applier_of(mounted("a/", medium, source), source)
    ledger = mounted("", medium, source).filling.ledger
    applier.catch_up(after_doubt=True)
    source.from_bytes("b/k", b"1")
    reservation = ledger.reserve("b/k")

    applier.catch_up(after_doubt=False)

    fill = Fill(io.BytesIO(b"0"), {}, None, None, None)
    assert ledger.fill(reservation, fill) is None


def test_a_source_of_before_left_nothing_that_is_believed(medium: Medium) -> None:
    """What was filled from another source meanwhile is not served as the first one's."""
    first, second = connected(), connected()
    first.from_bytes("k", b"first")
    second.from_bytes("k", b"second")
    cache = mounted("", medium, first)
    applier_of(cache, first).catch_up(after_doubt=True)
    assert b"first" == read(cache, "k")

    assert b"second" == read(mounted("", medium, second), "k")
    cache = mounted("", medium, first)

    assert b"first" == read(cache, "k")
    applier_of(cache, first).catch_up(after_doubt=True)
    assert b"first" == read(cache, "k")
