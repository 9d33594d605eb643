"""What all parts of the suite start from: fixtures and small helpers."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractReadOnlyStore
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.events import StoreModificationEvent
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.string_value import StringValue

#: Makes one more unconnected store on the medium of the test.
MakeStore = Callable[[], Any]

#: All that a store holds: data and metadata by key.
Content = Mapping[str, tuple[bytes, Mapping[str, Any]]]

#: Puts keys with their data and metadata into the medium, behind the store's back.
Seed = Callable[[Content], None]

#: Returns all that the medium holds, read behind the store's back.
Peek = Callable[[], Content]

#: Something that is tried.
Call = Callable[[], object]

#: More than a value may have to be kept in one piece.
LARGE = 3 * (1 << 20) + 17

#: Values of metadata that may be taken for one another.
LOOKALIKES: list[Any] = [
    1, 1.0, True, "1", b"1", 0, 0.0, False, "", b"", None, "None", [1], (1,), [], (), {},
    {"a": 1}, {1}, frozenset({1}), 2**62, "x" * 2000, "x" * 2001,
]  # fmt: skip


class SuiteBase:
    """Fixtures of all parts.

    A backend's class overrides ``make_store``; ``make_fresh_store`` if its
    stores share a medium; and, where the raw medium is easy to reach, ``seed``
    and ``peek``, so that writing is checked without trusting reading.
    """

    #: Whether all stores that ``make_store`` returns in a test are on one medium.
    shared: ClassVar[bool] = True

    #: Whether using a store before ``connect()`` is an error.
    needs_connecting: ClassVar[bool] = True

    #: What ``connect()`` is called with.
    credentials: ClassVar[Any] = None

    #: Names that the backend itself uses in its medium, to be tried as keys.
    internal_names: ClassVar[Sequence[str]] = ()

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Return a function that makes one more unconnected store on a fresh medium."""
        raise NotImplementedError("override make_store in the backend's test class")

    @pytest.fixture
    def make_fresh_store(self, make_store: MakeStore) -> MakeStore:
        """Return a function that makes a store on a medium of its own each time."""
        if self.shared:
            raise NotImplementedError("override make_fresh_store in the backend's test class")
        return make_store

    def emitter(self, store: Any) -> Any:
        """Return the store that emits the events: *store*, or the innermost one below it."""
        return store

    def connected(self, store: Any) -> Any:
        """Return *store*, connected, with an event manager of its own."""
        manager = EventManager()
        store.event_manager = manager
        self.emitter(store).event_manager = manager
        store.connect(self.credentials)
        return store

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Iterator[Any]:
        """A connected store on an empty medium, with an event manager of its own."""
        store = self.connected(make_store())
        yield store
        store.disconnect()

    @pytest.fixture
    def other(self, make_store: MakeStore, store: Any) -> Iterator[Any]:
        """A second store on the same medium; the same store where there can be none."""
        if not self.shared:
            yield store
            return
        other = self.connected(make_store())
        yield other
        other.disconnect()

    @pytest.fixture
    def seed(self, other: Any) -> Seed:
        """Put things into the medium behind the store's back: here through a second store."""

        def put(contents: Content) -> None:
            values = [(io.BytesIO(data), dict(metadata)) for data, metadata in contents.values()]
            other.multiset(list(contents), values)

        return put

    @pytest.fixture
    def peek(self, other: Any) -> Peek:
        """Look into the medium behind the store's back: here through a second store."""
        return lambda: everything(other)

    @pytest.fixture
    def heard(self, store: Any) -> list[Any]:
        """Every event that the store emits from now on."""
        return listen(self.emitter(store), BaseEvent)

    @pytest.fixture
    def changes(self, store: Any) -> list[Any]:
        """Every modification event that the store emits from now on."""
        return listen(self.emitter(store), StoreModificationEvent)


def listen(store: AbstractReadOnlyStore, cls: type[BaseEvent]) -> list[Any]:
    """Return a list that every event of class *cls* of *store* is added to."""
    events: list[Any] = []

    def hear(event: BaseEvent) -> None:
        events.append(event)

    store.event_manager.connect(cls, hear)
    return events


def told(events: list[Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return class name, key and metadata of each of *events*."""
    return [(type(event).__name__, event.key, event.metadata) for event in events]


def value(data: bytes = b"data", **metadata: Any) -> StringValue:
    """Return a value to be stored."""
    return StringValue(data, metadata)


def content(store: AbstractReadOnlyStore, key: str) -> tuple[bytes, dict[str, Any]]:
    """Return data and metadata of *key*."""
    found = store.get(key)
    with found.data as stream:
        return stream.read(), found.metadata


def everything(store: AbstractReadOnlyStore) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """Return all that *store* holds."""
    return {key: content(store, key) for key in store.query_keys()}


def journal_of(store: BackendStore) -> list[JournalEntry]:
    """Return the whole journal of *store*."""
    head = store.head()
    return list(store.since(Position(head.store_id, head.epoch, 0, b"")))


def large_bytes(size: int = LARGE, seed: int = 7) -> bytes:
    """Return *size* bytes in which no part is like another."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - no secret


class FailingStream(io.RawIOBase):
    """A stream that fails after some bytes, as one from the network may."""

    def __init__(self, good_bytes: int) -> None:
        self._left = good_bytes

    def read(self, size: int = -1) -> bytes:
        if self._left <= 0:
            raise OSError("the source failed")
        size = min(self._left, size if size > 0 else self._left)
        self._left -= size
        return b"x" * size
