"""Readers of a cache in memory step aside when something has arrived for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO

import pytest

from antiphon.storage import courtesy
from antiphon.storage.courtesy import LOOK_S, Courtesy
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Collect the times for which readers step aside."""
    found: list[float] = []
    monkeypatch.setattr(courtesy.time, "sleep", found.append)
    return found


def test_nobody_looks_unasked(naps: list[float]) -> None:
    """Without an invalidator that asks for it no look is ever due."""
    assert Courtesy().due_at == float("inf")


def test_a_look_is_due_now_and_then(naps: list[float]) -> None:
    """After a look the next one is due a moment later."""
    paid = Courtesy()
    paid.ask(lambda: False)
    was_due = paid.due_at
    paid.pay(10.0)

    assert (True, 10.0 + LOOK_S, []) == (was_due < 0, paid.due_at, naps)


def test_readers_step_aside_for_what_has_arrived(naps: list[float]) -> None:
    """If something is there to be read, the reader sleeps for a moment."""
    paid = Courtesy()
    paid.ask(lambda: True)
    paid.pay(10.0)

    assert [courtesy.ASIDE_S] == naps


def test_nobody_looks_after_the_end(naps: list[float]) -> None:
    """When the invalidator has stopped, a reader that was about to look does not."""
    paid = Courtesy()
    paid.ask(lambda: True)
    paid.release()
    paid.pay(10.0)

    assert (float("inf"), []) == (paid.due_at, naps)


@pytest.fixture
def mounted() -> Iterator[MountedStore]:
    """A full cache of one key that is vouched for."""
    source = DictMemoryStore()
    source.connect()
    source.set_data("p/a", BytesIO(b"one"))
    store = MountedStore("p/", DictMemoryStore(), source, fill=True)
    store.connect()
    store.filling.ledger.advance(source.head())
    store.filling.ledger.beat()
    store.get("p/a")
    store.filling.freshness.vouch()
    yield store
    store.disconnect()


def test_cached_reads_pay(mounted: MountedStore, naps: list[float]) -> None:
    """A read that is served from the cache looks when that is due, and is served all the same."""
    paid = mounted.filling.freshness.courtesy
    paid.ask(lambda: True)
    mounted.filling.freshness.vouch()
    misses = mounted.cache_stats().misses
    values = {mounted.get("p/a").data.read() for _ in range(3)}

    assert ({b"one"}, True, misses) == (values, len(naps) > 0, mounted.cache_stats().misses)


def test_reads_are_quick_again_after_the_end(mounted: MountedStore, naps: list[float]) -> None:
    """When nobody asks any more, reads go the quick way until the head is to be asked for."""
    freshness = mounted.filling.freshness
    freshness.courtesy.ask(lambda: False)
    freshness.vouch()
    mounted.get("p/a")
    freshness.courtesy.release()
    freshness.is_settled(freshness.quick_until)

    assert freshness.settled_until == freshness.quick_until


def test_a_doubt_ends_quick_reads(mounted: MountedStore, naps: list[float]) -> None:
    """A doubt holds for the quick way, too."""
    freshness = mounted.filling.freshness
    freshness.courtesy.ask(lambda: False)
    freshness.vouch()
    mounted.get("p/a")
    freshness.doubt("a test says so")

    assert (False, True) == (freshness.is_settled(), freshness.quick_until < 0)


# -- Being told ------------------------------------------------------------------


def test_waiting_for_changes(mounted: MountedStore) -> None:
    """Who waits is woken by the next change that is applied."""
    seen = mounted.wait_applied(0, 0.0)
    thread = threading.Timer(0.01, mounted.filling.freshness.advanced)
    thread.start()
    told = mounted.wait_applied(seen, 30.0)
    thread.join()

    assert seen + 1 == told


def test_a_change_that_was_applied_before_is_not_waited_for(mounted: MountedStore) -> None:
    """What came between two calls is told at once."""
    seen = mounted.wait_applied(0, 0.0)
    mounted.filling.freshness.advanced()

    assert seen + 1 == mounted.wait_applied(seen, 30.0)


def test_waiting_in_vain(mounted: MountedStore) -> None:
    """When nothing changes in time, the same number comes back."""
    seen = mounted.wait_applied(0, 0.0)

    assert seen == mounted.wait_applied(seen, 0.01)
