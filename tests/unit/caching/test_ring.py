"""An invalidation never causes another: caches in a ring come to rest (trap 12)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from antiphon.caching.invalidator import CacheInvalidator
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.string_value import StringValue

#: Seconds within which the ring has to be quiet.
QUIET_S = 1.0


def wait_until(condition: Callable[[], Any], timeout_s: float) -> None:
    """Wait until *condition* holds, or fail."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.001)


class Ring:
    """Three stores; each is the medium of a cache of the next one, on a bus of its own."""

    def __init__(self, name: str) -> None:
        self.buses = [open_bus(f"memory://{name}", origin=f"p{n}") for n in range(3)]
        self.stores = [DictMemoryStore(origin=f"s{n}") for n in range(3)]
        for store, bus in zip(self.stores, self.buses, strict=True):
            store.event_manager = bus
            store.connect()
        self.heard: list[StoreModificationEvent] = []
        self.buses[0].connect(StoreModificationEvent, self.heard.append)
        self.caches = [self._mount(n, self.buses[n]) for n in range(3)]
        self.invalidators = [
            CacheInvalidator(cache, bus, check_interval_s=0.05).start()
            for cache, bus in zip(self.caches, self.buses, strict=True)
        ]

    def _mount(self, number: int, bus: BrokerEventManager) -> MountedStore:
        mounted = MountedStore("", self.stores[number], self.stores[(number + 1) % 3], fill=True)
        mounted.event_manager = bus
        mounted.connect()
        return mounted

    def settled(self) -> bool:
        """Whether each cache has come as far as its source."""
        return all(
            self.stores[(n + 1) % 3].head() == cache.filling.ledger.position()
            for n, cache in enumerate(self.caches)
        )

    def sent(self) -> int:
        """Return how many events went to the broker."""
        return sum(bus.stats().emitted for bus in self.buses)

    def close(self) -> None:
        for invalidator in self.invalidators:
            invalidator.stop()
        for bus in self.buses:
            bus.close()


@pytest.fixture
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    made = Ring(f"ring-{request.node.name}")
    yield made
    made.close()


def test_trap_12_three_stores_in_a_ring_come_to_rest(ring: Ring) -> None:
    """One event a write, no more, though every cache drops and fills again."""
    for number, store in enumerate(ring.stores):
        store.set(f"k{number}", StringValue(b"one"))
    for cache, number in zip(ring.caches, (1, 2, 0), strict=True):
        cache.get(f"k{number}").data.read()
    for number, store in enumerate(ring.stores):
        store.set(f"k{number}", StringValue(b"two"))
    wait_until(ring.settled, QUIET_S * 10)
    seen = [c.get(f"k{n}").data.read() for c, n in zip(ring.caches, (1, 2, 0), strict=True)]
    heads = [store.head().sequence for store in ring.stores]
    for bus in ring.buses:
        bus.flush(QUIET_S)
    wait_until(lambda: len(ring.heard) == 6, QUIET_S)

    assert [b"two"] * 3 == seen
    assert [2, 2, 2] == heads
    assert 6 == ring.sent()


def test_repairing_is_quiet_too(ring: Ring) -> None:
    """Looking into journals, suspecting and confirming tell nobody anything."""
    ring.stores[1].set("k", StringValue(b"one"))
    ring.caches[0].get("k").data.read()
    wait_until(ring.settled, QUIET_S * 10)
    for cache in ring.caches:
        cache.filling.ledger.advance(None)
    rebuilt = [one.stats().rebuilds for one in ring.invalidators]
    wait_until(
        lambda: all(
            one.stats().rebuilds > before
            for one, before in zip(ring.invalidators, rebuilt, strict=True)
        ),
        QUIET_S * 10,
    )
    ring.caches[0].get("k").data.read()

    assert 1 == ring.sent()
    assert [0, 1, 0] == [store.head().sequence for store in ring.stores]
