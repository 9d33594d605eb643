"""Helpers for stores: streams, progress, transactions."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.events.api import BaseEvent, EventManager
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.events import (
    StoreProgressEndEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreSetEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
)
from antiphon.storage.string_value import StringValue
from antiphon.storage.utils import (
    BufferIteratorIO,
    DummyTransactionContext,
    SimpleTransactionContext,
    StoreProgressManager,
    add_context_manager_support,
    buffer_iterator,
    hashing_file,
    tee,
)

# -- Streams -----------------------------------------------------------------


def test_a_buffer_iterator_yields_pieces() -> None:
    """Of the size that was asked for; the last may be shorter."""
    assert [b"abc", b"def", b"g"] == list(buffer_iterator(io.BytesIO(b"abcdefg"), 3))
    assert [] == list(buffer_iterator(io.BytesIO(b"")))


@pytest.mark.parametrize(
    ("max_bytes", "expected"), [(0, b""), (2, b"ab"), (5, b"abcde"), (99, b"abcdefg")]
)
def test_a_buffer_iterator_stops_at_its_maximum(max_bytes: int, expected: bytes) -> None:
    """And reads nothing beyond it."""
    stream = io.BytesIO(b"abcdefg")

    assert expected == b"".join(buffer_iterator(stream, 3, max_bytes=max_bytes))
    assert len(expected) == stream.tell()


def test_a_buffer_iterator_tells_how_far_it_is() -> None:
    """After each read, the last empty one included."""
    steps: list[int] = []
    list(buffer_iterator(io.BytesIO(b"abcdefg"), 3, lambda step: steps.append(step)))

    assert [3, 6, 7, 7] == steps


def test_an_iterator_is_read_as_a_stream() -> None:
    """In any sizes, whatever the sizes of the pieces, and no further than necessary."""
    taken: list[bytes] = []

    def pieces() -> Any:
        for piece in (b"a", b"", b"bcdef", b"gh", b"i"):
            taken.append(piece)
            yield piece

    stream = BufferIteratorIO(pieces())
    assert b"abc" == stream.read(3)
    assert [b"a", b"", b"bcdef"] == taken
    assert [b"", b"de", b"fghi", b""] == [
        stream.read(0),
        stream.read(2),
        stream.read(),
        stream.read(),
    ]


@pytest.mark.parametrize("size", [-1, None])
def test_an_iterator_is_read_to_its_end_at_once(size: int | None) -> None:
    """A negative size, or None, asks for all."""
    assert b"abc" == BufferIteratorIO([b"a", b"bc"]).read(size)


def test_a_closed_iterator_is_not_read() -> None:
    """As with any file."""
    with BufferIteratorIO(iter([b"abc"])) as stream:
        stream.read(1)
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_tee_gives_streams_of_the_same_bytes() -> None:
    """Each may be read at its own pace."""
    one, two, three = tee(io.BytesIO(b"abcdefg"), 3, 2)

    assert (b"abcdefg", b"ab") == (one.read(), two.read(2))
    assert (b"abcdefg", b"cdefg") == (three.read(), two.read())


def test_a_hashing_file_hashes_what_is_read() -> None:
    """And counts it, and closes what it reads."""
    source = io.BytesIO(b"abcdefg")
    with hashing_file(source, hashlib.sha256()) as stream:
        assert b"abc" == stream.read(3)
        assert b"defg" == stream.read()

    assert (7, hashlib.sha256(b"abcdefg").digest()) == (stream.len, stream.hash.digest())
    assert source.closed


def test_a_stream_without_with_gets_it() -> None:
    """And one that has it is left alone."""

    class Bare:
        closed = False

        def read(self, size: int = -1) -> bytes:
            return b"data"

        def close(self) -> None:
            self.closed = True

    bare, full = Bare(), io.BytesIO()
    with add_context_manager_support(bare) as stream:
        assert b"data" == stream.read()

    assert bare.closed
    assert full is add_context_manager_support(full)


# -- Progress ----------------------------------------------------------------


def test_a_progress_manager_emits_events_of_stores() -> None:
    """Start, steps and end, with key and metadata."""
    manager = EventManager()
    heard: list[Any] = []
    manager.connect(BaseEvent, heard.append)
    with StoreProgressManager(
        manager, "store", "id", "Working", 3, key="k", metadata={}
    ) as progress:
        progress("one", 1)

    assert [StoreProgressStartEvent, StoreProgressStepEvent, StoreProgressEndEvent] == [
        type(event) for event in heard
    ]
    assert {("store", "id", "k")} == {(e.source, e.operation_id, e.key) for e in heard}
    assert (3, 1, "normal") == (heard[0].steps, heard[1].step, heard[2].exit_state)


# -- Transactions ------------------------------------------------------------


class Ledgerless(AbstractStore):
    """A store of a user of Encore: a dictionary with begin, commit and rollback."""

    def __init__(self) -> None:
        super().__init__()
        self.event_manager = EventManager()
        self.calls: list[str] = []

    def transaction(self, notes: str = "") -> Any:
        return SimpleTransactionContext(self)

    def _begin_transaction(self) -> None:
        self.calls.append("begin")

    def _commit_transaction(self) -> None:
        self.calls.append("commit")

    def _rollback_transaction(self) -> None:
        self.calls.append("rollback")

    def set_metadata(self, key: str, metadata: Any, **options: Any) -> None:
        self.event_manager.emit(StoreSetEvent(self, key=key, metadata=metadata))

    def set_data(self, key: str, data: Any, *args: Any, **options: Any) -> None:
        self.event_manager.emit(StoreSetEvent(self, key=key, metadata=data.read()))


@pytest.fixture
def store() -> Ledgerless:
    """A store with simple transactions."""
    return Ledgerless()


@pytest.fixture
def heard(store: Ledgerless) -> list[Any]:
    """What the store emits."""
    events: list[Any] = []
    store.event_manager.connect(BaseEvent, events.append)
    return events


def test_a_dummy_transaction_is_one_a_store() -> None:
    """It does nothing, again and again."""
    store, other = AbstractStore(), AbstractStore()

    assert DummyTransactionContext(store) is DummyTransactionContext(store)
    assert DummyTransactionContext(store) is not DummyTransactionContext(other)
    with DummyTransactionContext(store) as outer, DummyTransactionContext(store) as inner:
        assert inner is outer
    with pytest.raises(KeyError), DummyTransactionContext(store):
        raise KeyError


def test_a_simple_transaction_holds_events_back(store: Ledgerless, heard: list[Any]) -> None:
    """Until its commit; other events pass."""
    with store.transaction():
        store.set("a", (io.BytesIO(b"1"), {}))
        store.event_manager.emit(StoreSetEvent(None, key="another store's"))
        assert [StoreTransactionStartEvent, StoreSetEvent] == [type(event) for event in heard]
        del heard[1]

    assert ["begin", "commit"] == store.calls
    assert ["StoreTransactionStartEvent", "StoreTransactionEndEvent", "StoreSetEvent",
            "StoreSetEvent"] == [type(event).__name__ for event in heard]  # fmt: skip
    assert [{}, b"1"] == [event.metadata for event in heard[2:]]
    assert "done" == heard[1].state


def test_a_simple_transaction_that_fails_drops_events(store: Ledgerless, heard: list[Any]) -> None:
    """It is rolled back, and what was held back is never told."""

    def fail() -> None:
        with store.transaction(), store.transaction():
            store.set_metadata("a", {})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert ["begin", "rollback"] == store.calls
    assert [StoreTransactionStartEvent, StoreTransactionEndEvent] == [type(e) for e in heard]
    assert "failed" == heard[1].state
    store.set_metadata("b", {})
    assert "b" == heard[-1].key


def test_a_commit_that_fails_drops_events(
    store: Ledgerless, heard: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store can be used again afterwards."""

    def fail() -> None:
        raise OSError("no commit")

    monkeypatch.setattr(store, "_commit_transaction", fail)
    with pytest.raises(OSError, match="no commit"), store.transaction():
        store.set_metadata("a", {})

    assert "failed" == heard[-1].state
    monkeypatch.undo()
    with store.transaction():
        store.set_metadata("b", {})
    assert ["b"] == [event.key for event in heard if isinstance(event, StoreSetEvent)]


def test_held_events_stay_from_a_manager_that_publishes(store: Ledgerless) -> None:
    """What is rolled back never reaches ``emit``, which may send it elsewhere."""
    published: list[Any] = []

    class Bus(EventManager):
        def emit(self, event: Any, block: bool = True) -> Any:
            published.append(event)
            return super().emit(event, block)

    store.event_manager = Bus()

    def fail() -> None:
        with store.transaction():
            store.set_metadata("a", {})
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not [event for event in published if isinstance(event, StoreSetEvent)]


@pytest.mark.parametrize("context", [SimpleTransactionContext, DummyTransactionContext])
def test_a_store_may_have_no_hooks(context: Callable[[Any], Any]) -> None:
    """Begin, commit and rollback are called where they are."""
    store = AbstractStore()
    store.event_manager = EventManager()
    with context(store):
        pass
    with pytest.raises(KeyError), context(store):
        raise KeyError


@pytest.mark.parametrize("buffer_size", [0, -1, -100])
def test_a_buffer_iterator_ignores_a_size_that_makes_no_sense(buffer_size: int) -> None:
    """Nothing is lost, and no more than the maximum is given."""
    assert [b"data"] == list(buffer_iterator(io.BytesIO(b"data"), buffer_size))
    assert [b"da"] == list(buffer_iterator(io.BytesIO(b"data"), buffer_size, max_bytes=2))


def test_a_buffer_iterator_keeps_to_its_maximum_whatever_a_source_gives() -> None:
    """A source that ignores the size it is asked for is cut off."""

    class Generous(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(3)

    pieces = buffer_iterator(Generous(b"0123456789"), 2, max_bytes=5)

    assert b"01234" == b"".join(pieces)


def test_a_progress_manager_is_a_progress_callback() -> None:
    """``iterdata(progress=…)`` takes one inside its block, as the manual says."""
    manager = EventManager()
    steps: list[int] = []
    manager.connect(StoreProgressStepEvent, lambda event: steps.append(event.step))
    with StoreProgressManager(manager, None, key="a", metadata={}) as progress:
        pieces = list(StringValue(b"0123456789").iterdata(4, progress))

    assert [b"0123", b"4567", b"89"] == pieces
    assert [4, 8, 10, 10] == steps
