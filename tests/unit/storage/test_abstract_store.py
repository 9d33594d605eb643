"""Stores as users of Encore write them: a few methods of their own, the rest derived."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import AntiphonError
from antiphon.events.api import EventManager, get_event_manager
from antiphon.storage import abstract_store
from antiphon.storage.abstract_store import (
    AbstractAuthorizingStore,
    AbstractReadOnlyStore,
    AbstractStore,
    AuthorizationError,
    StoreError,
    Value,
)
from antiphon.storage.journal import ABSENT
from antiphon.storage.string_value import StringValue


class Shelf(AbstractReadOnlyStore):
    """A read-only store with no more than it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.values = {"a": (b"one", {"n": 1, "m": 1}), "b/c": (b"three", {"n": 2})}

    def get(self, key: str) -> Value:
        return StringValue(*self.values[key])

    def query(self, select: Any = None, **kwargs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, (_, metadata) in self.values.items():
            if kwargs.items() <= metadata.items():
                yield key, metadata


class Notebook(Shelf, AbstractStore):
    """A store that can be written, without ``delete`` and ``transaction``."""

    def set_data(self, key: str, data: Any, buffer_size: int = 1 << 20, **options: Any) -> None:
        self.values[key] = (data.read(), self.values.get(key, (b"", {}))[1])

    def set_metadata(self, key: str, metadata: Any, **options: Any) -> None:
        self.values[key] = (self.values.get(key, (b"", {}))[0], metadata)

    def update_metadata(self, key: str, metadata: Any, **options: Any) -> None:
        self.values[key][1].update(metadata)


@pytest.mark.parametrize(
    "cls", [Value, AbstractReadOnlyStore, AbstractStore, AbstractAuthorizingStore]
)
def test_the_base_classes_can_be_instantiated(cls: type) -> None:
    """Encore's could, and programs do."""
    cls()


def test_the_module_has_encores_names() -> None:
    """The errors too, which are in our tree and still ``RuntimeError``s."""
    assert {"Value", "StoreError", "AuthorizationError"} <= set(abstract_store.__all__)
    assert issubclass(AuthorizationError, StoreError)
    assert issubclass(StoreError, RuntimeError)
    assert issubclass(StoreError, AntiphonError)


def test_a_store_knows_whether_it_is_connected() -> None:
    """Without any code of its own."""
    store = AbstractStore()
    seen = [store.is_connected()]
    with store:
        seen.append(store.is_connected())

    assert [False, True, False] == [*seen, store.is_connected()]


def test_the_event_manager_is_the_global_one() -> None:
    """Unless another is assigned."""
    store = AbstractStore()
    assert store.event_manager is get_event_manager()
    store.event_manager = mine = EventManager()

    assert store.event_manager is mine


def test_info_tells_what_kind_of_store_it_is() -> None:
    """Read-only or not, authorizing or not."""
    infos = [
        cls().info() for cls in (AbstractReadOnlyStore, AbstractStore, AbstractAuthorizingStore)
    ]

    assert [(True, False), (False, False), (False, True)] == [
        (info["readonly"], info["authorizing"]) for info in infos
    ]


def test_reading_is_derived_from_get(tmp_path: Path) -> None:
    """All ways to read a key."""
    store = Shelf()
    store.to_file("a", tmp_path / "file")

    assert b"one" == store.get_data("a").read() == store.to_bytes("a")
    assert b"one" == (tmp_path / "file").read_bytes()
    assert b"hre" == store.get_data_range("b/c", 1, 4).read()
    assert ({"n": 1}, {"n": 1, "m": 1}) == (store.get_metadata("a", ["n"]), store.get_metadata("a"))
    assert [True, False] == [store.exists("a"), store.exists("x")]
    assert [b"one", b"three"] == [each.data.read() for each in store.multiget(["a", "b/c"])]
    assert [b"three"] == [each.read() for each in store.multiget_data(["b/c"])]
    assert [{"n": 2}, {"n": 1}] == list(store.multiget_metadata(["b/c", "a"], iter(["n"])))


def test_searching_is_derived_from_query() -> None:
    """Keys and patterns."""
    store = Shelf()

    assert ["a"] == list(store.query_keys(n=1))
    assert ["b/c"] == list(store.glob("b*"))


def test_a_get_that_returns_a_pair_will_do(tmp_path: Path) -> None:
    """Programs of Encore's first days return the tuple itself."""

    class Old(Shelf):
        def get(self, key: str) -> Any:
            return io.BytesIO(b"old"), {}

    Old().to_file("a", tmp_path / "file")

    assert b"old" == (tmp_path / "file").read_bytes() == Old().to_bytes("a")


def test_writing_is_derived_without_transactions(tmp_path: Path) -> None:
    """``set``, the multi methods and the rest work where ``transaction`` is missing."""
    store = Notebook()
    (tmp_path / "file").write_bytes(b"file")
    store.set("x", StringValue(b"x", {"n": 9}))
    store.set("y", (io.BytesIO(b"y"), {}))
    store.from_bytes("a", b"bytes")
    store.from_file("b/c", tmp_path / "file")
    store.multiset(iter(["p", "q"]), iter([StringValue(b"p"), StringValue(b"q")]))
    store.multiset_data(["p"], [io.BytesIO(b"data"), io.BytesIO(b"ignored")])
    store.multiset_metadata(["q"], [{"m": 1}])
    store.multiupdate_metadata(["q"], [{"k": 2}])

    assert {
        "x": (b"x", {"n": 9}),
        "y": (b"y", {}),
        "a": (b"bytes", {"n": 1, "m": 1}),
        "b/c": (b"file", {"n": 2}),
        "p": (b"data", {}),
        "q": (b"q", {"m": 1, "k": 2}),
    } == store.values
    with pytest.raises(NotImplementedError):
        store.delete("x")
    with pytest.raises(NotImplementedError):
        store.transaction("x")


def test_writing_uses_a_transaction_that_is_there() -> None:
    """One for each call, whatever the number of keys."""
    calls: list[str] = []

    class Careful(Notebook):
        def transaction(self, notes: str) -> Any:
            calls.append(notes)
            return io.BytesIO()

    Careful().multiset(["p", "q"], [StringValue(), StringValue()])

    assert 3 == len(calls)
    assert "several" in calls[0]


def test_a_store_without_versions_refuses_conditions() -> None:
    """Rather than ignoring them."""
    with pytest.raises(StoreError, match="no versions"):
        Notebook().set("a", StringValue(), expect=ABSENT)


def test_permissions_are_those_of_the_value() -> None:
    """Unless a store says otherwise; who owns nothing sees none."""

    class Owned(Notebook, AbstractAuthorizingStore):
        pass

    assert "user" == Owned().user_tag
    with pytest.raises(AuthorizationError):
        Owned().get_permissions("a")
