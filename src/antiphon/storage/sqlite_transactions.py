"""Transactions on one connection of sqlite."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

#: Longest pause before a busy database is tried again, in seconds.
MAX_PAUSE_S = 0.05

#: Sqlite's codes of a database that others use just now.
BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def in_transaction(
    connection: sqlite3.Connection, begin: str, work: Callable[[sqlite3.Connection], _T]
) -> _T:
    """Return what *work* does between *begin* and COMMIT; after an error nothing of it stays."""
    connection.execute(begin)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, a full disk among them, sqlite has done it already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def use_write_ahead_log(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Have readers and the writer not block one another, where that is possible."""
    # With it readers and the writer do not block one another.  Changing the
    # mode needs the file alone for a moment, and does not wait for it; where
    # the mode is impossible (network folders) the old one does, more slowly.
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if code_of(exc) not in BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(random.uniform(0, MAX_PAUSE_S))  # noqa: S311 - no secret


def code_of(exc: sqlite3.Error) -> int | None:
    """Return sqlite's primary code of an error; None for one of Python's own."""
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
