"""A file store for disks that several machines share, and that tells what the others do."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
import os
from collections.abc import Sequence
from typing import Any

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.storage.changes import Change, Committed, Staged, StoreIdentity
from antiphon.storage.directory_lock import LOCK_TIMEOUT_S
from antiphon.storage.file_commit import Committer
from antiphon.storage.file_index import Index
from antiphon.storage.file_medium import Medium
from antiphon.storage.file_names import is_hashed
from antiphon.storage.file_record import Step
from antiphon.storage.filesystem_store import (
    JOURNAL_LENGTH,
    MAGIC_FNAME,
    FileSystemStore,
    HeldLock,
)
from antiphon.storage.journal import Version
from antiphon.storage.remote_changes import Poller, note_own
from antiphon.storage.shared_disk_lock import SharedDiskLock

logger = logging.getLogger(__name__)

#: How Encore's users write a time as text.
_TIME_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class LockingFileSystemStore(FileSystemStore):
    """A ``FileSystemStore`` whose lock is made of files, and that looks for others' changes.

    For a directory on a network disk.  All who write there use this class; a
    ``FileSystemStore`` can read it meanwhile, and is kept from writing.

    Args:
        path: the directory.
        force_lock_timeout: seconds that one commit may take; whoever holds the
            lock longer is taken for dead, and loses it.  0: never.
        magic_fname: name of the file that makes the directory a store.
        remote_event_poll_interval: seconds between two looks for what other
            processes changed, of which this store then emits the events, for
            this process only; 0: never.
        max_time_delta: by how much the clocks of the machines may differ.
        origin, durable, timeout_s, journal_length: see ``FileSystemStore``.

    Raises:
        StoreUnavailable: there is no such directory.
        IncompatibleStore: it is no store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        force_lock_timeout: float = 10.0,
        magic_fname: str = MAGIC_FNAME,
        remote_event_poll_interval: float = 5.0,
        max_time_delta: datetime.timedelta = datetime.timedelta(minutes=1),
        *,
        origin: str | None = None,
        durable: bool = True,
        timeout_s: float = LOCK_TIMEOUT_S,
        journal_length: int = JOURNAL_LENGTH,
    ) -> None:
        super().__init__(
            path,
            magic_fname,
            origin=origin,
            durable=durable,
            timeout_s=timeout_s,
            journal_length=journal_length,
        )
        self._force_lock_timeout = force_lock_timeout
        self._poll_interval_s = remote_event_poll_interval
        self._max_time_delta = max_time_delta
        self._shared_lock: SharedDiskLock | None = None
        self._poller: Poller | None = None

    # -- Connecting ----------------------------------------------------------

    def connect(self, credentials: Any = None) -> None:
        super().connect(credentials)
        with self._connecting:
            if self._connected and self._poller is None and self._poll_interval_s > 0:
                self._poller = Poller(self, self._poll_interval_s)
                self._poller.start()

    def disconnect(self) -> None:
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.stop()
        super().disconnect()

    def _make_lock(self, path: str) -> HeldLock:
        lock = SharedDiskLock(path, self._timeout_s, self._force_lock_timeout)
        self._shared_lock = lock
        return lock

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        identity = super()._open_medium(credentials)
        parts, lock = self._connected_parts(), self._shared_lock
        assert lock is not None  # noqa: S101 - made by _make_lock
        medium = parts.medium
        parts.committer = _FencedCommitter(medium, self, lock)
        lock.epoch = lambda: medium.index.head.epoch
        if lock.needs_epoch():
            try:
                with medium.locked():
                    pass  # It begins one.
            except BaseException:
                self._close_medium()
                raise
        return StoreIdentity(identity.store_id, medium.index.head.epoch, identity.system)

    # -- Writing -------------------------------------------------------------

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        # Before: the poller may see the commit before this thread goes on.
        note_own(changes, self._event_manager)
        try:
            return super()._commit(changes)
        finally:
            self._recover_if_lost()

    def _recover_if_lost(self) -> None:
        """Check everything after another process took the lock from this one by force.

        What this one did in the moment between its last look at the lock and a
        file may have met newer files.
        """
        lock, parts = self._shared_lock, self._parts
        if lock is None or parts is None or not lock.was_lost:
            return
        parts.medium.distrust()
        try:
            found = self.rescan()
            lock.recovered()
        except StoreError as exc:
            logger.warning("%r lost its lock by force, and checks again later: %s", self, exc)
        else:
            logger.warning("%r lost its lock by force; %d keys needed repair", self, found)

    # -- What changed --------------------------------------------------------

    def get_modified_keys(self, since: datetime.datetime | str) -> list[str]:
        """Return the keys that were changed or deleted since a time, oldest change first.

        Args:
            since: UTC if it is naive; or text such as ``2026-03-29 12:30:00.000000``.
                ``max_time_delta`` is taken off, since another machine's clock
                may be late.

        Each key is there once.  Deletions are known as far back as the journal
        goes (``journal_length``), everything else always.

        Raises:
            ValueError: the text is no time.
        """
        self._check_connected()
        if isinstance(since, str):
            since = datetime.datetime.strptime(since, _TIME_FORMAT)
        if since.tzinfo is None:
            since = since.replace(tzinfo=datetime.UTC)
        after = (since - self._max_time_delta).timestamp()
        with self._connected_parts().medium.reading() as index:
            entries = list(index.entries.items())
            journal = [(each.key, each.time_ns / 1e9) for each in index.journal]
        changed = {key: at for key, at in journal if key is not None and at > after}
        for key, entry in entries:
            if entry.modified > after:
                changed.setdefault(key, entry.modified)
        return sorted(changed, key=lambda key: changed[key])

    def versions(self) -> list[tuple[str, Version]]:
        """Return all keys with the version each has now."""
        self._check_connected()
        with self._connected_parts().medium.reading() as index:
            return [(key, entry.version) for key, entry in index.entries.items()]


class _FencedCommitter(Committer):
    """Commits, asking before and after it moves files whether the lock is still held."""

    def __init__(self, medium: Medium, store: object, lock: SharedDiskLock) -> None:
        super().__init__(medium, store)
        self._lock = lock

    def _decide(
        self, index: Index, changes: Sequence[Change], aside: dict[int, Staged]
    ) -> tuple[list[Step], dict[str, Any], list[Committed]]:
        # The index is up to date now: whoever takes the lock after this answer begins a
        # new log, and what is written into this one is not looked at.
        self._lock.check()
        return super()._decide(index, changes, aside)

    def _place(self, steps: list[Step], renewed: list[bool], written: list[str], what: str) -> None:
        # Decided by now: whoever took the lock has carried it out.
        self._lock.check()
        kept = [step.entry is not None or not step.final for step in steps]
        super()._place(
            list(itertools.compress(steps, kept)),
            list(itertools.compress(renewed, kept)),
            written,
            what,
        )
        if not all(kept):
            names = [step.name for step, keep in zip(steps, kept, strict=True) if not keep]
            try:
                self._remove(names)
            except OSError as exc:
                if isinstance(exc, StoreError):
                    raise
                raise StoreUnavailable(
                    f"{what}: {exc.strerror}; it is decided, and is finished by whoever writes next"
                ) from exc
        self._lock.check()

    def _remove(self, names: list[str]) -> None:
        layout = self._medium.layout
        # Metadata first: a key is there while they are.
        paths = [make(name) for name in names for make in (layout.metadata, layout.data)]
        paths += [layout.key(name) for name in names if is_hashed(name)]
        with self._lock.fence() as fence:
            for number, path in enumerate(paths):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(path, os.path.join(fence, str(number)))
