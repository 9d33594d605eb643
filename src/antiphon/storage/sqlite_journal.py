"""Reading the journal of a sqlite store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from antiphon.errors import PositionLost
from antiphon.events.event_id import EventId
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables

# ruff: noqa: S608 - names are quoted, values are bound

#: Entries read at a time.
_PAGE = 1000


class JournalReader:
    """Reads the journal.

    Args:
        medium: the database.
        tables: the names of its tables.
        store_id, epoch: who the store is.
        store: named in errors.
    """

    def __init__(
        self, medium: Medium, tables: Tables, store_id: UUID, epoch: int, store: object
    ) -> None:
        self._medium = medium
        self._tables = tables
        self._store_id = store_id
        self._epoch = epoch
        self._store = store

    def head(self) -> Position:
        """Return the position of the newest entry."""
        self._medium.place.check()
        return self._medium.read_one(self._newest)

    def _newest(self, connection: sqlite3.Connection) -> Position:
        row = connection.execute(
            f"SELECT epoch, sequence, entry_id FROM {self._tables.journal}"
            " ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return Position(self._store_id, *(row or (self._epoch, 0, b"")))

    def since(self, position: Position) -> Iterator[JournalEntry]:
        """Return the entries after *position*; see ``Journal.since``."""
        head = self._medium.read(lambda connection: self._check(connection, position))
        return self._entries(position, head)

    def _check(self, connection: sqlite3.Connection, position: Position) -> Position:
        head = self._newest(connection)
        known = position[:2] == head[:2] and (
            self._id_at(connection, position.sequence) == position.entry_id
        )
        if not known:
            raise self._lost(position, head)
        return head

    def _id_at(self, connection: sqlite3.Connection, sequence: int) -> bytes | None:
        journal = self._tables.journal
        if sequence == 0:
            oldest = connection.execute(f"SELECT min(sequence) FROM {journal}").fetchone()[0]
            return b"" if oldest in (None, 1) else None
        row = connection.execute(
            f"SELECT entry_id FROM {journal} WHERE sequence = ?", (sequence,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _entries(self, position: Position, head: Position) -> Iterator[JournalEntry]:
        # Up to a head, so that the end is the end of a commit.
        at = position.sequence
        while at < head.sequence:
            page = self._medium.read_one(lambda connection, at=at: self._page(connection, at, head))  # type: ignore[misc]
            if not page or page[0].version.sequence != at + 1:
                raise self._lost(position._replace(sequence=at), head)
            yield from page
            at = page[-1].version.sequence

    def _page(
        self, connection: sqlite3.Connection, after: int, head: Position
    ) -> list[JournalEntry]:
        rows = connection.execute(
            # As bytes: a key that another program wrote need not be UTF-8.
            "SELECT epoch, sequence, entry_id, CAST(key AS BLOB), action, publisher, counter,"
            f" owner, last, time_ns FROM {self._tables.journal}"
            " WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?",
            (after, head.sequence, _PAGE),
        )
        return [_entry(row) for row in rows]

    def _lost(self, position: Position, head: Position) -> PositionLost:
        return PositionLost(
            f"the journal of {self._store!r} does not go on from {position}: it was cut there, or"
            f" has another history (it is at {head}); check everything anew"
        )


def _entry(row: tuple[Any, ...]) -> JournalEntry:
    epoch, sequence, entry_id, key, action, publisher, counter, owner, last, time_ns = row
    return JournalEntry(
        version=Version(epoch, sequence, bytes(entry_id)),
        key=bytes(key).decode("utf-8", "backslashreplace"),
        action=action,
        event_id=None if publisher is None else EventId(bytes(publisher), counter),
        owner=bytes(owner),
        last=bool(last),
        time_ns=time_ns,
    )
