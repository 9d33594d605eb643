"""Bodies of answers as streams, and parts of them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, cast

from antiphon.errors import InvalidValue, StoreError, StoreUnavailable
from antiphon.storage.http_answer import HttpAnswer
from antiphon.storage.streams import READ_AHEAD_BYTES

#: Values up to this many bytes are read at once, so that they hold no connection.
READ_AT_ONCE_BYTES = 1 << 20

#: Bytes that are sent together at least.
_PIECE_BYTES = 1 << 16

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")

#: ``open_at(offset)``: an answer whose next byte is that at *offset* of the data.
OpenAt = Callable[[int], HttpAnswer]


class _AnswerReader(io.RawIOBase):
    """Reads data from *start* to *end* (None: as far as they go); see ``stream_of``."""

    def __init__(
        self, answer: HttpAnswer | None, open_at: OpenAt, start: int, end: int | None
    ) -> None:
        self._answer = answer
        self._answer_at = start
        self._open_at = open_at
        self._start = start
        self._end = end
        self._at = start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._end is not None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._end is None:
            raise io.UnsupportedOperation("the server does not say how long the data are")
        base = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        self._at = max(self._start, base + offset)
        return self._at - self._start

    def tell(self) -> int:
        return self._at - self._start

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.closed:
            raise ValueError("read from a closed stream")
        size = len(buffer) if self._end is None else min(len(buffer), self._end - self._at)
        if size <= 0:
            self._finish()
            return 0
        if self._answer is None or self._answer_at != self._at:
            self._drop()
            self._answer, self._answer_at = self._open_at(self._at), self._at
        piece = self._answer.read(size)
        if not piece:
            if self._end is not None:
                raise StoreUnavailable(
                    f"{self._answer.url}: the data ended after {self._at - self._start} of"
                    f" {self._end - self._start} bytes; try again"
                )
            self._end = self._at
        buffer[: len(piece)] = piece
        self._at += len(piece)
        self._answer_at = self._at
        return len(piece)

    def _finish(self) -> None:
        """Read the end of the body too: so it is known to be whole, and the connection free."""
        answer = self._answer
        if answer is not None and self._answer_at == self._end:
            answer.read(1)
        self._drop()

    def _drop(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def close(self) -> None:
        if not self.closed:
            self._drop()
        super().close()


def stream_of(
    answer: HttpAnswer | None, open_at: OpenAt, start: int = 0, end: int | None = None
) -> BinaryIO:
    """Return a stream over the data from *start* to *end* (None: as far as they go).

    Args:
        answer: stands at *start*; None to open one when it is read.
        open_at: opens another one after a seek.
    """
    raw = _AnswerReader(answer, open_at, start, end)
    return cast(BinaryIO, io.BufferedReader(raw, READ_AHEAD_BYTES))


def data_of(answer: HttpAnswer, open_at: OpenAt) -> BinaryIO:
    """Return a stream over the body of *answer*; a small one is read at once."""
    if answer.length is not None and answer.length <= READ_AT_ONCE_BYTES:
        return io.BytesIO(answer.whole())
    return stream_of(answer, open_at, 0, answer.length)


def open_range(
    ask: Callable[[Mapping[str, str]], HttpAnswer], first: int, after: int | None
) -> tuple[HttpAnswer, int | None] | None:
    """Return an answer that stands at byte *first*, and where it ends, if that is known.

    Args:
        ask: sends the request with more headers; its answer has status 200,
            206 or 416.
        first: offset of the first byte.
        after: offset after the last byte that is wanted; None for all.  A
            server without ranges sends more than that.

    Returns:
        None if the data end before *first*.
    """
    answer = ask({"Range": f"bytes={first}-{'' if after is None else after - 1}"})
    if answer.status == 416:
        answer.close()
        return None
    if answer.status == 206:
        return answer, _range_end(answer, first, after)
    return (answer, answer.length) if _skipped(answer, first) else None


def _range_end(answer: HttpAnswer, first: int, after: int | None) -> int:
    """Return the offset after the last byte of a part; ``StoreError`` if it is another part."""
    found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range") or "")
    if found is not None and int(found.group(1)) == first:
        end = int(found.group(2)) + 1
        wanted = [int(n) for n in (found.group(3), after) if n not in ("*", None)]
        if not wanted or end == min(wanted):
            return end
    answer.close()
    raise StoreError(
        f"{answer.url}: asked for the bytes from {first} to {after}, and the server answered with"
        f" {answer.header('Content-Range')!r}"
    )


def _skipped(answer: HttpAnswer, count: int) -> bool:
    while count > 0:
        piece = answer.read(min(count, _PIECE_BYTES))
        if not piece:
            answer.close()
            return False
        count -= len(piece)
    return True


def part_of(
    ask: Callable[[Mapping[str, str]], HttpAnswer], first: int, after: int | None
) -> BinaryIO:
    """Return a stream over the bytes from *first* to *after*, as far as there are such.

    Arguments are those of ``open_range``.
    """
    found = open_range(ask, first, after)
    if found is None:
        return io.BytesIO()
    answer, end = found
    if end is None and after is not None:
        return io.BytesIO(_up_to(answer, after - first))
    if end is not None and after is not None:
        end = min(end, after)

    def again(at: int) -> HttpAnswer:
        found = open_range(ask, at, end)
        if found is None:
            raise StoreError(f"the data became shorter than {at} bytes while they were read")
        return found[0]

    if end is not None and end - first <= READ_AT_ONCE_BYTES:
        with stream_of(answer, again, first, end) as stream:
            return io.BytesIO(stream.read())
    return stream_of(answer, again, first, end)


def _up_to(answer: HttpAnswer, count: int) -> bytes:
    # A server that knows neither lengths nor ranges: what is there is taken.
    with answer:
        pieces: list[bytes] = []
        while count > 0 and (piece := answer.read(min(count, _PIECE_BYTES))):
            pieces.append(piece)
            count -= len(piece)
    return b"".join(pieces)


# -- What is sent --------------------------------------------------------------


def limited(key: str, pieces: Iterable[bytes], limit: int | None) -> Iterator[bytes]:
    """Yield *pieces*; ``InvalidValue`` once they are more than *limit* bytes.

    A server that refuses a body half-way closes the connection, and its answer
    may be lost.
    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if limit is not None and size > limit:
            raise InvalidValue(
                f"the data of key {key!r:.200} are more than the server takes: {limit} bytes"
            )
        yield piece


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the bytes of *pieces*, small ones together."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield held[0] if len(held) == 1 else b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
