"""How a backend store reads, inside a transaction and outside."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, TypeVar

from antiphon.errors import NotConnected, StoreUnavailable
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.backend_hooks import BackendHooks
from antiphon.storage.changes import Record, missing
from antiphon.storage.checks import (
    MAX_KEY_BYTES,
    checked_key,
    checked_position,
    checked_select,
    checked_timeout,
)
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.journal_watch import JournalWatch
from antiphon.storage.metadata import copied, encode_conditions, matches
from antiphon.storage.overlay import Overlay
from antiphon.storage.stored_value import StoredValue
from antiphon.storage.value import Value, select_from

_T = TypeVar("_T")


class _Open(threading.local):
    """What a thread has open."""

    overlay: Overlay | None = None


class BackendReading(BackendHooks, AbstractStore):
    """The reading half of ``BackendStore``, which is the one to derive from."""

    #: Whether the store is of no use before ``connect()``.
    _needs_connecting: ClassVar[bool] = True

    def __init__(self) -> None:
        self._open = _Open()
        self._connected = False
        self._watch = JournalWatch()
        super().__init__()

    def _check_connected(self) -> None:
        if not self._connected and self._needs_connecting:
            raise NotConnected(f"{self!r} is not connected; call connect() first")

    @property
    def _overlay(self) -> Overlay | None:
        """The open transaction of this thread."""
        return self._open.overlay

    # -- Reading -------------------------------------------------------------

    def get(self, key: str) -> Value:
        # What ``_checked`` finds nothing to say about, without calling it.
        if type(key) is not str or len(key) > MAX_KEY_BYTES or not key.isascii():
            key = self._checked(key)
        elif not self._connected:
            self._check_connected()
        if self._open.overlay is not None:
            return StoredValue(self._found(key))
        value = self._get(key)
        if value is None:
            raise missing(key, self)
        return value

    def get_if_any(self, key: str) -> Value | None:
        """Return the value of *key*, or None if there is none, at the cost of a ``get``."""
        if self._open.overlay is None and not self._reads_itself("get"):
            return self._get(self._checked(key))
        try:
            return self.get(key)
        except KeyError:
            return None

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        key = self._checked(key)
        metadata = self._view_metadata(key)
        if metadata is None:
            raise missing(key, self)
        return metadata if select is None else select_from(metadata, select)

    def exists(self, key: str) -> bool:
        key = self._checked(key)
        if self._overlays(key):
            return self._view(key) is not None
        return self._exists(key)

    # A subclass that reads single keys in its own way means all of them.

    def multiget(self, keys: Iterable[str]) -> Iterator[Value]:
        if self._reads_itself("get"):
            yield from super().multiget(keys)
            return
        for key, record in self._ahead(keys, self._read_many, self._view):
            if record is None:
                raise missing(key, self)
            yield StoredValue(record)

    def multiget_data(self, keys: Iterable[str]) -> Iterator[BinaryIO]:
        if self._reads_itself("get", "get_data"):
            return super().multiget_data(keys)
        return (value.data for value in self.multiget(keys))

    def multiget_metadata(
        self, keys: Iterable[str], select: Iterable[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        names = checked_select(select)
        if self._reads_itself("get_metadata"):
            yield from super().multiget_metadata(keys, names)
            return
        for key, metadata in self._ahead(keys, self._read_many_metadata, self._view_metadata):
            if metadata is None:
                raise missing(key, self)
            yield metadata if names is None else select_from(metadata, names)

    def _reads_itself(self, *methods: str) -> bool:
        """Whether a subclass has one of *methods* of its own."""
        return any(
            getattr(type(self), name) is not getattr(BackendReading, name) for name in methods
        )

    def _ahead(
        self,
        keys: Iterable[str],
        read_many: Callable[[Sequence[str]], Sequence[_T | None]],
        view: Callable[[str], _T | None],
    ) -> Iterator[tuple[str, _T | None]]:
        """Yield each of *keys* with what is read, as many at a time as the backend likes."""
        rest = iter(keys)
        while some := [self._checked(key) for key in itertools.islice(rest, self._read_ahead)]:
            if self._overlay is None:
                yield from zip(some, read_many(some), strict=True)
            else:
                yield from ((key, view(key)) for key in some)

    def _view_metadata(self, key: str) -> dict[str, Any] | None:
        if not self._overlays(key):
            return self._read_metadata(key)
        record = self._view(key)
        return None if record is None else copied(record.metadata)

    def query(
        self, select: Iterable[str] | None = None, **kwargs: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield ``(key, metadata)`` of the keys whose metadata match all of *kwargs*.

        Args:
            select: names of the metadata entries to return; None returns all.
            **kwargs: metadata entries and the values they must have, exactly:
                ``1``, ``1.0``, ``True`` and ``"1"`` are four values, and an
                entry that is missing is not None.  Without any, all keys match.

        Keys may be changed while the result is read; what is there all the
        while is in it once, what comes or goes meanwhile may be in it or not.

        Raises:
            InvalidValue: no metadata can have one of the values.
        """
        self._check_connected()
        rows = self._rows(kwargs, encode_conditions(kwargs))
        if select is None:
            return rows
        names = checked_select(select)
        return ((key, select_from(metadata, names)) for key, metadata in rows)

    def query_keys(self, **kwargs: Any) -> Iterator[str]:
        self._check_connected()
        if self._overlay is not None:
            return (key for key, _ in self.query(None, **kwargs))
        if not kwargs:
            return iter(self._keys())
        return iter(self._matching_keys(kwargs))

    def _rows(
        self, conditions: Mapping[str, Any], encoded: Mapping[str, str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        rows = iter(self._query(conditions))
        overlay = self._overlay
        if overlay is None:
            return rows
        changed = frozenset(overlay.keys())
        views = ((key, self._view(key)) for key in changed)
        own = [(key, copied(view.metadata)) for key, view in views if view is not None]
        return itertools.chain(
            (row for row in rows if row[0] not in changed),
            (row for row in own if matches(row[1], encoded)),
        )

    def _found(self, key: str) -> Record:
        key = self._checked(key)
        record = self._view(key)
        if record is None:
            raise missing(key, self)
        return record

    def _view(self, key: str) -> Record | None:
        """Return what *key* looks like to this thread, its open transaction included."""
        overlay = self._overlay
        if overlay is not None and key in overlay:
            return overlay.view(key, self._read, self._open_staged)
        return self._read(key)

    def _overlays(self, key: str) -> bool:
        overlay = self._overlay
        return overlay is not None and key in overlay

    def _checked(self, key: object) -> str:
        """Return *key* if it is one and the store can be used."""
        if not self._connected:
            self._check_connected()
        # Most keys are short and plain; what else there is ``checked_key`` knows.
        if type(key) is str and len(key) <= MAX_KEY_BYTES and key.isascii():
            return key
        return checked_key(key)

    # -- The journal ---------------------------------------------------------

    def head(self) -> Position:
        """Return the position of the newest commit."""
        self._check_connected()
        return self._head()

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*, oldest first, whole commits only.

        Raises:
            PositionLost: the journal does not go on from there; see ``Journal``.
            InvalidValue: it is no position.
        """
        self._check_connected()
        return self._since(checked_position(position))

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is another than *position*; see ``WaitingJournal``."""
        self._check_connected()
        try:
            return self._wait(checked_position(position), checked_timeout(timeout_s))
        except (StoreUnavailable, OSError, ValueError):
            # If it was disconnected meanwhile it is nothing worse; a file that
            # is closed under whoever looks into it raises one of these.
            self._check_connected()
            raise

    def wake(self) -> None:
        """Have all who wait return the head now, be it new or not."""
        self._watch.wake()
