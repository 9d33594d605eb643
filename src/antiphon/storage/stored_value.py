"""A value as a backend holds it."""

from __future__ import annotations

from typing import Any, BinaryIO

from antiphon.storage.abstract_store import Value
from antiphon.storage.changes import Record
from antiphon.storage.journal import ABSENT
from antiphon.storage.metadata import copied


class StoredValue(Value):
    """One version of one key; stays what it is when the key is changed.

    Args:
        record: what the backend read.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._stream: BinaryIO | None = None
        self.size = record.size
        self.created = record.created
        self.modified = record.modified
        # What an open transaction has written gets its version at the commit.
        self.version = None if record.version == ABSENT else record.version

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        if self._stream is None:
            self._stream = self._record.open(0, self._record.size)
        return self._stream

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return copied(self._record.metadata)

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        first, after, _ = slice(start, end).indices(self._record.size)
        return self._record.open(first, max(first, after))
