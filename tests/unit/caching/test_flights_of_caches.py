"""What a reader must not take from another, although it is within the bound."""

from __future__ import annotations

import threading
import time

import pytest

from antiphon.caching.applier import Applier
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore

DEADLINE_S = 20.0


class Setting:
    """A cache, and what keeps it right."""

    def __init__(self, freshness: str) -> None:
        self.source, self.own = DictMemoryStore(), DictMemoryStore()
        self.mounted = MountedStore(
            "", self.own, self.source, fill=True, freshness=freshness, max_entries=100
        )
        self.mounted.connect()
        self.ledger = self.mounted.filling.ledger
        self.applier = Applier(self.ledger, self.source, "")
        self.source.from_bytes("k", b"1")
        self.catch_up()
        self.ledger.beat()

    def catch_up(self) -> None:
        self.applier.catch_up(after_doubt=False)

    def read(self) -> bytes:
        return self.mounted.get("k").data.read()


def test_what_was_dropped_since_it_was_kept_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads after a change was applied does not get what a flight had kept before it."""
    setting = Setting("bounded(60)")
    eviction = setting.mounted.filling.eviction
    assert eviction is not None
    is_kept, may_land = threading.Event(), threading.Event()
    added = eviction.added

    def slowly_added(key: str, size: int) -> None:
        added(key, size)
        is_kept.set()
        assert may_land.wait(DEADLINE_S)

    monkeypatch.setattr(eviction, "added", slowly_added)
    found: list[bytes] = []
    first, second = (
        threading.Thread(target=lambda: found.append(setting.read())) for _ in range(2)
    )
    first.start()
    assert is_kept.wait(DEADLINE_S)
    setting.source.from_bytes("k", b"2")
    setting.catch_up()

    second.start()
    while setting.mounted.cache_stats().misses < 2:
        time.sleep(0.001)
    may_land.set()
    first.join(DEADLINE_S)
    second.join(DEADLINE_S)

    assert [b"1", b"2"] == sorted(found)


def test_an_unchecked_value_holds_no_position() -> None:
    """Mode ``available`` serves no suspect to who asks for a position, reached though it is."""
    setting = Setting("available")
    setting.read()
    version = setting.source.from_bytes("k", b"2")
    setting.ledger.suspect()
    setting.ledger.advance(None)
    setting.ledger.advance(setting.source.head())

    assert b"2" == setting.mounted.get("k", at_least=version).data.read()
