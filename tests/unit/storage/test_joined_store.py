"""Several stores as one, the first that has a key counting."""

from __future__ import annotations

import io
from typing import Any

import pytest
from encore_store import EncoreStore

from antiphon.errors import (
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    PermissionsUnsupported,
    ReadOnlyStore,
    StoreError,
    StoreUnavailable,
    TransactionError,
    VersionConflict,
)
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.authorizing_store import AuthorizingStore, User
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import ABSENT
from antiphon.storage.mounted_store import MountedStore
from antiphon.testing.store_tests.base import FailingStream, content, everything, value


class Raced(DictMemoryStore):
    """A store in which *race* is called once, between a look at a key and what follows."""

    race: Any = None

    def get(self, key: str) -> Any:
        return self._after_race(super().get(key))

    def exists(self, key: str) -> bool:
        return bool(self._after_race(super().exists(key)))

    def _after_race(self, found: object) -> Any:
        race, self.race = self.race, None
        if race is not None:
            race()
        return found


@pytest.fixture
def first() -> DictMemoryStore:
    """Takes the writes."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("all", value(b"first", n=1, who="first"))
    return store


@pytest.fixture
def second() -> DictMemoryStore:
    """Comes next."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("all", value(b"second", n=2, who="second"))
    store.set("late", value(b"second", n=1, who="second"))
    return store


@pytest.fixture
def third() -> DictMemoryStore:
    """Comes last."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set("late", value(b"third", n=2, who="third"))
    store.set("last", value(b"third", n=2, who="third"))
    return store


@pytest.fixture
def store(first: DictMemoryStore, second: DictMemoryStore, third: DictMemoryStore) -> JoinedStore:
    """All three."""
    store = JoinedStore([first, second, third])
    store.connect()
    return store


def test_the_first_that_has_a_key_counts(store: JoinedStore) -> None:
    """For data, ranges and metadata alike."""
    assert [b"first", b"second", b"third"] == [store.to_bytes(k) for k in ("all", "late", "last")]
    assert b"eco" == store.get_data_range("late", 1, 4).read()
    assert {"who": "second"} == store.get_metadata("late", iter(["who"]))
    assert [True, True, False] == [store.exists(key) for key in ("all", "last", "none")]
    for read in (store.get, store.get_data, store.get_metadata, store.get_data_range):
        with pytest.raises(KeyNotFound, match="none"):
            read("none")


def test_a_query_sees_each_key_once(store: JoinedStore) -> None:
    """As ``get`` sees it: what an earlier store hides neither matches nor shows."""
    assert ["all", "last", "late"] == sorted(store.query_keys())
    assert {"all": "first", "late": "second", "last": "third"} == {
        key: metadata["who"] for key, metadata in store.query()
    }
    assert ["last"] == list(store.query_keys(n=2))
    assert [("last", {"who": "third"})] == list(store.query(["who"], n=2))
    assert ["last", "late"] == sorted(store.glob("la*"))


def test_writes_go_to_the_first_store(
    store: JoinedStore, first: DictMemoryStore, second: DictMemoryStore, third: DictMemoryStore
) -> None:
    """And what they leave alone is copied up with them."""
    before = everything(second), everything(third)
    store.set("new", value(b"new", n=3))
    store.set_data("late", io.BytesIO(b"data"))
    store.set_metadata("last", {"n": 4})
    store.update_metadata("all", {"m": 5})
    store.from_bytes("bare", b"bare")

    assert before == (everything(second), everything(third))
    assert {
        "all": (b"first", {"n": 1, "who": "first", "m": 5}),
        "new": (b"new", {"n": 3}),
        "late": (b"data", {"n": 1, "who": "second"}),
        "last": (b"third", {"n": 4}),
        "bare": (b"bare", {}),
    } == everything(first)


def test_an_update_of_what_a_later_store_has_is_one_change(
    store: JoinedStore, first: DictMemoryStore
) -> None:
    """Data and metadata come up together; a source that fails leaves nothing."""
    heard: list[Any] = []
    first.event_manager.connect(BaseEvent, heard.append)
    store.update_metadata("late", {"m": 2})
    with pytest.raises(OSError, match="the source failed"):
        store.set_data("last", FailingStream(5))  # type: ignore[arg-type]

    assert [("StoreSetEvent", "late")] == [(type(event).__name__, event.key) for event in heard]
    assert (b"second", {"n": 1, "who": "second", "m": 2}) == content(first, "late")
    assert not first.exists("last")


def test_many_are_written_in_one_transaction_of_the_first(
    store: JoinedStore, first: DictMemoryStore
) -> None:
    """All of them, or none."""
    before = everything(first)
    with pytest.raises(InvalidValue):
        store.multiset(["a", "b"], [value(), (io.BytesIO(), 5)])
    with pytest.raises(InvalidValue):
        store.multiset_metadata(["late", "b"], [{"n": 9}, 5])  # type: ignore[list-item]
    assert before == everything(first)
    store.multiset_data(["late", "last"], [io.BytesIO(b"1"), io.BytesIO(b"2")])

    assert {"who": "third", "n": 2} == first.get_metadata("last")
    assert [b"1", b"2"] == [each.read() for each in store.multiget_data(["late", "last"])]


def test_a_key_is_deleted_from_the_first_that_has_it(
    store: JoinedStore, second: DictMemoryStore
) -> None:
    """What a later store has shows again, until that is deleted, too."""
    store.delete("late")
    assert b"third" == store.to_bytes("late")
    store.delete("late")
    assert not store.exists("late")
    with pytest.raises(KeyNotFound):
        store.delete("late")
    assert ["all"] == list(second.query_keys())


def test_a_deletion_that_could_not_be_rolled_back_is_refused(
    store: JoinedStore, second: DictMemoryStore
) -> None:
    """A transaction is the first store's."""
    with pytest.raises(TransactionError, match="late"), store.transaction("delete"):
        store.delete("late")

    assert second.exists("late")


def test_conditions_are_on_what_shows(store: JoinedStore, first: DictMemoryStore) -> None:
    """Whichever store it comes from."""
    shown = store.get("late").version
    with pytest.raises(VersionConflict):
        store.set("late", value(), expect=ABSENT)
    with pytest.raises(VersionConflict):
        store.set_metadata("late", {}, expect=store.get("all").version)
    mine = store.set_metadata("late", {"n": 9}, expect=shown)
    with pytest.raises(VersionConflict):
        store.set("late", value(), expect=shown)

    assert mine == store.get("late").version == first.get("late").version
    store.delete("late", expect=mine)
    assert shown == store.get("late").version


def test_a_key_made_meanwhile_is_not_overwritten(
    store: JoinedStore, first: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first write that copies up finds out, and changes what is there now."""
    real_set = DictMemoryStore.set

    def overtaken(
        target: DictMemoryStore, key: str, given: Any, *more: Any, **and_more: Any
    ) -> Any:
        monkeypatch.undo()
        first.set("late", value(b"theirs", n=7))
        return real_set(target, key, given, *more, **and_more)

    monkeypatch.setattr(DictMemoryStore, "set", overtaken)
    store.update_metadata("late", {"m": 1})

    assert (b"theirs", {"n": 7, "m": 1}) == content(store, "late")


def test_a_store_that_fails_is_not_passed_over(store: JoinedStore, first: DictMemoryStore) -> None:
    """What a later one has under the key may be something else."""

    def fail(*args: object) -> Any:
        raise StoreUnavailable("it is gone")

    for name in ("get", "get_metadata", "exists", "query", "query_keys"):
        setattr(first, name, fail)
    for read in (store.get, store.get_metadata, store.exists, store.delete):
        with pytest.raises(StoreUnavailable):
            read("late")
    for search in (store.query, store.query_keys):
        with pytest.raises(StoreUnavailable):
            list(search())


def test_connecting_connects_what_is_not(first: DictMemoryStore, second: DictMemoryStore) -> None:
    """And leaves the stores connected, which were only lent; it can be used again."""
    store = JoinedStore([first, second])
    assert not store.is_connected()
    with store:
        assert (True, True) == (first.is_connected(), second.is_connected())
    assert (False, True) == (store.is_connected(), second.is_connected())
    store.connect()
    assert store.exists("late")
    assert {"readonly": False, "authorizing": False} == store.info()


def test_the_wrapper_emits_nothing(store: JoinedStore) -> None:
    """Events are those of the stores within."""
    store.event_manager = EventManager()
    unheard: list[Any] = []
    store.event_manager.connect(BaseEvent, unheard.append)
    store.set("a", value())
    store.delete("a")

    assert [] == unheard


def test_bad_input_is_refused_as_by_any_store(store: JoinedStore) -> None:
    """Before any store is asked."""
    for call in (store.get, store.exists, store.delete, store.get_metadata):
        with pytest.raises(InvalidKey):
            call(5)  # type: ignore[operator]
    with pytest.raises(InvalidValue, match="none"):
        JoinedStore([5])  # type: ignore[list-item]


def test_no_store_can_hold_nothing() -> None:
    """It can be read, as an empty one."""
    store = JoinedStore([])
    store.connect()

    assert ([], False) == (list(store.query_keys()), store.exists("a"))
    assert store.info()["readonly"]
    with pytest.raises(ReadOnlyStore):
        store.set("a", value())


def test_a_first_store_that_cannot_be_written_says_so() -> None:
    """The others are not written in its place."""

    class Reader(AbstractReadOnlyStore):
        def get(self, key: str) -> Any:
            raise KeyError(key)

    store = JoinedStore([Reader(), DictMemoryStore()])

    with pytest.raises(ReadOnlyStore):
        store.set("a", value())


def test_permissions_are_those_of_the_store_that_has_the_key(first: DictMemoryStore) -> None:
    """Where that store keeps none, the error says so."""
    alice = AuthorizingStore(DictMemoryStore()).as_user(User("alice"))
    alice.set("mine", value())
    store = JoinedStore([alice, first])

    assert "alice" == store.user_tag
    store.update_permissions("mine", {"get": {"bob"}})
    assert {"owned": {"alice"}, "get": {"bob"}} == store.get_permissions("mine")
    store.set_permissions("mine", {"owned": {"alice"}})
    assert {"owned": {"alice"}} == store.get_permissions("mine")
    with pytest.raises(PermissionsUnsupported):
        store.get_permissions("all")
    with pytest.raises(KeyNotFound):
        store.get_permissions("none")
    with pytest.raises(PermissionsUnsupported):
        _ = JoinedStore([first]).user_tag


def test_stores_written_for_encore_can_be_joined() -> None:
    """They know no ``expect``, and are never given it."""
    one, other = EncoreStore(), EncoreStore()
    other.set("late", value(b"data", n=1))
    store = JoinedStore([one, other])
    store.set("a", value(b"1"))
    store.set_data("late", io.BytesIO(b"new"))
    store.update_metadata("a", {"n": 2})
    store.multiset(["b"], [value(b"b")])

    assert {"a": (b"1", {"n": 2}), "late": (b"new", {"n": 1}), "b": (b"b", {})} == one.held
    store.delete("late")
    assert b"data" == store.to_bytes("late")
    with pytest.raises(StoreError, match="expect"):
        store.set("a", value(), expect=ABSENT)
    with pytest.raises(StoreError, match="expect"):
        store.delete("a", expect=ABSENT)


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda store: store.set_metadata("k", {"b": 1}), (b"below", {"b": 1})),
        (lambda store: store.set_data("k", io.BytesIO(b"new")), (b"new", {"who": "below"})),
        (lambda store: store.update_metadata("k", {"b": 1}), (b"below", {"who": "below", "b": 1})),
    ],
)
def test_a_key_that_is_deleted_meanwhile_is_not_hidden_by_half_a_value(
    write: Any, expected: tuple[bytes, dict[str, Any]]
) -> None:
    """What a later store has shows again, and is what the write leaves alone."""
    top, below = Raced(), DictMemoryStore()
    below.set("k", value(b"below", who="below"))
    top.set("k", value(b"top", who="top"))
    store = JoinedStore([top, below])
    top.race = lambda: top.delete("k")
    write(store)

    assert expected == content(store, "k")


def test_two_deletions_at_once_delete_what_shows_one_after_the_other() -> None:
    """The second finds what the first has uncovered."""
    top, below = Raced(), DictMemoryStore()
    for each in (top, below):
        each.set("k", value())
    store = JoinedStore([top, below])
    top.race = lambda: top.delete("k")
    store.delete("k")

    assert not store.exists("k")


def test_a_store_that_shows_a_key_and_cannot_delete_it_says_so() -> None:
    """A mounted store deletes nothing from its backing store."""
    backing = DictMemoryStore()
    backing.set("k", value())
    store = JoinedStore([MountedStore("", DictMemoryStore(), backing)])

    with pytest.raises(KeyNotFound):
        store.delete("k")


def test_who_may_write_and_not_read_writes_through_a_joined_store() -> None:
    """The look before a write needs no right to read."""
    base = AuthorizingStore(DictMemoryStore())
    alice, bob = base.as_user(User("alice")), base.as_user(User("bob"))
    alice.set("k", value(b"old"))
    alice.update_permissions("k", {"set": {"bob"}})
    JoinedStore([bob]).set_data("k", io.BytesIO(b"new"))

    assert b"new" == alice.to_bytes("k")
