"""Joined, mounted, authenticating and authorizing stores pass the suite of all stores.

Whatever applies: the first three keep no journal of their own.
"""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.errors import VersionConflict
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.passwords import hash_password, verify_password
from antiphon.storage.simple_auth_store import SimpleAuthStore
from antiphon.testing.store_suite import (
    Concurrency,
    Histories,
    Hostile,
    MakeStore,
    Progressing,
    Querying,
    Reading,
    Snapshots,
    StoreSuite,
    Streaming,
    Telling,
    Transacting,
    Versioning,
    Writing,
)
from antiphon.testing.store_tests.base import journal_of, value
from antiphon.testing.store_tests.concurrency import at_once


class WithoutJournal(
    Reading,
    Querying,
    Writing,
    Telling,
    Progressing,
    Versioning,
    Transacting,
    Streaming,
    Snapshots,
    Hostile,
    Concurrency,
    Histories,
):
    """All but what needs a journal."""

    shared = False
    journals = False


class TestJoinedStore(WithoutJournal):
    """Two dictionaries, the second one empty."""

    needs_connecting = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each joins two of its own."""
        return lambda: JoinedStore([DictMemoryStore(), DictMemoryStore()])

    def emitter(self, store: Any) -> Any:
        """The first store takes the writes."""
        return store.stores[0]


class TestMountedStore(WithoutJournal):
    """One dictionary over the whole of another, which is empty."""

    needs_connecting = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each has two of its own."""
        return lambda: MountedStore("", DictMemoryStore(), DictMemoryStore())

    def emitter(self, store: Any) -> Any:
        """The mount store takes the writes."""
        return store.mount_store


class TestSimpleAuthStore(WithoutJournal):
    """A dictionary for users with passwords."""

    credentials = {"username": "alice", "password": "correct horse"}  # noqa: RUF012

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each is over one of its own, with one user."""

        class QuickEncoder:
            def __call__(self, password: bytes) -> bytes:
                return hash_password(password, log2_n=4).encode()

            def verify(self, password: bytes, stored: bytes) -> bool:
                return verify_password(password, stored)

        def make() -> SimpleAuthStore:
            store = SimpleAuthStore(DictMemoryStore(), QuickEncoder())
            store.set_password("alice", "correct horse")
            return store

        return make

    def emitter(self, store: Any) -> Any:
        """The wrapped store."""
        return store.store


class TestAuthorizingStore(StoreSuite):
    """A dictionary with permissions, for one user."""

    shared = False

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Each is over one of its own."""
        return lambda: AuthorizingStore(DictMemoryStore(), user=User("alice"))

    def test_the_event_manager_can_be_assigned(self, store: Any) -> None:
        """What is assigned gets the digests; the user's listeners hear the same as before."""
        before, after = EventManager(), EventManager()
        heard: dict[str, list[Any]] = {"before": [], "after": [], "own": []}
        store.event_manager.connect(StoreModificationEvent, heard["own"].append)
        before.connect(BaseEvent, heard["before"].append)
        after.connect(BaseEvent, heard["after"].append)
        for manager, key in ((before, "a"), (after, "b")):
            store.event_manager = manager
            store.set(key, value())

        assert ["a", "b"] == [event.key for event in heard["own"]]
        assert [True] == [event.redacted for event in heard["before"]]
        assert [True] == [event.redacted for event in heard["after"]]

    def test_an_event_manager_hears_of_its_sources(self, make_store: MakeStore) -> None:
        """The wrapped store is known to it, so that arriving events find that."""
        known: list[Any] = []

        class Bus(EventManager):
            def add_source(self, source: object) -> None:
                known.append(source)

            def remove_source(self, source: object) -> None:
                known.remove(source)

        store = make_store()
        store.event_manager = Bus()
        assert [] == known
        with store:
            assert [store.store] == known
            store.event_manager = EventManager()
            assert [] == known

    def test_the_journal_has_every_change(self, store: Any, other: Any, changes: list[Any]) -> None:
        """Gapless and in order; older entries of a key that is gone do not name it."""
        store.set("a", value(n=1))
        store.set_metadata("b", {})
        store.delete("a")
        entries = journal_of(other)

        assert [1, 2, 3] == [entry.version.sequence for entry in entries]
        assert [(None, "set"), ("b", "set"), ("a", "delete")] == [e[1:3] for e in entries]
        assert [event._event_id for event in changes] == [entry.event_id for entry in entries]
        assert [event.version for event in changes] == [entry.version for entry in entries]

    def test_many_writers_leave_no_gap(self, store: Any) -> None:
        """Blocks that met another's change of a permission's key are done again."""

        def write(worker: int) -> None:
            done = 0
            while done < 6:
                try:
                    with store.transaction("two"):
                        store.set_metadata("common", {"worker": worker})
                        store.set_metadata(f"{worker}", {"worker": worker})
                except VersionConflict:
                    continue
                done += 1

        at_once(write, 4)

        entries = journal_of(store)
        assert list(range(1, 4 * 12 + 1)) == [entry.version.sequence for entry in entries]
        assert ["common"] * 24 == [entry.key for entry in entries if not entry.last]
