"""The suite of permissions' part on what a user may do with a key."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AuthorizationError, KeyNotFound
from antiphon.testing.permission_tests.base import (
    PermissionBase,
    content,
    owners_calls,
    reads_of,
    value,
    writes_of,
)


class Rights(PermissionBase):
    """Who sees, reads, writes and deletes what."""

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
