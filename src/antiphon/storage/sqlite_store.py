"""A store in a table of a sqlite database, shared by any number of processes."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.errors import IncompatibleStore, InvalidURL, NotConnected, StoreError
from antiphon.schemes import mask_url
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import Change, Committed, Record, Staged, StoreIdentity
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.opening import url_flag, url_parameters, url_path
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.sqlite_cache_schema import prepare_cache
from antiphon.storage.sqlite_commit import Committer, decoded
from antiphon.storage.sqlite_encore import Takeover, is_encore_table
from antiphon.storage.sqlite_index import Index
from antiphon.storage.sqlite_journal import JournalReader
from antiphon.storage.sqlite_ledger import SqliteLedger
from antiphon.storage.sqlite_medium import TIMEOUT_S, Medium
from antiphon.storage.sqlite_outbox import SqliteOutboxLedger
from antiphon.storage.sqlite_query import Search, keys_of
from antiphon.storage.sqlite_schema import (
    STAMP,
    ForeignTable,
    Tables,
    claim,
    create,
    identify,
    quoted,
)
from antiphon.storage.sqlite_stamp import StampedValue, as_seconds, read_stamp
from antiphon.storage.sqlite_values import Values
from antiphon.storage.stored_value import StoredValue
from antiphon.storage.value import Value

# ruff: noqa: S608 - names are quoted, values are bound

logger = logging.getLogger(__name__)

#: Journal entries that are kept, unless the store was told otherwise: 15 MB.
JOURNAL_LENGTH = 100_000

#: Rows of other programs that are indexed at a connect.
_REFRESHED_ROWS = 1000


class _Parts:
    """What a connected store works with."""

    def __init__(self, store: SqliteStore, medium: Medium, identity: StoreIdentity) -> None:
        self.medium = medium
        self.tables = store._tables
        self.index = Index(self.tables, store.table, dynamic=store._index == "dynamic")
        self.values = Values(medium, self.tables)
        self.journal = JournalReader(medium, self.tables, identity.store_id, identity.epoch, store)
        self.committer = Committer(
            self.tables,
            self.values,
            self.index,
            epoch=identity.epoch,
            journal_length=store._journal_length,
            store=store,
        )

    def collect(self) -> None:
        """Remove what nobody needs; a failure is of no concern to who wrote just now."""
        try:
            self.values.collect()
        except StoreError as exc:
            logger.warning("cannot remove replaced values now, it is tried again: %s", exc)


class SqliteStore(BackendStore):
    """A store in one table of a sqlite database.

    Other programs may read the table with plain SQL, and write it too: their
    changes are journalled, and published later by whoever does that.

    Args:
        location: path of the file; ``:memory:`` is a database of this object's
            own, which ends with ``disconnect()``.
        table: name of the table; others named ``<table>.…`` go with it.
        index: ``dynamic`` gives every metadata entry that is met a column and
            an index (up to 64), ``static`` those of *index_columns* only, None
            none.  A query finds the same either way.
        index_columns: metadata entries to index from the start.
        origin: readable name that its events are routed by.
        timeout_s: seconds for which a locked database is tried again.
        durable: whether a commit that returned survives a power cut; False is
            quicker, and a power cut may take the last commits with it.
        journal_length: journal entries to keep, at least.
        migrate: whether a table that Encore made is taken over at the first
            connect, in one transaction; Encore's is kept as ``<table>.encore``.
            False refuses it with ``IncompatibleStore``.
    """

    def __init__(
        self,
        location: str | os.PathLike[str] = ":memory:",
        table: str = "store",
        index: str | None = "dynamic",
        index_columns: Iterable[str] | None = None,
        *,
        origin: str | None = None,
        timeout_s: float = TIMEOUT_S,
        durable: bool = True,
        journal_length: int = JOURNAL_LENGTH,
        migrate: bool = True,
    ) -> None:
        if index not in ("dynamic", "static", None):
            raise ValueError(f"index is {index!r}; it must be 'dynamic', 'static' or None")
        if journal_length < 1:
            raise ValueError(f"journal_length is {journal_length}; it must be at least 1")
        self.location = os.fspath(location)
        self.table = table
        self.index_columns = frozenset(index_columns or ())
        self._tables = Tables.of(table)
        self._index = index
        self._timeout_s = timeout_s
        self._durable = durable
        self._journal_length = journal_length
        self._migrate = migrate
        self._parts: _Parts | None = None
        t = self._tables
        # Most rows have a stamp; for the others there is a second statement.
        self._select = f"SELECT data, metadata, {quoted(STAMP)} FROM {t.main} WHERE key = ?"
        self._select_all = (
            "SELECT m.data, m.metadata, m.created, m.modified, v.epoch, v.sequence, v.entry_id,"
            f" v.generation, v.size FROM {t.main} m LEFT JOIN {t.versions} v ON v.key = m.key"
            " WHERE m.key = ?"
        )
        self._select_metadata = f"SELECT metadata FROM {t.main} WHERE key = ?"
        super().__init__(origin=origin)

    def __repr__(self) -> str:
        return f"<SqliteStore {self.location}, table {self.table}>"

    def info(self) -> dict[str, Any]:
        return {**super().info(), "location": self.location, "table": self.table}

    # -- Connecting ----------------------------------------------------------

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        medium = Medium(self.location, timeout_s=self._timeout_s, durable=self._durable)
        try:
            try:
                identity = medium.read(lambda c: identify(c, self.table, self.location))
            except ForeignTable as exc:
                identity = self._take_over(medium, exc)
            if identity is None:
                identity = medium.write(
                    # Another process may have been quicker.
                    lambda c: identify(c, self.table, self.location) or create(c, self.table)
                )
            self._parts = _Parts(self, medium, identity)
            self._prepare_index(self._parts)
            self._parts.collect()
        except BaseException:
            self._parts = None
            medium.close()
            raise
        return identity

    def _take_over(self, medium: Medium, foreign: ForeignTable) -> StoreIdentity:
        """Make the table ours, if it is one that Encore made."""
        if not medium.read_one(lambda c: is_encore_table(c, self.table)):
            raise foreign
        if not self._migrate:
            raise IncompatibleStore(
                f"table {self.table!r} in {self.location} is Encore's, and migrate=False forbids to"
                " take it over; allow it, which keeps Encore's table beside ours, or open a copy"
            )
        takeover = Takeover(
            self.table,
            Index(self._tables, self.table, dynamic=self._index == "dynamic"),
            Values(medium, self._tables),
            self.location,
            is_indexed=self._index == "dynamic",
        )

        def work(connection: sqlite3.Connection) -> StoreIdentity:
            try:
                # Another process may have been quicker.
                present = identify(connection, self.table, self.location)
            except ForeignTable:
                return takeover.run(connection)
            return present or create(connection, self.table)

        return medium.write(work)

    def _prepare_index(self, parts: _Parts) -> None:
        wanted = self.index_columns if self._index is not None else frozenset()
        unindexed = f"SELECT 1 FROM {self._tables.versions} WHERE indexed = 0 LIMIT 1"
        if wanted - set(parts.medium.read_one(parts.index.columns)):
            parts.medium.write(lambda c: parts.index.add(c, sorted(wanted)))
        if parts.medium.read_one(lambda c: c.execute(unindexed).fetchone()):
            parts.medium.write(lambda c: parts.index.refresh(c, _REFRESHED_ROWS))

    def _close_medium(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.medium.close()

    def _claim(self, system: str) -> str | None:
        return self._connected_parts().medium.write(lambda c: claim(c, self._tables, system))

    def _connected_parts(self) -> _Parts:
        parts = self._parts
        if parts is None:
            raise NotConnected(f"{self!r} is not connected; call connect() first")
        return parts

    # -- Reading -------------------------------------------------------------

    def _get(self, key: str) -> Value | None:
        parts = self._parts or self._connected_parts()
        row = parts.medium.fetch_one(self._select, (key,))
        if row is None:
            return None
        data, text, stamp = row
        if stamp is not None:
            return StampedValue(data, text, stamp)
        record = self._read_all(key)
        return None if record is None else StoredValue(record)

    def _read(self, key: str) -> Record | None:
        row = self._connected_parts().medium.fetch_one(self._select, (key,))
        if row is None:
            return None
        data, text, stamp = row
        if stamp is None:
            return self._read_all(key)
        version, created, modified = read_stamp(stamp)

        def open_data(start: int, end: int) -> BinaryIO:
            return BytesIO(data[start:end])

        return Record(len(data), decoded(key, text), created, modified, version, open_data)

    def _read_all(self, key: str) -> Record | None:
        row = self._connected_parts().medium.fetch_one(self._select_all, (key,))
        if row is None:
            return None
        data, text, created, modified, epoch, sequence, entry_id, generation, size = row
        inline = _as_bytes(data)
        version = Version(epoch or 0, sequence or 0, entry_id or b"unknown")
        return Record(
            size=len(inline) if generation is None else size,
            metadata=decoded(key, text),
            created=as_seconds(created),
            modified=as_seconds(modified),
            version=version,
            open=self._connected_parts().values.opener(
                generation, inline, f"the value of {key!r:.200} at version {version}"
            ),
        )

    def _read_metadata(self, key: str) -> dict[str, Any] | None:
        row = self._connected_parts().medium.fetch_one(self._select_metadata, (key,))
        return None if row is None else decoded(key, row[0])

    def _exists(self, key: str) -> bool:
        sql = f"SELECT 1 FROM {self._tables.main} WHERE key = ?"
        return self._connected_parts().medium.fetch_one(sql, (key,)) is not None

    def _keys(self) -> Iterator[str]:
        return keys_of(self._connected_parts().medium, self._tables.main)

    def _query(self, conditions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        parts = self._connected_parts()
        return Search(parts.medium, self._tables, parts.index, conditions).rows()

    def _matching_keys(self, conditions: Mapping[str, Any]) -> Iterator[str]:
        parts = self._connected_parts()
        return Search(parts.medium, self._tables, parts.index, conditions).keys()

    # -- Writing -------------------------------------------------------------

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        parts = self._connected_parts()
        try:
            committed = parts.medium.write(lambda c: parts.committer.commit(c, changes))
        except BaseException:
            parts.index.forget()
            raise
        parts.collect()
        return committed

    def _stage(self, chunks: Iterable[bytes]) -> Staged:
        return self._connected_parts().values.stage(chunks)

    def _open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        opener = self._connected_parts().values.opener(int(staged.token), b"", "the staged value")
        return opener(start, end)

    def _discard(self, staged: Staged) -> None:
        self._connected_parts().values.discard(int(staged.token))

    # -- The journal ---------------------------------------------------------

    def _head(self) -> Position:
        return self._connected_parts().journal.head()

    def _since(self, position: Position) -> Iterable[JournalEntry]:
        return self._connected_parts().journal.since(position)

    def cache_ledger(self) -> CacheLedger:
        """Return the ledger of the cache entries beside this store's own keys."""
        parts = self._connected_parts()
        prepare_cache(parts.medium, self._tables)
        return SqliteLedger(parts.medium, self._tables, parts.values)

    def outbox_ledger(self) -> OutboxLedger | None:
        """Return the ledger of the events of this table; None for a database in memory."""
        medium = self._connected_parts().medium
        if medium.in_memory:
            return None
        return SqliteOutboxLedger(medium, self._tables, self.table)


def _as_bytes(data: object) -> bytes:
    # Plain SQL may leave anything in the column.
    if data is None:
        return b""
    return data if isinstance(data, bytes) else str(data).encode()


_PARAMETERS: dict[str, Callable[[str], Any]] = {
    "table": str,
    "index": lambda text: None if text == "none" else text,
    "index_columns": lambda text: text.split(","),
    "origin": str,
    "timeout_s": float,
    "durable": url_flag,
    "journal_length": int,
    "migrate": url_flag,
}


def from_url(url: str, **options: Any) -> SqliteStore:
    """Return the store of ``sqlite:///path?table=name``, not yet connected.

    Args:
        url: ``sqlite:///absolute/path``, ``sqlite:relative/path`` or
            ``sqlite::memory:``; its parameters are those of ``SqliteStore``
            (``index=none`` for None, ``index_columns=a,b``).
        **options: likewise; they win over those in the URL.

    Raises:
        InvalidURL: a part of the URL makes no sense.
    """
    location = url_path(url)
    try:
        return SqliteStore(location, **url_parameters(url, _PARAMETERS, options))
    except ValueError as exc:
        if isinstance(exc, InvalidURL):
            raise
        raise InvalidURL(f"'{mask_url(url)}': {exc}") from exc
