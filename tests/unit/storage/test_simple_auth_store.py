"""A store for users with passwords."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from encore_store import EncoreStore

from antiphon import errors
from antiphon.errors import InvalidValue, KeyNotFound, NotConnected, StoreError
from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.journal import ABSENT
from antiphon.storage.simple_auth_store import (
    AuthenticationError,
    SimpleAuthStore,
    make_encoder,
    sha1_hasher,
)
from antiphon.testing.store_tests.base import content, value

#: Quick, and as old programs have it.
ENCODER = make_encoder(b"salt", sha1_hasher)

ALICE = {"username": "alice", "password": "secret of alice"}


@pytest.fixture
def wrapped() -> DictMemoryStore:
    """The store that is protected, with a user as Encore left one."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.set(".user_alice", value(ENCODER(b"secret of alice")))
    store.set("a", value(b"data", n=1))
    return store


@pytest.fixture
def store(wrapped: DictMemoryStore) -> Iterator[SimpleAuthStore]:
    """It, for Alice."""
    store = SimpleAuthStore(wrapped, ENCODER)
    store.connect(ALICE)
    yield store
    store.disconnect()


class Reader(SimpleAuthStore):
    """Lets users read ``a``, know of ``seen``, and do nothing else."""

    def check_permissions(self, key: str | None = None) -> set[str]:
        everything = super().check_permissions(key)
        if key is None:
            return everything
        return everything & {"a": {"exists", "get"}, "seen": {"exists"}}.get(key, set())


def every_call(store: Any, key: str) -> list[Callable[[], object]]:
    """Return every way to read or write *key*."""
    return [
        lambda: store.get(key),
        lambda: store.get_data(key),
        lambda: store.get_data_range(key, 0, 1),
        lambda: store.get_metadata(key),
        lambda: store.to_bytes(key),
        lambda: store.set(key, value()),
        lambda: store.set_data(key, io.BytesIO()),
        lambda: store.set_metadata(key, {}),
        lambda: store.update_metadata(key, {}),
        lambda: store.from_bytes(key, b""),
        lambda: store.multiset([key], [value()]),
        lambda: store.delete(key),
    ]


def test_who_knows_the_password_may_do_everything(store: SimpleAuthStore) -> None:
    """Also with hashes that Encore has made."""
    store.set("b", value(b"b", n=2))
    store.update_metadata("a", {"m": 3})

    assert store.is_connected()
    assert (b"data", {"n": 1, "m": 3}) == content(store, "a")
    assert ["a", "b"] == sorted(store.query_keys())
    assert [("b", {"n": 2})] == list(store.query(n=2))
    store.delete("b")
    assert not store.exists("b")


@pytest.mark.parametrize(
    "credentials",
    [
        {"username": "alice", "password": "wrong"},
        {"username": "alice", "password": ""},
        {"username": "bob", "password": "secret of alice"},
        {"username": "", "password": ""},
        {"username": "\udc80", "password": "\udc80"},
    ],
)
def test_nobody_else_is_let_in(wrapped: DictMemoryStore, credentials: dict[str, str]) -> None:
    """Whether there is such a user is not told."""
    store = SimpleAuthStore(wrapped, ENCODER)
    with pytest.raises(AuthenticationError, match="no such user, or another password"):
        store.connect(credentials)

    assert not store.is_connected()
    with pytest.raises(NotConnected):
        store.get("a")


def test_refusing_takes_as_long_for_nobody_as_for_somebody(wrapped: DictMemoryStore) -> None:
    """The password is encoded once, whoever it is."""
    encoded: list[bytes] = []

    def encoder(password: bytes) -> bytes:
        encoded.append(password)
        return ENCODER(password)

    store = SimpleAuthStore(wrapped, encoder)
    for username in ("alice", "bob"):
        with pytest.raises(AuthenticationError):
            store.connect({"username": username, "password": "wrong"})

    assert [b"wrong", b"wrong"] == encoded


def test_verifying_takes_as_long_for_nobody_as_for_somebody(wrapped: DictMemoryStore) -> None:
    """With an encoder that is asked, too: it encodes for whom there is nothing to verify."""
    calls: list[str] = []

    class Encoder:
        def __call__(self, password: bytes) -> bytes:
            calls.append("encode")
            return password

        def verify(self, password: bytes, stored: bytes) -> bool:
            calls.append("verify")
            return False

    store = SimpleAuthStore(wrapped, Encoder())
    for username in ("alice", "bob"):
        with pytest.raises(AuthenticationError):
            store.connect({"username": username, "password": "wrong"})

    assert ["verify", "encode"] == calls


@pytest.mark.parametrize(
    "credentials",
    [None, ("alice", "secret of alice"), {}, {"username": "alice"}, {"password": "x"},
     {"username": "alice", "password": b"secret"}, {"username": 1, "password": "x"}],
)  # fmt: skip
def test_credentials_have_a_form(wrapped: DictMemoryStore, credentials: Any) -> None:
    """The error says which, and repeats no password."""
    with pytest.raises(InvalidValue, match="'username' and 'password'") as caught:
        SimpleAuthStore(wrapped, ENCODER).connect(credentials)

    assert "secret" not in str(caught.value)


def test_credentials_of_a_wrong_type_are_told(wrapped: DictMemoryStore) -> None:
    """A password in bytes is the usual mistake; what it was is not shown."""
    with pytest.raises(InvalidValue, match=r"both text; not str and bytes$"):
        SimpleAuthStore(wrapped, ENCODER).connect({"username": "alice", "password": b"x"})


def test_a_refused_user_ends_the_connection_of_before(store: SimpleAuthStore) -> None:
    """Nobody goes on as somebody else."""
    with pytest.raises(AuthenticationError):
        store.connect({"username": "bob", "password": "x"})

    assert not store.is_connected()
    with pytest.raises(NotConnected):
        store.query_keys()


def test_a_store_can_be_used_again(store: SimpleAuthStore, wrapped: DictMemoryStore) -> None:
    """Disconnecting lets go of the user, not of the store."""
    with store:
        assert store.exists("a")
    assert (False, True) == (store.is_connected(), wrapped.is_connected())
    with pytest.raises(NotConnected):
        store.exists("a")
    store.connect(ALICE)
    store.connect()
    assert store.exists("a")
    assert {"readonly": False, "authorizing": False} == store.info()


# -- Users' keys -------------------------------------------------------------


def test_keys_of_users_are_not_there(store: SimpleAuthStore) -> None:
    """They can be neither read, written nor found."""
    for call in [*every_call(store, ".user_alice"), *every_call(store, ".user_new")]:
        with pytest.raises(KeyNotFound):
            call()

    assert not store.exists(".user_alice")
    assert (["a"], ["a"]) == (list(store.query_keys()), [key for key, _ in store.query()])
    assert [] == list(store.glob(".user_*"))


def test_keys_of_users_are_in_no_event(store: SimpleAuthStore, wrapped: DictMemoryStore) -> None:
    """Neither those of the wrapped store, whoever writes them."""
    heard: list[Any] = []
    wrapped.event_manager.connect(BaseEvent, heard.append)
    store.set_password("bob", "secret of bob")
    store.set("b", value(b"x"))
    wrapped.set(".user_carol", value(b"x" * 25), 10)
    store.remove_user("bob")

    assert ["b"] == [event.key for event in heard]


def test_an_event_manager_that_is_assigned_later_hears_nothing_of_users(
    store: SimpleAuthStore, wrapped: DictMemoryStore
) -> None:
    """The shield is put before it, too."""
    heard: list[Any] = []
    wrapped.event_manager = EventManager()
    wrapped.event_manager.connect(BaseEvent, heard.append)
    store.set_password("bob", "secret of bob")

    assert [] == heard


def test_keys_of_users_are_hidden_also_if_they_are_kept_elsewhere(
    wrapped: DictMemoryStore,
) -> None:
    """The other store may be the same data."""
    users = DictMemoryStore()
    users.set(".user_bob", value(ENCODER(b"secret of bob")))
    store = SimpleAuthStore(wrapped, ENCODER, user_key_store=users)
    with pytest.raises(AuthenticationError):
        store.connect(ALICE)
    store.connect({"username": "bob", "password": "secret of bob"})

    assert not store.exists(".user_alice")


def test_a_store_of_users_alone_needs_no_prefix(wrapped: DictMemoryStore) -> None:
    """In a store with other keys it would hide them all."""
    users = DictMemoryStore()
    heard: list[Any] = []
    users.event_manager = wrapped.event_manager = EventManager()
    users.event_manager.connect(BaseEvent, heard.append)
    store = SimpleAuthStore(wrapped, ENCODER, "", users)
    store.set_password("alice", "x")
    store.connect({"username": "alice", "password": "x"})
    store.set("b", value())

    assert ["b"] == [event.key for event in heard]
    assert {"a", "b", ".user_alice"} == set(store.query_keys())
    with pytest.raises(InvalidValue, match="user_key_path"):
        SimpleAuthStore(wrapped, ENCODER, "")


# -- Changing passwords ------------------------------------------------------


def test_a_password_can_be_changed(store: SimpleAuthStore) -> None:
    """Who is connected with the one of before has to connect again."""
    store.set_password("alice", "another")
    with pytest.raises(KeyNotFound):
        store.get("a")
    with pytest.raises(AuthenticationError):
        store.connect(ALICE)
    store.connect({"username": "alice", "password": "another"})

    assert store.exists("a")


def test_a_user_who_was_removed_is_out(store: SimpleAuthStore) -> None:
    """At once."""
    store.remove_user("alice")

    assert not store.exists("a")
    assert [] == list(store.query_keys())
    with pytest.raises(KeyNotFound):
        store.remove_user("alice")


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", ""), (5, "x"), ("x", None)])
def test_a_user_has_a_name_and_a_password(
    store: SimpleAuthStore, username: Any, password: Any
) -> None:
    """Anything else is refused."""
    with pytest.raises(InvalidValue):
        store.set_password(username, password)


def test_passwords_are_kept_with_a_salt_each(wrapped: DictMemoryStore) -> None:
    """Unless the encoder is another; the default is slow on purpose."""
    store = SimpleAuthStore(wrapped, make_encoder())
    store.set_password("bob", "same")
    store.connect({"username": "bob", "password": "same"})

    assert wrapped.to_bytes(".user_bob").startswith(b"scrypt$14$8$5$")
    assert store.exists("a")


def test_an_encoder_returns_bytes(wrapped: DictMemoryStore) -> None:
    """Text is taken for its UTF-8; anything else is refused."""
    text = SimpleAuthStore(wrapped, lambda password: "hash")  # type: ignore[arg-type, return-value]
    text.set_password("bob", "x")
    text.connect({"username": "bob", "password": "x"})
    with pytest.raises(InvalidValue, match="bytes"):
        SimpleAuthStore(wrapped, lambda password: 5).connect(ALICE)  # type: ignore[arg-type, return-value]
    with pytest.raises(InvalidValue, match="encoder"):
        SimpleAuthStore(wrapped, b"salt")  # type: ignore[arg-type]


def test_no_password_is_shown(store: SimpleAuthStore) -> None:
    """Neither by the store nor by its errors."""
    assert "secret" not in repr(store)
    assert "secret" not in repr(vars(store))


# -- Permissions of subclasses -----------------------------------------------


@pytest.fixture
def reader(wrapped: DictMemoryStore) -> Reader:
    """A store in which little is permitted."""
    wrapped.set("seen", value(n=1))
    wrapped.set("hidden", value(n=1))
    store = Reader(wrapped, ENCODER)
    store.connect(ALICE)
    return store


def test_a_subclass_may_permit_less(reader: Reader) -> None:
    """What a user may not see is not there; what is seen and not permitted is an error."""
    assert b"data" == reader.to_bytes("a")
    for call in every_call(reader, "a")[5:]:
        with pytest.raises(AuthenticationError, match="alice"):
            call()
    for call in every_call(reader, "seen"):
        with pytest.raises(AuthenticationError):
            call()
    for call in every_call(reader, "hidden"):
        with pytest.raises(KeyNotFound):
            call()
    assert [True, True, False] == [reader.exists(key) for key in ("a", "seen", "hidden")]


def test_a_query_tells_what_is_permitted(reader: Reader) -> None:
    """Of what may not be read, only that it is there."""
    assert {"a": {"n": 1}, "seen": {}} == dict(reader.query())
    assert {"a": {"n": 1}} == dict(reader.query(n=1))
    assert (["a"], {"a", "seen"}) == (list(reader.query_keys(n=1)), set(reader.query_keys()))


def test_a_subclass_may_refuse_to_connect(wrapped: DictMemoryStore) -> None:
    """Without ``connect`` the right password does not help."""

    class Closed(SimpleAuthStore):
        def check_permissions(self, key: str | None = None) -> set[str]:
            return {"exists", "get"}

    with pytest.raises(AuthenticationError):
        Closed(wrapped, ENCODER).connect(ALICE)


def test_a_subclass_is_not_asked_for_keys_of_users(wrapped: DictMemoryStore) -> None:
    """Nothing that it permits opens them."""

    class Open(SimpleAuthStore):
        def check_permissions(self, key: str | None = None) -> set[str]:
            return {"connect", "exists", "get", "set", "delete"}

    store = Open(wrapped, ENCODER)
    store.connect(ALICE)

    assert not store.exists(".user_alice")
    assert ["a"] == list(store.query_keys())


class Generous(SimpleAuthStore):
    """Lets anybody do anything, without asking who it is."""

    def check_permissions(self, key: str | None = None) -> set[str]:
        return {"connect", "exists", "get", "set", "delete"}


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_what_a_subclass_permits_needs_the_right_password(
    wrapped: DictMemoryStore, name: str
) -> None:
    """However generous it is: it speaks of users who are known."""
    store = Generous(wrapped, ENCODER)

    with pytest.raises(AuthenticationError):
        store.connect({"username": name, "password": "a guess"})

    assert not store.is_connected()


def test_what_a_subclass_permits_ends_with_the_user(wrapped: DictMemoryStore) -> None:
    """At once, also for who is connected."""
    store = Generous(wrapped, ENCODER)
    store.connect(ALICE)
    store.remove_user("alice")

    assert not store.exists("a")
    assert [] == list(store.query_keys())
    for call in every_call(store, "a"):
        with pytest.raises(KeyNotFound):
            call()


# -- The rest ----------------------------------------------------------------


def test_a_transaction_is_the_wrapped_stores(
    store: SimpleAuthStore, wrapped: DictMemoryStore
) -> None:
    """All of its writes, or none."""

    def fail() -> None:
        with store.transaction("fails"):
            store.set("b", value())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not wrapped.exists("b")


def test_stores_written_for_encore_can_be_protected() -> None:
    """They know no ``expect``, and are never given it."""
    wrapped = EncoreStore()
    store = SimpleAuthStore(wrapped, ENCODER)
    store.set_password("alice", "secret of alice")
    store.connect(ALICE)
    store.set("a", value(b"1", n=1))
    store.update_metadata("a", {"n": 2})

    assert (b"1", {"n": 2}) == content(store, "a")
    with pytest.raises(StoreError, match="expect"):
        store.set("a", value(), expect=ABSENT)


def test_the_error_is_the_one_of_all_stores() -> None:
    """As its old name."""
    assert AuthenticationError is errors.AuthenticationError
