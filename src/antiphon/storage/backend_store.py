"""The one place that checks arguments, transacts and emits, for all backends.

A backend fills the hooks (``BackendHooks``); it moves bytes and raises errors
of ``antiphon.errors``, and knows nothing of events, transactions or users'
input.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from uuid import UUID

from antiphon.errors import IncompatibleStore, InvalidValue
from antiphon.events.api import BaseEventManager
from antiphon.events.event_id import next_event_id
from antiphon.storage.backend_transactions import BackendTransactions
from antiphon.storage.changes import (
    STAGE_ABOVE_BYTES,
    Change,
    Staged,
    StoreIdentity,
)
from antiphon.storage.checks import checked_expect
from antiphon.storage.journal import Version, entry_id_for, new_entry_id
from antiphon.storage.metadata import copied, normalise
from antiphon.storage.overlay import UNREAD, Pending
from antiphon.storage.streams import checked_chunks
from antiphon.storage.utils import BUFFER_BYTES, Readable, with_progress
from antiphon.storage.value import Value, split_value


class BackendStore(BackendTransactions):
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
            self._join_outbox(manager)
        self._event_manager = manager

    def connect(self, credentials: Any = None) -> None:
        with self._connecting:
            if self._connected:
                return
            self._identity = self._open_medium(credentials)
            try:
                self._check_system(self._event_manager)
                self.store_id = self._identity.store_id
                self._join_outbox(self._event_manager)
            except BaseException:
                self._close_medium()
                raise
            self._connected = True
        # So that events that arrive from elsewhere have this very object as source.
        _call_if_any(self._event_manager, "add_source", self)

    def disconnect(self) -> None:
        with self._connecting:
            if not self._connected:
                return
            self._connected = False
            _call_if_any(self._event_manager, "remove_source", self)
            self._leave_outbox()
            self._close_medium()
        self._watch.tell()

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
        if isinstance(value, Value):
            data: Readable = value.data
            metadata: Mapping[str, Any] = value.metadata
        else:
            data, metadata = split_value(value)
        plain = normalise(metadata)
        if expect is not None:
            checked_expect(expect)
        taken: bytes | Staged | None = None
        if type(data) is BytesIO:
            taken = _whole(data, buffer_size)
        if taken is None:
            size = getattr(value, "size", None)
            taken = self._take_in(key, data, buffer_size, size, lambda: copied(plain))
        return self._write(key, data=taken, metadata=plain, expect=expect)

    def set_data(
        self,
        key: str,
        data: Readable,
        buffer_size: int = BUFFER_BYTES,
        *,
        expect: Version | None = None,
    ) -> Version | None:
        key = self._checked(key)
        expect = checked_expect(expect)
        taken: bytes | Staged | None = None
        if type(data) is BytesIO:
            taken = _whole(data, buffer_size)
        if taken is None:
            taken = self._take_in(key, data, buffer_size, None, lambda: self._metadata_if_any(key))
        return self._write(key, data=taken, expect=expect)

    def set_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._checked(key)
        plain = normalise(metadata)
        return self._write(key, metadata=plain, expect=checked_expect(expect))

    def update_metadata(
        self, key: str, metadata: Mapping[str, Any], *, expect: Version | None = None
    ) -> Version | None:
        key = self._checked(key)
        return self._write(
            key,
            metadata=normalise(metadata),
            merge=True,
            must_exist=True,
            expect=checked_expect(expect),
        )

    def delete(self, key: str, *, expect: Version | None = None) -> Version | None:
        key = self._checked(key)
        return self._write(key, delete=True, must_exist=True, expect=checked_expect(expect))

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

    def _write(
        self,
        key: str,
        delete: bool = False,
        data: bytes | Staged | None = None,
        metadata: dict[str, Any] | None = None,
        merge: bool = False,
        must_exist: bool = False,
        expect: Version | None = None,
    ) -> Version | None:
        """Commit a change, or keep it for the commit of the open transaction."""
        overlay = self._overlay
        try:
            if overlay is None:
                tellings = self._tellings
                turn = None if tellings is None else tellings.begin()
                event_id = next_event_id() if tellings is None else tellings.new_event_id()
                committed = self._commit_in_turn(
                    turn,
                    [
                        Change(
                            key,
                            event_id,
                            new_entry_id() if expect is None else entry_id_for(expect),
                            delete,
                            data,
                            metadata,
                            merge,
                            must_exist,
                            expect,
                        )
                    ],
                )
            else:
                change = Pending(key, delete, data, metadata, merge, must_exist, expect)
                is_free = expect is None and not (merge or must_exist)
                present = UNREAD if is_free else self._view(key)
                overlay.add(change, present, time.time(), self)
        except BaseException as exc:
            if isinstance(data, Staged):
                self._drop_staged([data], exc)
            raise
        if overlay is not None:
            return None
        self._tell(committed, turn)
        return committed[0].entry.version


def _whole(source: BytesIO, buffer_size: int) -> bytes | None:
    """Return all of *source* if it fits one buffer; None, with nothing read, if not."""
    most = min(buffer_size, STAGE_ABOVE_BYTES) if buffer_size > 0 else BUFFER_BYTES
    piece = source.read(most + 1)
    if len(piece) <= most:
        return piece
    source.seek(-len(piece), os.SEEK_CUR)
    return None


def _call_if_any(obj: object, method: str, argument: object) -> None:
    # An event manager written for Encore need not derive from ours.
    bound = getattr(obj, method, None)
    if bound is not None:
        bound(argument)
