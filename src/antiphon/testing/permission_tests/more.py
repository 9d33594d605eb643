"""What stores with permissions do where there are transactions, a journal, local events."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import io
from typing import Any

import pytest

from antiphon.errors import AuthorizationError
from antiphon.storage.events import StoreEvent, StoreModificationEvent
from antiphon.storage.journal import Position
from antiphon.testing.permission_tests.base import content, value
from antiphon.testing.permission_tests.basic import PermissionSuite


class TransactingPermissions(PermissionSuite):
    """Permissions in transactions."""

    def test_permissions_hold_in_transactions(self, alice: Any, bob: Any) -> None:
        """What is not permitted ends the block, and nothing of it is left."""
        alice.set("a", value(b"old"))
        values = [value(), value(b"new")]
        with pytest.raises(AuthorizationError), bob.transaction("both"):
            bob.multiset(["b", "a"], values)

        assert b"old" == alice.to_bytes("a")
        assert not bob.exists("b")

    def test_permissions_change_with_their_key(self, alice: Any, bob: Any) -> None:
        """Made, given and changed in one transaction, then seen by the other."""
        with alice.transaction("all"):
            alice.set("a", value(b"1"))
            alice.update_permissions("a", {"get": {"bob"}})
            alice.set_data("a", io.BytesIO(b"2"))
            assert {"owned": {"alice"}, "get": {"bob"}} == alice.get_permissions("a")
            assert not bob.exists("b")

        assert b"2" == bob.to_bytes("a")

    def test_a_key_can_be_made_again_in_a_transaction(self, alice: Any, bob: Any) -> None:
        """It belongs to who made it last; and permissions of before are gone."""
        alice.set("a", value(b"1"))
        alice.set_permissions("a", {"owned": {"alice"}, "delete": {"bob"}, "get": {"carol"}})
        with bob.transaction("again"):
            bob.delete("a")
            bob.set("a", value(b"2"))

        assert {"owned": {"bob"}} == bob.get_permissions("a")
        assert b"2" == bob.to_bytes("a")

    def test_permissions_are_rolled_back(self, alice: Any, bob: Any) -> None:
        """With everything else."""
        alice.set("a", value())

        def change() -> None:
            with alice.transaction("no"):
                alice.update_permissions("a", {"get": {"bob"}})
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            change()

        assert {"owned": {"alice"}} == alice.get_permissions("a")
        assert not bob.exists("a")

    def test_transactions_nest(self, alice: Any) -> None:
        """Only the outermost counts."""
        with alice.transaction("outer"):
            alice.set("a", value(b"1"))
            with alice.transaction("inner"):
                alice.set("a", value(b"2"))
            alice.set("a", value(b"3"))

        assert b"3" == alice.to_bytes("a")


class JournallingPermissions(PermissionSuite):
    """Permissions and the journal."""

    def test_the_journal_names_only_what_a_user_sees(self, alice: Any, bob: Any) -> None:
        """The entries of other keys are there, without the key."""
        alice.set("a", value())
        bob.set("b", value())
        alice.set("c", value())
        alice.update_permissions("c", {"exists": {"bob"}})
        start = _beginning(bob)

        assert [None, "b", "c", "c"] == [entry.key for entry in bob.since(start)]
        assert ["a", None, "c", "c"] == [entry.key for entry in alice.since(start)]
        assert bob.head() == alice.head()

    def test_a_key_that_is_gone_is_not_named(self, alice: Any, bob: Any) -> None:
        """Not to who might never see it; its older entries to nobody."""
        alice.set("a", value())
        alice.delete("a")

        assert [None, None] == [entry.key for entry in bob.since(_beginning(bob))]
        assert None is next(iter(alice.since(_beginning(alice)))).key


class TellingPermissions(PermissionSuite):
    """Permissions and the event managers of users."""

    def test_a_user_hears_of_what_the_user_sees(self, alice: Any, bob: Any) -> None:
        """With key and metadata; the source is the user's own store."""
        heard: list[Any] = []
        bob.event_manager.connect(StoreModificationEvent, heard.append)
        alice.set("a", value(n=1))
        alice.update_permissions("a", {"get": {"bob"}})
        alice.set_metadata("a", {"n": 2})
        alice.delete("a")

        assert [
            ("StoreUpdateEvent", "a", {"n": 1}),
            ("StoreUpdateEvent", "a", {"n": 2}),
            ("StoreDeleteEvent", "a", {"n": 2}),
        ] == [(type(event).__name__, event.key, event.metadata) for event in heard]
        assert all(event.source is bob for event in heard)

    def test_who_may_not_read_hears_no_metadata(self, alice: Any, bob: Any) -> None:
        """Only that the key was changed."""
        heard: list[Any] = []
        alice.set("a", value(n=1))
        alice.update_permissions("a", {"exists": {"bob"}})
        bob.event_manager.connect(StoreModificationEvent, heard.append)
        alice.set("a", value(n=2))

        assert [("a", {})] == [(event.key, event.metadata) for event in heard]

    def test_who_may_not_see_hears_nothing(self, alice: Any, bob: Any) -> None:
        """No change, no progress, no transaction."""
        heard: list[Any] = []
        bob.event_manager.connect(StoreEvent, heard.append)
        with alice.transaction("all"):
            alice.set("a", value(b"x" * 25), 10)
        alice.to_bytes("a", 10)
        alice.delete("a")

        assert [] == heard

    def test_a_user_hears_of_own_transfers(self, alice: Any) -> None:
        """Progress and transactions, with the key."""
        heard: list[Any] = []
        alice.event_manager.connect(StoreEvent, heard.append)
        with alice.transaction("all"):
            alice.set("a", value(b"x" * 25, n=1), 10)

        names = [type(event).__name__.removeprefix("Store") for event in heard]
        assert [
            "TransactionStartEvent",
            "ProgressStartEvent",
            *["ProgressStepEvent"] * 3,
            "ProgressEndEvent",
            "TransactionEndEvent",
            "SetEvent",
        ] == names
        assert all(event.source is alice for event in heard)
        assert {"n": 1} == heard[1].metadata == heard[-1].metadata

    def test_an_event_may_be_changed(self, alice: Any, bob: Any) -> None:
        """What one user does to it, others do not see, nor the store."""
        alice.set("a", value(tags=["x"]))
        alice.update_permissions("a", {"get": {"bob"}})

        def spoil(event: Any) -> None:
            event.metadata["tags"].append("spoiled")

        heard: list[Any] = []
        alice.event_manager.connect(StoreModificationEvent, spoil)
        bob.event_manager.connect(StoreModificationEvent, heard.append)
        alice.set_data("a", io.BytesIO(b"new"))

        assert [{"tags": ["x"]}] == [event.metadata for event in heard]
        assert (b"new", {"tags": ["x"]}) == content(alice, "a")


def _beginning(store: Any) -> Position:
    head = store.head()
    return Position(head.store_id, head.epoch, 0, b"")
