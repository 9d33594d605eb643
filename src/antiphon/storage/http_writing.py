"""The half of a store behind HTTP that writes, and tells of it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any

from antiphon.errors import InvalidValue, StoreError
from antiphon.events.api import BaseEventManager
from antiphon.storage.abstract_store import AbstractAuthorizingStore
from antiphon.storage.changes import STAGE_ABOVE_BYTES
from antiphon.storage.checks import checked_expect, checked_key
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.storage.http_bodies import joined, limited
from antiphon.storage.http_protocol import Done
from antiphon.storage.http_servers import Body, HttpServer
from antiphon.storage.http_values import Permissions
from antiphon.storage.journal import Version, place_of
from antiphon.storage.metadata import copied, normalise
from antiphon.storage.observing import emit_observed
from antiphon.storage.permissions import checked_permissions
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import (
    BUFFER_BYTES,
    DummyTransactionContext,
    Readable,
    with_progress,
)
from antiphon.storage.value import split_value

_EVENT_OF_ACTION: dict[str, type[StoreModificationEvent]] = {
    "set": StoreSetEvent,
    "update": StoreUpdateEvent,
    "delete": StoreDeleteEvent,
}


class HttpWriting(AbstractAuthorizingStore):
    """Base of ``DynamicURLStore``, which says what server there is."""

    _event_manager: BaseEventManager

    @property
    def _here(self) -> HttpServer:
        raise NotImplementedError

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        server, key = self._here, checked_key(key)
        data, metadata = split_value(value)
        plain, expected = normalise(metadata), self._expected(expect)
        size = getattr(value, "size", None)
        with self._body(key, data, buffer_size, size, lambda: copied(plain)) as body:
            return self._tell(server.put_value(key, body, plain, expected))

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        server, key = self._here, checked_key(key)
        expected = self._expected(expect)
        with self._body(key, data, buffer_size, None, lambda: self._metadata_if_any(key)) as body:
            return self._tell(server.put_data(key, body, expected))

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        server, key = self._here, checked_key(key)
        return self._tell(server.put_metadata(key, normalise(metadata), self._expected(expect)))

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        server, key = self._here, checked_key(key)
        return self._tell(server.post_metadata(key, normalise(metadata), self._expected(expect)))

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        server, key = self._here, checked_key(key)
        return self._tell(server.delete(key, self._expected(expect)))

    def from_bytes(
        self,
        key: str,
        data: bytes,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidValue(f"the data of {key!r:.80} must be bytes, not {type(data).__name__}")
        return self._set_data_from(key, BytesIO(data), buffer_size, expect)

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        """Return a context manager that does nothing: each write is a change of its own."""
        _ = self._here
        return DummyTransactionContext(self)

    def _expected(self, expect: object) -> Version | None:
        expected = checked_expect(expect)
        info = self._here.info
        if expected is not None and (info is None or not info.versions):
            raise StoreError(
                f"the server of {self!r} keeps no versions, so no write can be conditional;"
                " leave out expect="
            )
        return expected

    @contextlib.contextmanager
    def _body(
        self,
        key: str,
        source: object,
        buffer_size: int,
        size: int | None,
        metadata: Callable[[], dict[str, Any]],
    ) -> Iterator[Body]:
        """Give what is to be sent: all of a small value, the pieces of a large one."""
        info = self._here.info
        limit = None if info is None else info.max_value_bytes
        pieces = with_progress(
            self,
            limited(key, checked_chunks(key, source, buffer_size), limit),
            message=f"Setting data of {key!r:.80}",
            key=key,
            steps=-1 if size is None else size,
            metadata=metadata,
        )
        # Closed even if sending fails half-way, so that the progress has an end.
        with contextlib.closing(pieces):
            head: list[bytes] = []
            held = 0
            for piece in pieces:
                head.append(piece)
                held += len(piece)
                if held > STAGE_ABOVE_BYTES:
                    yield joined(itertools.chain(head, pieces))
                    return
            yield b"".join(head)

    def _metadata_if_any(self, key: str) -> dict[str, Any]:
        try:
            return self._here.metadata(key)
        except KeyError:
            return {}

    def _tell(self, done: Done) -> Version | None:
        """Emit the event of a write, for this process."""
        event = _EVENT_OF_ACTION[done.action](self, key=done.key, metadata=done.metadata)
        if done.event_id is not None:
            event._event_id = done.event_id
        if done.position is not None:
            event._position = place_of(done.position.store_id, done.position.version, done.link)
        emit_observed(self._event_manager, event)
        return done.version

    # -- Permissions ---------------------------------------------------------

    def get_permissions(self, key: str) -> Permissions:
        return self._here.permissions(checked_key(key))

    def set_permissions(self, key: str, permissions: Mapping[str, Any]) -> None:
        self._send_permissions("PUT", key, checked_permissions(permissions))

    def update_permissions(self, key: str, permissions: Mapping[str, Any]) -> None:
        self._send_permissions("POST", key, checked_permissions(permissions, partial=True))

    def _send_permissions(self, method: str, key: str, permissions: Mapping[str, Any]) -> None:
        done = self._here.send_permissions(method, checked_key(key), dict(permissions))
        if done is not None:
            self._tell(done)
