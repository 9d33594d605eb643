"""What every store with permissions must do."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest

from antiphon.errors import AuthorizationError, InvalidValue, KeyNotFound, VersionConflict
from antiphon.storage.journal import ABSENT
from antiphon.storage.permissions import PERMISSIONS_NAME
from antiphon.storage.string_value import StringValue


class MakeStores(Protocol):
    """Returns the store of the user *tag*, who is in *tags*, connected."""

    def __call__(self, tag: str, tags: Iterable[str] = ()) -> Any: ...


def value(data: bytes = b"data", **metadata: Any) -> StringValue:
    """Return a value to be stored."""
    return StringValue(data, metadata)


def content(store: Any, key: str) -> tuple[bytes, dict[str, Any]]:
    """Return data and metadata of *key*."""
    found = store.get(key)
    with found.data as stream:
        return stream.read(), found.metadata


def reads_of(store: Any, key: str) -> list[Callable[[], object]]:
    """Return every way to read *key*."""
    return [
        lambda: store.get(key),
        lambda: store.get_data(key),
        lambda: store.get_data_range(key, 0, 1),
        lambda: store.get_metadata(key),
        lambda: store.get_metadata(key, ["n"]),
        lambda: store.to_bytes(key),
        lambda: list(store.multiget([key])),
        lambda: list(store.multiget_data([key])),
        lambda: list(store.multiget_metadata([key])),
    ]


def writes_of(store: Any, key: str) -> list[Callable[[], object]]:
    """Return every way to write *key* that would make it if it were not there."""
    return [
        lambda: store.set(key, value(b"new")),
        lambda: store.set_data(key, io.BytesIO(b"new")),
        lambda: store.set_metadata(key, {"n": 9}),
        lambda: store.from_bytes(key, b"new"),
        lambda: store.multiset([key], [value(b"new")]),
        lambda: store.multiset_data([key], [io.BytesIO(b"new")]),
        lambda: store.multiset_metadata([key], [{"n": 9}]),
    ]


def owners_calls(store: Any, key: str) -> list[Callable[[], object]]:
    """Return everything that only owners of *key* may do."""
    return [
        lambda: store.get_permissions(key),
        lambda: store.set_permissions(key, {"owned": {store.user_tag}}),
        lambda: store.update_permissions(key, {"owned": {store.user_tag}}),
    ]


class PermissionSuite:
    """Users, owners, and what they may do.

    A subclass overrides ``make_stores``; see the module ``permission_suite``.
    """

    @pytest.fixture
    def make_stores(self) -> MakeStores:
        """Return a function that gives a user's store, connected."""
        raise NotImplementedError("override make_stores in the test class")

    @pytest.fixture
    def alice(self, make_stores: MakeStores) -> Any:
        """The store of Alice, who owns what the tests begin with."""
        return make_stores("alice")

    @pytest.fixture
    def bob(self, make_stores: MakeStores) -> Any:
        """The store of Bob, who is on the staff."""
        return make_stores("bob", ["staff"])

    # -- What everybody is told ----------------------------------------------

    def test_a_store_says_that_it_authorizes(self, alice: Any, bob: Any) -> None:
        """And whom it takes its user for."""
        assert (True, True) == (alice.info()["authorizing"], bob.info()["authorizing"])
        assert ("alice", "bob") == (alice.user_tag, bob.user_tag)

    def test_a_new_key_is_its_makers(self, alice: Any) -> None:
        """However it is made; nobody else has anything to do with it."""
        alice.set("a", value())
        alice.set_data("b", io.BytesIO(b"x"))
        alice.set_metadata("c", {"n": 1})
        alice.from_bytes("d", b"x")

        for key in "abcd":
            assert {"owned": {"alice"}} == alice.get_permissions(key)
            assert {"owned": {"alice"}} == alice.get(key).permissions

    def test_an_owner_may_do_everything(self, alice: Any) -> None:
        """Read, change, find and delete."""
        alice.set("a", value(b"1", n=1))
        alice.set_data("a", io.BytesIO(b"two"))
        alice.update_metadata("a", {"m": 2})

        assert (b"two", {"n": 1, "m": 2}) == content(alice, "a")
        assert b"w" == alice.get_data_range("a", 1, 2).read()
        assert [("a", {"m": 2})] == list(alice.query(select=["m"], n=1))
        alice.delete("a")
        assert not alice.exists("a")

    # -- Who may not see a key -----------------------------------------------

    def test_a_hidden_key_cannot_be_read(self, alice: Any, bob: Any) -> None:
        """It is not there, whatever is tried."""
        alice.set("a", value(n=1))

        assert not bob.exists("a")
        for read in reads_of(bob, "a"):
            with pytest.raises(KeyError):
                read()

    def test_a_hidden_key_is_in_no_search(self, alice: Any, bob: Any) -> None:
        """Neither in queries, with and without conditions, nor in globs."""
        alice.set("a", value(n=1))
        bob.set("b", value(n=1))

        assert [("b", {"n": 1})] == list(bob.query())
        assert [("b", {"n": 1})] == list(bob.query(n=1))
        assert (["b"], ["b"]) == (list(bob.query_keys()), list(bob.query_keys(n=1)))
        assert ["b"] == list(bob.glob("*"))

    def test_the_name_of_a_hidden_key_is_taken(self, alice: Any, bob: Any) -> None:
        """It can be neither made nor changed."""
        alice.set("a", value(b"old", n=1))
        for write in writes_of(bob, "a"):
            with pytest.raises(AuthorizationError):
                write()

        assert (b"old", {"n": 1}) == content(alice, "a")
        assert {"owned": {"alice"}} == alice.get_permissions("a")

    def test_what_needs_a_key_does_not_find_a_hidden_one(self, alice: Any, bob: Any) -> None:
        """Update, delete, and what only owners may."""
        alice.set("a", value(b"old", n=1))
        calls: list[Callable[[], object]] = [
            lambda: bob.update_metadata("a", {"n": 2}),
            lambda: bob.multiupdate_metadata(["a"], [{"n": 2}]),
            lambda: bob.delete("a"),
            *owners_calls(bob, "a"),
        ]
        for call in calls:
            with pytest.raises(KeyError):
                call()

        assert (b"old", {"n": 1}) == content(alice, "a")

    def test_a_hidden_key_looks_like_none(self, alice: Any, bob: Any) -> None:
        """The errors are the same, but for the key."""
        alice.set("a", value())
        messages = []
        for key in ("a", "b"):
            with pytest.raises(KeyNotFound) as caught:
                bob.get(key)
            messages.append(str(caught.value).replace(repr(key), "KEY"))

        assert messages[0] == messages[1]

    # -- Who may see a key, and not more -------------------------------------

    def test_who_sees_a_key_may_not_read_it(self, alice: Any, bob: Any) -> None:
        """It is there and in searches; nothing that is in it is told."""
        alice.set("a", value(n=1))
        alice.update_permissions("a", {"exists": {"bob"}})

        assert bob.exists("a")
        assert ["a"] == list(bob.query_keys())
        assert [("a", {})] == list(bob.query())
        assert [] == list(bob.query(n=1))
        for read in reads_of(bob, "a"):
            with pytest.raises(AuthorizationError):
                read()

    @pytest.mark.parametrize("right", ["exists", "get", "delete"])
    def test_who_may_not_write_a_key_does_not(self, right: str, alice: Any, bob: Any) -> None:
        """Whatever else is permitted."""
        alice.set("a", value(b"old", n=1))
        alice.update_permissions("a", {right: {"bob"}})
        update: Callable[[], object] = lambda: bob.update_metadata("a", {"n": 2})  # noqa: E731
        for write in [*writes_of(bob, "a"), update]:
            with pytest.raises(AuthorizationError):
                write()

        assert (b"old", {"n": 1}) == content(alice, "a")

    @pytest.mark.parametrize("right", ["exists", "get", "set"])
    def test_who_may_not_delete_a_key_does_not(self, right: str, alice: Any, bob: Any) -> None:
        """Whatever else is permitted."""
        alice.set("a", value())
        alice.update_permissions("a", {right: {"bob"}})
        with pytest.raises(AuthorizationError):
            bob.delete("a")

        assert alice.exists("a")

    @pytest.mark.parametrize("right", ["exists", "get", "set", "delete"])
    def test_permissions_are_for_owners(self, right: str, alice: Any, bob: Any) -> None:
        """Who sees the key is told so."""
        alice.set("a", value())
        alice.update_permissions("a", {right: {"bob"}})
        for call in owners_calls(bob, "a"):
            with pytest.raises(AuthorizationError):
                call()

        assert {"owned": {"alice"}, right: {"bob"}} == alice.get_permissions("a")

    def test_a_value_shows_its_permissions_to_owners(self, alice: Any, bob: Any) -> None:
        """A reader who does not own the key gets an error."""
        alice.set("a", value())
        alice.update_permissions("a", {"get": {"bob"}})

        with pytest.raises(AuthorizationError):
            _ = bob.get("a").permissions

    # -- What permissions give -----------------------------------------------

    def test_get_lets_read(self, alice: Any, bob: Any, tmp_path: Path) -> None:
        """In every way, and search too."""
        alice.set("a", value(b"data", n=1))
        alice.update_permissions("a", {"get": {"bob"}})
        bob.to_file("a", tmp_path / "file")

        for read in reads_of(bob, "a"):
            read()
        assert (b"data", {"n": 1}) == content(bob, "a")
        assert b"data" == (tmp_path / "file").read_bytes()
        assert [("a", {"n": 1})] == list(bob.query(n=1))

    def test_set_lets_write(self, alice: Any, bob: Any) -> None:
        """In every way, not read; and the key stays whose it was."""
        alice.set("a", value(b"old", n=1))
        alice.update_permissions("a", {"set": {"bob"}})
        for write in writes_of(bob, "a"):
            write()
        bob.update_metadata("a", {"m": 2})

        assert (b"new", {"n": 9, "m": 2}) == content(alice, "a")
        assert {"owned": {"alice"}, "set": {"bob"}} == alice.get_permissions("a")
        with pytest.raises(AuthorizationError):
            bob.get("a")

    def test_delete_lets_delete(self, alice: Any, bob: Any) -> None:
        """The next to make the key owns it."""
        alice.set("a", value())
        alice.update_permissions("a", {"delete": {"bob"}})
        bob.delete("a")
        bob.set("a", value())

        assert {"owned": {"bob"}} == bob.get_permissions("a")
        assert not alice.exists("a")

    @pytest.mark.parametrize("tag", ["staff", "*", "bob"])
    def test_groups_and_everybody_have_tags_too(self, tag: str, alice: Any, bob: Any) -> None:
        """A tag is that of a user, a group, or ``*`` for all."""
        alice.set("a", value(b"data"))
        alice.update_permissions("a", {"get": {tag}})

        assert b"data" == bob.to_bytes("a")

    def test_a_tag_of_others_gives_nothing(self, alice: Any, bob: Any) -> None:
        """Neither one that begins alike."""
        alice.set("a", value())
        alice.update_permissions("a", {"get": {"bobby", "staff2", "bo", ""}})

        assert not bob.exists("a")

    def test_a_permission_of_another_name_gives_nothing(self, alice: Any, bob: Any) -> None:
        """It is kept, for the program that knows it."""
        alice.set("a", value())
        alice.update_permissions("a", {"print": {"bob"}})

        assert not bob.exists("a")
        assert {"bob"} == alice.get_permissions("a")["print"]

    # -- Changing permissions ------------------------------------------------

    def test_set_permissions_replaces(self, alice: Any, bob: Any) -> None:
        """What is not given is gone."""
        alice.set("a", value())
        alice.update_permissions("a", {"get": {"bob"}})
        assert bob.exists("a")
        alice.set_permissions("a", {"owned": {"alice", "carol"}, "set": {"staff"}})

        assert {"owned": {"alice", "carol"}, "set": {"staff"}} == alice.get_permissions("a")
        with pytest.raises(AuthorizationError):
            bob.get("a")

    def test_update_permissions_adds(self, alice: Any) -> None:
        """Tags are added to those that are there."""
        alice.set("a", value())
        alice.update_permissions("a", {"get": {"bob"}})
        alice.update_permissions("a", {"get": {"carol"}, "owned": {"carol"}})

        assert {"owned": {"alice", "carol"}, "get": {"bob", "carol"}} == alice.get_permissions("a")

    def test_a_key_can_be_given_away(self, alice: Any, bob: Any) -> None:
        """Who gave it has nothing to do with it any more."""
        alice.set("a", value(b"data", n=1))
        alice.set_permissions("a", {"owned": {"staff"}})

        assert {"owned": {"staff"}} == bob.get_permissions("a")
        assert (b"data", {"n": 1}) == content(bob, "a")
        assert not alice.exists("a")

    @pytest.mark.parametrize("permissions", [{}, {"owned": set()}, {"get": {"alice"}}])
    def test_a_key_has_an_owner(self, permissions: Any, alice: Any) -> None:
        """Permissions without one are refused, and nothing is changed."""
        alice.set("a", value())
        with pytest.raises(InvalidValue):
            alice.set_permissions("a", permissions)

        assert {"owned": {"alice"}} == alice.get_permissions("a")

    @pytest.mark.parametrize("permissions", [{"owned": "alice"}, {"owned": {1}}, [], None])
    def test_permissions_are_sets_of_tags(self, permissions: Any, alice: Any) -> None:
        """Anything else is refused, and nothing is changed."""
        alice.set("a", value())
        for change in (alice.set_permissions, alice.update_permissions):
            with pytest.raises(InvalidValue):
                change("a", permissions)

        assert {"owned": {"alice"}} == alice.get_permissions("a")

    def test_there_are_no_permissions_without_a_key(self, alice: Any) -> None:
        """Nothing is made by asking."""
        for call in owners_calls(alice, "a"):
            with pytest.raises(KeyError):
                call()

        assert not alice.exists("a")

    def test_permissions_leave_the_value_alone(self, alice: Any) -> None:
        """Data and metadata are what they were."""
        alice.set("a", value(b"data", n=1))
        alice.set_permissions("a", {"owned": {"alice"}, "get": {"*"}})
        alice.update_permissions("a", {"set": {"bob"}})

        assert (b"data", {"n": 1}) == content(alice, "a")

    def test_owners_at_once_lose_nothing(self, make_stores: MakeStores, alice: Any) -> None:
        """Each addition is there in the end."""
        alice.set("a", value())
        stores = [make_stores("alice") for _ in range(4)]

        def add(number: int) -> None:
            for step in range(5):
                stores[number].update_permissions("a", {"get": {f"{number}-{step}"}})

        in_threads(add, len(stores))

        wanted = {f"{number}-{step}" for number in range(4) for step in range(5)}
        assert wanted == alice.get_permissions("a")["get"]

    def test_writers_and_owners_at_once_lose_nothing(
        self, make_stores: MakeStores, alice: Any
    ) -> None:
        """Writing a key brings no permissions back, and takes none away."""
        alice.set("a", value())
        alice.update_permissions("a", {"set": {"*"}})
        stores = [make_stores("alice"), make_stores("bob"), make_stores("carol")]

        def work(number: int) -> None:
            for step in range(8):
                if number == 0:
                    stores[0].update_permissions("a", {"get": {str(step)}})
                else:
                    stores[number].set("a", value(b"%d" % number, n=step))

        in_threads(work, 3)

        assert {str(step) for step in range(8)} == alice.get_permissions("a")["get"]

    def test_one_of_many_makers_owns_a_key(self, make_stores: MakeStores) -> None:
        """Who came too late is refused, and the key holds the owner's value."""
        users = ["u0", "u1", "u2", "u3"]
        stores = [make_stores(user) for user in users]
        refused: list[int] = []

        def make(number: int) -> None:
            try:
                stores[number].set("a", value(b"%d" % number))
            except AuthorizationError:
                refused.append(number)

        in_threads(make, 4)

        owner = ({0, 1, 2, 3} - set(refused)).pop()
        assert 3 == len(refused)
        assert {"owned": {users[owner]}} == stores[owner].get_permissions("a")
        assert b"%d" % owner == stores[owner].to_bytes("a")

    # -- What cannot be got round --------------------------------------------

    def test_permissions_are_no_metadata(self, alice: Any) -> None:
        """They are neither seen there nor set."""
        alice.set("a", value(n=1))
        forged = {PERMISSIONS_NAME: {"owned": ["*"]}}
        calls: list[Callable[[], object]] = [
            lambda: alice.set("a", StringValue(b"", forged)),
            lambda: alice.set("b", StringValue(b"", forged)),
            lambda: alice.set_metadata("a", forged),
            lambda: alice.update_metadata("a", forged),
            lambda: alice.multiset_metadata(["a"], [forged]),
            lambda: list(alice.query(**forged)),
        ]
        for call in calls:
            with pytest.raises(InvalidValue):
                call()

        assert {"n": 1} == alice.get_metadata("a") == alice.get("a").metadata
        assert {} == alice.get_metadata("a", [PERMISSIONS_NAME])
        assert [("a", {})] == list(alice.query(select=[PERMISSIONS_NAME]))
        assert [("a", {"n": 1})] == list(alice.query())

    def test_a_copy_is_the_copiers(self, alice: Any, bob: Any) -> None:
        """Permissions do not go with the value."""
        alice.set("a", value(b"data", n=1))
        alice.update_permissions("a", {"get": {"*"}})
        bob.set("b", bob.get("a"))

        assert (b"data", {"n": 1}) == content(bob, "b")
        assert {"owned": {"bob"}} == bob.get_permissions("b")

    def test_a_large_stream_is_written_once(self, alice: Any) -> None:
        """Also one that cannot be rewound."""

        class OneWay:
            def __init__(self, data: bytes) -> None:
                self._source = io.BytesIO(data)

            def read(self, size: int = -1) -> bytes:
                return self._source.read(size)

        data = bytes(range(256)) * 9000
        alice.set("a", (OneWay(data), {"n": 1}))
        alice.set_data("a", OneWay(data[1:]))

        assert data[1:] == alice.to_bytes("a")

    # -- Conditions ----------------------------------------------------------

    def test_conditions_hold(self, alice: Any) -> None:
        """A key is made once, and changed and deleted only at the version that is expected."""
        first = alice.set("a", value(b"1"), expect=ABSENT)
        with pytest.raises(VersionConflict):
            alice.set("a", value(b"2"), expect=ABSENT)
        second = alice.set_data("a", io.BytesIO(b"2"), expect=first)
        calls: list[Callable[[], object]] = [
            lambda: alice.set("a", value(b"3"), expect=first),
            lambda: alice.set_metadata("a", {"n": 3}, expect=first),
            lambda: alice.update_metadata("a", {"n": 3}, expect=first),
            lambda: alice.delete("a", expect=first),
        ]
        for call in calls:
            with pytest.raises(VersionConflict):
                call()

        assert (b"2", {}) == content(alice, "a")
        alice.delete("a", expect=second)
        assert not alice.exists("a")

    def test_conditions_tell_nothing_of_hidden_keys(self, alice: Any, bob: Any) -> None:
        """To who may not see a key, its version is that of no key."""
        version = alice.set("a", value())
        for expect in (ABSENT, version):
            with pytest.raises(AuthorizationError):
                bob.set("a", value(), expect=expect)
        messages = []
        for key in ("a", "b"):
            with pytest.raises(KeyError):
                bob.delete(key, expect=ABSENT)
            with pytest.raises(VersionConflict) as caught:
                bob.delete(key, expect=version)
            messages.append(str(caught.value).replace(repr(key), "KEY"))

        assert messages[0] == messages[1]
        assert alice.exists("a")


def in_threads(work: Callable[[int], None], count: int) -> None:
    """Run ``work(0)`` to ``work(count - 1)`` at once; raise what one of them raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait()
            work(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
