"""A value that is a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, BinaryIO

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.storage.streams import open_pieces
from antiphon.storage.value import Value


class OpenFile:
    """A file that was opened for reading, until nobody needs it any more.

    It stays what it is when another file takes its name.

    Args:
        fd: its descriptor, which is closed with this object.
    """

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __del__(self) -> None:
        os.close(self._fd)

    def fetch(self, offset: int, size: int) -> bytes:
        """Return up to *size* bytes at *offset*."""
        try:
            piece = os.pread(self._fd, size, offset)
        except OSError as exc:
            raise StoreUnavailable(f"cannot read a file of data: {exc.strerror}") from exc
        if not piece:
            raise StoreError("another program has cut the file short while it was being read")
        return piece

    def open(self, start: int, end: int) -> BinaryIO:
        """Return a stream over bytes *start* to *end*, which must be there."""
        return open_pieces(self.fetch, start, end)


class FileValue(Value):
    """The content of a file, with metadata.

    Args:
        path: the file.  It is opened when its bytes are first asked for.
        metadata: the metadata; None is none.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(
        self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None
    ) -> None:
        self._path = os.fspath(path)
        self._metadata = {} if metadata is None else metadata
        self._stream: BinaryIO | None = None
        self._file: OpenFile | None = None
        found = os.stat(self._path)
        self.size = found.st_size
        self.modified = found.st_mtime

    @property
    def data(self) -> BinaryIO:
        """The stream of the bytes: one and the same at every access."""
        if self._stream is None:
            self._stream = open(self._path, "rb")  # noqa: SIM115 - the caller closes it
        return self._stream

    @property
    def metadata(self) -> dict[str, Any]:
        """A copy of the metadata."""
        return dict(self._metadata)

    def range(self, start: int | None = None, end: int | None = None) -> BinaryIO:
        """Return a new stream of ``data[start:end]``, counted as in Python slices."""
        if self._file is None:
            self._file = OpenFile(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC))
        size = self.size or 0
        first, after, _ = slice(start, end).indices(size)
        return self._file.open(first, max(first, after))
