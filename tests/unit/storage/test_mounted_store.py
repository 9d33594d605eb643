"""A mounted store as Encore has it, without a cache."""

from __future__ import annotations

import io
from typing import Any

import pytest
from encore_store import EncoreStore

from antiphon.errors import (
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    StoreError,
    StoreUnavailable,
    TransactionError,
    VersionConflict,
)
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import ABSENT
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.simple_auth_store import SimpleAuthStore, make_encoder
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


@pytest.mark.parametrize("method", ["delete", "push"])
def test_what_only_the_backing_store_has_is_left_there(store: MountedStore, method: str) -> None:
    """The error has the key as the caller gave it, and says where it is missing."""
    with pytest.raises(KeyNotFound, match="no key 'p/only' in the mount store"):
        getattr(store, method)("p/only")

    assert store.exists("p/only")


def test_a_cache_speaks_of_the_whole_key_too() -> None:
    """With fill=True what cannot be pushed is named as the caller named it."""
    backing = DictMemoryStore()
    backing.from_bytes("p/only", b"")
    with (
        MountedStore("p/", DictMemoryStore(), backing, fill=True) as store,
        pytest.raises(KeyNotFound, match="no key 'p/only' in the mount store"),
    ):
        store.push("p/only")


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


def test_conditions_are_on_what_shows(store: MountedStore) -> None:
    """Whichever of the two stores it comes from."""
    shown = store.get("p/only").version
    with pytest.raises(VersionConflict):
        store.set("p/only", value(), expect=ABSENT)
    with pytest.raises(VersionConflict):
        store.set_metadata("p/only", {}, expect=store.get("p/both").version)
    mine = store.set_metadata("p/only", {"n": 9}, expect=shown)
    with pytest.raises(VersionConflict):
        store.update_metadata("p/only", {}, expect=shown)
    with pytest.raises(VersionConflict):
        store.delete("p/only", expect=shown)

    assert (b"only", {"n": 9}) == content(store, "p/only")
    store.delete("p/only", expect=mine)
    assert shown == store.get("p/only").version


def test_a_key_made_meanwhile_is_not_overwritten(
    store: MountedStore, mount: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first write that copies up finds out, and changes what is there now."""
    real_set = DictMemoryStore.set

    def overtaken(target: DictMemoryStore, key: str, given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        mount.set("only", value(b"theirs", n=7))
        return real_set(target, key, given, **more)

    monkeypatch.setattr(DictMemoryStore, "set", overtaken)
    store.update_metadata("p/only", {"m": 1})

    assert (b"theirs", {"n": 7, "m": 1}) == content(store, "p/only")


def test_many_are_written_in_one_transaction(store: MountedStore, mount: DictMemoryStore) -> None:
    """All of them, or none; what they leave alone is taken from the backing store."""
    before = everything(mount)
    with pytest.raises(KeyError):
        store.multiset_data(["p/only", "outside"], [io.BytesIO(b"1"), io.BytesIO(b"2")])
    assert before == everything(mount)
    store.multiset_data(["p/only", "p/new"], [io.BytesIO(b"1"), io.BytesIO(b"2")])

    assert (b"1", {"n": 1, "who": "backing"}) == content(mount, "only")
    assert (b"2", {}) == content(mount, "new")


def test_what_interrupts_a_push_loses_nothing(
    store: MountedStore,
    mount: DictMemoryStore,
    backing: DictMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At worst both stores have the key, and it can be pushed again."""

    def fail(*args: object, **more: object) -> Any:
        raise StoreUnavailable("it is gone")

    for broken in (backing, mount):
        with monkeypatch.context() as patch:
            patch.setattr(broken, "set" if broken is backing else "delete", fail)
            with pytest.raises(StoreUnavailable):
                store.push("p/both")
        assert b"mine" == mount.to_bytes("both")
    store.push("p/both")

    assert b"mine" == backing.to_bytes("p/both")
    assert not mount.exists("both")


def test_a_write_during_a_push_stays(
    store: MountedStore,
    mount: DictMemoryStore,
    backing: DictMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was not pushed, so it is not deleted."""
    real_set = backing.set

    def overtaken(*args: Any, **more: Any) -> Any:
        done = real_set(*args, **more)
        mount.set("both", value(b"newer"))
        return done

    monkeypatch.setattr(backing, "set", overtaken)
    store.push("p/both")

    assert (b"mine", b"newer") == (backing.to_bytes("p/both"), store.to_bytes("p/both"))


@pytest.mark.parametrize("kind", ["passwords", "joined", "mounted"])
def test_a_push_from_a_wrapper_cannot_be_rolled_back_either(kind: str) -> None:
    """It is the store within that has the transaction."""
    inner, backing = DictMemoryStore(), DictMemoryStore()
    mount: AbstractStore = JoinedStore([inner])
    if kind == "passwords":
        mount = SimpleAuthStore(inner, make_encoder(b"salt", lambda given: given))
        mount.set_password("alice", "secret")
        mount.connect({"username": "alice", "password": "secret"})
    elif kind == "mounted":
        mount = MountedStore("", inner, DictMemoryStore())
    store = MountedStore("p/", mount, backing)

    def push() -> None:
        with store.transaction("push"):
            store.set("p/a", value())
            store.push("p/a")

    with pytest.raises(TransactionError, match="p/a"):
        push()
    assert not backing.exists("p/a")


def test_a_push_cannot_be_rolled_back(store: MountedStore, backing: DictMemoryStore) -> None:
    """So it is refused inside a transaction."""
    with pytest.raises(TransactionError, match="p/both"), store.transaction("push"):
        store.push("p/both")

    assert b"theirs" == backing.to_bytes("p/both")


def test_stores_written_for_encore_can_be_mounted() -> None:
    """They know no ``expect``, and are never given it."""
    mount, backing = EncoreStore(), EncoreStore()
    backing.set("p/a", value(b"old", n=1))
    store = MountedStore("p/", mount, backing)
    store.set_data("p/a", io.BytesIO(b"new"))
    store.multiset(["p/b"], [value(b"b")])

    assert {"a": (b"new", {"n": 1}), "b": (b"b", {})} == mount.held
    store.push("p/a")
    assert ({"b"}, (b"new", {"n": 1})) == (set(mount.held), backing.held["p/a"])
    assert ["p/a", "p/b"] == sorted(store.query_keys())
    with pytest.raises(StoreError, match="expect"):
        store.set("p/a", value(), expect=ABSENT)


@pytest.mark.parametrize("conditions", [{}, {"n": 1}])
def test_a_query_has_each_key_once_though_it_is_pushed_meanwhile(
    conditions: dict[str, Any],
) -> None:
    """Also those that are copied up before they are reached."""
    backing = DictMemoryStore()
    for name in ("p/x", "p/y"):
        backing.set(name, value(n=1))
    store = MountedStore("p/", DictMemoryStore(), backing)
    for name in ("p/a", "p/b", "p/c"):
        store.set(name, value(n=1))

    for search in (store.query_keys, lambda **given: (key for key, _ in store.query(**given))):
        found = []
        for key in search(**conditions):
            found.append(key)
            if store.mount_store.exists(key[2:]):
                store.push(key)
            store.update_metadata("p/y", {"more": 1})

        assert ["p/a", "p/b", "p/c", "p/x", "p/y"] == sorted(found)


def test_what_comes_to_match_no_more_is_in_no_query(
    store: MountedStore, mount: DictMemoryStore
) -> None:
    """An own key that does not match hides the one below, whenever it came."""
    found = store.query_keys(who="nobody")
    mount.set("both", value(who="me"))

    assert [] == list(found)


@pytest.mark.parametrize("kind", ["passwords", "permissions", "plain server"])
def test_a_source_whose_changes_nobody_tells_is_refused(kind: str) -> None:
    """Whoever has no journal and does not emit would be cached for ever."""

    class PlainServer(EncoreStore):
        """As a client of a server that keeps no journal."""

        store_id = None

        def since(self, position: object) -> None: ...

    source: AbstractStore = PlainServer()
    if kind == "passwords":
        users = DictMemoryStore()
        encoder = make_encoder(b"salt", lambda given: given)
        source = SimpleAuthStore(EncoreStore(), encoder, user_key_store=users)
        source.set_password("alice", "secret")
        source.connect({"username": "alice", "password": "secret"})
    elif kind == "permissions":
        source = AuthorizingStore(EncoreStore()).as_user(User("alice"))
    mounted = MountedStore("p/", DictMemoryStore(), source, fill=True)

    with pytest.raises(InvalidValue, match="no journal"):
        mounted.connect()
