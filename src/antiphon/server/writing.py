"""Answers to requests that write one key."""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.errors import AuthorizationError, InvalidValue
from antiphon.server.answers import JSON_TYPE, Answer, Refused, content_headers
from antiphon.server.calls import Call, is_backend, json_object, metadata_from, metadata_text
from antiphon.server.conditions import etag_of
from antiphon.storage import metadata as codec
from antiphon.storage.commits import NotedCommit, noted_commits
from antiphon.storage.journal import LINK_BYTES, Position, Version

logger = logging.getLogger(__name__)


def put_data(call: Call) -> Answer:
    """Set the data, and answer what was committed."""
    expect = call.expectation()
    return _written(call, lambda: call.store.set_data(call.key, call.body, **expect))


def put_value(call: Call) -> Answer:
    """Set data and metadata, and answer what was committed."""
    metadata = _sent_metadata(call)
    expect = call.expectation()
    return _written(call, lambda: call.store.set(call.key, (call.body, metadata), **expect))


def put_metadata(call: Call) -> Answer:
    """Replace the metadata, and answer what was committed."""
    metadata = metadata_from(call.body.read(-1))
    expect = call.expectation()
    return _written(call, lambda: call.store.set_metadata(call.key, metadata, **expect))


def post_metadata(call: Call) -> Answer:
    """Update the metadata, and answer what was committed."""
    metadata = metadata_from(call.body.read(-1))
    expect = call.expectation()
    return _written(call, lambda: call.store.update_metadata(call.key, metadata, **expect))


def delete_key(call: Call) -> Answer:
    """Delete the key, and answer what was committed."""
    expect = call.expectation()
    return _written(call, lambda: call.store.delete(call.key, **expect), deletes=True)


def put_permissions(call: Call) -> Answer:
    """Replace the permissions, and answer what was committed."""
    permissions = _sent_permissions(call)
    return _written(call, lambda: call.store.set_permissions(call.key, permissions))


def post_permissions(call: Call) -> Answer:
    """Add to the permissions, and answer what was committed."""
    permissions = _sent_permissions(call)
    return _written(call, lambda: call.store.update_permissions(call.key, permissions))


# -- What was sent -------------------------------------------------------------


def _sent_metadata(call: Call) -> dict[str, Any]:
    """Return the metadata of a combined value, from its header or the start of its body."""
    encoded, length = call.header(b"antiphon-metadata"), call.header(b"antiphon-metadata-length")
    if encoded is not None:
        try:
            return metadata_from(base64.b64decode(encoded, validate=True))
        except binascii.Error:
            raise InvalidValue("the header Antiphon-Metadata is no base64") from None
    if length is None:
        raise InvalidValue(
            "a value comes with its metadata, in the header Antiphon-Metadata or before the data"
            " (Antiphon-Metadata-Length); data alone are put to …/data"
        )
    if not _is_number(length):
        raise InvalidValue(f"Antiphon-Metadata-Length must be a number, not {length!r:.80}")
    size = int(length)
    if size > codec.MAX_TEXT:
        raise Refused(
            413, f"metadata have at most {codec.MAX_TEXT} bytes", error="InvalidValue", closes=True
        )
    return metadata_from(_read_exactly(call, size))


def metadata_bytes(headers: Mapping[bytes, bytes]) -> int:
    """Return how many bytes of the body of a value are metadata, if they make sense."""
    length = headers.get(b"antiphon-metadata-length", b"").decode("latin-1")
    if b"antiphon-metadata" in headers or not _is_number(length):
        return 0
    return min(int(length), codec.MAX_TEXT)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 20


def _read_exactly(call: Call, size: int) -> bytes:
    pieces = []
    while size > 0:
        piece = call.body.read(size)
        if not piece:
            raise InvalidValue("the body is shorter than Antiphon-Metadata-Length says")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _sent_permissions(call: Call) -> dict[str, set[str]]:
    if not call.is_authorizing:
        raise Refused(501, "the store keeps no permissions", error="PermissionsUnsupported")
    permissions: dict[str, set[str]] = {}
    for name, tags in json_object(call.body.read(-1)).items():
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise InvalidValue(f"the tags of the permission {name!r:.80} must be a list of texts")
        permissions[name] = set(tags)
    return permissions


# -- What was committed --------------------------------------------------------


def _written(call: Call, write: Callable[[], Version | None], *, deletes: bool = False) -> Answer:
    """Write, and answer what was committed.

    A store of another maker commits without a word; what can be seen from
    outside is answered then.
    """
    before = None if is_backend(call.store) else _metadata_if_any(call)
    with noted_commits() as notes:
        try:
            version = write()
        except Exception:
            if not notes:
                raise
            # It is done, so the client must not hear that it failed.
            logger.exception("a listener failed after %r was written", call.key)
            version = None
    if notes:
        # A listener may have written other keys since.
        own = [note for note in notes if note.committed.entry.key == call.key]
        return _noted(call, own[-1] if own else notes[0])
    action = "delete" if deletes else "update" if before is not None else "set"
    after = before if deletes else _metadata_if_any(call)
    return _answer(call, action, version, None, None, after or {})


def _metadata_if_any(call: Call) -> Mapping[str, Any] | None:
    try:
        metadata: Mapping[str, Any] = call.store.get_metadata(call.key)
    except (KeyError, AuthorizationError):
        # Who may write and not read is not told of them.
        return None
    return metadata


def _noted(call: Call, note: NotedCommit) -> Answer:
    entry = note.committed.entry
    event_id = None if entry.event_id is None else str(entry.event_id)
    link = note.committed.before[:LINK_BYTES]
    return _answer(
        call, entry.action, entry.version, event_id, note.position, note.committed.metadata, link
    )


def _answer(
    call: Call,
    action: str,
    version: Version | None,
    event_id: str | None,
    position: Position | None,
    metadata: Mapping[str, Any],
    link: bytes = b"",
) -> Answer:
    headers = []
    if version is not None and action != "delete":
        headers.append((b"etag", etag_of(version).encode()))
    told = json.dumps(
        {
            "action": action,
            "version": None if version is None else str(version),
            "event_id": event_id,
            "position": None if position is None else str(position),
            "link": link.hex(),
        }
    )
    body = f'{told[:-1]}, "metadata": {metadata_text(call.visible(metadata))}}}'.encode()
    status = 201 if action == "set" else 200
    return Answer(
        status,
        content_headers(JSON_TYPE, len(body), headers),
        body,
        event_id=event_id,
        action=action,
    )
