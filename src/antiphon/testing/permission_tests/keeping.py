"""The suite of permissions' part on what nobody gets round."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.errors import AuthorizationError, InvalidValue, VersionConflict
from antiphon.storage.journal import ABSENT
from antiphon.storage.permissions import PERMISSIONS_NAME
from antiphon.storage.string_value import StringValue
from antiphon.testing.permission_tests.base import (
    PermissionBase,
    content,
    value,
)


class Keeping(PermissionBase):
    """Copies, metadata, streams and conditions tell and give nothing."""

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
