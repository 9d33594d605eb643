"""The events of a large commit are told in runs of one kind."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

from antiphon.events.event_manager import EventManager
from antiphon.storage.bulk_telling import BULK_FROM
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent


def told(write: object, present: int = 0) -> list[tuple[str, str]]:
    """Return class and key of each event of one transaction in which *write* writes."""
    manager, found = EventManager(), list[tuple[str, str]]()
    store = DictMemoryStore()
    store.event_manager = manager
    store.connect()
    for number in range(0, 2 * present, 2):
        store.set_data(f"key {number:04}", BytesIO(b"old"))

    def note(event: StoreModificationEvent) -> None:
        found.append((type(event).__name__, str(event.key)))

    manager.connect(StoreModificationEvent, note)
    with store.transaction():
        write(store)  # type: ignore[operator]
    return found


def set_all(count: int) -> object:
    def write(store: DictMemoryStore) -> None:
        for number in range(count):
            store.set_data(f"key {number:04}", BytesIO(b"new"))

    return write


def runs(kinds: list[str]) -> int:
    return 1 + sum(one != other for one, other in pairwise(kinds))


def test_a_large_commit_is_told_in_runs() -> None:
    """New and changed keys in turns are told as two runs, each in the order of the writes."""
    events = told(set_all(BULK_FROM), present=BULK_FROM // 2)

    assert 2 == runs([kind for kind, _ in events])
    for kind in ("StoreSetEvent", "StoreUpdateEvent"):
        keys = [key for each, key in events if each == kind]
        assert sorted(keys) == keys


def test_nothing_of_a_large_commit_is_lost() -> None:
    """Every change is told once."""
    events = told(set_all(BULK_FROM), present=BULK_FROM // 2)

    assert [f"key {number:04}" for number in range(BULK_FROM)] == sorted(key for _, key in events)


def test_a_small_commit_is_told_as_it_was_written() -> None:
    """Below the limit the order is that of the writes."""
    events = told(set_all(10), present=5)

    assert [f"key {number:04}" for number in range(10)] == [key for _, key in events]


def test_a_key_that_is_written_twice_keeps_its_order() -> None:
    """A key that comes twice in a large commit is told in the order of its changes."""

    def write(store: DictMemoryStore) -> None:
        set_all(BULK_FROM)(store)  # type: ignore[operator]
        store.delete("key 0001")
        store.set_data("key 0001", BytesIO(b"again"))

    kinds = [kind for kind, key in told(write) if key == "key 0001"]

    assert "StoreSetEvent" == kinds[-1]
    assert kinds in (
        ["StoreSetEvent"],
        ["StoreSetEvent", "StoreDeleteEvent", "StoreSetEvent"],
    )
