"""What is committed is published by somebody, once by id."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from outbox_helpers import ASLEEP, PATIENT, QUICK, Heard, World, swept, wait_swept, wait_until

from antiphon.events.api import EventManager
from antiphon.outbox.opening import attach, open_bus
from antiphon.outbox.options import Timing
from antiphon.storage import tellings
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.filesystem_store import FileSystemStore, init_shared_store
from antiphon.storage.journal import Position, foreign_event_id
from antiphon.storage.locking_filesystem_store import LockingFileSystemStore
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


def test_many_orphans_go_out_in_few_messages(sqlite_world: World, tmp_path: Path) -> None:
    """As the events of one large commit do."""
    heard = Heard(sqlite_world.bus())
    bus = sqlite_world.bus(QUICK)
    store = sqlite_world.store(bus)
    keys = [f"{number}" for number in range(3000)]
    with contextlib.closing(sqlite3.connect(tmp_path / "store")) as database, database:
        database.executemany(
            "INSERT INTO store (key, data) VALUES (?, x'')", [(key,) for key in keys]
        )
    wait_swept(store)

    assert keys == heard.wait(3000)
    assert bus.stats().messages < 150


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


def test_who_looks_on_tells_of_no_lag_that_is_not(world: World) -> None:
    """Once another one has swept the oldest entry that waited, the lag is that of the next."""
    bus = world.bus(Timing(lease_s=3600, renew_s=0.1, tick_s=3600, patience_s=3600))
    world.store(bus)
    other = world.store()
    bus.outbox.wake()
    wait_until(lambda: other.outbox_ledger().swept() is not None, "it knows where it begins")
    begin = other.outbox_ledger().swept()
    other.from_bytes("first", b"")
    first = other.head()
    bus.outbox.wake()
    wait_until(lambda: bus.outbox.stats().lag_s > 0.5, "the first one waits")
    other.from_bytes("second", b"")
    other.from_bytes("third", b"")
    assert other.outbox_ledger().sweep_to(begin, first)
    bus.outbox.wake()
    wait_until(lambda: bus.outbox.stats().waiting == 2, "the next two wait")

    assert bus.outbox.stats().lag_s < 0.5


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
