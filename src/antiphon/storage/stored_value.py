"""A value as a backend holds it."""

from __future__ import annotations

from io import BytesIO
from typing import Any, BinaryIO

from antiphon.storage.changes import Record
from antiphon.storage.journal import ABSENT
from antiphon.storage.metadata import copied
from antiphon.storage.value import Value


class StoredValue(Value):
    """One version of one key; stays what it is when the key is changed.

    Args:
        record: what the backend read.
    """

    # In the class, so that making a value sets only what is known of it.
    _stream: BinaryIO | None = None
    size: int

    def __init__(self, record: Record) -> None:
        self.size, self._metadata, self.created, self.modified, version, self._open = record
        if version != ABSENT:
            # What an open transaction has written gets its version at the commit.
            self.version = version

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        stream = self._stream
        if stream is None:
            stream = self._stream = self._open(0, self.size)
        return stream

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return copied(self._metadata)

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        first, after, _ = slice(start, end).indices(self.size)
        return self._open(first, max(first, after))


class HeldValue(StoredValue):
    """Base of values whose data are at hand, in ``_data``; the rest is theirs to tell."""

    _data: bytes

    @property
    def size(self) -> int:  # type: ignore[override]
        """Bytes of data."""
        return len(self._data)

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        stream = self._stream
        if stream is None:
            stream = self._stream = BytesIO(self._data)
        return stream

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        return BytesIO(self._data[start:end])
