"""The one place that checks arguments, transacts and emits, for all backends.

A backend fills the hooks (``BackendHooks``); it moves bytes and raises errors
of ``antiphon.errors``, and knows nothing of events, transactions or users'
input.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from antiphon.errors import (
    IncompatibleStore,
    InvalidValue,
    StoreError,
    StoreUnavailable,
)
from antiphon.events.api import BaseEventManager
from antiphon.storage.backend_reading import BackendReading
from antiphon.storage.changes import (
    STAGE_ABOVE_BYTES,
    Committed,
    Staged,
    StoreIdentity,
)
from antiphon.storage.checks import checked_expect
from antiphon.storage.commits import note_commits
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
    StoreUpdateEvent,
)
from antiphon.storage.journal import Position, Version
from antiphon.storage.metadata import copied, normalise
from antiphon.storage.overlay import Overlay, Pending
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import BUFFER_BYTES, Readable, with_progress
from antiphon.storage.value import split_value

logger = logging.getLogger(__name__)

_EVENT_OF_ACTION: dict[str, type[StoreModificationEvent]] = {
    "set": StoreSetEvent,
    "update": StoreUpdateEvent,
    "delete": StoreDeleteEvent,
}


class BackendStore(BackendReading):
    """A store over a medium; subclasses fill the hooks.

    Attributes:
        store_id: identity of the data, written into the medium at the first
            connect; None before this object was connected.
        origin: readable name that events of this store are routed by; None
            leaves it to the event manager.
    """

    def __init__(self, *, origin: str | None = None) -> None:
        self._identity: StoreIdentity | None = None
        self._connecting = threading.Lock()
        self.store_id: UUID | None = None
        self.origin = origin
        super().__init__()

    def __repr__(self) -> str:
        name = self.origin if self.origin is not None else self.store_id
        return f"<{type(self).__name__}{'' if name is None else f' {name}'}>"

    # -- Connecting ----------------------------------------------------------

    _event_manager: BaseEventManager

    @property
    def event_manager(self) -> BaseEventManager:
        """Emits the store's events; the global one unless assigned."""
        return self._event_manager

    @event_manager.setter
    def event_manager(self, manager: BaseEventManager) -> None:
        if self._connected:
            self._check_system(manager)
            _call_if_any(self._event_manager, "remove_source", self)
            _call_if_any(manager, "add_source", self)
        self._event_manager = manager

    def connect(self, credentials: Any = None) -> None:
        with self._connecting:
            if self._connected:
                return
            self._identity = self._open_medium(credentials)
            try:
                self._check_system(self._event_manager)
            except BaseException:
                self._close_medium()
                raise
            self.store_id = self._identity.store_id
            self._connected = True
        # So that events that arrive from elsewhere have this very object as source.
        _call_if_any(self._event_manager, "add_source", self)

    def disconnect(self) -> None:
        with self._connecting:
            if not self._connected:
                return
            self._connected = False
            _call_if_any(self._event_manager, "remove_source", self)
            self._close_medium()

    def _check_system(self, manager: BaseEventManager) -> None:
        """Claim the medium for the manager's system, or refuse if it has another."""
        system = getattr(manager, "system", None)
        identity = self._identity
        if not isinstance(system, str) or identity is None:
            return
        present = identity.system if identity.system is not None else self._claim(system)
        if present != system:
            # Its events would go where no listener of the other system hears
            # them, and that system's caches would be wrong and not know it.
            raise IncompatibleStore(
                f"{self!r} belongs to the system {present!r}, and its event manager to {system!r};"
                f" open the bus with system={present!r}, or use another store"
            )
        self._identity = StoreIdentity(identity.store_id, identity.epoch, present)

    def info(self) -> dict[str, Any]:
        return {
            **super().info(),
            "store_id": None if self.store_id is None else str(self.store_id),
            "origin": self.origin,
        }

    # -- Writing -------------------------------------------------------------

    def set(
        self,
        key: str,
        value: Any,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        key = self._checked(key)
        data, metadata = split_value(value)
        plain = normalise(metadata)
        size = getattr(value, "size", None)
        taken = self._take_in(key, data, buffer_size, size, lambda: copied(plain))
        return self._write(Pending(key, data=taken, metadata=plain, expect=checked_expect(expect)))

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        key = self._checked(key)
        taken = self._take_in(key, data, buffer_size, None, lambda: self._metadata_if_any(key))
        return self._write(Pending(key, data=taken, expect=checked_expect(expect)))

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._checked(key)
        plain = normalise(metadata)
        return self._write(Pending(key, metadata=plain, expect=checked_expect(expect)))

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._checked(key)
        return self._write(
            Pending(
                key,
                metadata=normalise(metadata),
                merge=True,
                must_exist=True,
                expect=checked_expect(expect),
            )
        )

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        key = self._checked(key)
        return self._write(
            Pending(key, delete=True, must_exist=True, expect=checked_expect(expect))
        )

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
        return self.set_data(key, BytesIO(data), buffer_size, expect=expect)

    def _take_in(
        self,
        key: str,
        source: object,
        buffer_size: int,
        size: int | None,
        metadata: Callable[[], dict[str, Any]],
    ) -> bytes | Staged:
        """Read *source* to its end, staging what is large.  No lock is held meanwhile."""
        pieces = with_progress(
            self,
            checked_chunks(key, source, buffer_size),
            message=f"Setting data of {key!r:.80}",
            key=key,
            steps=-1 if size is None else size,
            metadata=metadata,
        )
        # Closed even if staging fails half-way, so that the progress has an end.
        with contextlib.closing(pieces):
            head: list[bytes] = []
            total = 0
            for piece in pieces:
                head.append(piece)
                total += len(piece)
                if total > STAGE_ABOVE_BYTES:
                    return self._stage(itertools.chain(head, pieces))
            return b"".join(head)

    def _metadata_if_any(self, key: str) -> dict[str, Any]:
        record = self._view(key)
        return {} if record is None else copied(record.metadata)

    def _write(self, change: Pending) -> Version | None:
        """Commit *change*, or keep it for the commit of the open transaction."""
        overlay = self._overlay
        try:
            if overlay is None:
                committed = self._commit([change.as_change()])
            else:
                overlay.add(change, self._view(change.key), time.time(), self)
        except BaseException as exc:
            if isinstance(change.data, Staged):
                self._drop_staged([change.data], exc)
            raise
        if overlay is not None:
            return None
        self._tell(committed)
        return committed[0].entry.version

    def _drop_staged(self, staged: Iterable[Staged], why: BaseException) -> None:
        if isinstance(why, StoreUnavailable):
            return  # It may be committed after all; if not, it is collected later.
        for each in staged:
            try:
                self._discard(each)
            except StoreError as exc:
                logger.warning("cannot discard a staged value now, it is collected later: %s", exc)

    def _tell(self, committed: Sequence[Committed]) -> None:
        """Emit the events of what was committed."""
        note_commits(self.store_id, committed)
        failure: BaseException | None = None
        for done in committed:
            entry = done.entry
            event = _EVENT_OF_ACTION[entry.action](self, key=entry.key, metadata=done.metadata)
            event._event_id = entry.event_id
            if self.store_id is not None:
                event._position = Position(self.store_id, *entry.version)
            try:
                self._event_manager.emit(event)
            except Exception as exc:  # the others are due all the same; raised below
                exc.add_note(f"the change of {entry.key!r:.80} is committed; only its event failed")
                failure = failure or exc
        if failure is not None:
            raise failure

    # -- Transactions --------------------------------------------------------

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction of this store."""
        return self._overlay is not None

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        self._check_connected()
        return _Transaction(self)

    def _begin(self) -> None:
        overlay = self._overlay
        if overlay is None:
            # Begun only once it is told: an error here must leave no transaction open.
            self._event_manager.emit(StoreTransactionStartEvent(self))
            overlay = self._open.overlay = Overlay()
        overlay.depth += 1

    def _end(self, failed: BaseException | None) -> None:
        overlay = self._overlay
        assert overlay is not None  # noqa: S101 - begun, so there is one
        overlay.depth -= 1
        if overlay.depth > 0:
            return
        self._open.overlay = None
        if failed is not None:
            self._drop_staged(overlay.staged(), failed)
            self._event_manager.emit(StoreTransactionEndEvent(self, state="failed"))
            return
        try:
            self._check_connected()
            changes = [change.as_change() for change in overlay.changes]
            committed = self._commit(changes) if changes else []
        except BaseException as exc:
            self._drop_staged(overlay.staged(), exc)
            self._event_manager.emit(StoreTransactionEndEvent(self, state="failed"))
            raise
        try:
            self._event_manager.emit(StoreTransactionEndEvent(self, state="done"))
        finally:
            # It is committed: whoever asked hears of it, whatever the other event met.
            self._tell(committed)


class _Transaction:
    """The block of one ``with store.transaction(…)``; may be entered again."""

    def __init__(self, store: BackendStore) -> None:
        self._store = store

    def __enter__(self) -> Self:
        self._store._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self._store._end(exc_value)


def _call_if_any(obj: object, method: str, argument: object) -> None:
    # An event manager written for Encore need not derive from ours.
    bound = getattr(obj, method, None)
    if bound is not None:
        bound(argument)
