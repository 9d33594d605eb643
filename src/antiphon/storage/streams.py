"""Streams: over values that lie in pieces in a medium, and from users' sources."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, cast

from antiphon.errors import InvalidValue
from antiphon.storage.utils import BUFFER_BYTES

#: Bytes that a stream asks its medium for at least, if there are so many.
READ_AHEAD_BYTES = 1 << 18


class _PieceReader(io.RawIOBase):
    """Reads bytes *start* to *end* of a value through *fetch*."""

    def __init__(self, fetch: Callable[[int, int], bytes], start: int, end: int) -> None:
        self._fetch = fetch
        self._start = start
        self._end = end
        self._at = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = max(self._start, base + offset)
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = min(len(buffer), self._end - self._at)
        if size <= 0:
            return 0
        piece = self._fetch(self._at, size)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def open_pieces(fetch: Callable[[int, int], bytes], start: int, end: int) -> BinaryIO:
    """Return a seekable stream over the bytes *start* to *end* of a value.

    Args:
        fetch: ``fetch(offset, size)`` returns at least one and at most *size*
            bytes at *offset*; called as the stream is read, never ahead of it
            by more than ``READ_AHEAD_BYTES``.
        start: offset of the stream's first byte.
        end: offset after its last byte.
    """
    raw = _PieceReader(fetch, start, end)
    return cast(BinaryIO, io.BufferedReader(raw, READ_AHEAD_BYTES))


def checked_chunks(key: str, source: object, buffer_size: int) -> Iterator[bytes]:
    """Yield what *source* reads, in pieces of *buffer_size* bytes; the last may be shorter.

    Args:
        key: names the value in errors.
        source: has ``read(size)``, which may return less than asked for, and
            ``b""`` at the end.
        buffer_size: bytes a piece; below 1 the default is used.

    Raises:
        InvalidValue: *source* cannot be read, or does not give bytes.
    """
    read = getattr(source, "read", None)
    if not callable(read):
        hint = "; use from_bytes()" if isinstance(source, (bytes, bytearray, memoryview)) else ""
        raise InvalidValue(
            f"the data of {key!r:.80} must be a stream with read(),"
            f" not {type(source).__name__}{hint}"
        )
    return _read_chunks(key, read, buffer_size if buffer_size > 0 else BUFFER_BYTES)


def _read_chunks(key: str, read: Callable[[int], object], size: int) -> Iterator[bytes]:
    ended = False
    while not ended:
        pieces: list[bytes] = []
        held = 0
        while held < size:
            piece = _as_bytes(key, read(size - held))
            if not piece:
                ended = True
                break
            pieces.append(piece)
            held += len(piece)
        if pieces:
            yield pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _as_bytes(key: str, piece: object) -> bytes:
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    hint = "; open the file in binary mode" if isinstance(piece, str) else ""
    raise InvalidValue(
        f"the data of {key!r:.80} must be bytes, and its read() returned"
        f" {type(piece).__name__}{hint}"
    )


def rechunked(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Yield the bytes of *chunks* in pieces of exactly *size* bytes; the last may be shorter."""
    held = bytearray()
    for chunk in chunks:
        if not held and len(chunk) == size:
            yield chunk
            continue
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
