"""Commits of a sqlite store: rows, versions and journal in one transaction."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from antiphon.errors import IncompatibleStore
from antiphon.storage.changes import Change, Committed, Staged, action_of
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.metadata import decode, encode
from antiphon.storage.sqlite_index import Index
from antiphon.storage.sqlite_schema import STAMP, Tables, quoted
from antiphon.storage.sqlite_stamp import as_seconds, stamp_of
from antiphon.storage.sqlite_values import Values

# ruff: noqa: S608 - names are quoted, values are bound

#: The journal is cut once in so many changes.
_TRIM_EVERY = 1024


class _Row(NamedTuple):
    """What a key has before a change."""

    metadata: str | None
    created: object
    stamp: bytes | None
    epoch: int | None
    sequence: int | None
    entry_id: bytes | None
    indexed: int | None
    generation: int | None
    size: int | None

    @property
    def version(self) -> Version:
        if self.epoch is None or self.sequence is None or self.entry_id is None:
            return Version(0, 0, b"unknown")
        return Version(self.epoch, self.sequence, self.entry_id)


class Committer:
    """Applies changes.

    Args:
        tables: the names of the tables.
        values: the large values.
        index: the index columns.
        epoch: epoch of the journal.
        journal_length: entries that the journal keeps at least.
        store: named in errors.
    """

    def __init__(
        self,
        tables: Tables,
        values: Values,
        index: Index,
        *,
        epoch: int,
        journal_length: int,
        store: object,
    ) -> None:
        self._tables = tables
        self._values = values
        self._index = index
        self._epoch = epoch
        self._journal_length = journal_length
        self._store = store

    def commit(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> list[Committed]:
        """Apply *changes* in a transaction that the caller begins and ends."""
        t = self._tables
        # Seen by the triggers alone: whoever else looks sees it after the
        # transaction, when it is 0 again.
        connection.execute(f"UPDATE {t.writer} SET own = 1")
        for change in changes:
            if change.metadata:
                self._index.add_met(connection, change.metadata)
        columns = self._index.columns(connection)
        now_ns = time.time_ns()
        before = self._newest(connection)
        committed = []
        for number, change in enumerate(changes, start=1):
            done = self._apply(connection, change, columns, number == len(changes), now_ns)
            committed.append(done._replace(before=before))
            before = change.entry_id
        self._trim(connection, committed)
        connection.execute(f"UPDATE {t.writer} SET own = 0")
        return committed

    def _newest(self, connection: sqlite3.Connection) -> bytes:
        """Return the id of the journal's newest entry; b"" if it is empty."""
        row = connection.execute(
            f"SELECT entry_id FROM {self._tables.journal} ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return b"" if row is None else bytes(row[0])

    def _apply(
        self,
        connection: sqlite3.Connection,
        change: Change,
        columns: tuple[str, ...],
        last: bool,
        now_ns: int,
    ) -> Committed:
        present = self._present(connection, change.key)
        action = action_of(change, None if present is None else present.version, self._store)
        entry = self._write_entry(connection, change, action, last, now_ns)
        before = {} if present is None else _before(change, present.metadata)
        if change.delete:
            self._delete(connection, change.key, present)
            return Committed(entry, before)
        after = before
        if change.metadata is not None:
            after = {**before, **change.metadata} if change.merge else dict(change.metadata)
        fields = _fields(change, present, entry)
        if present is None or change.metadata is not None:
            fields["metadata"] = encode(after)
            fields |= self._index_fields(columns, present, before, after)
        self._write_row(connection, change.key, present is None, fields)
        self._write_version(connection, change, present, entry.version)
        return Committed(entry, after)

    def _present(self, connection: sqlite3.Connection, key: str) -> _Row | None:
        t = self._tables
        row = connection.execute(
            f"SELECT m.metadata, m.created, m.{quoted(STAMP)}, v.epoch, v.sequence, v.entry_id,"
            f" v.indexed, v.generation, v.size FROM {t.main} m"
            f" LEFT JOIN {t.versions} v ON v.key = m.key WHERE m.key = ?",
            (key,),
        ).fetchone()
        return None if row is None else _Row(*row)

    def _write_entry(
        self, connection: sqlite3.Connection, change: Change, action: str, last: bool, now_ns: int
    ) -> JournalEntry:
        event_id = change.event_id
        sequence = connection.execute(
            f"INSERT INTO {self._tables.journal} (epoch, entry_id, key, action, publisher,"
            " counter, owner, last, time_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._epoch,
                change.entry_id,
                change.key,
                action,
                event_id.publisher,
                event_id.counter,
                event_id.publisher,
                last,
                now_ns,
            ),
        ).lastrowid
        assert sequence is not None  # noqa: S101 - it was inserted
        version = Version(self._epoch, sequence, change.entry_id)
        return JournalEntry(version, change.key, action, event_id, event_id.publisher, last, now_ns)

    def _delete(self, connection: sqlite3.Connection, key: str, present: _Row | None) -> None:
        t = self._tables
        self._values.release(connection, None if present is None else present.generation)
        connection.execute(f"DELETE FROM {t.main} WHERE key = ?", (key,))
        connection.execute(f"DELETE FROM {t.versions} WHERE key = ?", (key,))

    def _index_fields(
        self,
        columns: tuple[str, ...],
        present: _Row | None,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> dict[str, str | None]:
        """Return the index columns to be set, with what is to be in them."""
        values = dict(zip(columns, self._index.values(columns, after), strict=True))
        if present is None or present.stamp is None:
            return values
        # A column that is set is written again in its index, also if it is what
        # it was; a row that has a stamp has the right ones.
        there = self._index.values(columns, before)
        return {
            name: values[name]
            for name, value in zip(columns, there, strict=True)
            if value != values[name]
        }

    def _write_row(
        self, connection: sqlite3.Connection, key: str, is_new: bool, fields: Mapping[str, Any]
    ) -> None:
        sql = _statement(self._tables.main, tuple(fields), is_new)
        arguments = tuple(fields.values())
        connection.execute(sql, arguments if is_new else (*arguments, key))

    def _write_version(
        self,
        connection: sqlite3.Connection,
        change: Change,
        present: _Row | None,
        version: Version,
    ) -> None:
        generation = None if present is None else present.generation
        size = None if present is None else present.size
        if change.data is not None:
            self._values.release(connection, generation)
            generation = size = None
            if isinstance(change.data, Staged):
                generation = self._values.take(connection, change.data)
                size = change.data.size
        indexed = present is None or change.metadata is not None or bool(present.indexed)
        connection.execute(
            f"INSERT OR REPLACE INTO {self._tables.versions}"
            " (key, epoch, sequence, entry_id, indexed, generation, size)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (change.key, *version, indexed, generation, size),
        )

    def _trim(self, connection: sqlite3.Connection, committed: Sequence[Committed]) -> None:
        last = committed[-1].entry.version.sequence
        if (last - len(committed)) // _TRIM_EVERY != last // _TRIM_EVERY:
            connection.execute(
                f"DELETE FROM {self._tables.journal} WHERE sequence <= ?",
                (last - self._journal_length,),
            )


def _fields(change: Change, present: _Row | None, entry: JournalEntry) -> dict[str, Any]:
    """Return what *change* sets in its row, metadata and their index columns left out."""
    now = entry.time_ns / 1e9
    stamp = None
    if _is_whole(change, present):
        created = now if present is None else as_seconds(present.created)
        stamp = stamp_of(entry.version, created, now)
    fields: dict[str, Any] = {"modified": now, STAMP: stamp}
    if present is None:
        fields |= {"key": change.key, "created": now}
    if change.data is not None:
        fields["data"] = None if isinstance(change.data, Staged) else change.data
    elif present is None:
        fields["data"] = b""
    return fields


@functools.lru_cache(maxsize=256)
def _statement(main: str, names: tuple[str, ...], is_new: bool) -> str:
    columns = [quoted(name) for name in names]
    if is_new:
        return f"INSERT INTO {main} ({', '.join(columns)}) VALUES ({', '.join('?' * len(names))})"
    assignments = ", ".join(f"{column} = ?" for column in columns)
    return f"UPDATE {main} SET {assignments} WHERE key = ?"


def _is_whole(change: Change, present: _Row | None) -> bool:
    """Return whether the row is all ours after *change*, with all data in it."""
    if isinstance(change.data, Staged):
        return False
    if present is None or present.stamp is not None:
        return True
    if change.data is None:
        return False
    # Another program's metadata need not be text.
    return change.metadata is not None or bool(present.indexed and type(present.metadata) is str)


def _before(change: Change, text: object) -> dict[str, Any]:
    """Return the metadata that *change* meets; none if it is unreadable and on its way out."""
    try:
        return decoded(change.key, text)
    except IncompatibleStore:
        if change.delete or (change.metadata is not None and not change.merge):
            return {}
        raise


def decoded(key: str, text: object) -> dict[str, Any]:
    """Return the metadata of *key* from what stands in its row.

    Raises:
        IncompatibleStore: another program wrote there what is no metadata.
    """
    if text is None:
        return {}
    try:
        return decode(text if isinstance(text, str) else str(text))
    except IncompatibleStore as exc:
        raise IncompatibleStore(f"the metadata of {key!r:.200} cannot be read: {exc}") from exc
