"""A value that lives in memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.errors import InvalidValue
from antiphon.storage.abstract_store import Value


class StringValue(Value):
    """A value made of bytes and metadata, such as one hands to ``set``.

    Args:
        data: the bytes; a ``bytearray`` or ``memoryview`` is copied.
        metadata: its metadata; copied whenever it is handed out.
        created, modified: seconds since the Unix epoch, UTC; None is now.

    Raises:
        InvalidValue: *data* are no bytes, or *metadata* no dictionary.
    """

    def __init__(
        self,
        data: bytes = b"",
        metadata: Mapping[str, Any] | None = None,
        created: float | None = None,
        modified: float | None = None,
    ) -> None:
        if not isinstance(data, bytes):
            data = _as_bytes(data)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise InvalidValue(f"metadata must be a dictionary, not {type(metadata).__name__}")
        self._data = data
        self._stream: BytesIO | None = None
        self._metadata = metadata if metadata is not None else {}
        self.size = len(data)
        now = time.time()
        self.created = now if created is None else created
        self.modified = now if modified is None else modified

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        if self._stream is None:
            self._stream = BytesIO(self._data)
        return self._stream

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return dict(self._metadata)

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        return BytesIO(self._data[start:end])


def _as_bytes(data: object) -> bytes:
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    hint = ""
    if isinstance(data, str):
        hint = "; say how the text is to be written, as in text.encode('utf-8')"
    elif hasattr(data, "read"):
        hint = "; hand a stream to set() as (stream, metadata)"
    raise InvalidValue(f"the data of a value must be bytes, not {type(data).__name__}{hint}")
