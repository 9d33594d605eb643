"""The file of an archive: connections to it, waiting for its writers, and its errors."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any, TypeVar

from antiphon.errors import (
    AntiphonError,
    ArchiveBusy,
    ArchiveClosed,
    ArchiveFull,
    ArchiveUnusable,
    EventWriteException,
    InvalidEvent,
)
from antiphon.storage.sqlite_errors import MediumErrors
from antiphon.storage.sqlite_medium import Medium, Work
from antiphon.storage.sqlite_transactions import BUSY, code_of

_T = TypeVar("_T")

#: Seconds that reading waits for a write of another process that is under way.
SETTLE_S = 2.0

#: Longest pause between two looks whether that write has ended, in seconds.
_MAX_PAUSE_S = 0.01

#: Bytes to which the write-ahead log shrinks after it had to grow.
_LOG_BYTES = 64 << 20


class ArchiveFile(Medium):
    """A sqlite file whose errors are those of an archive, and whose reads can wait for writes.

    Args:
        location: path of the file.
        timeout_s: seconds for which a locked file is tried again.
        read_only: whether nothing is ever written; the file must be there.
    """

    def __init__(self, location: str, *, timeout_s: float, read_only: bool) -> None:
        self._underway = _Underway()
        super().__init__(
            location,
            timeout_s=timeout_s,
            read_only=read_only,
            errors=_ArchiveErrors(location, timeout_s, read_only=read_only),
        )

    def write_settling(self, work: Work[_T]) -> _T:
        """Do as ``write`` does; ``settle`` waits for it from now on."""
        with self._underway.one_more():
            return self.write(work)

    def settle(self) -> None:
        """Wait for the writes that were begun before this call.

        It waits for those of other processes at most ``SETTLE_S`` seconds, and not at
        all if this file was opened for reading only: then there is no telling.
        """
        if self.in_memory or self._read_only:
            self._underway.wait()
            return
        with self._mapped(), self._borrowed() as connection:
            # Whoever holds the lock now is done as soon as any commit is seen.
            before = _data_version(connection)
            self._underway.wait()
            _wait_for_commit(connection, before, self.timeout_s)

    def _open(self) -> Any:
        try:
            connection = super()._open()
        except UnicodeDecodeError as exc:
            # So Python tells of tables with broken definitions.
            raise ArchiveUnusable(f"{self.location} is broken: {exc.object!r}") from exc
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        return connection

    def leave_to_parent(self) -> None:
        """Go on with connections of this process's own; called in the child of a fork."""
        self._underway = _Underway()
        super().leave_to_parent()


class _Underway:
    """The writes of this process that were begun and have not ended."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._begun = 0
        self._running: set[int] = set()

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Count a write as under way in the block."""
        with self._changed:
            self._begun += 1
            number = self._begun
            self._running.add(number)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(number)
                self._changed.notify_all()

    def wait(self) -> None:
        """Wait until all that are running now have ended, but for none that begin meanwhile."""
        if self._running:
            with self._changed:
                last = self._begun
                self._changed.wait_for(lambda: min(self._running, default=last + 1) > last)


def _wait_for_commit(connection: sqlite3.Connection, before: int, timeout_s: float) -> None:
    """Wait until somebody has committed since *before*, or nobody holds the lock for writing."""
    if _data_version(connection) != before:
        return
    deadline = time.monotonic() + SETTLE_S
    pause_s = 0.0005
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while not _is_free(connection):
            if _data_version(connection) != before or time.monotonic() >= deadline:
                return
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(timeout_s * 1000)}")


def _is_free(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as exc:
        # Who may not write cannot ask for the lock either, and goes on without.
        if code_of(exc) == sqlite3.SQLITE_READONLY:
            return True
        if code_of(exc) not in BUSY:
            raise
        return False
    connection.execute("ROLLBACK")
    return True


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes with each commit of others."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


class _ArchiveErrors(MediumErrors):
    """Errors of an archive."""

    def __init__(self, location: str, timeout_s: float, *, read_only: bool) -> None:
        super().__init__(location, timeout_s)
        self.read_only = read_only

    def of(self, exc: sqlite3.Error) -> AntiphonError:
        code, where = code_of(exc), self.location
        if code in BUSY:
            return self.locked()
        if code == sqlite3.SQLITE_FULL:
            return ArchiveFull(f"no room for {where}: nothing was written; free some space")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            if self.read_only:
                # sqlite makes two files beside one that it reads, unless a writer has.
                return ArchiveUnusable(
                    f"{where} cannot be read by this user while nobody writes to it: the files"
                    f" {where}-wal and {where}-shm cannot be made or opened; read it as the user"
                    " who owns it, or let this one write into its folder"
                )
            return EventWriteException(
                f"{where} cannot be written: {exc}; see its permissions, or open it with"
                " read_only=1 to read"
            )
        if code == sqlite3.SQLITE_CANTOPEN and not os.path.isdir(where):
            return ArchiveUnusable(
                f"cannot open {where}: {exc}; its folder must be there, and open to this user"
            )
        if code == sqlite3.SQLITE_TOOBIG:
            return InvalidEvent(f"an event is too large for sqlite in {where}: {exc}")
        if os.path.isdir(where):
            return ArchiveUnusable(f"{where} is a folder; name the file of the archive in it")
        if code == sqlite3.SQLITE_IOERR:
            return ArchiveUnusable(f"cannot read or write {where}: {exc}; look at its disk")
        return ArchiveUnusable(
            f"{where} is no sqlite database, or a broken one: {exc}; restore it, or have"
            " sqlite3 .recover what is left"
        )

    def locked(self, waited_s: float | None = None) -> AntiphonError:
        return ArchiveBusy(
            f"{self.location} was locked by others for"
            f" {self.timeout_s if waited_s is None else waited_s:g} s: nothing was done;"
            " try again, or look who holds a transaction open"
        )

    def disconnected(self) -> AntiphonError:
        return ArchiveClosed(f"the archive {self.location} was closed; open it again")

    def replaced(self) -> AntiphonError:
        return ArchiveUnusable(
            f"{self.location} was removed or replaced while it was open: nothing was written;"
            " close the archive and open it again"
        )
