"""What an authorizing store does besides passing the suite of permissions."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from encore_store import EncoreStore

from antiphon.errors import (
    AuthenticationError,
    AuthorizationError,
    InvalidValue,
    KeyNotFound,
    NotConnected,
    StoreError,
    VersionConflict,
)
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.authorizing_store import PERMISSIONS_NAME, AuthorizingStore, User
from antiphon.storage.commits import noted_commits
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import (
    StoreEvent,
    StoreKeyEvent,
    StoreModificationEvent,
    StoreSetEvent,
)
from antiphon.storage.joined_store import JoinedStore
from antiphon.storage.journal import ABSENT
from antiphon.storage.mounted_store import MountedStore
from antiphon.storage.simple_auth_store import SimpleAuthStore, make_encoder, sha1_hasher
from antiphon.storage.utils import SimpleTransactionContext
from antiphon.testing.store_tests.base import content, listen, value


@pytest.fixture
def wrapped() -> DictMemoryStore:
    """The store that has the keys."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.connect()
    return store


@pytest.fixture
def base(wrapped: DictMemoryStore) -> AuthorizingStore:
    """An authorizing store over it, for nobody yet."""
    return AuthorizingStore(wrapped, digest_key=b"key")


@pytest.fixture
def alice(base: AuthorizingStore) -> AuthorizingStore:
    """It, for Alice."""
    return base.as_user(User("alice"))


@pytest.fixture
def bob(base: AuthorizingStore) -> AuthorizingStore:
    """It, for Bob."""
    return base.as_user(User("bob"))


# -- Users -------------------------------------------------------------------


def test_a_user_and_a_key_of_digests_are_checked_at_once(wrapped: DictMemoryStore) -> None:
    """Not after the first write is committed."""
    for wrong in ({"user": "alice"}, {"digest_key": "text"}):
        with pytest.raises(InvalidValue):
            AuthorizingStore(wrapped, **wrong)  # type: ignore[arg-type]


def test_a_user_has_tags() -> None:
    """The user's own, the groups', and everybody's."""
    assert {"alice", "staff", "*"} == User("alice", frozenset({"staff"})).all_tags
    assert User("a", {"x"}) == User("a", frozenset({"x"}))  # type: ignore[arg-type]
    for tag, tags in (("", ()), ("*", ()), (5, ()), ("a", "staff"), ("a", {5})):
        with pytest.raises(InvalidValue):
            User(tag, tags)  # type: ignore[arg-type]


def test_credentials_tell_who_it_is(wrapped: DictMemoryStore) -> None:
    """By the function that was given; what it refuses is not connected."""

    def authenticate(credentials: Any) -> User:
        if credentials != "the password":
            raise AuthenticationError("no")
        return User("alice")

    store = AuthorizingStore(wrapped, authenticate=authenticate)
    with pytest.raises(NotConnected):
        store.get("a")
    store.connect("the password")
    store.set("a", value())
    assert ("alice", True) == (store.user_tag, store.is_connected())
    store.connect()
    assert store.exists("a")
    with pytest.raises(AuthenticationError):
        store.connect("another")

    assert not store.is_connected()
    with pytest.raises(NotConnected):
        store.exists("a")


def test_what_is_no_user_is_refused(base: AuthorizingStore, wrapped: DictMemoryStore) -> None:
    """By ``as_user``, and from the function that authenticates."""
    with pytest.raises(InvalidValue, match="as_user"):
        base.as_user("alice")  # type: ignore[arg-type]
    with pytest.raises(AuthenticationError):
        AuthorizingStore(wrapped, authenticate=lambda given: None).connect("x")  # type: ignore[arg-type, return-value]


def test_nobody_can_do_nothing(base: AuthorizingStore) -> None:
    """Not even once connected."""
    with pytest.raises(NotConnected):
        base.exists("a")
    base.connect()
    for call in (base.exists, base.get, base.delete, base.get_permissions):
        with pytest.raises(AuthenticationError, match="nobody"):
            call("a")  # type: ignore[operator]
    for search in (base.query, base.query_keys, base.head):
        with pytest.raises(AuthenticationError):
            search()
    assert "" == base.user_tag


def test_a_view_is_one_users(alice: AuthorizingStore, bob: AuthorizingStore) -> None:
    """Disconnecting one does not touch the others, nor the wrapped store."""
    alice.set("a", value())
    alice.disconnect()

    assert not bob.exists("a")
    with pytest.raises(NotConnected):
        alice.get("a")
    with alice:
        assert alice.exists("a")
    assert alice.store.is_connected()


def test_arguments_that_make_no_sense_are_refused(
    wrapped: DictMemoryStore, alice: AuthorizingStore
) -> None:
    """Unknown modes, permissions without owner, permissions over permissions."""
    with pytest.raises(InvalidValue, match="digest"):
        AuthorizingStore(wrapped, events="none")  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="owned"):
        AuthorizingStore(wrapped, default_permissions={"get": {"*"}})
    with pytest.raises(InvalidValue, match="permissions already"):
        AuthorizingStore(alice)


# -- Keys that came by other ways --------------------------------------------


def test_a_key_without_permissions_is_nobodys(
    wrapped: DictMemoryStore, alice: AuthorizingStore
) -> None:
    """It is hidden, and its name is taken; so are broken permissions."""
    wrapped.set("old", value())
    for number, broken in enumerate([5, {}, {"owned": []}, {"owned": "alice"}, {"owned": [5]}]):
        wrapped.set_metadata(f"broken{number}", {PERMISSIONS_NAME: broken})

    assert [] == list(alice.query_keys())
    for key in wrapped.query_keys():
        assert not alice.exists(key)
        with pytest.raises(AuthorizationError):
            alice.set(key, value())


def test_keys_without_permissions_may_have_some_by_default(wrapped: DictMemoryStore) -> None:
    """Until they are written, and keep them from then on."""
    wrapped.set("old", value(b"old", n=1))
    base = AuthorizingStore(
        wrapped, default_permissions={"owned": {"admins"}, "get": {"*"}, "set": {"bob"}}
    )
    bob, root = base.as_user(User("bob")), base.as_user(User("root", frozenset({"admins"})))

    assert (b"old", {"n": 1}) == content(bob, "old")
    bob.set("old", value(b"new", n=2))
    assert {"owned": {"admins"}, "get": {"*"}, "set": {"bob"}} == root.get_permissions("old")
    assert PERMISSIONS_NAME in wrapped.get_metadata("old")


# -- Between the look and the write ------------------------------------------


def test_a_permission_that_is_taken_away_meanwhile_counts(
    alice: AuthorizingStore,
    bob: AuthorizingStore,
    wrapped: DictMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is committed was permitted at the commit; the source is read again for it."""
    alice.set("a", value(b"old"))
    alice.update_permissions("a", {"set": {"bob"}, "get": {"bob"}})
    real_set = wrapped.set

    def overtaken(*args: Any, **more: Any) -> Any:
        monkeypatch.undo()
        alice.set_permissions("a", {"owned": {"alice"}, "get": {"bob"}})
        return real_set(*args, **more)

    monkeypatch.setattr(wrapped, "set", overtaken)
    with pytest.raises(AuthorizationError):
        bob.set("a", value(b"new"))

    assert b"old" == alice.to_bytes("a")


@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("is_one_way", [True, False])
def test_a_source_is_read_once(
    alice: AuthorizingStore,
    wrapped: DictMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
    is_one_way: bool,
) -> None:
    """Also if the write is tried again: from where it stood, or from what was kept of it."""

    class OneWay:
        def __init__(self) -> None:
            self._source = io.BytesIO(b"xy" * size)

        def read(self, size: int = -1) -> bytes:
            return self._source.read(size)

    alice.set("a", value(b"old"))
    for method in ("set", "set_data"):
        real = getattr(wrapped, method)

        def overtaken(*args: Any, real: Any = real, **more: Any) -> Any:
            monkeypatch.undo()
            alice.update_permissions("a", {"get": {"bob"}})
            return real(*args, **more)

        monkeypatch.setattr(wrapped, method, overtaken)
        source: Any = OneWay() if is_one_way else io.BytesIO(b"before" + b"xy" * size)
        if not is_one_way:
            source.seek(6)
        alice.set("a", (source, {})) if method == "set" else alice.set_data("a", source)

        assert b"xy" * size == alice.to_bytes("a")


def test_a_key_that_is_deleted_meanwhile_is_made_anew(
    alice: AuthorizingStore,
    bob: AuthorizingStore,
    wrapped: DictMemoryStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its new maker, without the permissions that it had."""
    alice.set("a", value(b"old"))
    alice.update_permissions("a", {"set": {"bob"}})
    real = wrapped.set_data

    def overtaken(*args: Any, **more: Any) -> Any:
        monkeypatch.undo()
        wrapped.delete("a")
        return real(*args, **more)

    monkeypatch.setattr(wrapped, "set_data", overtaken)
    bob.set_data("a", io.BytesIO(b"new"))

    assert {"owned": {"bob"}} == bob.get_permissions("a")


def test_a_transaction_that_met_other_permissions_fails(
    alice: AuthorizingStore, bob: AuthorizingStore
) -> None:
    """Nothing of it is written; done again it sees what is there now."""
    alice.set("a", value(b"old"))
    alice.update_permissions("a", {"set": {"bob"}})

    def write() -> None:
        with bob.transaction("write"):
            bob.set("a", value(b"new"))
            _in_thread(lambda: alice.set_permissions("a", {"owned": {"alice"}}))

    with pytest.raises(VersionConflict):
        write()
    assert b"old" == alice.to_bytes("a")
    with pytest.raises(AuthorizationError):
        write()


def _in_thread(call: Any) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


# -- Other stores below ------------------------------------------------------


def test_stores_written_for_encore_can_have_permissions() -> None:
    """They know no ``expect``; what is in one process is kept apart all the same."""
    wrapped = EncoreStore()
    base = AuthorizingStore(wrapped)
    alice, bob = base.as_user(User("alice")), base.as_user(User("bob"))
    alice.set("a", value(b"1", n=1))
    alice.set_data("b", io.BytesIO(b"2"))
    alice.update_permissions("a", {"get": {"bob"}})

    assert (b"1", {"n": 1}) == content(bob, "a")
    assert ["a"] == list(bob.query_keys())
    assert b"" == bob.get_data_range("a", 1, 5).read()
    with pytest.raises(AuthorizationError):
        bob.set("b", value())
    with pytest.raises(StoreError, match="expect"):
        alice.set("a", value(), expect=ABSENT)
    with pytest.raises(StoreError, match="journal"):
        alice.head()
    alice.delete("a")
    assert not alice.honours_expect


def test_a_mounted_store_can_have_permissions() -> None:
    """They are copied up with their key."""
    mount, backing = DictMemoryStore(), DictMemoryStore()
    below = AuthorizingStore(backing).as_user(User("alice"))
    below.set("a", value(b"1"))
    below.update_permissions("a", {"get": {"bob"}})
    base = AuthorizingStore(MountedStore("", mount, backing))
    alice, bob = base.as_user(User("alice")), base.as_user(User("bob"))
    alice.set_data("a", io.BytesIO(b"2"))

    assert b"2" == bob.to_bytes("a")
    assert {"owned": {"alice"}, "get": {"bob"}} == alice.get_permissions("a")
    assert mount.exists("a")


def test_a_tuple_is_a_value_too(alice: AuthorizingStore, wrapped: DictMemoryStore) -> None:
    """As stores of Encore's first days return it."""
    alice.set("a", value(b"data", n=1))
    whole = wrapped.get_metadata("a")
    wrapped.get = lambda key: (io.BytesIO(b"data"), whole)  # type: ignore[assignment, method-assign, return-value]

    assert (b"data", {"n": 1}) == content(alice, "a")
    assert b"at" == alice.get_data_range("a", 1, 3).read()


# -- What goes out -----------------------------------------------------------


def test_what_goes_out_names_no_key(alice: AuthorizingStore, wrapped: DictMemoryStore) -> None:
    """Neither key nor metadata; place and identity are those of the change."""
    heard = listen(wrapped, BaseEvent)
    version = alice.set("secret-key", value(b"x" * 25, secret="word"), 10)
    alice.delete("secret-key")
    keyed = [event for event in heard if isinstance(event, StoreKeyEvent)]

    assert "secret" not in "".join(repr(vars(event)) for event in heard)
    assert 64 == len(keyed[0].key)
    assert [(True, {})] * 7 == [(event.redacted, event.metadata) for event in keyed]
    assert 1 == len({event.key for event in keyed})
    changes = [event for event in heard if isinstance(event, StoreModificationEvent)]
    assert version == changes[0].version
    assert all(event.source is wrapped and event._event_id for event in changes)


def test_digests_depend_on_the_key_that_makes_them(wrapped: DictMemoryStore) -> None:
    """Processes that share it agree; others cannot guess what changed."""
    digests = []
    for digest_key in (b"one", b"one", b"other", None):
        store = DictMemoryStore()
        heard = listen(store, StoreModificationEvent)
        AuthorizingStore(store, digest_key=digest_key).as_user(User("a")).set("k", value())
        digests.append(heard[-1].key)

    assert digests[0] == digests[1]
    assert 3 == len(set(digests))


def test_clear_events_tell_all_but_permissions(wrapped: DictMemoryStore) -> None:
    """For whoever trusts everybody on the broker."""
    heard = listen(wrapped, StoreModificationEvent)
    alice = AuthorizingStore(wrapped, events="clear").as_user(User("alice"))
    alice.set("a", value(n=1))
    alice.update_permissions("a", {"get": {"bob"}})

    assert [("a", {"n": 1}, False)] * 2 == [(e.key, e.metadata, e.redacted) for e in heard]


def test_an_event_manager_that_is_assigned_gets_digests(
    alice: AuthorizingStore, wrapped: DictMemoryStore
) -> None:
    """Through the authorizing store, or behind its back and before the next write."""
    for target in (alice, wrapped):
        manager = EventManager()
        heard: list[Any] = []
        manager.connect(StoreModificationEvent, heard.append)
        target.event_manager = manager
        alice.set("a", value())

        assert [True] == [event.redacted for event in heard]


def test_an_event_manager_assigned_in_a_transaction_gets_digests(
    alice: AuthorizingStore, wrapped: DictMemoryStore
) -> None:
    """The events are emitted at its end, by the one that is there then."""
    manager = EventManager()
    heard: list[StoreKeyEvent] = []
    manager.connect(StoreModificationEvent, heard.append)
    with alice.transaction("new manager"):
        alice.set("secret", value())
        wrapped.event_manager = manager

    assert [True] == [event.redacted for event in heard]


def test_a_joined_store_that_is_only_like_one_names_no_key() -> None:
    """Whatever its class is: what it emits is shielded."""

    class Alike:
        def __init__(self) -> None:
            self._store = DictMemoryStore()
            self._store.event_manager = self.event_manager = EventManager()

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "event_manager":
                self._store.event_manager = value

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

    alike = Alike()
    heard = listen(alike, StoreModificationEvent)
    base = AuthorizingStore(JoinedStore([alike]))  # type: ignore[list-item]
    base.as_user(User("alice")).set("secret", value())

    assert [True] == [event.redacted for event in heard]


def test_a_manager_that_passes_on_what_it_lacks_gets_every_event(
    alice: AuthorizingStore, base: AuthorizingStore
) -> None:
    """That nobody listens to the one behind it does not mean that it need not hear."""

    class Passing:
        def __init__(self) -> None:
            self.manager = EventManager()
            self.seen: list[BaseEvent] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.manager, name)

        def emit(self, event: BaseEvent, block: bool = True) -> None:
            self.seen.append(event)

    passing = Passing()
    passing.manager.emit(StoreSetEvent(key="it knows the class now"))
    base.event_manager = passing  # type: ignore[assignment]
    alice.set("a", value())

    assert [StoreSetEvent] == [type(event) for event in passing.seen]


def test_the_wrapped_stores_own_writes_name_no_key_either(
    alice: AuthorizingStore, wrapped: DictMemoryStore
) -> None:
    """The shield is before its event manager, whoever writes."""
    heard = listen(wrapped, StoreModificationEvent)
    wrapped.set("a", value(n=1))

    assert [(True, {})] == [(event.redacted, event.metadata) for event in heard]


def test_what_was_redacted_once_stays_as_it_is(wrapped: DictMemoryStore) -> None:
    """Several authorizing stores over one store: one digest, and each tells its own users."""
    first = AuthorizingStore(wrapped, digest_key=b"key").as_user(User("alice"))
    second = AuthorizingStore(wrapped, digest_key=b"key").as_user(User("alice"))
    told = [listen(store, StoreModificationEvent) for store in (first, second)]
    heard = listen(wrapped, StoreModificationEvent)
    first.set("a", value())

    assert [["a"], ["a"]] == [[event.key for event in events] for events in told]
    assert 1 == len(heard)


def test_a_protected_store_hides_its_users_from_all(wrapped: DictMemoryStore) -> None:
    """With permissions over passwords, keys of users are in no event at all."""
    protected = SimpleAuthStore(wrapped, make_encoder(b"salt", sha1_hasher))
    protected.set_password("alice", "x")
    protected.connect({"username": "alice", "password": "x"})
    base = AuthorizingStore(protected, default_permissions={"owned": {"*"}})
    alice = base.as_user(User("alice"))
    told, heard = listen(alice, StoreEvent), listen(wrapped, StoreEvent)
    protected.set_password("bob", "x")
    alice.set("a", value())

    assert (["a"], 1) == ([event.key for event in told], len(heard))


def test_a_store_protected_later_hides_its_users_from_all(wrapped: DictMemoryStore) -> None:
    """Whichever came first, permissions or passwords."""
    base = AuthorizingStore(wrapped, default_permissions={"owned": {"*"}})
    protected = SimpleAuthStore(wrapped, make_encoder(b"salt", sha1_hasher))
    told, heard = listen(base.as_user(User("alice")), StoreEvent), listen(wrapped, StoreEvent)
    protected.set_password("bob", "x")
    protected.remove_user("bob")

    assert ([], []) == (told, heard)


def test_a_transaction_of_utils_lets_no_key_out() -> None:
    """It stands before the shield while it is open, and is not shielded itself."""

    class Transacting(EncoreStore):
        def transaction(self, notes: str) -> Any:
            return SimpleTransactionContext(self)

        def set(self, key, value, buffer_size=1048576):  # type: ignore[no-untyped-def]
            super().set(key, value)
            self.event_manager.emit(
                StoreModificationEvent(self, key=key, metadata=self.held[key][1])
            )

    wrapped = Transacting()
    wrapped.event_manager = EventManager()
    alice = AuthorizingStore(wrapped).as_user(User("alice"))
    told, heard = listen(alice, StoreModificationEvent), listen(wrapped, StoreModificationEvent)
    with alice.transaction("all"):
        alice.set("a", value(n=1))
        assert [] == heard

    assert [("a", {"n": 1})] == [(event.key, event.metadata) for event in told]
    assert [True] == [event.redacted for event in heard]


def test_a_listener_ends_with_the_connection(alice: AuthorizingStore) -> None:
    """Who was disconnected hears nothing, and hears again when connected."""
    told = listen(alice, StoreModificationEvent)
    other = alice.as_user(User("alice"))
    alice.disconnect()
    other.set("a", value())
    alice.connect()
    other.set("b", value())

    assert ["b"] == [event.key for event in told]


def test_who_is_not_connected_hears_nothing(alice: AuthorizingStore, bob: AuthorizingStore) -> None:
    """Not even by a listener that comes after the end of the connection."""
    alice.set_metadata("a", {})
    alice.set_permissions("a", {"owned": {"alice", "bob"}})
    bob.disconnect()
    heard = listen(bob, StoreEvent)
    alice.set_metadata("a", {"n": 1})
    bob.connect()
    alice.set_metadata("a", {"n": 2})

    assert [{"n": 2}] == [event.metadata for event in heard]


def test_what_a_user_emits_goes_no_further(
    alice: AuthorizingStore, wrapped: DictMemoryStore
) -> None:
    """The user's event manager is the user's own."""
    heard, told = listen(wrapped, BaseEvent), listen(alice, BaseEvent)
    alice.event_manager.emit(BaseEvent())

    assert (0, 1) == (len(heard), len(told))


def test_who_may_write_and_not_read_is_told_no_metadata(
    alice: AuthorizingStore, bob: AuthorizingStore
) -> None:
    """Neither by what was committed nor by the progress of an own transfer."""
    heard = listen(bob, StoreKeyEvent)
    alice.set("a", value(b"x", secret=1))
    alice.set_permissions("a", {"owned": {"alice"}, "set": {"bob"}, "delete": {"bob"}})
    with noted_commits() as notes:
        bob.update_metadata("a", {"n": 1})
        bob.set_data("a", io.BytesIO(b"xyz"), 1)
        bob.delete("a")

    assert [{}] * 3 == [note.committed.metadata for note in notes]
    assert 5 < len(heard)
    assert not any("secret" in repr(vars(event)) for event in heard)


def test_who_answers_for_a_commit_is_told_no_permissions(alice: AuthorizingStore) -> None:
    """A server answers its client with the metadata that were committed."""
    with noted_commits() as notes:
        alice.set("a", value(n=1))
        with alice.transaction("two"):
            alice.update_permissions("a", {"get": {"bob"}})
            alice.update_metadata("a", {"m": 2})
        alice.delete("a")

    assert [{"n": 1}, {"n": 1}, {"n": 1, "m": 2}, {"n": 1, "m": 2}] == [
        note.committed.metadata for note in notes
    ]


# -- The journal -------------------------------------------------------------


@pytest.fixture
def head(alice: AuthorizingStore, bob: AuthorizingStore) -> Any:
    """The head after Alice made two keys that Bob may read, and one that he may not."""
    for key in "abc":
        alice.set(key, value())
    for key in "ab":
        alice.update_permissions(key, {"get": {"bob"}})
    return bob.head()


def test_who_saw_a_key_hears_of_its_end(
    alice: AuthorizingStore, bob: AuthorizingStore, head: Any
) -> None:
    """Of its deletion, and of the end of the permission to see it."""
    alice.delete("a")
    alice.set_permissions("b", {"owned": {"alice"}})
    alice.set("b", value())
    alice.delete("c")

    assert ["a", "b", None, None] == [entry.key for entry in bob.since(head)]


def test_only_so_much_is_remembered(
    alice: AuthorizingStore, bob: AuthorizingStore, head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was forgotten is not named: a cache then drops everything."""
    monkeypatch.setattr("antiphon.storage.authorizing_events._REMEMBERED", 1)
    alice.delete("a")
    alice.delete("b")

    assert [None, "b"] == [entry.key for entry in bob.since(head)]


def test_a_hidden_key_is_not_told_by_its_error(
    alice: AuthorizingStore, bob: AuthorizingStore
) -> None:
    """Neither by what led to it."""
    alice.set("a", value())
    for key in ("a", "b"):
        with pytest.raises(KeyNotFound) as caught:
            bob.get(key)

        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
