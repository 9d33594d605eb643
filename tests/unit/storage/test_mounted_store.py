"""A mounted store as Encore has it, without a cache."""

from __future__ import annotations

import io
from typing import Any

import pytest

from antiphon.errors import InvalidKey, InvalidValue
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.mounted_store import MountedStore
from antiphon.testing.store_tests.base import FailingStream, content, everything, value


@pytest.fixture
def mount() -> DictMemoryStore:
    """The store that takes the writes."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("both", value(b"mine", n=1, who="mount"))
    return store


@pytest.fixture
def backing() -> DictMemoryStore:
    """The store that is mounted upon."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("p/both", value(b"theirs", n=1, who="backing"))
    store.set("p/only", value(b"only", n=1, who="backing"))
    store.set("else", value(b"else", n=2, who="backing"))
    return store


@pytest.fixture
def store(mount: DictMemoryStore, backing: DictMemoryStore) -> MountedStore:
    """The first at ``p/`` of the second."""
    store = MountedStore("p/", mount, backing)
    store.connect()
    return store


def test_the_mount_store_comes_first(store: MountedStore) -> None:
    """Then the backing store, under the whole key."""
    assert b"mine" == store.get("p/both").data.read() == store.get_data("p/both").read()
    assert b"only" == store.to_bytes("p/only")
    assert b"else" == store.to_bytes("else")
    assert {"who": "mount"} == store.get_metadata("p/both", iter(["who"]))
    assert b"in" == store.get_data_range("p/both", 1, 3).read()
    assert [True, True, True, False, False] == [
        store.exists(key) for key in ("p/both", "p/only", "else", "p/none", "both")
    ]
    with pytest.raises(KeyError, match="p/none"):
        store.get("p/none")


def test_a_query_sees_each_key_once(store: MountedStore) -> None:
    """As ``get`` sees it: what the mount store hides does not match."""
    assert {"p/both", "p/only", "else"} == set(store.query_keys())
    assert [("p/both", {"who": "mount"})] == list(store.query(["who"], who="mount"))
    assert {"p/only", "else"} == set(store.query_keys(who="backing"))
    assert {"p/only", "else"} == {key for key, _ in store.query(who="backing")}
    assert ["p/both", "p/only"] == sorted(store.glob("p/*"))


def test_writes_go_to_the_mount_store(
    store: MountedStore, mount: DictMemoryStore, backing: DictMemoryStore
) -> None:
    """Under the short key, and what they leave is taken from the backing store."""
    before = everything(backing)
    store.set("p/new", value(b"new", n=3))
    store.set_data("p/only", io.BytesIO(b"data"))
    store.set_metadata("p/both", {"n": 4})
    store.from_bytes("p/bare", b"bare")

    assert before == everything(backing)
    assert {
        "new": (b"new", {"n": 3}),
        "only": (b"data", {"n": 1, "who": "backing"}),
        "both": (b"mine", {"n": 4}),
        "bare": (b"bare", {}),
    } == everything(mount)


def test_metadata_of_the_backing_store_are_copied_up(
    store: MountedStore, mount: DictMemoryStore, backing: DictMemoryStore
) -> None:
    """Setting or updating them keeps the data."""
    store.update_metadata("p/only", {"m": 2})
    backing.set("p/another", value(b"another", n=5))
    store.set_metadata("p/another", {"m": 3})

    assert (b"only", {"n": 1, "who": "backing", "m": 2}) == content(mount, "only")
    assert (b"another", {"m": 3}) == content(mount, "another")


def test_a_first_write_is_one_change(store: MountedStore, mount: DictMemoryStore) -> None:
    """No reader meets the old value copied up, and no failure leaves it there."""
    heard: list[Any] = []
    mount.event_manager.connect(BaseEvent, heard.append)
    store.set_data("p/only", io.BytesIO(b"data"))
    assert ["StoreSetEvent"] == [type(event).__name__ for event in heard]
    with pytest.raises(OSError, match="the source failed"):
        store.set_data("p/both", FailingStream(5))  # type: ignore[arg-type]

    assert b"mine" == store.to_bytes("p/both")


def test_the_wrapper_emits_nothing(
    store: MountedStore, mount: DictMemoryStore, backing: DictMemoryStore
) -> None:
    """Events are those of the stores within."""
    heard: list[Any] = []
    for manager in (mount.event_manager, backing.event_manager):
        manager.connect(BaseEvent, heard.append)
    store.event_manager = EventManager()
    unheard: list[Any] = []
    store.event_manager.connect(BaseEvent, unheard.append)
    store.set("p/a", value(b"a"))
    store.push("p/a")

    assert [] == unheard
    assert [(mount, "set", "a"), (backing, "set", "p/a"), (mount, "delete", "a")] == [
        (event.source, event.action, event.key) for event in heard
    ]


def test_a_deleted_key_shows_what_was_hidden(store: MountedStore) -> None:
    """Only the mount store's keys can be deleted."""
    store.delete("p/both")
    assert b"theirs" == store.to_bytes("p/both")
    for key in ("p/both", "p/only", "else"):
        with pytest.raises(KeyError):
            store.delete(key)


def test_push_moves_a_key(
    store: MountedStore, mount: DictMemoryStore, backing: DictMemoryStore
) -> None:
    """From the mount store to the backing store, under the whole key."""
    store.push("p/both")

    assert (b"mine", {"n": 1, "who": "mount"}) == content(backing, "p/both")
    assert {} == everything(mount)
    for key in ("p/both", "p/none", "else"):
        with pytest.raises(KeyError):
            store.push(key)


def test_a_key_outside_cannot_be_written(store: MountedStore, backing: DictMemoryStore) -> None:
    """The error says which keys can; it is a KeyError, as in Encore."""
    before = everything(backing)
    for write in (
        lambda: store.set("else", value()),
        lambda: store.set_data("else", io.BytesIO()),
        lambda: store.set_metadata("p", {}),
        lambda: store.update_metadata("else", {}),
        lambda: store.delete("else"),
        lambda: store.push("else"),
    ):
        with pytest.raises(KeyError, match="'p/'"):
            write()

    assert before == everything(backing)


def test_what_needs_a_key_says_that_there_is_none(store: MountedStore) -> None:
    """Neither store has it."""
    with pytest.raises(KeyError, match="none"):
        store.update_metadata("p/none", {})


def test_bad_input_is_refused_as_by_any_store(store: MountedStore) -> None:
    """Keys and metadata are checked before anything is done."""
    for call in (
        lambda: store.get(5),  # type: ignore[arg-type]
        lambda: store.exists(None),  # type: ignore[arg-type]
        lambda: store.set(b"p/a", value()),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidKey):
            call()
    with pytest.raises(InvalidValue):
        store.update_metadata("p/only", 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue):
        store.set("p/a", value(), expect=1)  # type: ignore[arg-type]


def test_a_transaction_is_the_mount_stores(store: MountedStore, mount: DictMemoryStore) -> None:
    """All of its writes, or none."""

    def fail() -> None:
        with store.transaction("fails"):
            store.set("p/a", value())
            store.delete("p/both")
            raise ValueError("stop")

    before = everything(mount)
    with pytest.raises(ValueError, match="stop"):
        fail()
    assert before == everything(mount)


def test_connecting_connects_what_is_not(mount: DictMemoryStore, backing: DictMemoryStore) -> None:
    """And leaves the two stores connected, which were only lent."""
    store = MountedStore("p/", mount, backing)
    assert not store.is_connected()
    with store:
        assert (True, True) == (mount.is_connected(), backing.is_connected())
    assert (False, True) == (store.is_connected(), backing.is_connected())
    assert not store.info()["readonly"]


def test_an_empty_mount_point_covers_everything(
    mount: DictMemoryStore, backing: DictMemoryStore
) -> None:
    """The mount store lies over the whole of the backing store."""
    store = MountedStore("", mount, backing)
    store.set("else", value(b"over"))

    assert b"over" == store.to_bytes("else")
    assert {"both", "else", "p/both", "p/only"} == set(store.query_keys())
