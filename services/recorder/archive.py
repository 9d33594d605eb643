"""The archive that a recorder writes to: opened, looked at, and kept within bounds."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from antiphon.archive import ArchiveStats, Event, EventStore, open_archive
from antiphon.archive.retention import Retention, apply
from antiphon.archive.sqlite_archive import arguments_in
from antiphon.errors import (
    AntiphonError,
    ArchiveClosed,
    ArchiveUnusable,
    EventStoreException,
)
from antiphon.schemes import scheme_of

logger = logging.getLogger("antiphon.service.archive")

#: Seconds before an archive that could not be opened is tried again, and at most.
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 10.0

#: Seconds between two looks at the archive and its disk.
LOOK_S = 5.0

#: Seconds that a commit waits for a locked file: the service must be able to end in between.
_LOCK_TIMEOUT_S = 2.0

#: Seconds that what is under way gets to end by itself, before the archive is closed: with
#: exceptions, a rule may look at millions of events before it deletes the first.
_ENDING_S = 1.0


class KeptArchive:
    """An archive that is opened in the background, again if need be, and cleared of what is old.

    Args:
        url: of the archive.
        rules: what it keeps.
        rules_interval_s: seconds between two looks for what is to be deleted.
        disk_warn_bytes: it is warned of a disk with less room; 0 never.

    Attributes:
        deleted: how many events the rules have deleted.
        free_bytes: room on its disk when it was looked at last; None if that is not known.
    """

    def __init__(
        self,
        url: str,
        rules: Sequence[Retention] = (),
        *,
        rules_interval_s: float = 60.0,
        disk_warn_bytes: int = 0,
    ) -> None:
        self._url = url
        self._options: dict[str, Any] = {}
        self._path: str | None = None
        if scheme_of(url) == "sqlite":
            self._path, given = arguments_in(url, {})
            if "timeout_s" not in given:
                self._options["timeout_s"] = _LOCK_TIMEOUT_S
        self._rules = tuple(rules)
        self._rules_interval_s = rules_interval_s
        self._disk_warn_bytes = disk_warn_bytes
        self.deleted = 0
        self.free_bytes: int | None = None
        self._is_warned = False
        self._store: EventStore | None = None
        self._stats: ArchiveStats | None = None
        self._problem: str | None = "the archive is being opened"
        self._look_at = 0.0
        self._woken = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="archive", daemon=True)

    def start(self) -> None:
        """Begin to open it, and to look after it."""
        self._thread.start()

    def stop(self) -> None:
        """Close it; twice is fine."""
        self._is_stopping = True
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(_ENDING_S)
        self._close()
        if self._thread.ident is not None:
            self._thread.join()

    def save_many(self, events: Iterable[Event]) -> int:
        """Save events, all or none; return how many were new.

        Raises:
            EventStoreException: nothing was saved; with one that is not usable, or not
                there yet, opening it is tried again meanwhile.
        """
        store = self._store
        if store is None:
            raise ArchiveUnusable(self._problem or "the archive is being opened")
        try:
            return store.save_many(events)
        except (ArchiveUnusable, ArchiveClosed) as exc:
            self._lost(store, exc)
            raise

    def problem(self) -> str | None:
        """Return why nothing can be written, as far as that is known; None if it can."""
        return self._problem

    def is_alive(self) -> bool:
        """Return False if its thread has ended and was not to."""
        return self._thread.ident is None or self._is_stopping or self._thread.is_alive()

    def stats(self) -> ArchiveStats | None:
        """Return what was in it when it was looked at last; None before."""
        return self._stats

    # -- On its thread -----------------------------------------------------------------------

    def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        rules_at = 0.0
        while not self._is_stopping:
            self._woken.clear()
            store = self._store or self._open()
            if store is None:
                self._woken.wait(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)
                continue
            retry_s = _FIRST_RETRY_S
            self._look(store)
            if time.monotonic() >= rules_at and self._store is store:
                rules_at = time.monotonic() + self._rules_interval_s
                self._clear(store)
            self._woken.wait(max(0.0, min(self._look_at, rules_at) - time.monotonic()))

    def _open(self) -> EventStore | None:
        try:
            store = open_archive(self._url, **self._options)
        except AntiphonError as exc:
            if str(exc) != self._problem:
                logger.warning("cannot open the archive, trying again: %s", exc)
            self._problem = str(exc)
            return None
        except Exception as exc:  # an archive of somebody else's may raise anything
            self._problem = f"{type(exc).__name__}: {exc}"
            logger.exception("cannot open the archive, trying again")
            return None
        logger.info("the archive is open")
        self._store, self._problem = store, None
        return store

    def _lost(self, store: EventStore, error: EventStoreException) -> None:
        """Have it opened anew, from any thread."""
        if self._store is store and not self._is_stopping:
            self._store, self._problem = None, str(error)
            logger.warning("the archive is opened again: %s", error)
            with contextlib.suppress(EventStoreException):
                store.close()
            self._woken.set()

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            self._problem = "the archive was closed"
            with contextlib.suppress(EventStoreException):
                store.close()

    def _look(self, store: EventStore) -> None:
        """Look at the archive and its disk, unless that was done just now."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        self._look_at_disk()
        try:
            self._stats = store.stats()
        except (ArchiveUnusable, ArchiveClosed) as exc:
            self._lost(store, exc)
        except EventStoreException as exc:
            logger.warning("cannot look into the archive: %s", exc)

    def _look_at_disk(self) -> None:
        if self._path is None:
            return
        try:
            disk = os.statvfs(os.path.dirname(os.path.abspath(self._path)))
        except OSError:
            self.free_bytes = None
            return
        self.free_bytes = disk.f_bavail * disk.f_frsize
        is_low = self.free_bytes < self._disk_warn_bytes
        if is_low and not self._is_warned:
            logger.warning(
                "the archive's disk has %.0f MB left (disk_warn_bytes): free some space, or keep"
                " less of it ([[retention]])",
                self.free_bytes / 1e6,
            )
        self._is_warned = is_low

    def _clear(self, store: EventStore) -> None:
        """Delete what the rules do not keep."""

        def is_over() -> bool:
            self._look(store)
            return self._is_stopping or self._store is not store

        for rule in self._rules:
            try:
                count = apply(store, [rule], should_stop=is_over)
            except EventStoreException as exc:
                logger.warning("cannot delete what is too old, trying again: %s", exc)
                return
            self.deleted += count
            if count:
                logger.info("deleted %d events that are no longer kept", count)
