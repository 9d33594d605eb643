"""The half of the stores' API that reads; see ``abstract_store``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, BinaryIO, Self

from antiphon.events.api import BaseEventManager, get_event_manager
from antiphon.storage.checks import checked_select
from antiphon.storage.utils import BUFFER_BYTES, buffer_iterator, with_progress
from antiphon.storage.value import Value, select_from, split_value


class AbstractReadOnlyStore:
    """Stores that can be read.  A subclass has at least ``get`` and ``query``.

    Attributes:
        event_manager: emits the store's events; the global one unless assigned.
    """

    event_manager: BaseEventManager

    def __init__(self) -> None:
        self.event_manager = get_event_manager()
        self._connected = False

    # -- Connecting ----------------------------------------------------------

    def connect(self, credentials: Any = None) -> None:
        """Make the store ready for use.  Twice is fine.

        Args:
            credentials: whatever the store asks for; often a dictionary with
                ``username`` and ``password``, often nothing.

        Raises:
            AuthorizationError: the credentials are not valid.
            StoreUnavailable: the medium cannot be reached.
            IncompatibleStore: it holds data that this version cannot use.
        """
        self._connected = True

    def disconnect(self) -> None:
        """Let go of connections, files and the like.  Twice is fine."""
        self._connected = False

    def is_connected(self) -> bool:
        """Return whether the store is ready for use."""
        return self._connected

    def __enter__(self) -> Self:
        if not self.is_connected():
            self.connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def info(self) -> dict[str, Any]:
        """Return what the store says about itself: ``readonly``, ``authorizing`` and more."""
        return {"readonly": True, "authorizing": False}

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        """Return the value of *key*.

        Data and metadata of one value belong together, also when the key is
        changed while they are read.

        Raises:
            KeyNotFound: there is no such key (a ``KeyError``).
            InvalidKey: *key* is not text that can be written as UTF-8.
            StoreUnavailable: the medium cannot be reached.
        """
        raise NotImplementedError

    def get_data(self, key: str) -> BinaryIO:
        """Return a stream of the data of *key*; raises as ``get`` does."""
        return self.get(key).data

    def get_data_range(
        self, key: str, start: int | None = None, end: int | None = None
    ) -> BinaryIO:
        """Return a stream of a part of the data of *key*; raises as ``get`` does.

        Args:
            key: the key.
            start: offset of the first byte; None is 0, negative counts from the end.
            end: offset after the last byte; None is the end, negative counts from it.
        """
        return self.get(key).range(start, end)

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        """Return a copy of the metadata of *key*; raises as ``get`` does.

        Args:
            key: the key.
            select: names of the entries to return, those that are missing left
                out; None returns all.
        """
        metadata = self.get(key).metadata
        return metadata if select is None else select_from(metadata, select)

    def exists(self, key: str) -> bool:
        """Return whether there is *key*."""
        try:
            self.get(key)
        except KeyError:
            return False
        return True

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        """Yield the value of each of *keys*, read as they are asked for.

        Where it is quicker several are read at once: so *keys* may be taken up to
        a hundred ahead of what was yielded.  Raises as ``get`` does.
        """
        for key in keys:
            yield self.get(key)

    def multiget_data(self, keys: Iterable[str]) -> Iterator[BinaryIO]:
        """Yield a stream of the data of each of *keys*."""
        for key in keys:
            yield self.get_data(key)

    def multiget_metadata(
        self, keys: Iterable[str], select: Iterable[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the metadata of each of *keys*, as ``get_metadata`` returns it."""
        names = checked_select(select)
        for key in keys:
            yield self.get_metadata(key, names)

    # -- Searching -----------------------------------------------------------

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        Args:
            select: names of the metadata entries to return; None returns all.
            **kwargs: metadata entries and the values they must have.  Without
                any, all keys match.
        """
        raise NotImplementedError

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        """Yield the keys whose metadata match all of *kwargs*; see ``query``."""
        return (key for key, _ in self.query(**kwargs))

    def glob(self, pattern: str) -> Iterator[str]:
        """Yield the keys that match *pattern*: ``*``, ``?``, ``[abc]``, case-sensitive.

        A ``*`` matches ``/`` too.
        """
        for key in self.query_keys():
            if fnmatch.fnmatchcase(key, pattern):
                yield key

    # -- Copying out ---------------------------------------------------------

    def to_file(self, key: str, path: Any, buffer_size: int = BUFFER_BYTES) -> None:
        """Write the data of *key* into the file at *path*, replacing what is there.

        Emits progress events if the data is longer than *buffer_size* bytes.

        Raises:
            KeyNotFound: there is no such key; the file is left alone.
            OSError: the file cannot be written.
        """
        value = self.get(key)
        with open(path, "wb") as file:
            for chunk in self._read_chunks(
                key, value, f"Saving key {key!r} to {path}", buffer_size
            ):
                file.write(chunk)

    def to_bytes(self, key: str, buffer_size: int = BUFFER_BYTES) -> bytes:
        """Return the data of *key*.

        Emits progress events if the data is longer than *buffer_size* bytes.
        Raises as ``get`` does.
        """
        value = self.get(key)
        return b"".join(self._read_chunks(key, value, f"Reading key {key!r}", buffer_size))

    def _read_chunks(self, key: str, value: Any, message: str, buffer_size: int) -> Iterator[bytes]:
        data, metadata = split_value(value)
        steps = getattr(value, "size", None)
        close = getattr(data, "close", None)
        try:
            yield from with_progress(
                self,
                buffer_iterator(data, buffer_size if buffer_size > 0 else BUFFER_BYTES),
                message=message,
                key=key,
                steps=-1 if steps is None else steps,
                metadata=metadata,
            )
        finally:
            if close is not None:
                close()
