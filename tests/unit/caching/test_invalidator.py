"""An invalidator on a bus: what another process changes leaves the cache here."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon.caching.events import (
    CacheConflictEvent,
    CacheEvent,
    CacheInvalidatedEvent,
    CacheTrustEvent,
)
from antiphon.caching.invalidator import CacheInvalidator
from antiphon.events.api import EventManager
from antiphon.messaging.bus import open_bus
from antiphon.messaging.memory import MemoryBroker
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue
from patience import wait_until


class Cluster:
    """A writer and a reader with a cache, each with a bus of its own."""

    def __init__(self, name: str) -> None:
        url = f"memory://{name}"
        self.broker = MemoryBroker.named(name)
        self.writer_bus = open_bus(url, origin="writer")
        self.reader_bus = open_bus(url, origin="reader")
        self.store = DictMemoryStore(origin="catalogue")
        self.store.event_manager = self.writer_bus
        self.store.connect()
        self.own = DictMemoryStore()
        self.own.event_manager = EventManager()
        self.mounted = MountedStore("p/", self.own, self.store, fill=True)
        self.mounted.connect()
        self.told: list[CacheEvent] = []
        self.reader_bus.connect(CacheEvent, self.told.append)
        self.invalidator = CacheInvalidator(self.mounted, self.reader_bus, check_interval_s=0.05)

    @property
    def journal_only(self) -> "Cluster":
        """The same, but the store's events reach nobody."""
        self.store.event_manager = EventManager()
        return self

    def write(self, key: str, data: bytes) -> None:
        self.store.set(key, StringValue(data))

    def read(self, key: str) -> bytes:
        return self.mounted.get(key).data.read()

    def events(self, cls: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, cls)]

    def is_cached(self, key: str) -> bool:
        return key in set(self.mounted.filling.ledger.keys())

    def close(self) -> None:
        self.invalidator.stop()
        self.reader_bus.close()
        self.writer_bus.close()


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    made = Cluster(request.node.name)
    yield made
    made.close()


def test_a_change_elsewhere_drops_the_entry(cluster: Cluster) -> None:
    """The writer's event reaches the reader's bus, and the entry is gone."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    cluster.write("p/a", b"two")
    wait_until(lambda: not cluster.is_cached("p/a"), "the entry is dropped")

    assert b"two" == cluster.read("p/a")


def test_the_reader_is_told_with_the_latency(cluster: Cluster) -> None:
    """A local event names key, version and the seconds it took."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    version = cluster.store.set("p/a", StringValue(b"two"))
    wait_until(lambda: any(e.dropped for e in cluster.events(CacheInvalidatedEvent)), "it is told")

    told = next(e for e in cluster.events(CacheInvalidatedEvent) if e.dropped)
    assert ("p/a", version, cluster.mounted) == (told.key, told.version, told.source)


def test_it_vouches_once_it_has_checked(cluster: Cluster) -> None:
    """start() returns with a cache that is trusted, and says so."""
    cluster.invalidator.start()

    assert cluster.invalidator.is_trusted
    assert [True] == [e.trusted for e in cluster.events(CacheTrustEvent)]


def test_a_cache_of_an_earlier_run_is_checked_first(cluster: Cluster) -> None:
    """What changed while nobody listened is found in the journal."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.write("p/b", b"one")
    cluster.read("p/a")
    cluster.read("p/b")
    cluster.invalidator.stop()
    cluster.write("p/a", b"two")
    CacheInvalidator(cluster.mounted, cluster.reader_bus).start().stop()

    assert not cluster.is_cached("p/a")
    assert cluster.is_cached("p/b")


def test_what_no_event_told_of_is_found(cluster: Cluster) -> None:
    """A writer that died between its commit and its event, or a lost last event (trap 4)."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    cluster.journal_only.write("p/a", b"two")
    wait_until(lambda: not cluster.is_cached("p/a"), "the journal is read")

    assert cluster.invalidator.stats().repairs >= 1


def test_a_broken_connection_is_doubt(cluster: Cluster) -> None:
    """Nothing is trusted while no event can come, and again after a check."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    cluster.broker.stop()
    wait_until(lambda: not cluster.invalidator.is_trusted, "the break is noticed")
    cluster.write("p/a", b"two")
    assert b"two" == cluster.read("p/a")
    cluster.broker.start()
    wait_until(lambda: cluster.invalidator.is_trusted, "the cache is trusted again")

    assert b"two" == cluster.read("p/a")
    assert [True, False, True] == [e.trusted for e in cluster.events(CacheTrustEvent)]


def test_a_stopped_invalidator_vouches_for_nothing(cluster: Cluster) -> None:
    """After stop() the cache is in doubt; a second stop() is fine."""
    cluster.invalidator.start()
    cluster.invalidator.stop()
    cluster.invalidator.stop()

    assert not cluster.invalidator.is_trusted
    assert cluster.mounted.filling.ledger.lookup("p/a").beat is None


def test_a_thread_that_has_ended_is_noticed(cluster: Cluster) -> None:
    """Whoever asks learns that nobody looks after the cache any more, unless it was stopped."""
    assert cluster.invalidator.is_alive()
    cluster.invalidator.start()
    assert cluster.invalidator.is_alive()
    cluster.invalidator.stop()
    assert cluster.invalidator.is_alive()
    cluster.invalidator._running = cluster.invalidator._checks._is_running = True

    assert not cluster.invalidator.is_alive()
    cluster.invalidator._running = cluster.invalidator._checks._is_running = False


def test_it_is_held_by_its_bus(cluster: Cluster) -> None:
    """Nobody needs to keep a reference to a started invalidator."""
    cluster.invalidator = CacheInvalidator(cluster.mounted, cluster.reader_bus).start()
    keep = cluster.invalidator.stop
    cluster.invalidator = CacheInvalidator(cluster.mounted, cluster.reader_bus)
    gc.collect()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    cluster.write("p/a", b"two")
    wait_until(lambda: not cluster.is_cached("p/a"), "the entry is dropped")
    keep()


def test_an_unpushed_write_is_kept_and_the_conflict_told(cluster: Cluster) -> None:
    """P6: the user's value stays, and the user hears of the other one, once."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.mounted.set("p/a", StringValue(b"mine"))
    version = cluster.store.set("p/a", StringValue(b"theirs"))
    wait_until(lambda: cluster.events(CacheConflictEvent), "the conflict is told")

    assert b"mine" == cluster.read("p/a")
    (told,) = cluster.events(CacheConflictEvent)
    assert ("p/a", version) == (told.key, told.version)


def test_a_push_is_no_conflict(cluster: Cluster) -> None:
    """One's own push comes back as an event, and is not told as somebody else's."""
    cluster.invalidator.start()
    cluster.mounted.set("p/a", StringValue(b"mine"))
    cluster.mounted.push("p/a")
    head = cluster.store.head()
    wait_until(lambda: head == cluster.mounted.filling.ledger.position(), "the event came")

    assert [] == cluster.events(CacheConflictEvent)


def test_another_store_of_the_same_origin_is_not_confused(cluster: Cluster) -> None:
    """Staging and production may share an origin; identity is the store's id."""
    cluster.invalidator.start()
    cluster.write("p/a", b"one")
    cluster.read("p/a")
    other = DictMemoryStore(origin="catalogue")
    other.event_manager = cluster.writer_bus
    other.connect()
    other.set("p/a", StringValue(b"other"))
    cluster.write("p/b", b"after")
    head = cluster.store.head()
    wait_until(lambda: head == cluster.mounted.filling.ledger.position(), "the later event came")

    assert cluster.is_cached("p/a")


def test_a_check_interval_of_nothing_is_refused(cluster: Cluster) -> None:
    """The error names the value."""
    with pytest.raises(ValueError, match="check_interval_s is 0"):
        CacheInvalidator(cluster.mounted, cluster.reader_bus, check_interval_s=0)
