"""What sqlite's errors mean to those who use a store."""

from __future__ import annotations

import sqlite3

from antiphon.errors import (
    AntiphonError,
    IncompatibleStore,
    InvalidValue,
    NotConnected,
    ReadOnlyStore,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from antiphon.storage.sqlite_transactions import BUSY, code_of


class MediumErrors:
    """Makes errors of ``antiphon.errors`` of what goes wrong with one database.

    Args:
        location: its path, for messages.
        timeout_s: seconds for which a lock is waited for, if nothing else is said.
    """

    def __init__(self, location: str, timeout_s: float) -> None:
        self.location = location
        self.timeout_s = timeout_s

    def of(self, exc: sqlite3.Error) -> AntiphonError:
        """Return what to raise from an error of sqlite."""
        code, where = code_of(exc), self.location
        if code in BUSY:
            return self.locked()
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"no room for {where}: nothing was written; free some space")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
            return ReadOnlyStore(f"{where} cannot be written: {exc}; see its permissions")
        if code == sqlite3.SQLITE_CANTOPEN:
            return StoreUnavailable(
                f"cannot open {where}: {exc}; its folder must be there, and open to this user"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return IncompatibleStore(f"{where} is no sqlite database, or a broken one")
        if code == sqlite3.SQLITE_TOOBIG:
            return InvalidValue(f"too large for sqlite in {where}: {exc}")
        if code == sqlite3.SQLITE_IOERR:
            return StoreUnavailable(f"cannot read or write {where}: {exc}")
        return StoreError(f"sqlite cannot do this in {where}: {exc}")

    def locked(self, waited_s: float | None = None) -> AntiphonError:
        """Return the error of a database that others held locked, for all the time given."""
        return StoreUnavailable(
            f"{self.location} was locked by others for"
            f" {self.timeout_s if waited_s is None else waited_s:g} s: nothing was written;"
            " try again, or look who holds a transaction open"
        )

    def disconnected(self) -> AntiphonError:
        """Return the error of a database that was closed."""
        return NotConnected(f"{self.location} was disconnected; call connect() first")

    def replaced(self) -> AntiphonError:
        """Return the error of a file that is not any more the one that is open."""
        return IncompatibleStore(
            f"{self.location} was removed or replaced while it was open: nothing was written;"
            " disconnect and connect again (sqlite's own .restore can be used meanwhile)"
        )
