"""Writers are killed at random: what is in the journal is heard, once by id, and nothing else."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bus_helpers import Heard, wait_until
from outbox_writers import ENDLESS, started, sweeping_bus

from antiphon import open_store
from antiphon.messaging.bus import open_bus
from antiphon.storage.events import StoreModificationEvent

#: Processes that write, one after the other, on each of two threads; ``make chaos`` kills more.
LIVES = 1

#: Journal entries that are kept: more than the writers make.
KEPT = 1_000_000


@pytest.fixture(params=["sqlite", "file", "redis"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that several processes can share."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        yield f"{url}?namespace=history&journal_length={KEPT}"
    else:
        yield f"{request.param}:{tmp_path / 'store'}?journal_length={KEPT}&durable=no"


def live_and_die(name: str, chance: random.Random, *arguments: str) -> None:
    """Have one writer after the other write for a moment, and kill each."""
    for life in range(LIVES):
        process = started(ENDLESS, *arguments, f"{name}{life}")
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            threading.Event().wait(chance.uniform(0.0, 0.4))
        finally:
            process.kill()
            process.communicate()


def test_all_that_is_committed_is_heard_once(amqp_url: str, system: str, store_url: str) -> None:
    """Two writers at a time, killed with events in every state."""
    chance = random.Random(8)
    heard: Any = Heard()
    with open_bus(amqp_url, system=system) as listener, sweeping_bus(amqp_url, system) as bus:
        listener.connect(StoreModificationEvent, heard)
        here: Any = Heard()
        bus.connect(StoreModificationEvent, here)
        store = open_store(store_url, event_manager=bus)
        store.connect()
        begin = store.head()
        writers = [
            threading.Thread(target=live_and_die, args=(name, chance, amqp_url, system, store_url))
            for name in "ab"
        ]
        for thread in writers:
            thread.start()
        for thread in writers:
            thread.join()
        ledger: Any = store.outbox_ledger()
        wait_until(lambda: ledger.swept() == store.head(), "all is swept", 60)
        committed = Counter(entry.event_id for entry in store.since(begin))
        for each in (heard, here):
            each.wait(len(committed))
        store.disconnect()
        stats = bus.outbox.stats()

    assert len(committed) > 4 * LIVES
    assert 0 == stats.position_lost
    assert committed == Counter(event._event_id for event in heard.events)
    assert committed == Counter(event._event_id for event in here.events)
