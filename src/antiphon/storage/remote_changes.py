"""Hears of what other processes commit to a store by reading its journal now and then."""

from __future__ import annotations

import logging
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Protocol
from uuid import UUID

from antiphon.errors import KeyNotFound, PositionLost, StoreError
from antiphon.events.api import BaseEventManager
from antiphon.storage.changes import Change
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.storage.journal import (
    JournalEntry,
    Position,
    Version,
    foreign_event_id,
    place_of,
)
from antiphon.storage.observing import emit_observed

logger = logging.getLogger(__name__)

_EVENT_OF_ACTION: dict[str, type[StoreModificationEvent]] = {
    "set": StoreSetEvent,
    "update": StoreUpdateEvent,
    "delete": StoreDeleteEvent,
}

#: Commits of this process that are remembered: more than pollers of default interval meet.
_REMEMBERED = 1 << 16


class Polled(Protocol):
    """A store whose journal can be read."""

    store_id: UUID | None

    @property
    def event_manager(self) -> BaseEventManager:
        """Where its events go."""

    def head(self) -> Position:
        """Return the position of the newest commit."""

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*."""

    def get_metadata(self, key: str) -> dict[str, object]:
        """Return the metadata of a key."""

    def versions(self) -> list[tuple[str, Version]]:
        """Return all keys with the version each has now."""


class _Committed:
    """What this process commits, and the manager that tells of it there and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: OrderedDict[bytes, weakref.ref[BaseEventManager]] = OrderedDict()

    def note(self, changes: Sequence[Change], manager: BaseEventManager) -> None:
        told_by = weakref.ref(manager)
        with self._lock:
            for change in changes:
                self._managers[change.entry_id] = told_by
            while len(self._managers) > _REMEMBERED:
                self._managers.popitem(last=False)

    def is_told(self, entry_id: bytes, manager: BaseEventManager) -> bool:
        with self._lock:
            told_by = self._managers.get(entry_id)
        return told_by is not None and told_by() is manager


_committed = _Committed()


def note_own(changes: Sequence[Change], manager: BaseEventManager) -> None:
    """Say that *changes*, about to be committed, are told by *manager*: no poller need do so."""
    _committed.note(changes, manager)


class Poller:
    """Emits, for this process only, the changes that others made to a store.

    Args:
        store: the store; held weakly.
        interval_s: seconds between two looks at the journal.
    """

    def __init__(self, store: Polled, interval_s: float) -> None:
        self._store = weakref.ref(store)
        self._interval_s = interval_s
        self._position = store.head()
        self._polling = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"{type(store).__name__} poller", daemon=True
        )

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; returns when no listener is being called any more."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def poll(self) -> int:
        """Look now; return how many changes were told."""
        store = self._store()
        if store is None:
            return 0
        with self._polling:
            told = 0
            news = self._news(store)
            # Afterwards: where the journal was lost it is the head, and leads to none of them.
            before = self._position.version
            for entry in news:
                if self._stopped.is_set():
                    break
                told += self._tell(store, entry, _link(before, entry.version))
                before = entry.version
                if entry.last:
                    self._position = Position(self._position.store_id, *entry.version)
            return told

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            try:
                self.poll()
            except StoreError as exc:
                logger.warning("cannot look for changes by others, trying again: %s", exc)
            except Exception:  # of an event manager that is not ours; the next look may do
                logger.exception("changes by others could not be told")
            if self._store() is None:
                return

    def _news(self, store: Polled) -> list[JournalEntry]:
        try:
            return list(store.since(self._position))
        except PositionLost as exc:
            logger.warning("keys that others deleted meanwhile are not told: %s", exc)
        # A key's version says when it was changed, also where the journal has forgotten.
        head, seen = store.head(), self._position.version
        news = [
            JournalEntry(version, key, "update", None, b"", False, 0)
            for key, version in store.versions()
            if seen[:2] < version[:2] <= head.version[:2]
        ]
        self._position = head
        return sorted(news, key=lambda entry: entry.version)

    def _tell(self, store: Polled, entry: JournalEntry, link: bytes) -> bool:
        manager = store.event_manager
        if entry.key is None or _committed.is_told(entry.version.entry_id, manager):
            return False
        try:
            metadata = {} if entry.action == "delete" else store.get_metadata(entry.key)
        except KeyNotFound:
            metadata = {}  # It went after that; its own entry follows.
        event = _EVENT_OF_ACTION[entry.action](store, key=entry.key, metadata=metadata)
        if entry.event_id is not None:
            event._event_id = entry.event_id
        if store.store_id is not None:
            if entry.event_id is None:  # as an outbox that publishes it will call it
                event._event_id = foreign_event_id(store.store_id, entry.version.entry_id)
            event._position = place_of(store.store_id, entry.version, link)
        emit_observed(manager, event)
        return True


def _link(before: Version, version: Version) -> bytes:
    """Return the id of *before* if that is what comes just before *version* in the journal."""
    follows = version[:2] == (before.epoch, before.sequence + 1)
    return before.entry_id if follows else b""
