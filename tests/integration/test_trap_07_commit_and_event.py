"""Trap 7: a change is committed and no event comes, or an event comes of no change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import Heard, wait_until
from outbox_writers import (
    AMID_EMITS,
    BEFORE_EMIT,
    BEFORE_SEND,
    killed,
    started,
    sweeping_bus,
)

from antiphon import open_store
from antiphon.messaging.bus import open_bus
from antiphon.storage.events import StoreModificationEvent


@pytest.fixture(params=["sqlite", "file", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that several processes can share."""
    if request.param == "redis":
        yield f"{request.getfixturevalue('redis_url')}?namespace=trap7"
    else:
        yield f"{request.param}:{tmp_path / 'store'}"


def keys_of(heard: Heard) -> list[str]:
    """The keys of the events, in the order in which they came."""
    return [event.key for event in heard.events]


def test_every_commit_of_a_killed_writer_is_told_once(
    amqp_url: str, system: str, store_url: str
) -> None:
    """Killed before the bus heard of it, in the middle of a commit, and before it was sent."""
    with open_store(store_url) as store:  # so that three that come at once need not make it
        store.connect()
    heard: Any = Heard()
    with open_bus(amqp_url, system=system) as listener:
        listener.connect(StoreModificationEvent, heard)
        killed(
            *(
                started(source, amqp_url, system, store_url, name)
                for name, source in {
                    "a": BEFORE_EMIT,
                    "b": AMID_EMITS,
                    "c": BEFORE_SEND,
                }.items()
            )
        )
        with sweeping_bus(amqp_url, system) as bus:
            store = open_store(store_url, event_manager=bus)
            store.connect()
            begin = store.head()._replace(sequence=0, entry_id=b"")
            ledger: Any = store.outbox_ledger()
            wait_until(lambda: ledger.swept() == store.head(), "all is swept")
            entries = list(store.since(begin))
            heard.wait(len(entries))
            orphaned = bus.outbox.stats().orphaned
            store.disconnect()

    # The writers told at least one event each, and some of those that others told again.
    assert sorted(entry.event_id for entry in entries) == sorted(e._event_id for e in heard.events)
    assert sorted(entry.key for entry in entries) == sorted(keys_of(heard))
    assert {"a-untold", "b-4", "c-unsent"} <= set(keys_of(heard))
    assert 1 + 3 + 1 <= orphaned <= len(entries)


def test_an_event_comes_after_its_change(amqp_url: str, system: str, tmp_path: Path) -> None:
    """Whoever hears of a change can read it, also when another process tells of it."""
    store_url = f"sqlite:{tmp_path / 'store'}"
    with open_bus(amqp_url, system=system) as listener, sweeping_bus(amqp_url, system) as bus:
        store = open_store(store_url, event_manager=bus)
        store.connect()
        reader = open_store(store_url)
        reader.connect()
        read: list[bytes] = []
        listener.connect(
            StoreModificationEvent, lambda event: read.append(reader.get(event.key).data.read())
        )
        writer = open_store(store_url)
        writer.connect()
        writer.from_bytes("a", b"told by another")
        wait_until(lambda: bool(read), "the event comes")
        for each in (store, reader, writer):
            each.disconnect()

    assert [b"told by another"] == read
