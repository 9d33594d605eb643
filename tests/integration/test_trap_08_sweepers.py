"""Trap 8: a relay that skips a late commit, sends twice, or out of order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import Heard, wait_until
from outbox_writers import KILLED_SWEEPER, killed, started, sweeping_bus

from antiphon import open_store
from antiphon.messaging.bus import open_bus
from antiphon.outbox.options import Timing
from antiphon.outbox.sweeper import Sweeper
from antiphon.storage.events import StoreModificationEvent


@pytest.fixture
def location(tmp_path: Path) -> Path:
    """A sqlite database with a store in it that belongs to a system already."""
    return tmp_path / "store.db"


@pytest.fixture
def listener(amqp_url: str, system: str) -> Iterator[Any]:
    """A bus that only listens."""
    with open_bus(amqp_url, system=system) as bus:
        yield bus


@pytest.fixture
def heard(listener: Any) -> Heard:
    """What it hears of stores."""
    heard = Heard()
    listener.connect(StoreModificationEvent, heard)
    return heard


def opened(location: Path, bus: Any = None) -> Any:
    """Return the store, connected."""
    store = open_store(f"sqlite:{location}", **({} if bus is None else {"event_manager": bus}))
    store.connect()
    return store


def written_without_a_bus(location: Path, *keys: str) -> None:
    """Commit what nobody tells of."""
    store = opened(location)
    with store.transaction():
        for key in keys:
            store.from_bytes(key, b"")
    store.disconnect()


def test_a_transaction_that_commits_late_is_not_skipped(
    amqp_url: str, system: str, location: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers, one of which holds its transaction open across several sweeps."""
    sweeps: list[object] = []
    sweep = Sweeper.sweep
    monkeypatch.setattr(Sweeper, "sweep", lambda *given: sweeps.append(1) or sweep(*given))
    with sweeping_bus(amqp_url, system) as bus:
        store = opened(location, bus)
        store.from_bytes("first", b"")
        slow = sqlite3.connect(location, isolation_level=None)
        slow.execute("BEGIN IMMEDIATE")
        slow.execute("INSERT INTO store (key, data) VALUES ('slow', x'00')")
        other = threading.Thread(target=store.from_bytes, args=("second", b""))
        other.start()
        sweeps.clear()
        wait_until(lambda: len(sweeps) > 3, "the journal was looked at, up to before it")
        slow.execute("COMMIT")
        other.join()
        slow.close()
        heard.wait(3)
        wait_until(lambda: store.outbox_ledger().swept() == store.head(), "all is swept")
        journal = [
            entry.key for entry in store.since(store.head()._replace(sequence=0, entry_id=b""))
        ]
        store.disconnect()

    assert ["first", "slow", "second"] == journal
    assert sorted(journal) == sorted(event.key for event in heard.events)


def test_killed_between_confirm_and_mark(
    amqp_url: str, system: str, location: Path, listener: Any, heard: Heard
) -> None:
    """What a sweeper published and did not note is published again, and heard once."""
    with sweeping_bus(amqp_url, system, Timing(lease_s=3600)) as claiming:
        opened(location, claiming).disconnect()
    written_without_a_bus(location, "a", "b", "c")
    killed(started(KILLED_SWEEPER, amqp_url, system, f"sqlite:{location}", "killed"))
    first = [event.key for event in heard.wait(4)]
    with sweeping_bus(amqp_url, system) as bus:
        store = opened(location, bus)
        wait_until(lambda: store.outbox_ledger().swept() == store.head(), "all is swept")
        wait_until(lambda: listener.stats().duplicates >= 3, "they came again")
        store.from_bytes("end", b"")
        heard.wait(5)
        store.disconnect()

    assert {"a", "b", "c", "killed-told"} == set(first)
    assert [*first, "end"] == [event.key for event in heard.events]


def test_two_sweepers_at_once(
    amqp_url: str,
    system: str,
    location: Path,
    listener: Any,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both publish the same, one moves the position, and listeners of all three hear it once."""
    both = threading.Barrier(2, timeout=30)
    is_confirmed = Sweeper._is_confirmed

    def together(self: Sweeper, *arguments: Any) -> bool:
        done = is_confirmed(self, *arguments)
        if not both.broken and self._counts.swept == 0:
            both.wait()
        return done

    monkeypatch.setattr(Sweeper, "_is_confirmed", together)
    with sweeping_bus(amqp_url, system) as one, sweeping_bus(amqp_url, system) as two:
        here, there = Heard(), Heard()
        one.connect(StoreModificationEvent, here)
        two.connect(StoreModificationEvent, there)
        stores = [opened(location, bus) for bus in (one, two)]
        keys = [f"{number}" for number in range(20)]
        written_without_a_bus(location, *keys)
        for each in (heard, here, there):
            each.wait(20)
        wait_until(lambda: listener.stats().duplicates >= 20, "both have published all")
        wait_until(lambda: stores[0].outbox_ledger().swept() == stores[0].head(), "it is swept")
        for store in stores:
            store.from_bytes("end", b"")
        for each in (heard, here, there):
            each.wait(22)
        for store in stores:
            store.disconnect()

    for each in (heard, here, there):
        assert keys == [event.key for event in each.events if event.key != "end"]


def test_a_durable_subscription_handles_it_once(
    amqp_url: str, system: str, location: Path, listener: Any
) -> None:
    """Also one that had the event from the process that died, or from another sweeper."""
    handled: list[str] = []
    listener.subscribe("books", StoreModificationEvent, lambda event: handled.append(event.key))
    with sweeping_bus(amqp_url, system) as bus:
        store = opened(location, bus)
        store.from_bytes("told", b"")
        wait_until(lambda: handled == ["told"], "it is handled")
        wait_until(lambda: store.outbox_ledger().swept() == store.head(), "it is swept")
        store.disconnect()
    # As if it had died before anybody knew what became of it.
    store = opened(location)
    ledger = store.outbox_ledger()
    for lease in ledger.leases():
        ledger.release(lease)
    ledger.sweep_to(ledger.swept(), store.head()._replace(sequence=0, entry_id=b""))
    store.disconnect()
    with sweeping_bus(amqp_url, system) as bus:
        store = opened(location, bus)
        wait_until(lambda: bus.outbox.stats().orphaned == 1, "it is published again")
        store.from_bytes("end", b"")
        wait_until(lambda: "end" in handled, "what followed is handled")
        store.disconnect()

    assert ["told", "end"] == handled
