"""What is answered: status, headers, body, and what became of errors."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from antiphon.errors import (
    AuthenticationError,
    AuthorizationError,
    IncompatibleStore,
    InvalidFreshness,
    InvalidKey,
    InvalidValue,
    KeyNotFound,
    NotConnected,
    PermissionsUnsupported,
    PositionLost,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TransactionError,
    TransactionTooLarge,
    VersionConflict,
)

logger = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]

#: Bytes of lines that are sent together.
_LINES_BYTES = 1 << 16

#: Seconds after which a client may ask again, if the store cannot be reached.
RETRY_AFTER_S = 1

#: What is in a store is whatever its users put there: no browser may run it.
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")

JSON_TYPE = b"application/json"
LINES_TYPE = b"application/x-ndjson"
TEXT_TYPE = b"text/plain; charset=utf-8"
DATA_TYPE = b"application/octet-stream"


class Pieces(Protocol):
    """The rest of a body, read piece by piece in worker threads."""

    def next(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""

    def close(self) -> None:
        """Let go of what is read.  Twice is fine; also while another thread reads."""


@dataclass(slots=True)
class Answer:
    """An answer.

    Attributes:
        status: of HTTP.
        headers: without those that the server adds.
        body: all of it, or its beginning.
        rest: what follows; None if nothing does.
        closes: whether the connection ends with this answer.
        event_id, action: of the change that was committed; None if there was none, or
            its store does not say.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    rest: Pieces | None = None
    closes: bool = False
    event_id: str | None = None
    action: str | None = None


class Refused(Exception):
    """A request is refused for what it is, before any store was asked.

    Args:
        status: of the answer.
        message: for its body.
        error: name of the class in ``antiphon.errors`` that a client raises.
        headers: more of them.
        closes: whether the connection ends with the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error: str = "StoreError",
        headers: Headers | None = None,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error = error
        self.headers = headers or []
        self.closes = closes


def json_answer(content: Any, status: int = 200, headers: Headers | None = None) -> Answer:
    """Return an answer with *content* as JSON."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Answer(status, content_headers(JSON_TYPE, len(body), headers), body)


def content_headers(kind: bytes, size: int | None, more: Headers | None = None) -> Headers:
    """Return the headers of a body of *size* bytes (None: unknown)."""
    headers = [(b"content-type", kind), _NO_SNIFFING]
    if size is not None:
        headers.append((b"content-length", b"%d" % size))
    if more:
        headers += more
    return headers


# -- Bodies that are made while they are sent ---------------------------------


class LinePieces:
    """Lines, made as they are sent.

    Args:
        lines: each with its end.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: Iterator[str] | None = iter(lines)
        self._lock = threading.Lock()

    def next(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""
        with self._lock:
            pieces: list[str] = []
            size = 0
            while size < _LINES_BYTES and self._lines is not None:
                line = next(self._lines, None)
                if line is None:
                    self._lines = None
                    break
                pieces.append(line)
                size += len(line)
            return "".join(pieces).encode()

    def close(self) -> None:
        """Let go of the lines."""
        with self._lock:
            lines, self._lines = self._lines, None
            _close(lines)


class StreamPieces:
    """What a stream gives, up to a number of bytes.

    Args:
        stream: is closed in the end.
        size: bytes to read.
        piece_bytes: bytes to read at a time.
    """

    def __init__(self, stream: Any, size: int, piece_bytes: int) -> None:
        self._stream: Any = stream
        self._left = size
        self._piece_bytes = piece_bytes
        self._lock = threading.Lock()

    def next(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""
        with self._lock:
            if self._stream is None or self._left == 0:
                return b""
            piece: bytes = self._stream.read(min(self._left, self._piece_bytes))
            self._left -= len(piece)
            if self._left == 0:
                self._release()
            return piece

    def close(self) -> None:
        """Close the stream."""
        with self._lock:
            self._release()

    def _release(self) -> None:
        stream, self._stream = self._stream, None
        _close(stream)


def _close(thing: object) -> None:
    close = getattr(thing, "close", None)
    if close is not None:
        close()


# -- Errors --------------------------------------------------------------------

#: Status of each error, and the text that is told instead of its own, which
#: might say where the store lies; None tells its own, which is about the request.
_STATUS: tuple[tuple[type[BaseException], int, str | None], ...] = (
    (InvalidKey, 400, None),
    (InvalidValue, 400, None),
    (InvalidFreshness, 400, None),
    (AuthenticationError, 401, "nobody knows this user, or the password or token is wrong"),
    (AuthorizationError, 403, "the user may not do this"),
    (KeyNotFound, 404, "no such key"),
    (ReadOnlyStore, 405, "the store cannot be written"),
    (IncompatibleStore, 409, "the store holds something that this server cannot use"),
    (PositionLost, 410, "the journal does not go on from this position; check everything anew"),
    (
        VersionConflict,
        412,
        "the key has another version; nothing was written: read it again and decide anew",
    ),
    (PermissionsUnsupported, 501, "the store keeps no permissions"),
    (TransactionTooLarge, 501, "the commit has more changes than the store makes at once"),
    (TransactionError, 501, "the store cannot do this in one transaction"),
    (StoreUnavailable, 503, "the store cannot be reached; whether a write happened, reading tells"),
    (NotConnected, 503, "the store is not connected"),
    (StoreFull, 507, "the store has no room; nothing was written"),
)

#: Errors that no class of ours stands for: what stores of other makers raise.
_FOREIGN: tuple[tuple[type[BaseException], type[StoreError]], ...] = (
    (KeyError, KeyNotFound),
    (ConnectionError, StoreUnavailable),
    (TimeoutError, StoreUnavailable),
)

_HEADERS: dict[int, Headers] = {
    405: [(b"allow", b"GET, HEAD, OPTIONS")],
    503: [(b"retry-after", b"%d" % RETRY_AFTER_S)],
}


def answer_to_error(exc: BaseException, key: str | None, challenges: Headers) -> Answer:
    """Return the answer that tells of *exc*, and nothing that is only the server's business.

    Args:
        exc: what a handler raised.
        key: the key that the request is about.
        challenges: headers of an answer 401.
    """
    if isinstance(exc, Refused):
        headers = exc.headers + (challenges if exc.status == 401 else [])
        return _error(exc.status, exc.error, exc.message, key, headers, exc.closes)
    kind, status, text = _classified(exc)
    if status >= 500:
        level = logging.ERROR if status == 500 else logging.WARNING
        logger.log(level, "answered %d: %s", status, exc, exc_info=exc if status == 500 else None)
    headers = _HEADERS.get(status, []) + (challenges if status == 401 else [])
    return _error(status, kind.__name__, str(exc) if text is None else text, key, headers)


def _classified(exc: BaseException) -> tuple[type[StoreError], int, str | None]:
    if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return _status_of(StoreFull)
    if isinstance(exc, StoreError):
        return _status_of(type(exc))
    for foreign, ours in _FOREIGN:
        if isinstance(exc, foreign):
            return _status_of(ours)
    if isinstance(exc, NotImplementedError):
        return StoreError, 501, "the store cannot do this"
    return StoreError, 500, "something is wrong with the server; its log says what"


def _status_of(kind: type[StoreError]) -> tuple[type[StoreError], int, str | None]:
    for known, status, text in _STATUS:
        if issubclass(kind, known):
            return known, status, text  # type: ignore[return-value]
    return StoreError, 500, "something is wrong with the server; its log says what"


def _error(
    status: int,
    error: str,
    message: str,
    key: str | None,
    headers: Headers,
    closes: bool = False,
) -> Answer:
    content = {"error": error, "message": message}
    if key is not None:
        content["key"] = key[:1000]
    answer = json_answer(content, status, headers)
    answer.closes = closes
    return answer


Handler = Callable[[Any], Answer]
