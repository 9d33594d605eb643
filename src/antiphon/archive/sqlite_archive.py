"""An archive in a sqlite file, shared by any number of processes."""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.archive.searching import ArchiveStats, Key, Portion, Query, Step
from antiphon.archive.sqlite_file import ArchiveFile
from antiphon.archive.sqlite_layout import is_archive, prepare
from antiphon.archive.sqlite_names import Names
from antiphon.archive.sqlite_reading import event_with_id, portion, statistics, step
from antiphon.archive.sqlite_sparing import Sparing, newest_but
from antiphon.archive.sqlite_writing import (
    delete,
    insert,
    purge_before,
    purge_to_count,
    purge_to_key,
)
from antiphon.errors import ArchiveUnusable, EventNotFound, EventWriteException, InvalidEvent
from antiphon.storage.forking import Forked
from antiphon.storage.opening import url_flag, url_parameters, url_path

_T = TypeVar("_T")

#: Seconds for which a locked archive is tried again.
TIMEOUT_S = 30.0

#: Seconds between two looks for what other processes saved: at first, since one event is
#: soon followed by others, and after a while.
_FIRST_LOOK_S, _LOOK_S = 0.001, 0.01


class SqliteArchive(EventStore, Forked):
    """An archive in a sqlite file.

    Args:
        location: path of the file; its folder must be there.
        read_only: nothing can be written, and the archive must be there.  What
            other processes are writing just now is not waited for.
        timeout_s: seconds for which a locked file is tried again.

    Raises:
        ArchiveUnusable: the file cannot be opened, or is something else.
        ArchiveBusy: it is new, and others hold it locked.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        read_only: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.location = os.fspath(location)
        if "\0" in self.location:
            raise ArchiveUnusable(f"no file can be called {self.location!r}: it has a NUL in it")
        self._is_read_only = read_only
        if read_only and not os.path.exists(self.location):
            raise ArchiveUnusable(f"there is no archive at {self.location} to read")
        self._file = ArchiveFile(self.location, timeout_s=timeout_s, read_only=read_only)
        self._names = Names()
        self._sparing = Sparing(self._file.read, self._write)
        self._saved = threading.Condition()
        self._renew_in_children()
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        if self._file.read(lambda connection: is_archive(connection, self.location)):
            return
        if self._is_read_only:
            raise ArchiveUnusable(f"{self.location} is empty, and no archive to read")
        self._file.write(lambda connection: prepare(connection, self.location))

    def _forked(self) -> None:
        # Threads of the parent may have held their locks.
        self._names = Names()
        self._saved = threading.Condition()

    def __repr__(self) -> str:
        return f"SqliteArchive({self.location!r})"

    def close(self) -> None:
        """Close what is open; twice is fine.  Other methods raise ``ArchiveClosed`` afterwards."""
        self._file.close()
        self._ring()

    # -- Writing -------------------------------------------------------------

    def _save(self, events: list[Event]) -> int:
        try:
            done = self._write(lambda connection: insert(connection, self._names, events))
        except OverflowError as exc:
            raise InvalidEvent(f"an event is too large for {self.location}: {exc}") from exc
        self._names.remember(done.numbers, done.forgotten)
        self._ring()
        return done.count

    def _delete(self, event_id: str) -> None:
        self._write(lambda connection: delete(connection, event_id))

    def _purge(
        self,
        before: float | None,
        keep: int | None,
        flags: tuple[str, ...],
        unless: tuple[str, ...],
        limit: int,
    ) -> int:
        if unless:
            query = Query(-math.inf, math.inf, flags, unless=unless)
            return self._sparing.purge(before, keep, query, limit)
        last = None
        if keep is not None and len(flags) > 1:
            last = newest_but(self._file.read, keep, Query(-math.inf, math.inf, flags))

        def work(connection: sqlite3.Connection) -> int:
            count = 0
            if before is not None:
                count = purge_before(connection, flags, before, limit)
            if last is not None:
                count += purge_to_key(connection, flags, last, limit - count)
            elif keep is not None and len(flags) < 2:
                count += purge_to_count(connection, flags, keep, limit - count)
            return count

        return self._write(work)

    def _write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._is_read_only:
            raise EventWriteException(
                f"the archive {self.location} was opened with read_only; nothing was written"
            )
        return self._file.write_settling(work)

    # -- Reading -------------------------------------------------------------

    def head(self) -> int:
        """Return the place of what was saved last; 0 if nothing ever was."""
        # Who follows a file that was removed would wait for ever.
        self._file.place.check()
        row = self._file.fetch_one("SELECT head FROM archive", ())
        return 0 if row is None else int(row[0])

    def wait(self, place: int, timeout_s: float) -> int:
        """Wait until the head is another than *place*, and return it."""
        deadline = time.monotonic() + timeout_s
        pause_s = _FIRST_LOOK_S
        while True:
            with self._saved:
                # Within the lock: what is saved from here on rings.
                head = self.head()
                left_s = deadline - time.monotonic()
                if head != place or not left_s > 0:  # it may be no number at all
                    return head
                self._saved.wait(min(left_s, pause_s))
            pause_s = min(2 * pause_s, _LOOK_S)

    def _ring(self) -> None:
        with self._saved:
            self._saved.notify_all()

    def stats(self) -> ArchiveStats:
        """Return what is in the archive."""
        try:
            log_bytes = os.stat(f"{self.location}-wal").st_size
        except OSError:
            log_bytes = 0
        self._file.place.check()
        return self._file.read(lambda connection: statistics(connection, log_bytes))

    def _get(self, event_id: str) -> Event:
        self._file.place.check()
        self._file.settle()
        event = self._file.read(lambda c: event_with_id(c, self._names, event_id))
        if event is None:
            raise EventNotFound(f"no event has the id {event_id!r:.200}")
        return event

    def _settled_head(self) -> int:
        self._file.settle()
        return self.head()

    def _step(self, query: Query, after: Key, head: int, size: int) -> Step:
        return self._file.read(lambda c: step(c, self._names, query, after, head, size))

    def _since(self, place: int, flags: tuple[str, ...], limit: int) -> Portion:
        return self._file.read(lambda c: portion(c, self._names, place, flags, limit))


def from_url(url: str, **options: Any) -> SqliteArchive:
    """Return the archive of ``sqlite:///path``; its parameters are those of ``SqliteArchive``."""
    location, parameters = arguments_in(url, options)
    return SqliteArchive(location, **parameters)


def arguments_in(url: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path and the parameters that *url* and *options* name; open nothing.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """
    known: dict[str, Callable[[str], Any]] = {"read_only": url_flag, "timeout_s": _seconds}
    return url_path(url), url_parameters(url, known, options)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86400:
        raise ValueError("write seconds, from 0 to 86400")
    return seconds
