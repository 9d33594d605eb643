"""What goes wrong on the way: nothing that is committed is lost by it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from outbox_helpers import PATIENT, QUICK, Heard, World, wait_swept, wait_until

from antiphon.errors import BusClosed, PublishBufferFull, StoreUnavailable
from antiphon.messaging.memory import MemoryBroker
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreSetEvent
from antiphon.storage.outbox_ledger import Lease
from antiphon.storage.sqlite_store import SqliteStore
from antiphon.storage.string_value import StringValue


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


def test_nor_does_it_delay_plain_sql(sqlite_world: World, tmp_path: Path) -> None:
    """Whoever wrote it has no lease to wait for, and the clock may have been set back since."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(QUICK))
    with contextlib.closing(sqlite3.connect(tmp_path / "store")) as database, database:
        for key in "ab":
            database.execute("INSERT INTO store (key, data) VALUES (?, x'')", (key,))
        database.execute('UPDATE "store.journal" SET time_ns = time_ns + ?', (10**16,))

    assert ["a", "b"] == heard.wait(2)
    wait_swept(store)


def test_metadata_that_do_not_travel_keep_no_event_back(
    sqlite_world: World, tmp_path: Path
) -> None:
    """Other programs may write what no event can carry; the change is told without."""
    heard = Heard(sqlite_world.bus())
    bus = sqlite_world.bus(QUICK)
    store = sqlite_world.store(bus)
    text = '{"a": "\\ud800"}'
    with contextlib.closing(sqlite3.connect(tmp_path / "store")) as database, database:
        database.execute("INSERT INTO store (key, metadata, data) VALUES ('a', ?, x'')", (text,))

    assert ["a"] == heard.wait(1)
    wait_swept(store)
    assert [{}] == [event.metadata for event in heard.events]
    assert 0 == bus.outbox.stats().unpublishable


def test_metadata_that_cannot_be_read_now_are_read_later(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A medium that is away for a moment does not make an event poorer."""
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(sqlite_world.bus(QUICK))
    get, failures = store.get, iter([StoreUnavailable("away")] * 2)

    def failing(key: str) -> Any:
        for failure in failures:
            raise failure
        return get(key)

    monkeypatch.setattr(store, "get", failing)
    plain = sqlite_world.store()
    plain.set("a", StringValue(b"", {"n": 1}))

    heard.wait(1)
    assert [{"n": 1}] == [event.metadata for event in heard.events]


def test_a_restored_backup_is_another_history(sqlite_world: World, tmp_path: Path) -> None:
    """What is committed after it has the numbers of what was told before, and is not told."""
    broker = MemoryBroker.named(sqlite_world.broker.removeprefix("memory://"))
    bus = sqlite_world.bus(PATIENT)
    heard = Heard(sqlite_world.bus())
    store = sqlite_world.store(bus)
    store.from_bytes("kept", b"")
    wait_swept(store)
    kept = store.head()
    backup = sqlite3.connect(":memory:")
    with contextlib.closing(sqlite3.connect(tmp_path / "store")) as database:
        database.backup(backup)
    for number in range(4):
        store.from_bytes(f"lost {number}", b"")
    wait_swept(store)
    broker.hold_confirms()
    with contextlib.closing(sqlite3.connect(tmp_path / "store")) as database:
        backup.backup(database)
    backup.close()
    store.from_bytes("new", b"")
    bus.outbox.wake()
    looked = bus.outbox.stats().lag_s
    wait_until(lambda: bus.outbox.stats().lag_s > looked + 0.2, "it was looked at")
    (lease,) = store.outbox_ledger().leases()

    assert kept == store.outbox_ledger().swept()
    assert lease.confirmed <= kept.sequence
    broker.release_confirms()
    wait_swept(store)
    assert "new" in heard.wait(6)


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
