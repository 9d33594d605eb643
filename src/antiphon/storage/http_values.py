"""Values that lie behind URLs."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from antiphon.storage.http_answer import HttpAnswer
from antiphon.storage.http_bodies import READ_AT_ONCE_BYTES, OpenAt, stream_of
from antiphon.storage.http_protocol import times_of, version_of
from antiphon.storage.metadata import copied
from antiphon.storage.value import Value

Permissions = dict[str, set[str]]


class WholeValue(Value):
    """Data and metadata of one version, from one answer.

    Small data are read at once, so that the value holds no connection; large
    ones as they are asked for, from the same answer.

    Args:
        answer: stands at the first byte of the data.
        size: bytes of data.
        metadata: its metadata, for this value alone.
        open_at: opens the data of this version at an offset; raises if the key
            has another version by now.
        permissions: returns the permissions of the key.
    """

    def __init__(
        self,
        answer: HttpAnswer,
        size: int,
        metadata: dict[str, Any],
        open_at: OpenAt,
        permissions: Callable[[], Permissions],
    ) -> None:
        self.size: int = size
        self.created, self.modified = times_of(answer)
        self.version = version_of(answer)
        self._metadata = metadata
        self._open_at = open_at
        self._permissions = permissions
        self._bytes: bytes | None = None
        if size <= READ_AT_ONCE_BYTES:
            with answer:
                self._bytes = answer.exactly(size)
            self._data: BinaryIO = io.BytesIO(self._bytes)
        else:
            self._data = stream_of(answer, open_at, 0, size)

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        return self._data

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return copied(self._metadata)

    @property
    def permissions(self) -> Permissions:
        """The permissions that the key has now; see ``get_permissions``."""
        return self._permissions()

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices.

        Raises:
            VersionConflict: the data were too large to be kept, and the key
                has another version by now.
        """
        if self._bytes is not None:
            return io.BytesIO(self._bytes[start:end])
        first, after, _ = slice(start, end).indices(self.size)
        if first >= after:
            return io.BytesIO()
        return stream_of(self._open_at(first), self._open_at, first, after)


@dataclass(slots=True)
class _Opened:
    """What is known once the data were asked for."""

    stream: BinaryIO
    size: int | None
    created: float | None
    modified: float | None


class LazyValue(Value):
    """Metadata that were read, and data that are asked for when they are needed.

    Args:
        metadata: for this value alone.
        open_data: opens the data; returns the answer and a stream.
        open_range: opens a part of them.
        permissions: returns the permissions of the key.
    """

    def __init__(
        self,
        metadata: dict[str, Any],
        open_data: Callable[[], tuple[HttpAnswer, BinaryIO]],
        open_range: Callable[[int | None, int | None], BinaryIO],
        permissions: Callable[[], Permissions],
    ) -> None:
        self._metadata = metadata
        self._open_data = open_data
        self._open_range = open_range
        self._permissions = permissions
        self._opened: _Opened | None = None

    def _open(self) -> _Opened:
        if self._opened is None:
            answer, stream = self._open_data()
            self._opened = _Opened(stream, answer.length, *times_of(answer))
        return self._opened

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        return self._open().stream

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return copied(self._metadata)

    @property
    def size(self) -> int | None:  # type: ignore[override]
        """Bytes of data; None if the server does not say."""
        return self._open().size

    @property
    def created(self) -> float | None:  # type: ignore[override]
        """When the key was created, in seconds since 1970; None if the server does not say."""
        return self._open().created

    @property
    def modified(self) -> float | None:  # type: ignore[override]
        """When the key was last changed, likewise."""
        return self._open().modified

    @property
    def permissions(self) -> Permissions:
        """The permissions that the key has now; see ``get_permissions``."""
        return self._permissions()

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        return self._open_range(start, end)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # asks for nothing
