"""Answers to requests that read one key."""

from __future__ import annotations

import base64
import tempfile
from typing import Any, BinaryIO, cast

from antiphon.server.answers import (
    DATA_TYPE,
    JSON_TYPE,
    Answer,
    Headers,
    Refused,
    StreamPieces,
    content_headers,
    json_answer,
)
from antiphon.server.calls import Call, metadata_text
from antiphon.server.conditions import (
    Unsatisfiable,
    etag_of,
    http_date,
    is_unmodified,
    matches_any,
    range_of,
)
from antiphon.storage.utils import BUFFER_BYTES
from antiphon.storage.value import split_value

#: Bytes that are read, and sent, at a time.
PIECE_BYTES = 1 << 18

#: Characters of base64 up to which metadata go into a header.
MAX_HEADER_METADATA = 1 << 12

#: Bytes of a value of unknown size that are counted in memory; more go to a file.
_SPOOLED_BYTES = 1 << 20


def get_data(call: Call) -> Answer:
    """Answer with the data, or the part of them that is asked for."""
    value = call.store.get(call.key)
    headers = _validators(value)
    if (unchanged := _unchanged(call, value, headers)) is not None:
        return unchanged
    stream, size = _sized(value)
    headers.append((b"accept-ranges", b"bytes"))
    wanted = _wanted(call, value, size)
    if wanted is None:
        return _streamed(200, stream, size, headers)
    start, end = wanted
    headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
    return _streamed(206, _part(value, stream, start, end), end - start, headers)


def get_metadata(call: Call) -> Answer:
    """Answer with the metadata as JSON."""
    value = call.store.get(call.key)
    headers = _validators(value)
    if (unchanged := _unchanged(call, value, headers)) is not None:
        return unchanged
    body = metadata_text(_metadata(call, value)).encode()
    return Answer(200, content_headers(JSON_TYPE, len(body), headers), body)


def get_value(call: Call) -> Answer:
    """Answer with metadata and data in one."""
    value = call.store.get(call.key)
    headers = _validators(value)
    if (unchanged := _unchanged(call, value, headers)) is not None:
        return unchanged
    text = metadata_text(_metadata(call, value)).encode()
    stream, size = _sized(value)
    if (len(text) + 2) // 3 * 4 <= MAX_HEADER_METADATA:
        headers.append((b"antiphon-metadata", base64.b64encode(text)))
        return _streamed(200, stream, size, headers)
    headers.append((b"antiphon-metadata-length", b"%d" % len(text)))
    return _streamed(200, stream, size, headers, text)


def get_permissions(call: Call) -> Answer:
    """Answer with the permissions as JSON."""
    if not call.is_authorizing:
        raise Refused(501, "the store keeps no permissions", error="PermissionsUnsupported")
    return json_answer(
        {name: sorted(tags) for name, tags in call.store.get_permissions(call.key).items()}
    )


def _metadata(call: Call, value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], call.visible(split_value(value)[1]))


def _validators(value: Any) -> Headers:
    """Return the headers that tell how old a value is."""
    headers: Headers = [(b"cache-control", b"private, no-cache")]
    if (version := getattr(value, "version", None)) is not None:
        headers.append((b"etag", etag_of(version).encode()))
    created, modified = getattr(value, "created", None), getattr(value, "modified", None)
    if created is not None:
        headers.append((b"antiphon-created", repr(float(created)).encode()))
    if modified is not None:
        headers.append((b"antiphon-modified", repr(float(modified)).encode()))
        headers.append((b"last-modified", http_date(modified)))
    return headers


def _unchanged(call: Call, value: Any, headers: Headers) -> Answer | None:
    """Return the answer 304 if the client has the value already."""
    version, modified = getattr(value, "version", None), getattr(value, "modified", None)
    tags, since = call.header(b"if-none-match"), call.header(b"if-modified-since")
    if tags is not None:
        is_known = version is not None and matches_any(tags, etag_of(version))
    else:
        is_known = since is not None and modified is not None and is_unmodified(since, modified)
    return Answer(304, headers) if is_known else None


def _wanted(call: Call, value: Any, size: int) -> tuple[int, int] | None:
    header = call.header(b"range")
    if header is None:
        return None
    condition = call.header(b"if-range")
    if condition is not None:
        version = getattr(value, "version", None)
        if version is None or condition.strip() != etag_of(version):
            return None
    try:
        return range_of(header, size)
    except Unsatisfiable:
        raise Refused(
            416,
            f"the data have {size} bytes, and none of them is in the range {header!r:.80}",
            error="InvalidValue",
            headers=[(b"content-range", b"bytes */%d" % size)],
        ) from None


def _sized(value: Any) -> tuple[BinaryIO | None, int]:
    """Return how long the data are, and a stream of them if they had to be counted."""
    size: int | None = getattr(value, "size", None)
    if size is not None:
        return _LazyData(value), size  # type: ignore[return-value]
    data = split_value(value)[0]
    copy = tempfile.SpooledTemporaryFile(_SPOOLED_BYTES)  # noqa: SIM115 - closed by who sends it
    while piece := data.read(BUFFER_BYTES):
        copy.write(piece)
    size = copy.tell()
    copy.seek(0)
    return cast(BinaryIO, copy), size


class _LazyData:
    """The stream of a value, opened when it is read."""

    def __init__(self, value: Any) -> None:
        self._value = value
        self._data: Any = None

    def read(self, size: int) -> bytes:
        if self._data is None:
            self._data = self._value.data
        piece: bytes = self._data.read(size)
        return piece

    def close(self) -> None:
        close = getattr(self._data, "close", None)
        if close is not None:
            close()


def _part(value: Any, stream: Any, start: int, end: int) -> Any:
    if isinstance(stream, _LazyData):
        return value.range(start, end)
    stream.seek(start)
    return stream


def _streamed(status: int, stream: Any, size: int, headers: Headers, before: bytes = b"") -> Answer:
    """Return an answer with *size* bytes of *stream*; what is short is read at once."""
    answer = Answer(status, content_headers(DATA_TYPE, len(before) + size, headers), before)
    if size <= PIECE_BYTES:
        try:
            answer.body += _exactly(stream, size)
        finally:
            stream.close()
    else:
        answer.rest = StreamPieces(stream, size, PIECE_BYTES)
    return answer


def _exactly(stream: Any, size: int) -> bytes:
    piece: bytes = stream.read(size) if size else b""
    pieces = [piece]
    held = len(piece)
    while held < size and piece:
        piece = stream.read(size - held)
        pieces.append(piece)
        held += len(piece)
    if held < size:
        raise OSError(f"a value of {size} bytes ended after {held}")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
