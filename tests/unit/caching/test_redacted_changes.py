"""Events that do not say which key changed: the journal is asked, and nothing is passed over."""

import io
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fakes import FakeJournal

from antiphon.caching.applier import Applier
from antiphon.caching.invalidator import CacheInvalidator
from antiphon.events.api import EventManager
from antiphon.messaging.bus import open_bus
from antiphon.messaging.memory import MemoryBroker
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.ledger import Fill
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue
from patience import wait_until


class Followed:
    """A journal, and a cache that follows it."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.ledger = MemoryLedger()
        self.applier = Applier(self.ledger, self.journal, "p/")
        self.told: list[str] = []
        self.catch_up()

    def catch_up(self) -> int:
        return self.applier.catch_up(lambda key, *_: self.told.append(key), after_doubt=True)

    def hear(self, entry: JournalEntry) -> bool:
        return self.applier.apply_redacted(self.journal.position_of(entry))

    def hide(self) -> JournalEntry:
        """Commit a change of a key that the cache's user may not see."""
        (entry,) = self.journal.change("p/hidden")
        self.journal.entries[-1] = entry._replace(key=None)
        return entry

    def cache(self, key: str, version: Version | None = None) -> bool:
        fill = Fill(io.BytesIO(b"x"), {}, None, None, version)
        return self.ledger.fill(self.ledger.reserve(key), fill) is not None


@pytest.fixture
def followed() -> Followed:
    return Followed()


def test_a_redacted_event_moves_nothing(followed: Followed) -> None:
    """It asks for the journal, which alone knows the key."""
    start = followed.ledger.position()
    followed.cache("p/a")
    (entry,) = followed.journal.change("p/a")

    assert not followed.hear(entry)
    assert (start, ["p/a"]) == (followed.ledger.position(), list(followed.ledger.keys()))
    followed.catch_up()
    assert (["p/a"], []) == (followed.told, list(followed.ledger.keys()))
    assert followed.journal.head() == followed.ledger.position()


def test_a_clear_event_does_not_pass_over_a_redacted_one(followed: Followed) -> None:
    """The position waits for the change that was not named."""
    start = followed.ledger.position()
    (first,) = followed.journal.change("p/a")
    (second,) = followed.journal.change("p/b")
    followed.hear(first)
    followed.applier.apply("p/b", followed.journal.position_of(second), lambda *_: None)

    assert start == followed.ledger.position()


def test_what_the_journal_has_told_is_not_asked_for_again(followed: Followed) -> None:
    """An event that comes after its entry was read is no news."""
    (entry,) = followed.journal.change("p/a")
    followed.catch_up()

    assert followed.hear(entry)


def test_an_announced_change_is_no_repair(followed: Followed) -> None:
    """Repairs count what no event told of."""
    (entry,) = followed.journal.change("p/a")
    followed.hear(entry)
    followed.catch_up()
    assert 0 == followed.applier.counts.repairs
    followed.journal.change("p/b")
    followed.catch_up()
    assert 1 == followed.applier.counts.repairs


def test_events_of_other_stores_are_ignored(followed: Followed) -> None:
    """They are counted, and drop nothing."""
    followed.cache("p/a")

    assert followed.applier.apply_redacted(Position(uuid4(), 1, 1, b"12345678"))
    assert (1, ["p/a"]) == (followed.applier.counts.foreign, list(followed.ledger.keys()))


def test_without_a_journal_everything_is_dropped() -> None:
    """Nobody could tell which entry is stale."""
    followed = Followed()
    applier = Applier(followed.ledger, None, "p/")
    followed.cache("p/a")

    assert applier.apply_redacted(None)
    assert [] == list(followed.ledger.keys())


def test_a_hidden_entry_empties_the_cache(followed: Followed) -> None:
    """The key may have been visible when it was cached."""
    followed.cache("p/a")
    followed.hide()
    followed.catch_up()

    assert [] == list(followed.ledger.keys())
    assert followed.journal.head() == followed.ledger.position()


def test_a_hidden_entry_keeps_no_value_out(followed: Followed) -> None:
    """Values older than it may be cached: it was another key that changed."""
    (old,) = followed.journal.change("p/a")
    followed.hide()
    followed.catch_up()

    assert followed.cache("p/a", old.version)


class Cluster:
    """An authorizing store on a bus, and a cache on another."""

    def __init__(self, name: str) -> None:
        self.broker = MemoryBroker.named(name)
        self.writer_bus = open_bus(f"memory://{name}", origin="writer")
        self.reader_bus = open_bus(f"memory://{name}", origin="reader")
        self.store = DictMemoryStore(origin="catalogue")
        self.store.event_manager = self.writer_bus
        self.store.connect()
        self.alice = AuthorizingStore(self.store).as_user(User("alice"))
        self.bob = self.alice.as_user(User("bob"))
        self.invalidators: list[CacheInvalidator] = []

    def cache_over(self, backing: Any) -> MountedStore:
        """Return a cache that nothing but events keeps right within a minute."""
        own = DictMemoryStore()
        own.event_manager = EventManager()
        mounted = MountedStore("", own, backing, fill=True, max_staleness_s=600.0)
        mounted.connect()
        self.invalidators.append(
            CacheInvalidator(mounted, self.reader_bus, check_interval_s=60.0).start()
        )
        return mounted

    def settle(self, mounted: MountedStore, *keys: str) -> None:
        """Read *keys* until the cache serves them, and asks nobody for the next minutes."""
        for _ in range(2):
            for key in keys:
                assert b"1" == mounted.get(key).data.read()
        assert len(keys) == mounted.cache_stats().hits

    def close(self) -> None:
        for invalidator in self.invalidators:
            invalidator.stop()
        self.reader_bus.close()
        self.writer_bus.close()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh cluster."""
    cluster = Cluster(f"redacted-{request.node.name}")
    yield cluster
    cluster.close()


def test_a_cache_hears_of_what_is_changed_by_permission(cluster: Cluster) -> None:
    """Its process has the wrapped store, and hears only digests on the bus."""
    heard: list[Any] = []
    cluster.reader_bus.connect(StoreModificationEvent, heard.append)
    cluster.alice.set("a", StringValue(b"1"))
    mounted = cluster.cache_over(cluster.store)
    cluster.settle(mounted, "a")
    cluster.alice.set("a", StringValue(b"2"))

    wait_until(lambda: mounted.get("a").data.read() == b"2", "the new value")
    # The cache may have heard of it from the journal itself, which is quicker.
    wait_until(lambda: len(heard) >= 2, "the bus brings both events")
    assert {True} == {event.redacted for event in heard}
    assert "a" not in {event.key for event in heard}
    assert cluster.invalidators[0].stats().gaps == 0


def test_an_own_write_that_names_no_key_is_read_back(cluster: Cluster) -> None:
    """The writer goes on when the journal has been read, so it reads what it wrote."""
    cluster.alice.set("a", StringValue(b"1"))
    own = DictMemoryStore()
    own.event_manager = EventManager()
    mounted = MountedStore("", own, cluster.store, fill=True, max_staleness_s=600.0)
    mounted.connect()
    cluster.invalidators.append(
        CacheInvalidator(mounted, cluster.writer_bus, check_interval_s=60.0).start()
    )
    cluster.settle(mounted, "a")
    seen = []
    for data in (b"2", b"3", b"4"):
        cluster.alice.set("a", StringValue(data))
        seen.append(mounted.get("a").data.read())

    assert [b"2", b"3", b"4"] == seen


def test_a_users_cache_forgets_what_the_user_may_not_see(cluster: Cluster) -> None:
    """When the permission is taken away, and when the key is deleted."""
    for key in "ab":
        cluster.alice.set(key, StringValue(b"1"))
        cluster.alice.update_permissions(key, {"get": {"bob"}})
    mounted = cluster.cache_over(cluster.bob)
    cluster.settle(mounted, "a", "b")
    cluster.alice.set_permissions("a", {"owned": {"alice"}})
    cluster.alice.delete("b")

    wait_until(lambda: not mounted.exists("a") and not mounted.exists("b"), "both are gone")
