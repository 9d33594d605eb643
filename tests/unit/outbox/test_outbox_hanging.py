"""A medium that hangs: the other stores of the bus do not hear of it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from outbox_helpers import QUICK, Heard, World

from antiphon import open_store
from antiphon.errors import StoreUnavailable
from antiphon.events.api import EventManager
from antiphon.outbox.hands import Hands
from antiphon.storage.file_outbox import FileOutboxLedger

#: Seconds after which what hangs gives up.
_HANGS_S = 20.0


class Hanging:
    """Calls that hang until ``go_on`` is set, and then say that there was no answer."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun = threading.Event()

    def __call__(self, *_: Any) -> Any:
        self.begun.set()
        self.go_on.wait(_HANGS_S)
        raise StoreUnavailable("no answer")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """What the ledgers of file stores do when they are asked."""
    hanging = Hanging()
    monkeypatch.setattr(FileOutboxLedger, "leases", hanging)
    yield hanging
    hanging.go_on.set()


def hanging_store(world: World, path: Path, bus: Any) -> None:
    """Open a file store with something to sweep."""
    for manager in (bus, EventManager()):
        store = open_store(f"file:{path}?durable=no", event_manager=manager)
        store.connect()
        world._undo.append(store.disconnect)
    store.from_bytes("a", b"")


def test_a_medium_that_hangs_delays_no_other(
    sqlite_world: World, tmp_path: Path, hanging: Hanging
) -> None:
    """Orphans of another store are published meanwhile, and leases are renewed."""
    heard = Heard(sqlite_world.bus())
    bus = sqlite_world.bus(QUICK)
    for name in ("one", "two"):
        hanging_store(sqlite_world, tmp_path / name, bus)
    store = sqlite_world.store(bus)
    assert hanging.begun.wait(_HANGS_S)
    began = time.monotonic()
    store.from_bytes("own", b"")
    with sqlite3.connect(tmp_path / "store") as database:
        database.execute("INSERT INTO store (key, data) VALUES ('sql', x'')")
    database.close()
    heard.wait(2)

    assert {"own", "sql"} <= set(heard.keys)
    assert [1] == [lease.confirmed for lease in store.outbox_ledger().leases()]
    assert time.monotonic() - began < _HANGS_S / 2


def test_a_bus_on_a_medium_that_hangs_is_closed_soon(
    sqlite_world: World, tmp_path: Path, hanging: Hanging
) -> None:
    """Each store of it would take its own time."""
    bus = sqlite_world.bus(QUICK)
    for name in ("one", "two", "three"):
        hanging_store(sqlite_world, tmp_path / name, bus)
    assert hanging.begun.wait(_HANGS_S)
    began = time.monotonic()
    bus.close(1)

    assert time.monotonic() - began < _HANGS_S / 2


def test_jobs_that_take_long_keep_their_threads() -> None:
    """The others get a new one, and no thread is left when all have ended."""
    hands, go_on, done = Hands("test hand", patience_s=0.05), threading.Event(), []

    def slow() -> None:
        go_on.wait(_HANGS_S)
        done.append("slow")

    hands.run(deque([slow, lambda: done.append(1), slow, lambda: done.append(2)]), lambda: False)
    hands.run(deque([lambda: done.append(3)]), lambda: False)
    quick = list(done)
    go_on.set()
    hands.end()
    for thread in threading.enumerate():
        if thread.name == "test hand":
            thread.join(_HANGS_S)

    assert [1, 2, 3] == quick
    assert ["slow", "slow"] == done[3:]
