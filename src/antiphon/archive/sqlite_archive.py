"""An archive in a sqlite file, shared by any number of processes."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.archive.searching import ArchiveStats, Key, Portion, Query, Step
from antiphon.archive.sqlite_file import ArchiveFile
from antiphon.archive.sqlite_layout import prepare
from antiphon.archive.sqlite_names import Names
from antiphon.archive.sqlite_walking import COLUMNS, event_of, portion, step
from antiphon.archive.sqlite_writing import delete, insert, purge
from antiphon.errors import EventNotFound
from antiphon.storage.opening import url_flag, url_parameters, url_path

#: Seconds for which a locked archive is tried again.
TIMEOUT_S = 30.0

#: Seconds between two looks for what other processes saved.
_LOOK_S = 0.01

#: Flags that ``stats`` counts.
_COUNTED_FLAGS = 1000


class SqliteArchive(EventStore):
    """An archive in a sqlite file.

    Args:
        location: path of the file; its folder must be there.
        read_only: nothing can be written, and the file must be there.
        timeout_s: seconds for which a locked file is tried again.

    Raises:
        ArchiveUnusable: the file cannot be opened, or is something else.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        read_only: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.location = os.fspath(location)
        self._file = ArchiveFile(self.location, timeout_s=timeout_s)
        self._names = Names()
        self._saved = threading.Condition()
        try:
            self._file.write(lambda connection: prepare(connection, self.location))
        except BaseException:
            self._file.close()
            raise

    def __repr__(self) -> str:
        return f"SqliteArchive({self.location!r})"

    def close(self) -> None:
        """Close what is open; twice is fine.  Other methods raise ``ArchiveClosed`` afterwards."""
        self._file.close()
        with self._saved:
            self._saved.notify_all()

    def head(self) -> int:
        """Return the place of what was saved last; 0 if nothing ever was."""
        row = self._file.fetch_one("SELECT head FROM archive", ())
        return 0 if row is None else int(row[0])

    def wait(self, place: int, timeout_s: float) -> int:
        """Wait until the head is another than *place*, and return it."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._saved:
                # Within the lock: what is saved from here on rings.
                head = self.head()
                left = deadline - time.monotonic()
                if head != place or left <= 0:
                    return head
                self._saved.wait(min(left, _LOOK_S))

    def stats(self) -> ArchiveStats:
        """Return what is in the archive."""
        return self._file.read(_stats)

    def _save(self, events: list[Event]) -> int:
        count, numbers = self._file.write(lambda c: insert(c, self._names, events))
        self._names.remember(numbers)
        with self._saved:
            self._saved.notify_all()
        return count

    def _delete(self, event_id: str) -> None:
        self._file.write(lambda connection: delete(connection, event_id))

    def _purge(
        self, before: float | None, keep: int | None, flags: tuple[str, ...], limit: int
    ) -> int:
        return self._file.write(lambda c: purge(c, before, keep, flags, limit))

    def _get(self, event_id: str) -> Event:
        self._settled_head()

        def work(connection: sqlite3.Connection) -> Event | None:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM events WHERE id = ?",  # noqa: S608
                (event_id,),
            ).fetchone()
            return None if row is None else event_of(connection, self._names, row)

        event = self._file.read(work)
        if event is None:
            raise EventNotFound(f"no event has the id {event_id!r:.200}")
        return event

    def _settled_head(self) -> int:
        with self._file.writing:
            return self.head()

    def _step(self, query: Query, after: Key | None, head: int, size: int) -> Step:
        return self._file.read(lambda c: step(c, self._names, query, after, head, size))

    def _since(self, place: int, flags: tuple[str, ...], limit: int) -> Portion:
        return self._file.read(lambda c: portion(c, self._names, place, flags, limit))


def _stats(connection: sqlite3.Connection) -> ArchiveStats:
    (events,) = connection.execute("SELECT events FROM archive").fetchone()
    (oldest,) = connection.execute("SELECT min(timestamp) FROM flags WHERE flag = 0").fetchone()
    (newest,) = connection.execute("SELECT max(timestamp) FROM flags WHERE flag = 0").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    flags = connection.execute(
        "SELECT name, events FROM names ORDER BY events DESC, name LIMIT ?", (_COUNTED_FLAGS,)
    )
    return ArchiveStats(events, oldest, newest, pages * page_bytes, dict(flags.fetchall()))


def from_url(url: str, **options: Any) -> SqliteArchive:
    """Return the archive of ``sqlite:///path``; its parameters are those of ``SqliteArchive``."""
    known: dict[str, Callable[[str], Any]] = {"read_only": url_flag, "timeout_s": float}
    return SqliteArchive(url_path(url), **url_parameters(url, known, options))
