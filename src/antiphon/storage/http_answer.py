"""An answer whose body is read as it is asked for, whichever library has fetched it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Protocol, Self

from antiphon.errors import StoreError, StoreUnavailable

#: Bytes of an answer that is read at once: metadata have at most 4 MiB as text.
MAX_ANSWER_BYTES = 1 << 26


class Headers(Protocol):
    """Headers by name, in any capitals."""

    def get(self, name: str, /) -> str | None:
        """Return a header; None if it is not there."""


class HttpAnswer:
    """An answer.

    Args:
        status: of HTTP.
        url: where it came from, after redirections.
        headers: of the answer.
        length: bytes of the body; None if the server does not say.
        read: returns up to that many bytes (negative: all), ``b""`` at the end.
        close: gives the connection back, or closes it.
        place: names the server in messages.
        failures: what *read* may raise.
    """

    def __init__(
        self,
        *,
        status: int,
        url: str,
        headers: Headers,
        length: int | None,
        read: Callable[[int], bytes],
        close: Callable[[], object],
        place: str,
        failures: tuple[type[BaseException], ...],
    ) -> None:
        self.status = status
        self.url = url
        self.length = length
        self._headers = headers
        self._read_on = read
        self._close = close
        self._place = place
        self._failures = failures
        self._read = 0
        self._is_closed = False

    def header(self, name: str) -> str | None:
        """Return a header; None if it is not there."""
        return self._headers.get(name)

    @property
    def told_length(self) -> int | None:
        """What ``Content-Length`` says, also where there is no body: after HEAD."""
        return length_in(self._headers)

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes (negative: all that are left); ``b""`` at the end.

        Raises:
            StoreUnavailable: the connection broke, or the body is shorter than
                the server said.
        """
        if size == 0 or self.length == 0:
            return b""
        try:
            piece = self._read_on(size)
        except self._failures as exc:
            self.close()
            raise StoreUnavailable(
                f"{self._place}: the answer broke off after {self._read} bytes ({reason_of(exc)})"
            ) from exc
        self._read += len(piece)
        ended = size < 0 or not piece
        if ended and self.length is not None and self._read < self.length:
            self.close()
            raise StoreUnavailable(
                f"{self._place}: the answer ended after {self._read} of {self.length} bytes;"
                " try again"
            )
        return piece

    def exactly(self, size: int) -> bytes:
        """Return the next *size* bytes; ``StoreUnavailable`` if there are not so many."""
        pieces: list[bytes] = []
        while size > 0:
            piece = self.read(size)
            if not piece:
                self.close()
                raise StoreUnavailable(f"{self._place}: the answer ended {size} bytes too early")
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def whole(self, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body and close; raises ``StoreError`` if it is above *limit* bytes."""
        with self:
            if self.length is not None and self.length <= limit:
                return self.exactly(self.length)
            pieces: list[bytes] = []
            held = 0
            while held <= limit and (piece := self.read(1 << 16)):
                pieces.append(piece)
                held += len(piece)
        if held > limit:
            raise StoreError(f"{self._place}: the answer has more than {limit} bytes")
        return b"".join(pieces)

    def json(self, limit: int = MAX_ANSWER_BYTES) -> Any:
        """Return the body as JSON, and close; ``StoreError`` if it is none."""
        text = self.whole(limit)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise StoreError(f"{self._place}: the answer is no JSON: {text[:80]!r}") from None

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of the body without their ends, and close.

        Raises ``StoreError`` at a line of more than ``MAX_ANSWER_BYTES``.
        """
        with self:
            begun: list[bytes] = []
            held = 0
            while piece := self.read(1 << 16):
                first, *others = piece.split(b"\n")
                begun.append(first)
                held += len(first)
                if others:
                    yield b"".join(begun)
                    yield from others[:-1]
                    begun, held = others[-1:], len(others[-1])
                elif held > MAX_ANSWER_BYTES:
                    raise StoreError(f"{self._place}: a line of more than {MAX_ANSWER_BYTES} bytes")
            if held:
                yield b"".join(begun)

    def close(self) -> None:
        """Give the connection back; one with an unread rest is closed.  Twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._read == self.length:
            # The libraries give a connection back when they see the end themselves.
            with contextlib.suppress(*self._failures):
                self._read_on(-1)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def length_in(headers: Headers) -> int | None:
    """Return what ``Content-Length`` says; None if it says nothing that makes sense."""
    text = headers.get("Content-Length") or ""
    # Python refuses to read numbers of thousands of digits.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def chain_of(exc: BaseException) -> Iterator[BaseException]:
    """Yield *exc* and what is behind it, where libraries wrap one error in another."""
    inner: object = exc
    while isinstance(inner, BaseException):
        yield inner
        outer, inner = inner, getattr(inner, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((arg for arg in reversed(outer.args) if isinstance(arg, Exception)), None)


def reason_of(exc: BaseException) -> str:
    """Return in words what was the matter."""
    *_, root = chain_of(exc)
    # urllib3 says which pool it was before it says what was the matter.
    text = str(root).rpartition("): ")[2] or type(root).__name__
    return text[:300]
