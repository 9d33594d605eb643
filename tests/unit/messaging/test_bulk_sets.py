"""The events of a large commit over other ways than a broker."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from antiphon import open_bus
from antiphon.messaging.bus import BusOptions
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.string_value import StringValue

KEYS = 3000


@pytest.mark.parametrize("kind", ["plain", "spooled", "small", "singly"])
def test_a_bulk_set_is_heard_whole(kind: str, tmp_path: Path) -> None:
    """All events come, in the order of the keys, whatever the buffer is like."""
    options = {
        "plain": BusOptions(),
        "spooled": BusOptions(spool=tmp_path / "spool"),
        "small": BusOptions(buffer_events=50),
        "singly": BusOptions(batch_events=1),
    }[kind]
    heard: list[object] = []
    done = threading.Event()

    def note(event: StoreModificationEvent) -> None:
        heard.append(event.key)
        if len(heard) == KEYS:
            done.set()

    names = [f"key {number:05}" for number in range(KEYS)]
    with open_bus("memory:") as listener, open_bus("memory:", options=options) as bus:
        listener.connect(StoreModificationEvent, note)
        store = DictMemoryStore()
        store.event_manager = bus
        store.connect()
        store.multiset(names, (StringValue(b"1") for _ in names))
        bus.flush(30)
        assert done.wait(30)
        messages = bus.stats().messages
        store.disconnect()

    assert names == heard
    assert (messages >= KEYS) == (kind == "singly")


def test_two_threads_that_set_in_bulk() -> None:
    """Bulks of two stores at once harm neither: each is heard whole and in order."""
    heard: dict[object, list[object]] = {"one": [], "two": []}
    done = threading.Event()

    def note(event: StoreModificationEvent) -> None:
        heard[event.source.origin].append(event.key)
        if sum(map(len, heard.values())) == 2 * KEYS:
            done.set()

    names = [f"key {number:05}" for number in range(KEYS)]
    with open_bus("memory:") as listener, open_bus("memory:") as bus:
        listener.connect(StoreModificationEvent, note)
        stores = [DictMemoryStore(origin=origin) for origin in heard]
        for store in stores:
            store.event_manager = bus
            store.connect()
        threads = [
            threading.Thread(
                target=store.multiset, args=(names, [StringValue(b"1") for _ in names])
            )
            for store in stores
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        bus.flush(30)
        assert done.wait(30)
        for store in stores:
            store.disconnect()

    assert {"one": names, "two": names} == heard
