"""What sqlite and files keep for outboxes."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from outbox_helpers import PATIENT, World

from antiphon.errors import StoreUnavailable
from antiphon.storage.journal import Position
from antiphon.storage.outbox_ledger import Lease, OutboxLedger

_ME, _OTHER = b"\x00owner-of-12", b"other-owners"


def _position(sequence: int) -> Position:
    return Position(UUID(int=7), 1, sequence, b"%08d" % sequence)


@pytest.fixture
def ledger(world: World) -> Any:
    """The ledger of one store object."""
    return world.store().outbox_ledger()


@pytest.fixture
def other(world: World) -> Any:
    """That of another one on the same medium."""
    return world.store().outbox_ledger()


def test_it_is_an_outbox_ledger(ledger: Any) -> None:
    """As the protocol says."""
    assert isinstance(ledger, OutboxLedger)


def test_leases_are_those_last_renewed(ledger: Any, other: Any) -> None:
    """Each owner has one lease, and all processes see it."""
    assert [] == list(other.leases())
    mine, newer = Lease(_ME, 10**18, 0, 1), Lease(_ME, 2 * 10**18, 12, 1)
    others = Lease(_OTHER, 5, 3, 2)
    for lease in (mine, others, newer):
        ledger.renew(lease)

    assert {newer, others} == set(other.leases())


def test_only_the_lease_that_was_seen_is_released(ledger: Any, other: Any) -> None:
    """An owner that renewed meanwhile keeps its lease."""
    seen, newer = Lease(_ME, 1, 0, 1), Lease(_ME, 2, 0, 1)
    other.release(seen)  # of one that is not there nothing is said
    ledger.renew(newer)
    other.release(seen)
    assert [newer] == list(ledger.leases())
    other.release(newer)

    assert [] == list(ledger.leases())


def test_of_two_sweepers_one_moves_the_position(ledger: Any, other: Any) -> None:
    """Compare and set: the other is told, and changes nothing."""
    assert ledger.swept() is None
    moved = [ledger.sweep_to(None, _position(1)), other.sweep_to(None, _position(2))]
    assert [True, False] == moved
    moved = [
        other.sweep_to(_position(1), _position(3)),
        ledger.sweep_to(_position(1), _position(2)),
    ]
    assert [True, False] == moved
    assert _position(3) == ledger.swept()
    # Back, and to another epoch, if need be.
    backwards = Position(UUID(int=7), 2, 0, b"")

    assert ledger.sweep_to(_position(3), backwards)
    assert backwards == other.swept()


def test_of_many_at_once_one_wins(world: World) -> None:
    """From as many threads, each with a store of its own."""
    ledgers = [world.store().outbox_ledger() for _ in range(6)]
    ledgers[0].sweep_to(None, _position(0))
    won: list[int] = []
    begin = threading.Barrier(len(ledgers))

    def sweep(number: int) -> None:
        begin.wait()
        for step in range(10):
            if ledgers[number].sweep_to(_position(step), _position(step + 1)):
                won.append(step)
            while ledgers[number].swept().sequence <= step:
                pass

    threads = [threading.Thread(target=sweep, args=(n,)) for n in range(len(ledgers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(10)) == sorted(won)


def test_a_shield_is_noted_for_good(ledger: Any, other: Any) -> None:
    """Once, and twice is the same."""
    assert not other.is_shielded()
    ledger.shield()
    ledger.shield()

    assert other.is_shielded()


def test_what_a_ledger_keeps_is_in_no_journal(world: World) -> None:
    """Nor among the keys."""
    store = world.store()
    head = store.head()
    ledger = store.outbox_ledger()
    ledger.renew(Lease(_ME, 1, 0, 1))
    ledger.sweep_to(None, head)
    ledger.shield()

    assert (head, []) == (store.head(), list(store.query_keys()))


def test_damaged_files_are_as_if_they_were_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease that was cut short is none; a position is told, and begins anew."""
    world = World(f"file:{tmp_path / 'store'}")
    ledger = world.store().outbox_ledger()
    ledger.renew(Lease(_ME, 1, 0, 1))
    ledger.sweep_to(None, _position(1))
    for path in (tmp_path / "store" / ".antiphon" / "outbox").iterdir():
        path.write_bytes(b"")
    found = list(ledger.leases()), ledger.swept()
    world.close()

    assert ([], None) == found
    assert "is damaged" in caplog.text


def test_a_locked_database_is_left_alone_soon(sqlite_world: World, tmp_path: Path) -> None:
    """An outbox does not wait half a minute for who holds a transaction open."""
    ledger = sqlite_world.store().outbox_ledger()
    ledger.renew(Lease(_ME, 1, 0, 1))
    holder = sqlite3.connect(tmp_path / "store", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="locked"):
        ledger.renew(Lease(_ME, 2, 0, 1))
    waited_s = time.monotonic() - began
    found = list(ledger.leases())
    holder.close()

    assert waited_s < 5
    assert [Lease(_ME, 1, 0, 1)] == found


def test_a_store_that_cannot_be_written_is_not_vouched_for(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be read through a bus all the same."""
    from antiphon.errors import ReadOnlyStore
    from antiphon.storage.sqlite_outbox import SqliteOutboxLedger

    sqlite_world.store().from_bytes("a", b"1")

    def refuse(*_: object) -> bool:
        raise ReadOnlyStore("no")

    monkeypatch.setattr(SqliteOutboxLedger, "sweep_to", refuse)
    bus = sqlite_world.bus(PATIENT)
    store = sqlite_world.store(bus)

    assert b"1" == store.get("a").data.read()
    assert 0 == bus.outbox.stats().stores
