"""Helpers for those who write stores, and for those who stream values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self

from antiphon.events.api import ProgressManager
from antiphon.storage.events import (
    StoreModificationEvent,
    StoreProgressEndEvent,
    StoreProgressStartEvent,
    StoreProgressStepEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
)

#: Bytes read at a time where the caller says nothing else: 1 MiB, as in Encore.
BUFFER_BYTES = 1 << 20


class Readable(Protocol):
    """Whatever bytes can be read from."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to *size* bytes; ``b""`` at the end."""


# -- Streams -----------------------------------------------------------------


class BufferIteratorIO:
    """A readable stream over an iterable of byte strings.

    Args:
        iterator: yields the bytes; read no further than necessary.
    """

    def __init__(self, iterator: Iterable[bytes]) -> None:
        self.iterator: Iterator[bytes] | None = iter(iterator)
        self.buffer = b""

    def read(self, buffer_size: int | None = BUFFER_BYTES) -> bytes:
        """Return up to *buffer_size* bytes (None or negative: all); ``b""`` at the end.

        Raises:
            ValueError: the stream is closed.
        """
        if self.iterator is None:
            raise ValueError("read from a closed stream")
        wanted = None if buffer_size is None or buffer_size < 0 else buffer_size
        pieces, held = [self.buffer], len(self.buffer)
        while wanted is None or held < wanted:
            piece = next(self.iterator, None)
            if piece is None:
                break
            pieces.append(piece)
            held += len(piece)
        together = b"".join(pieces)
        self.buffer = b"" if wanted is None else together[wanted:]
        return together if wanted is None else together[:wanted]

    def close(self) -> None:
        """Let go of the iterator.  Twice is fine."""
        self.iterator = None
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.close()


def buffer_iterator(
    filelike: Readable,
    buffer_size: int = BUFFER_BYTES,
    progress: Callable[..., object] | None = None,
    max_bytes: int | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of *filelike* piece by piece.

    Args:
        filelike: what is read; it is not closed.
        buffer_size: bytes asked for at a time; a piece may be shorter.  Below 1
            the default is used.
        progress: called as ``progress(step=bytes_so_far)`` after each read, the
            last empty one included.
        max_bytes: stop after that many bytes; None reads to the end.
    """
    done = 0
    wanted = buffer_size if buffer_size > 0 else BUFFER_BYTES
    while max_bytes is None or done < max_bytes:
        if max_bytes is None:
            piece = filelike.read(wanted)
        else:
            # Some sources give more than they are asked for.
            piece = filelike.read(min(wanted, max_bytes - done))[: max_bytes - done]
        done += len(piece)
        if progress is not None:
            progress(step=done)
        if not piece:
            return
        yield piece


def tee(filelike: Readable, n: int = 2, buffer_size: int = BUFFER_BYTES) -> list[BufferIteratorIO]:
    """Return *n* streams that each give the bytes of *filelike*.

    What one stream has read and another not yet is kept in memory.
    """
    copies = itertools.tee(buffer_iterator(filelike, buffer_size), n)
    return [BufferIteratorIO(copy) for copy in copies]


class hashing_file:  # noqa: N801 - Encore's name
    """A stream that feeds what is read from it to a hash.

    Args:
        filelike: the stream that is read.
        hash: anything with ``update(bytes)``, such as ``hashlib.sha256()``.

    Attributes:
        len: bytes read so far.
    """

    def __init__(self, filelike: Any, hash: Any) -> None:
        self.filelike = filelike
        self.hash = hash
        self.len = 0

    def read(self, nbytes: int = -1) -> bytes:
        """Return up to *nbytes* bytes (negative: all) of the stream."""
        piece: bytes = self.filelike.read(nbytes)
        self.hash.update(piece)
        self.len += len(piece)
        return piece

    def close(self) -> None:
        """Close the stream underneath."""
        self.filelike.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self.close()


class _ManagedStream:
    """A stream that lacks ``with``, with it; everything else is the stream's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()


def add_context_manager_support(obj: Any) -> Any:
    """Return *obj*, or an equivalent of it, that a ``with`` statement takes.

    Use what is returned: Python looks for ``__enter__`` in the class, so that
    an object without it cannot be given one.
    """
    return obj if hasattr(type(obj), "__enter__") else _ManagedStream(obj)


# -- Progress ----------------------------------------------------------------


class StoreProgressManager(ProgressManager):
    """A ``ProgressManager`` whose events are those of stores."""

    StartEventType = StoreProgressStartEvent
    StepEventType = StoreProgressStepEvent
    EndEventType = StoreProgressEndEvent


def with_progress(
    store: Any, chunks: Iterator[bytes], *, message: str, key: str, steps: int = -1, metadata: Any
) -> Generator[bytes, None, None]:
    """Yield *chunks*, emitting progress events of *store* if there are two or more.

    What fits one chunk is over in one step, and has no progress to tell of.

    Args:
        store: source of the events, and holder of the event manager.
        chunks: the pieces of the value.
        message: says what is done; each step adds how many bytes are done.
        key: the key that is transferred.
        steps: bytes to be transferred; -1 if unknown.
        metadata: the metadata, or a function that returns it, called only if
            there is progress to tell of.
    """
    first = list(itertools.islice(chunks, 2))
    if len(first) < 2:
        yield from first
        return
    told = metadata() if callable(metadata) else metadata
    done = 0
    with StoreProgressManager(
        store.event_manager, store, None, message, steps, key=key, metadata=told
    ) as progress:
        for chunk in itertools.chain(first, chunks):
            yield chunk
            done += len(chunk)
            progress(f"{message} ({done} bytes done)", step=done)


# -- Transactions ------------------------------------------------------------


class DummyTransactionContext:
    """What ``transaction()`` may return where there are no transactions.

    There is one for each store, kept as its ``_transaction``.

    Args:
        store: the store.
    """

    store: Any

    def __new__(cls, store: Any) -> Self:
        present: Self | None = getattr(store, "_transaction", None)
        if present is None:
            present = super().__new__(cls)
            present.store = store
            store._transaction = present
        return present

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        pass


class _HoldingManager:
    """Stands in for a store's event manager and keeps modification events back."""

    def __init__(self, store: Any) -> None:
        self.event_manager = store.event_manager
        self.held: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self._store = store

    def emit(self, event: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(event, StoreModificationEvent) and event.source is self._store:
            self.held.append((event, args, kwargs))
            return None
        return self.event_manager.emit(event, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.event_manager, name)


class SimpleTransactionContext:
    """Transactions for a store that can begin, commit and roll back.

    There is one for each store, kept as its ``_transaction`` while it is open;
    entering it again nests, and only the outermost block counts.  The store's
    modification events are held back until the commit, and dropped after a
    rollback.

    Args:
        store: the store; its ``_begin_transaction``, ``_commit_transaction``
            and ``_rollback_transaction`` are called where it has them.
    """

    # Encore held events back with a listener that marks them as handled.  With
    # an event manager that publishes, they would leave the process all the
    # same: so they are kept from it altogether.

    store: Any
    _depth: int
    _holder: _HoldingManager | None

    def __new__(cls, store: Any) -> Self:
        present: Self | None = getattr(store, "_transaction", None)
        if present is None:
            present = super().__new__(cls)
            present.store = store
            present._depth = 0
            present._holder = None
            store._transaction = present
        return present

    def __enter__(self) -> Self:
        if self._depth == 0:
            self.begin()
            self.store.event_manager.emit(StoreTransactionStartEvent(self.store))
            self._holder = self.store.event_manager = _HoldingManager(self.store)
        self._depth += 1
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        done = False
        try:
            if exc_type is None:
                self.commit()
                done = True
            else:
                self.rollback()
        finally:
            self._end(done)

    def _end(self, done: bool) -> None:
        holder, self._holder = self._holder, None
        assert holder is not None  # noqa: S101 - entered, so there is one
        manager = self.store.event_manager = holder.event_manager
        self.store._transaction = None
        manager.emit(StoreTransactionEndEvent(self.store, state="done" if done else "failed"))
        if done:
            for event, args, kwargs in holder.held:
                manager.emit(event, *args, **kwargs)

    def begin(self) -> None:
        """Begin a transaction: the store's ``_begin_transaction()``, if it has one."""
        self._tell_store("_begin_transaction")

    def commit(self) -> None:
        """Commit it: the store's ``_commit_transaction()``, if it has one."""
        self._tell_store("_commit_transaction")

    def rollback(self) -> None:
        """Roll it back: the store's ``_rollback_transaction()``, if it has one."""
        self._tell_store("_rollback_transaction")

    def _tell_store(self, method: str) -> None:
        step = getattr(self.store, method, None)
        if step is not None:
            step()
