"""What is committed is published by somebody, once by id."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from outbox_helpers import ASLEEP, PATIENT, QUICK, Heard, World, swept, wait_swept, wait_until

from antiphon.errors import BusClosed, PublishBufferFull
from antiphon.events.api import EventManager
from antiphon.messaging.memory import MemoryBroker
from antiphon.outbox.opening import attach, open_bus
from antiphon.storage import tellings
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.journal import Position, foreign_event_id
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue


def test_what_had_no_bus_is_published_by_who_has_one(world: World) -> None:
    """Commits of a process without a bus go out after its lease would have ended."""
    heard = Heard(world.bus())
    mine = world.bus(QUICK)
    here = Heard(mine)
    store = world.store(mine)
    world.store().set("a", StringValue(b"1", {"n": 1}))

    assert ["a"] == heard.wait(1)
    assert ["a"] == here.wait(1)
    event = heard.events[0]
    assert (StoreSetEvent, {"n": 1}) == (type(event), event.metadata)
    assert store.head() == event.position
    assert event._delivery.replayed
    wait_swept(store)


def test_its_event_has_the_id_that_the_journal_says(world: World) -> None:
    """The same that the committer would have given it."""
    heard = Heard(world.bus())
    store = world.store(world.bus(QUICK))
    begin = store.head()
    world.store().from_bytes("a", b"1")
    heard.wait(1)

    assert [entry.event_id for entry in store.since(begin)] == heard.ids


def test_what_was_told_is_not_told_again(world: World) -> None:
    """Nobody publishes what a lease says is confirmed, and the position passes it."""
    heard = Heard(world.bus())
    writer = world.bus(QUICK)
    store = world.store(writer)
    other = world.bus(QUICK)
    world.store(other)
    for number in range(20):
        store.from_bytes(f"{number}", b"x")
    wait_swept(store)
    last = world.store()
    last.from_bytes("end", b"")

    assert [*map(str, range(20)), "end"] == heard.wait(21)
    assert 0 == world_duplicates(world, heard)
    # Both may publish what nobody told: it is heard once.
    assert 1 <= writer.outbox.stats().orphaned + other.outbox.stats().orphaned <= 2


def world_duplicates(world: World, heard: Heard) -> int:
    """Return how many events came more than once."""
    return len(heard.ids) - len(set(heard.ids))


def test_old_history_is_not_published(world: World) -> None:
    """A store that gets a system for the first time begins at its head."""
    world.store().from_bytes("old", b"")
    heard = Heard(world.bus())
    store = world.store(world.bus(QUICK))

    assert swept(store)
    world.store().from_bytes("new", b"")
    assert ["new"] == heard.wait(1)


def test_plain_sql_is_published(sqlite_world: World, tmp_path: Path) -> None:
    """At once, in order, with ids that all processes agree on."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(PATIENT))
    begin = store.head()
    connection = sqlite3.connect(tmp_path / "store")
    with connection:
        connection.execute(
            "INSERT INTO store (key, metadata, data) VALUES ('a', '{\"n\": 1}', x'01')"
        )
        connection.execute("UPDATE store SET data = x'02'")
        connection.execute("UPDATE store SET key = 'b'")
    connection.close()

    assert ["a", "a", "a", "b"] == heard.wait(4)
    assert ["set", "update", "delete", "set"] == [event.action for event in heard.events]
    # Present metadata are told only of the version that has them.
    assert [{}, {}, {}, {"n": 1}] == [event.metadata for event in heard.events]
    entries = list(store.since(begin))
    ids = [foreign_event_id(store.store_id, entry.version.entry_id) for entry in entries]
    assert ids == heard.ids


def test_what_a_rescan_finds_is_published(tmp_path: Path) -> None:
    """Files that people changed by hand, once somebody looked at them."""
    world = World(f"file:{tmp_path / 'store'}")
    heard = Heard(world.bus())
    store = world.store(world.bus(PATIENT))
    (tmp_path / "store" / "a.data").write_bytes(b"by hand")
    (tmp_path / "store" / "a.metadata").write_text("{}")
    assert isinstance(store, FileSystemStore)
    store.rescan()
    keys = heard.wait(1)
    world.close()

    assert ["a"] == keys


def test_what_a_poller_saw_first_is_heard_once(tmp_path: Path) -> None:
    """Poller and outbox of one process give a foreign entry the same id."""
    init_shared_store(tmp_path)
    world = World(f"file:{tmp_path}")
    there, bus = Heard(world.bus()), world.bus(ASLEEP)
    here = Heard(bus)
    store = LockingFileSystemStore(tmp_path, remote_event_poll_interval=0.02)
    store.event_manager = bus
    store.connect()
    (tmp_path / "a.data").write_bytes(b"by hand")
    (tmp_path / "a.metadata").write_text("{}")
    store.rescan()
    here.wait(1)
    seen = list(there.keys)

    def look() -> bool:
        bus.outbox.wake()
        return swept(store)

    wait_until(look, "it is swept")
    store.from_bytes("end", b"")
    told = there.wait(2)
    here.wait(2)
    store.disconnect()
    world.close()

    assert ([], ["a", "end"], ["a", "end"]) == (seen, told, here.keys)


def test_what_the_buffer_refused_is_published_later(sqlite_world: World) -> None:
    """Emit raised, so the change is committed and not told; listeners here hear it too."""
    heard = Heard(sqlite_world.bus())
    broker = MemoryBroker.named(sqlite_world.broker.removeprefix("memory://"))
    bus = sqlite_world.bus(PATIENT, buffer_events=2, when_full="raise")
    here = Heard(bus)
    store = sqlite_world.store(bus)
    broker.hold_confirms()
    refused = 0
    for number in range(6):
        try:
            store.from_bytes(f"{number}", b"")
        except PublishBufferFull:
            refused += 1
    broker.release_confirms()

    assert refused >= 3
    assert {str(number) for number in range(6)} == set(heard.wait(6))
    here.wait(6)
    wait_swept(store)
    assert 6 == len(heard.events) == len(here.events)


def test_what_the_buffer_gave_up_is_published_later(sqlite_world: World) -> None:
    """when_full="drop_oldest" gives up the sending, not the event."""
    heard = Heard(sqlite_world.bus())
    broker = MemoryBroker.named(sqlite_world.broker.removeprefix("memory://"))
    bus = sqlite_world.bus(PATIENT, buffer_events=4, when_full="drop_oldest")
    here = Heard(bus)
    store = sqlite_world.store(bus)
    broker.hold_confirms()
    for number in range(30):
        store.from_bytes(f"{number}", b"")
    dropped = bus.stats().dropped
    broker.release_confirms()

    assert dropped > 0
    assert {str(number) for number in range(30)} == set(heard.wait(30))
    wait_swept(store)
    assert 30 == len(set(here.ids)) == len(here.events)


def test_a_commit_that_may_have_happened_is_looked_for(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raised, and it is in the journal: its event comes out while the process lives."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(PATIENT))
    commit = SqliteStore._commit

    def interrupted(self: Any, changes: Any) -> Any:
        commit(self, changes)
        raise KeyboardInterrupt

    monkeypatch.setattr(SqliteStore, "_commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.from_bytes("a", b"")
    monkeypatch.undo()
    store.from_bytes("b", b"")

    assert {"a", "b"} == set(heard.wait(2))
    wait_swept(store)


def test_who_writes_nothing_writes_no_lease(world: World) -> None:
    """Nor does who wrote long ago: a lease is written only while there is something to say."""
    bus = world.bus(QUICK)
    store = world.store(bus)
    ledger = store.outbox_ledger()
    assert [] == list(ledger.leases())
    store.from_bytes("a", b"")
    wait_swept(store)
    (lease,) = ledger.leases()
    renewals = bus.outbox.stats().renewals
    world.store().from_bytes("b", b"")
    wait_until(lambda: bus.outbox.stats().orphaned == 1, "the other's entry is published")

    assert [lease] == list(ledger.leases())
    assert renewals == bus.outbox.stats().renewals


def test_a_store_may_get_its_bus_later(world: World) -> None:
    """What is assigned to a connected store vouches from then on."""
    heard = Heard(world.bus())
    store = world.store()
    store.from_bytes("before", b"")
    bus = world.bus(PATIENT)
    store.event_manager = bus
    store.from_bytes("after", b"")

    assert ["after"] == heard.wait(1)
    wait_swept(store)
    assert 0 == bus.outbox.stats().orphaned
    assert 1 == len(store.outbox_ledger().leases())


def test_a_manager_that_is_assigned_again_and_again_leaves_nothing(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was replaced long ago is forgotten, and all that was told comes out."""
    monkeypatch.setattr(tellings, "RETIRED_S", 0.0)
    heard = Heard(sqlite_world.bus())
    bus = sqlite_world.bus(PATIENT)
    store = sqlite_world.store(bus)
    for number in range(30):
        store.event_manager = EventManager() if number % 2 else bus
        store.event_manager = bus
        store.from_bytes(f"{number}", b"")
    (watched,) = bus.outbox._watched.values()

    assert [f"{number}" for number in range(30)] == heard.wait(30)
    assert len(watched._vouching._tellings) < 5
    wait_swept(store)


def test_leaving_says_what_is_confirmed(world: World) -> None:
    """A store that is disconnected leaves nothing for others to publish."""
    bus = world.bus(ASLEEP)
    store = world.store(bus)
    store.from_bytes("a", b"")
    store.disconnect()
    look = world.store()

    (lease,) = look.outbox_ledger().leases()
    assert look.head().sequence == lease.confirmed


def test_closing_the_bus_says_what_is_confirmed(world: World) -> None:
    """Also for stores that stay connected."""
    bus = world.bus(ASLEEP)
    store = world.store(bus)
    store.from_bytes("a", b"")
    bus.close()

    (lease,) = store.outbox_ledger().leases()
    assert store.head().sequence == lease.confirmed


def test_what_is_written_after_the_bus_closed_is_not_confirmed(world: World) -> None:
    """The process lives, but nobody told of it: others do."""
    heard = Heard(world.bus())
    bus = world.bus(QUICK)
    store = world.store(bus)
    store.from_bytes("a", b"")
    heard.wait(1)
    bus.close()
    with pytest.raises(Exception, match="cannot be used"):
        store.from_bytes("b", b"")
    world.store(world.bus(QUICK))

    assert ["a", "b"] == heard.wait(2)


def test_a_cut_journal_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was cut off before it was swept is lost; it is counted, and the rest goes on."""
    world = World(f"file:{tmp_path / 'store'}?journal_length=5&durable=no")
    bus = world.bus(QUICK)
    heard = Heard(world.bus())
    store = world.store(bus)
    plain = world.store()
    for number in range(20):
        plain.from_bytes(f"{number}", b"")
    wait_swept(store)
    lost = bus.outbox.stats().position_lost
    (tmp_path / "store" / "hand.data").write_bytes(b"")
    (tmp_path / "store" / "hand.metadata").write_text("{}")
    plain.rescan()
    wait_until(lambda: "hand" in heard.keys, "the journal goes on")
    world.close()

    assert lost >= 1
    assert "may never have been published" in caplog.text


def test_the_stats_say_what_waits(world: World) -> None:
    """Entries that nobody has swept, and for how long; none once they are."""
    bus = world.bus(QUICK)
    world.store(bus)
    other = world.store()
    for number in range(3):
        other.from_bytes(f"{number}", b"")
    wait_until(lambda: bus.outbox.stats().waiting == 3, "they wait")
    assert bus.outbox.stats().lag_s > 0
    wait_until(lambda: bus.outbox.stats().waiting == 0, "they wait no more")

    stats = bus.outbox.stats()
    assert (1, 3, 3, 0.0) == (stats.stores, stats.swept, stats.orphaned, stats.lag_s)


def test_a_store_that_dies_with_its_process_has_no_outbox(tmp_path: Path) -> None:
    """Memory keeps nothing for others."""
    for url in ("memory:", "sqlite::memory:"):
        world = World(url)
        bus = world.bus(QUICK)
        store = world.store(bus)
        store.from_bytes("a", b"")
        found, stores = store.outbox_ledger(), bus.outbox.stats().stores
        world.close()

        assert (None, 0) == (found, stores)


def test_the_top_level_bus_has_an_outbox_unless_told_otherwise() -> None:
    """antiphon.open_bus attaches one; BusOptions(outbox=False) does not."""
    import antiphon

    with antiphon.open_bus("memory:") as one:
        assert one.outbox is not None
        with pytest.raises(ValueError, match="has an outbox already"):
            attach(one)
    with open_bus("memory:", options=antiphon.BusOptions(outbox=False)) as other:
        assert other.outbox is None


def test_positions_are_parsed_as_they_are_written() -> None:
    """Position.parse is the inverse of str, and says what it did not understand."""
    from uuid import UUID

    position = Position(UUID(int=7), 2, 3, b"12345678")

    assert position == Position.parse(str(position))
    with pytest.raises(ValueError, match="no position"):
        Position.parse("7-1")


def test_a_clock_that_was_set_forth_delays_nothing_for_long(
    sqlite_world: World, tmp_path: Path
) -> None:
    """Entries and leases of next year are waited for as long as their owner may be slow."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(QUICK))
    plain = sqlite_world.store()
    begin = store.head()
    with plain.transaction():
        plain.from_bytes("a", b"")
        plain.from_bytes("b", b"")
    (owner, *_) = {entry.owner for entry in store.since(begin)}
    connection = sqlite3.connect(tmp_path / "store")
    with connection:
        connection.execute('UPDATE "store.journal" SET time_ns = time_ns + ?', (10**16,))
    connection.close()
    plain.outbox_ledger().renew(Lease(owner, time.time_ns() + 10**16, 1, 1))

    assert ["b"] == heard.wait(1)
    wait_swept(store)


def test_who_is_cut_off_is_not_waited_for(sqlite_world: World) -> None:
    """It renews no lease while it cannot publish, and publishes by itself when it is back."""
    heard = Heard(sqlite_world.bus())
    broker = MemoryBroker.named(sqlite_world.broker.removeprefix("memory://"))
    bus = sqlite_world.bus(QUICK)
    store = sqlite_world.store(bus)
    broker.stop()
    wait_until(lambda: not bus.is_connected, "it is cut off")
    store.from_bytes("a", b"")
    wait_until(lambda: bus.outbox.stats().waiting == 1, "it was looked at")
    leases = list(store.outbox_ledger().leases())
    broker.start()

    assert [] == leases
    assert ["a"] == heard.wait(1)
    wait_swept(store)
    assert 0 == bus.outbox.stats().orphaned
    assert 1 == len(store.outbox_ledger().leases())


def test_what_was_refused_is_remembered_while_the_store_is_away(sqlite_world: World) -> None:
    """A store that is disconnected and comes back has its events published."""
    heard = Heard(sqlite_world.bus())
    broker = MemoryBroker.named(sqlite_world.broker.removeprefix("memory://"))
    bus = sqlite_world.bus(PATIENT, buffer_events=1, when_full="raise")
    store = sqlite_world.store(bus)
    broker.hold_confirms()
    store.from_bytes("taken", b"")
    with pytest.raises(PublishBufferFull):
        store.from_bytes("refused", b"")
    store.disconnect()
    broker.release_confirms()
    heard.wait(1)
    store.connect()
    store.from_bytes("later", b"")

    assert {"taken", "refused", "later"} == set(heard.wait(3))
    wait_swept(store)


def test_a_forked_child_has_no_outbox(sqlite_world: World) -> None:
    """What it commits has other ids than its parent's, and is published by its parent."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(QUICK))
    store.from_bytes("parent", b"")
    heard.wait(1)
    child = os.fork()
    if child == 0:
        try:
            store.from_bytes("child", b"")
        except BusClosed:
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    store.from_bytes("parent again", b"")

    assert 0 == status
    assert {"parent", "parent again", "child"} == set(heard.wait(3))
    assert 3 == len(set(heard.ids))


def test_a_listener_that_takes_long_holds_nothing_up(sqlite_world: World) -> None:
    """What the bus has is confirmed though a listener of this process is still at it."""
    bus = sqlite_world.bus(QUICK)
    store = sqlite_world.store(bus)
    go_on = threading.Event()
    bus.connect(StoreSetEvent, lambda event: go_on.wait(20))
    thread = threading.Thread(target=lambda: BackendStore.from_bytes(store, "a", b""))
    thread.start()
    try:
        wait_until(lambda: store.head().sequence == 1, "it is committed")
        wait_swept(store)
    finally:
        go_on.set()
        thread.join()

    assert 0 == bus.outbox.stats().orphaned
