"""What BackendStore does beyond the suite of all stores."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

import pytest

from antiphon.errors import (
    IncompatibleStore,
    InvalidValue,
    PositionLost,
    StoreError,
    StoreUnavailable,
)
from antiphon.events.api import EventManager
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import Staged
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent, StoreProgressEvent
from antiphon.storage.journal import ABSENT, Position, Version
from antiphon.testing.store_tests.base import everything, journal_of, large_bytes, listen, value


class Bus(EventManager):
    """An event manager of a system."""

    def __init__(self, system: str = "blue") -> None:
        super().__init__()
        self.system = system


class Unreachable(DictMemoryStore):
    """A store whose medium goes away at the wrong moment."""

    discarded: list[Staged]
    error: StoreError

    def _commit(self, changes: Any) -> Any:
        raise self.error

    def _discard(self, staged: Staged) -> None:
        self.discarded.append(staged)
        super()._discard(staged)


def test_a_backend_cannot_take_a_private_name_by_chance() -> None:
    """It would be called by what does not know of it."""
    with pytest.raises(TypeError, match=r"Shelf has _begin, _write, .* choose another name"):
        type("Shelf", (BackendStore,), {"_write": print, "_begin": print, "_commit": print})


@pytest.fixture
def store() -> DictMemoryStore:
    """A connected store."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.connect()
    return store


def test_a_store_belongs_to_the_system_that_first_used_it(store: DictMemoryStore) -> None:
    """A bus of another system is refused, and the old one stays."""
    store.event_manager = Bus("blue")
    with pytest.raises(IncompatibleStore, match="system='blue'"):
        store.event_manager = Bus("green")
    assert isinstance(store.event_manager, Bus)
    assert "blue" == store.event_manager.system
    store.disconnect()
    store.event_manager = Bus("green")
    with pytest.raises(IncompatibleStore, match="'green'"):
        store.connect()

    assert not store.is_connected()
    store.event_manager = EventManager()
    store.connect()


def test_a_failed_emit_says_that_the_change_is_committed(store: DictMemoryStore) -> None:
    """The other events go out, the error comes through with a note."""
    told: list[str] = []

    class Broken(EventManager):
        def emit(self, event: Any, block: bool = True) -> None:
            if isinstance(event, StoreModificationEvent):
                told.append(event.key)
                if event.key == "a":
                    raise RuntimeError("no way out")

    store.event_manager = Broken()
    with pytest.raises(RuntimeError, match="no way out") as caught:
        store.multiset(["a", "b"], [value(), value()])

    assert ["a", "b"] == told == [entry.key for entry in journal_of(store)]
    assert any("committed" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("error", "count"), [(StoreError("refused"), 1), (StoreUnavailable("perhaps done"), 0)]
)
@pytest.mark.parametrize("in_block", [False, True])
def test_a_staged_value_is_dropped_unless_it_may_be_committed(
    error: StoreError, count: int, in_block: bool
) -> None:
    """After an unclear end it is left to be collected."""
    store = Unreachable()
    store.event_manager = EventManager()
    store.discarded, store.error = [], error

    def write() -> None:
        if not in_block:
            store.set("a", value(large_bytes()))
            return
        with store.transaction("x"):
            store.set("a", value(large_bytes()))

    with pytest.raises(type(error)):
        write()
    assert count == len(store.discarded)


def test_a_block_that_fails_for_what_others_could_not_reach_drops_what_it_staged(
    store: DictMemoryStore,
) -> None:
    """Another store's error does not mean that this one may have committed."""

    def fail() -> None:
        with store.transaction("x"):
            store.set("a", value(large_bytes()))
            raise StoreUnavailable("another store")

    with pytest.raises(StoreUnavailable):
        fail()

    assert {} == store._staged


@pytest.mark.parametrize("method", ["set", "set_data"])
def test_a_condition_that_is_none_is_refused_before_anything_is_staged(
    store: DictMemoryStore, method: str
) -> None:
    """So nothing is left behind, and the source is not read."""
    source = io.BytesIO(large_bytes())
    given = (source, {}) if method == "set" else source
    with pytest.raises(InvalidValue):
        getattr(store, method)("a", given, expect="not a version")

    assert {} == store._staged
    assert 0 == source.tell()


def test_a_large_value_of_a_block_says_so_when_read_after_it(store: DictMemoryStore) -> None:
    """By an error of the store, and none that looks as if a key were missing."""
    with store.transaction("x"):
        store.set("a", value(large_bytes()))
        found = store.get("a")

    with pytest.raises(StoreError, match="get the key again"):
        found.data.read()


def test_many_keys_are_read_as_a_subclass_reads_one() -> None:
    """Whoever checks or changes what ``get`` returns is not passed over."""

    class Reversed(DictMemoryStore):
        def get(self, key: str) -> Any:
            found = super().get(key)
            return value(found.data.read()[::-1])

        def get_metadata(self, key: str, select: Any = None) -> dict[str, Any]:
            return {"key": key}

    store = Reversed()
    store.set("a", value(b"abc", n=1))

    assert [b"cba"] == [each.data.read() for each in store.multiget(["a"])]
    assert [b"cba"] == [each.read() for each in store.multiget_data(["a"])]
    assert [{"key": "a"}] == list(store.multiget_metadata(["a"]))


def test_a_discard_that_fails_hides_nothing(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first error is the one that is raised."""

    def fail(staged: Staged) -> None:
        raise StoreError("cannot discard")

    monkeypatch.setattr(store, "_discard", fail)
    with pytest.raises(StoreError, match="expected not to exist"):
        store.set("a", value(large_bytes()), expect=store.set("a", value()) and ABSENT)


def test_a_value_is_staged_only_if_it_is_large(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 1 MiB, whatever size the source claims."""
    staged: list[int] = []
    stage = store._stage

    def watch(chunks: Any) -> Staged:
        found = stage(chunks)
        staged.append(found.size)
        return found

    monkeypatch.setattr(store, "_stage", watch)
    for size in (0, 1 << 20, (1 << 20) + 1):
        for buffer_size in (1 << 18, 1 << 20, 1 << 22):
            store.set_data("a", io.BytesIO(large_bytes(size)), buffer_size)

    assert [(1 << 20) + 1] * 3 == staged


def test_a_medium_that_fails_while_staging_ends_the_progress(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not when the error is forgotten."""
    heard = listen(store, StoreProgressEvent)

    def fail(chunks: Any) -> Staged:
        next(chunks)
        next(chunks)
        raise StoreError("the medium failed")

    monkeypatch.setattr(store, "_stage", fail)
    with pytest.raises(StoreError, match="the medium failed") as caught:
        store.set("a", value(large_bytes()))

    assert caught.tb is not None
    assert "exception" == heard[-1].exit_state


def test_a_memory_store_lives_without_connect() -> None:
    """As Encore's does: it may be used before, and keeps what it has after."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("a", value(b"data"))
    with store:
        pass

    assert b"data" == store.to_bytes("a")
    assert store.store_id == store.head().store_id


def test_a_memory_journal_is_a_ring(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forgets the oldest entries, and says so to who was there."""
    store._journal = type(store._journal)(maxlen=10)
    positions = []
    for number in range(15):
        store.set_metadata(f"k{number}", {})
        positions.append(store.head())

    assert 9 == len(list(store.since(positions[5])))
    for lost in (positions[4], positions[0], positions[0]._replace(sequence=0, entry_id=b"")):
        with pytest.raises(PositionLost, match="does not go on"):
            store.since(lost)
    assert 15 == store.head().sequence


def test_a_memory_store_is_changed_by_one_thread_at_a_time(store: DictMemoryStore) -> None:
    """However often threads take turns."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(target=lambda: [store.set_metadata("a", {}) for _ in range(400)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert list(range(1, 1601)) == [entry.version.sequence for entry in journal_of(store)]


def test_events_of_a_block_come_when_it_is_over(store: DictMemoryStore) -> None:
    """A listener may begin another one."""
    changes = listen(store, StoreModificationEvent)

    def again(event: Any) -> None:
        if event.key == "a":
            with store.transaction("in a listener"):
                store.set("b", value())

    store.event_manager.connect(StoreModificationEvent, again)
    with store.transaction("outer"):
        store.set("a", value())

    assert ["a", "b"] == [event.key for event in changes]
    assert {"a", "b"} == set(everything(store))


def test_a_block_that_outlives_its_connection_fails(store: DictMemoryStore) -> None:
    """Nothing is committed into a store that was disconnected meanwhile."""
    store._needs_connecting = True  # type: ignore[misc]

    def write() -> None:
        with store.transaction("x"):
            store.set("a", value())
            store.disconnect()

    with pytest.raises(StoreError, match="not connected"):
        write()
    assert not store._exists("a")


def test_ids_are_in_the_order_of_the_commit(store: DictMemoryStore) -> None:
    """Events of a block that began earlier and ended later come later."""
    changes = listen(store, StoreModificationEvent)
    with store.transaction("slow"):
        store.set("slow", value())
        thread = threading.Thread(target=lambda: store.set("quick", value()))
        thread.start()
        thread.join()

    assert ["quick", "slow"] == [event.key for event in changes]
    assert changes[0]._event_id.counter < changes[1]._event_id.counter


def test_positions_and_versions_are_text_and_back() -> None:
    """A version can be written into an ETag and read again."""
    version = Version(2, 71, b"12345678")

    assert version == Version.parse(str(version))
    assert "2-71-3132333435363738" == str(version)
    for wrong in ("", "1-2", "a-b-c", "1-2-zz"):
        with pytest.raises(ValueError, match="no version"):
            Version.parse(wrong)
    assert Position(store_id=None, epoch=2, sequence=71, entry_id=b"12345678").version == version  # type: ignore[arg-type]
