"""The Redis store and its cache ledger pass the suites of all stores and ledgers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from antiphon.storage.ledger import CacheLedger
from antiphon.storage.redis_store import RedisStore
from antiphon.testing.ledger_suite import LedgerSuite
from antiphon.testing.store_suite import MakeStore, StoreSuite


class TestRedisStore(StoreSuite):
    """A namespace of a real Redis, used by several connections."""

    @pytest.fixture
    def make_store(self, redis_url: str) -> MakeStore:
        """All stores of a test share one namespace."""
        return lambda: RedisStore(redis_url, namespace="store")

    @pytest.fixture
    def make_fresh_store(self, redis_url: str) -> MakeStore:
        """Each has a namespace of its own."""
        numbers = itertools.count()
        return lambda: RedisStore(redis_url, namespace=f"store{next(numbers)}")


def _ledger(store: RedisStore) -> CacheLedger:
    ledger = store.cache_ledger()
    assert ledger is not None
    return ledger


class TestRedisLedger(LedgerSuite):
    """Entries in Redis, seen through two connections."""

    @pytest.fixture
    def ledger(self, redis_url: str) -> Iterator[CacheLedger]:
        """A fresh ledger."""
        with RedisStore(redis_url, namespace="cache") as store:
            yield _ledger(store)

    @pytest.fixture
    def other(self, redis_url: str, ledger: CacheLedger) -> Iterator[CacheLedger]:
        """A second connection to the same namespace."""
        with RedisStore(redis_url, namespace="cache") as store:
            yield _ledger(store)
