"""Connections to one sqlite file, and what its errors mean.

Work on the medium is given to ``read`` or ``write`` as a function of a
connection, and whatever goes wrong in it comes out as an error of
``antiphon.errors``; which one, ``MediumErrors`` knows.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

from antiphon.storage.sqlite_errors import MediumErrors
from antiphon.storage.sqlite_forking import tell_of_forks
from antiphon.storage.sqlite_place import NoPlace, Place
from antiphon.storage.sqlite_transactions import (
    BUSY,
    MAX_PAUSE_S,
    code_of,
    in_transaction,
    use_write_ahead_log,
)

_T = TypeVar("_T")

#: A unit of work, handed to ``read`` or ``write``.
Work = Callable[[sqlite3.Connection], _T]

#: Seconds for which a locked database is tried again.
TIMEOUT_S = 30.0

#: Idle connections that are kept; more are opened when needed, and closed after.
_IDLE_CONNECTIONS = 4

#: KiB of pages that a connection keeps in memory at most.
_CACHE_KIB = 8192

#: Connections that a parent process left in its child.  Sqlite forbids to use
#: them there, to close them too; held here, the garbage collector does not.
_of_parents: list[sqlite3.Connection] = []


class _Connection(sqlite3.Connection):
    """A connection, with a cursor for those who read one row.

    A cursor for each of them takes a tenth of the time that sqlite takes.
    """

    reader: sqlite3.Cursor
    #: Seconds for which sqlite itself waits for a lock.
    busy_s: float


class _Turn:
    """A thread's place in the queue for a connection."""

    def __init__(self) -> None:
        self.came = threading.Event()
        self.connection: _Connection | None = None


class Medium:
    """One sqlite database, used by any number of threads.

    Args:
        location: path of the file; ``:memory:`` is a database of this object's own.
        timeout_s: seconds for which a locked database is tried again.
        durable: whether a commit that was returned survives a power cut.
        read_only: whether nothing is ever written; the file must be there.
        errors: makes the errors that come out of this; None makes a store's.
    """

    def __init__(
        self,
        location: str,
        *,
        timeout_s: float = TIMEOUT_S,
        durable: bool = True,
        read_only: bool = False,
        errors: MediumErrors | None = None,
    ) -> None:
        self.location = location
        self.timeout_s = timeout_s
        self._durable = durable
        self._read_only = read_only
        self._errors = errors or MediumErrors(location, timeout_s)
        # A database in memory belongs to its one connection.
        self.in_memory = location in ("", ":memory:")
        place = NoPlace if self.in_memory else Place
        self.place = place(location, self._errors.replaced)
        self._is_closed = False
        self._forget_connections()
        tell_of_forks(self)
        try:
            with self._mapped(), self._borrowed() as connection:
                if not self.in_memory and not read_only:
                    use_write_ahead_log(connection, timeout_s)
                self.place.note()
        except BaseException:
            self.close()
            raise

    def _forget_connections(self) -> None:
        self._pid = os.getpid()
        self._idle: list[_Connection] = []
        # The one of a database in memory, while nobody has it.
        self._only: list[_Connection] = []
        # For stores that are dropped without disconnect().
        for each in (self._idle, self._only):
            weakref.finalize(self, _close_all, each, os.getpid()).atexit = False
        self._lock = threading.Lock()
        self._is_lent = False
        self._waiting: deque[_Turn] = deque()
        # Threads of one process queue here; sqlite itself only lets them poll.
        self.writing = threading.Lock()

    def leave_to_parent(self) -> None:
        """Go on with connections of this process's own; called in the child of a fork."""
        if not self.in_memory:
            _of_parents.extend(self._idle)
            self._forget_connections()

    def close(self) -> None:
        """Close all connections; those in use, when their work is done.  Twice is fine."""
        with self._lock:
            self._is_closed = True
            _close_all(self._idle, self._pid)
            _close_all(self._only, self._pid)
            for turn in self._waiting:
                turn.came.set()

    # -- Work ----------------------------------------------------------------

    def read(self, work: Work[_T]) -> _T:
        """Return what *work* does in one transaction that writes nothing."""
        return self._retried(lambda connection: in_transaction(connection, "BEGIN", work))

    def read_one(self, work: Work[_T]) -> _T:
        """Return what *work* does with a single statement; cheaper than ``read``."""
        # ``_retried`` for the case that nothing is in the way, without its cost.
        try:
            connection = self._borrow()
            try:
                return work(connection)
            finally:
                self._give_back(connection)
        except sqlite3.Error as exc:
            if code_of(exc) not in BUSY:
                self._raise_ours(exc)
        return self._retried(work)

    def fetch_one(self, sql: str, parameters: tuple[str, ...]) -> tuple[Any, ...] | None:
        """Return the row of a statement that reads at most one; the cheapest way to do so."""
        row: tuple[Any, ...] | None
        # As ``read_one`` does it, in one piece: this is what every get is made of.
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            row = self.read_one(lambda c: c.execute(sql, parameters).fetchone())
            return row
        try:
            row = connection.reader.execute(sql, parameters).fetchone()
            return row
        except sqlite3.Error as exc:
            if code_of(exc) not in BUSY:
                self._raise_ours(exc)
        finally:
            idle.append(connection)
            if self._is_closed or len(idle) > _IDLE_CONNECTIONS:
                self._close_some()
        row = self.read_one(lambda c: c.execute(sql, parameters).fetchone())
        return row

    def write_soon(self, work: Work[_T], timeout_s: float) -> _T:
        """Do as ``write`` does, not durably, and wait at most *timeout_s* for a lock of others."""

        def written(connection: _Connection) -> _T:
            # It stays so: whoever may wait for longer tries again (``_retried``).
            if connection.busy_s != timeout_s:
                connection.execute(f"PRAGMA busy_timeout={int(timeout_s * 1000)}")
                connection.busy_s = timeout_s
            return self._written(connection, work, durable=False)

        if not self.writing.acquire(timeout=timeout_s):
            raise self._errors.locked(timeout_s)
        try:
            with self._borrowed() as connection:
                return written(connection)
        except sqlite3.Error as exc:
            if code_of(exc) in BUSY:
                raise self._errors.locked(timeout_s) from exc
            self._raise_ours(exc)
        finally:
            self.writing.release()

    def write(self, work: Work[_T], *, durable: bool = True) -> _T:
        """Return what *work* does in one transaction; after an error nothing of it stays.

        Args:
            work: may be called again if the database was locked.
            durable: False spares the wait for the disk where a later commit
                makes this one durable too, or none needs to.
        """
        if not self.writing.acquire(timeout=self.timeout_s):
            raise self._errors.locked()
        try:
            return self._retried(
                lambda connection: self._written(connection, work, durable and self._durable)
            )
        finally:
            self.writing.release()

    def _written(self, connection: sqlite3.Connection, work: Work[_T], durable: bool) -> _T:
        self.place.check()
        if durable:
            return in_transaction(connection, "BEGIN IMMEDIATE", work)
        connection.execute("PRAGMA synchronous=NORMAL")
        try:
            return in_transaction(connection, "BEGIN IMMEDIATE", work)
        finally:
            connection.execute(self._synchronous())

    def _synchronous(self) -> str:
        return f"PRAGMA synchronous={'FULL' if self._durable else 'NORMAL'}"

    def _retried(self, work: Work[_T]) -> _T:
        deadline = time.monotonic() + self.timeout_s
        with self._mapped(), self._borrowed() as connection:
            while True:
                try:
                    return work(connection)
                except sqlite3.OperationalError as exc:
                    # Sqlite waits by itself, but not where waiting might be a
                    # deadlock, nor while another process recovers the log.
                    if code_of(exc) not in BUSY or time.monotonic() >= deadline:
                        raise
                time.sleep(random.uniform(0, MAX_PAUSE_S))  # noqa: S311 - no secret

    # -- Connections ---------------------------------------------------------

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[_Connection]:
        connection = self._borrow()
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _borrow(self) -> _Connection:
        if self.in_memory:
            return self._borrow_only()
        # Taking from a list is one step for other threads.
        try:
            return self._idle.pop()
        except IndexError:
            pass
        if self._is_closed:
            raise self._errors.disconnected()
        return self._open()

    def _borrow_only(self) -> _Connection:
        with self._lock:
            if self._is_closed:
                raise self._errors.disconnected()
            if not self._is_lent:
                connection = self._only.pop() if self._only else self._open()
                self._is_lent = True
                return connection
            turn = _Turn()
            self._waiting.append(turn)
        return self._wait(turn)

    def _wait(self, turn: _Turn) -> _Connection:
        turn.came.wait(self.timeout_s)
        with self._lock:
            if turn.connection is not None:
                return turn.connection
            if self._is_closed:
                raise self._errors.disconnected()
            self._waiting.remove(turn)
        raise self._errors.locked()

    def _give_back(self, connection: _Connection) -> None:
        if not self.in_memory:
            self._idle.append(connection)
            if self._is_closed or len(self._idle) > _IDLE_CONNECTIONS:
                self._close_some()
            return
        with self._lock:
            if self._waiting and not self._is_closed:
                # Handed over, not laid down: else the thread that gave it back
                # is the quickest to take it again, and others wait for ever.
                turn = self._waiting.popleft()
                turn.connection = connection
                turn.came.set()
                return
            self._is_lent = False
            self._only.append(connection)
            if self._is_closed:
                _close_all(self._only, self._pid)

    def _close_some(self) -> None:
        """Close the connections that are too many, or all once this is closed."""
        # Whoever has them when it is closed comes here with each.
        while self._is_closed or len(self._idle) > _IDLE_CONNECTIONS:
            try:
                self._idle.pop().close()
            except IndexError:  # others take from it, too
                return

    def _open(self) -> _Connection:
        self.place.check()  # or a file that was removed would be made anew
        path = self.place.path
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=ro" if self._read_only else path,
            uri=self._read_only,
            timeout=self.timeout_s,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            connection.execute(self._synchronous())
            connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            connection.reader = connection.cursor()
            connection.busy_s = self.timeout_s
        except BaseException:
            connection.close()
            raise
        return connection

    # -- Errors --------------------------------------------------------------

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            self._raise_ours(exc)

    def _raise_ours(self, exc: sqlite3.Error) -> NoReturn:
        raise self._errors.of(exc) from exc


def _close_all(connections: list[_Connection], pid: int) -> None:
    while True:
        try:
            connection = connections.pop()
        except IndexError:  # asking first would not do: others take from it, too
            return
        if pid == os.getpid():
            connection.close()
        else:
            _of_parents.append(connection)
