"""The file of an archive: connections to it, and what sqlite's errors mean here."""

from __future__ import annotations

import sqlite3
from typing import NoReturn

from antiphon.errors import (
    AntiphonError,
    ArchiveBusy,
    ArchiveClosed,
    ArchiveFull,
    ArchiveUnusable,
    EventStoreException,
    EventWriteException,
    InvalidEvent,
)
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_transactions import BUSY, code_of


class ArchiveFile(Medium):
    """A sqlite file whose errors are those of an archive."""

    def _raise_ours(self, exc: sqlite3.Error) -> NoReturn:
        raise self._ours(exc) from exc

    def _ours(self, exc: sqlite3.Error) -> AntiphonError:
        code, where = code_of(exc), self.location
        if code in BUSY:
            return self._locked()
        if code == sqlite3.SQLITE_FULL:
            return ArchiveFull(f"no room for {where}: nothing was written; free some space")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return EventWriteException(f"{where} cannot be written: {exc}; see its permissions")
        if code == sqlite3.SQLITE_CANTOPEN:
            return ArchiveUnusable(
                f"cannot open {where}: {exc}; its folder must be there, and open to this user"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return ArchiveUnusable(f"{where} is no sqlite database, or a broken one: {exc}")
        if code == sqlite3.SQLITE_TOOBIG:
            return InvalidEvent(f"an event is too large for sqlite in {where}: {exc}")
        if code == sqlite3.SQLITE_IOERR:
            return ArchiveUnusable(f"cannot read or write {where}: {exc}")
        return EventStoreException(f"sqlite cannot do this in {where}: {exc}")

    def _disconnected(self) -> ArchiveClosed:  # type: ignore[override]
        return ArchiveClosed(f"the archive {self.location} was closed; open it again")

    def _locked(self, waited_s: float | None = None) -> ArchiveBusy:  # type: ignore[override]
        return ArchiveBusy(
            f"{self.location} was locked by others for"
            f" {self.timeout_s if waited_s is None else waited_s:g} s: nothing was done;"
            " try again, or look who holds a transaction open"
        )
