"""Authorizing stores pass the suite of permissions, over every kind of medium."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.redis_store import RedisStore
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.testing.permission_suite import (
    JournallingPermissions,
    MakeStores,
    TellingPermissions,
    TransactingPermissions,
)


def over(store: AbstractStore) -> MakeStores:
    """Return a function that gives users' stores over *store*."""
    base = AuthorizingStore(store)
    return lambda tag, tags=(): base.as_user(User(tag, frozenset(tags)))


class TestOverMemory(TransactingPermissions, JournallingPermissions, TellingPermissions):
    """A dictionary."""

    @pytest.fixture
    def make_stores(self) -> MakeStores:
        """All users share one object."""
        return over(DictMemoryStore())


class TestOverSqlite(TransactingPermissions, JournallingPermissions):
    """A file, with a store object for each user, as in several processes."""

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> Iterator[MakeStores]:
        """Nothing but the file is shared."""
        yield from apart(lambda: SqliteStore(tmp_path / "store.db", durable=False))


class TestOverFiles(TransactingPermissions, JournallingPermissions):
    """A directory, with a store object for each user, as in several processes."""

    @pytest.fixture
    def make_stores(self, tmp_path: Path) -> Iterator[MakeStores]:
        """Nothing but the directory is shared."""
        init_shared_store(tmp_path / "files")
        yield from apart(lambda: FileSystemStore(tmp_path / "files", durable=False))


class TestOverRedis(TransactingPermissions, JournallingPermissions):
    """A Redis namespace, with a store object for each user, as in several processes."""

    @pytest.fixture
    def make_stores(self, redis_url: str) -> Iterator[MakeStores]:
        """Nothing but the namespace is shared."""
        yield from apart(lambda: RedisStore(redis_url, namespace="permissions"))


def apart(make_store: Callable[[], AbstractStore]) -> Iterator[MakeStores]:
    """Yield a function that gives users' stores, each over a store object of its own."""
    opened: list[Any] = []

    def make(tag: str, tags: Any = ()) -> Any:
        opened.append(make_store())
        return AuthorizingStore(opened[-1]).as_user(User(tag, frozenset(tags)))

    yield make
    for store in opened:
        store.disconnect()
