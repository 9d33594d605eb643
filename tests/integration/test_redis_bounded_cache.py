"""A cache with bounds in Redis, shared by two connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from antiphon.caching.applier import Applier
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.string_value import StringValue


@pytest.fixture
def caches(redis_url: str) -> Iterator[list[MountedStore]]:
    """Two mounted stores of one cache that may hold 40 entries."""
    with ExitStack() as stack:
        backing = stack.enter_context(DictMemoryStore())
        for number in range(300):
            backing.set(f"p/k{number}", StringValue(b"%d" % number))
        stores = []
        for _ in range(2):
            medium = stack.enter_context(RedisStore(redis_url, namespace="cache"))
            store = MountedStore("p/", medium, backing, fill=True, max_entries=40)
            stores.append(stack.enter_context(store))
        ledger = stores[0].filling.ledger
        Applier(ledger, backing, "p/").catch_up(lambda *told: None, after_doubt=False)
        ledger.beat()
        yield stores


def test_two_connections_share_one_bound(caches: list[MountedStore]) -> None:
    """What both fill stays within it, but for what was filled since they asked; reads are right."""
    one, other = caches
    for number in range(300):
        for store in caches:
            assert b"%d" % number == store.to_bytes(f"p/k{number}")
        one.get(f"p/k{number % 4}")
    for store in caches:
        eviction = store.filling.eviction
        assert eviction is not None
        eviction.shrink()
    ledger = other.filling.ledger
    sizes = dict(ledger.sizes())

    assert (len(sizes), sum(sizes.values())) == ledger.usage()
    assert len(sizes) <= 40
    assert {f"p/k{number}" for number in range(4)} <= set(sizes)
