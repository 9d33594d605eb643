"""The suite of permissions' part on owners and what they change."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from typing import Any

import pytest

from antiphon.errors import AuthorizationError, InvalidValue
from antiphon.testing.permission_tests.base import (
    MakeStores,
    PermissionBase,
    content,
    in_threads,
    owners_calls,
    value,
)


class Owning(PermissionBase):
    """Owners, and the permissions that they give and take."""

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
