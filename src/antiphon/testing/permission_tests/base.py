"""What all parts of the suite of permissions start from: fixtures and small helpers."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytest

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


class PermissionBase:
    """Fixtures of the suite; the test class overrides ``make_stores``."""

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
