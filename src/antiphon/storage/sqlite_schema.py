"""The tables of a sqlite store, and the triggers that keep its journal.

Beside the user's table ``T`` there are tables named ``T.journal`` and so on.
What this package writes it journals itself, with the ids of its events; while
it does, ``T.writer`` says so, which no other connection ever sees.  What other
programs write with plain SQL is journalled by the triggers:

- ``INSERT OR REPLACE`` fires only the insert trigger (unless a program
  switched on ``recursive_triggers``), so that one tells ``set`` from ``update``
  by ``T.versions``.
- A changed key is journalled as the end of one key and a change of the other.
- A statement's ``OR IGNORE`` or ``OR REPLACE`` also rules the statements in its
  triggers; so they are written such that nothing in them can conflict.
- What they find changed loses its stamp (``sqlite_stamp.py``), so that readers
  look for its version in ``T.versions``.
"""

from __future__ import annotations

import sqlite3
import uuid
from dataclasses import dataclass

from antiphon.errors import IncompatibleStore, InvalidValue
from antiphon.storage.changes import StoreIdentity

#: Number of this layout; a store with another one is refused.
FORMAT = 2

#: Epoch of a new store.
FIRST_EPOCH = 1

#: The columns of the user's table, in Encore's order; the stamp and index columns follow.
COLUMNS = ("key", "metadata", "created", "modified", "data")

#: The column of the stamp; no index column can have this name.
STAMP = "antiphon.stamp"

# Nanoseconds since the Unix epoch, to the millisecond, which is what sqlite has.
_NOW_NS = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) * 1000000"
_NOW_S = "(julianday('now') - 2440587.5) * 86400"


def quoted(name: str) -> str:
    """Return *name* as SQL writes the name of a table or column."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True)
class Tables:
    """The quoted names of a store's tables."""

    main: str
    meta: str
    writer: str
    journal: str
    versions: str
    generations: str
    chunks: str
    columns: str
    cache: str
    reservations: str
    notes: str
    bases: str
    trust: str
    positions: str
    verified: str
    pushes: str

    @classmethod
    def of(cls, table: str) -> Tables:
        """Return the names for the store in *table*.

        Raises:
            InvalidValue: no table can have that name.
        """
        if not isinstance(table, str) or not table or "\0" in table or not _is_unicode(table):
            raise InvalidValue(f"no table can be called {table!r:.80}")
        names = [name for name in cls.__slots__ if name != "main"]
        return cls(quoted(table), *(quoted(f"{table}.{name}") for name in names))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class ForeignTable(IncompatibleStore):
    """Another program made the table."""


def identify(connection: sqlite3.Connection, table: str, location: str) -> StoreIdentity | None:
    """Return who the store in *table* is; None if there is none yet.

    Raises:
        IncompatibleStore: a version with another layout made it.
        ForeignTable: another program made it.
    """
    present = {
        name.lower()
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if f"{table}.meta".lower() not in present:
        if table.lower() not in present:
            return None
        raise ForeignTable(
            f"table {table!r} in {location} is not of Antiphon's making; name another table, and"
            " copy key by key with the program that made it"
        )
    meta = dict(connection.execute(f"SELECT name, value FROM {Tables.of(table).meta}"))
    found = meta.get("format")
    if found != FORMAT:
        remedy = "restore it"
        if isinstance(found, int):
            older = "copy its keys with the version that made it"
            remedy = "upgrade Antiphon" if found > FORMAT else older
        raise IncompatibleStore(
            f"table {table!r} in {location} has format {found!r}, and this version of Antiphon"
            f" knows {FORMAT}: {remedy}"
        )
    return StoreIdentity(uuid.UUID(meta["store_id"]), meta["epoch"], meta.get("system"))


def create(connection: sqlite3.Connection, table: str) -> StoreIdentity:
    """Make the tables of a new store and return who it is."""
    names = Tables.of(table)
    for statement in (*_tables(names), *_triggers(names, table)):
        connection.execute(statement)
    identity = StoreIdentity(uuid.uuid4(), FIRST_EPOCH, None)
    connection.executemany(
        f"INSERT INTO {names.meta} (name, value) VALUES (?, ?)",
        [("format", FORMAT), ("store_id", str(identity.store_id)), ("epoch", FIRST_EPOCH)],
    )
    connection.execute(f"INSERT INTO {names.writer} (own) VALUES (0)")
    return identity


def claim(connection: sqlite3.Connection, names: Tables, system: str) -> str:
    """Record *system* unless one is recorded; return the recorded one."""
    connection.execute(
        f"INSERT OR IGNORE INTO {names.meta} (name, value) VALUES ('system', ?)",
        (system,),
    )
    query = f"SELECT value FROM {names.meta} WHERE name = 'system'"
    recorded: str = connection.execute(query).fetchone()[0]
    return recorded


def _tables(t: Tables) -> list[str]:
    version = "epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, entry_id BLOB NOT NULL"
    return [
        f"""CREATE TABLE {t.main} (
            key TEXT NOT NULL PRIMARY KEY CHECK (typeof(key) = 'text'),
            metadata TEXT, created FLOAT, modified FLOAT, data BLOB, {quoted(STAMP)} BLOB)""",
        f"CREATE TABLE {t.meta} (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
        f"CREATE TABLE {t.writer} (own INTEGER NOT NULL)",
        # AUTOINCREMENT: a number is never given twice, also not after the
        # oldest entries went; and none is left out by a rollback.
        f"""CREATE TABLE {t.journal} (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, epoch INTEGER NOT NULL,
            entry_id BLOB NOT NULL, key TEXT NOT NULL, action TEXT NOT NULL,
            publisher BLOB, counter INTEGER, owner BLOB NOT NULL, last INTEGER NOT NULL,
            time_ns INTEGER NOT NULL)""",
        f"""CREATE TABLE {t.versions} (
            key TEXT PRIMARY KEY, {version}, indexed INTEGER NOT NULL,
            generation INTEGER, size INTEGER) WITHOUT ROWID""",
        f"""CREATE TABLE {t.generations} (
            id INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER NOT NULL,
            state TEXT NOT NULL, touched FLOAT NOT NULL)""",
        f"CREATE TABLE {t.chunks} (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
        f"CREATE TABLE {t.columns} (name TEXT PRIMARY KEY) WITHOUT ROWID",
    ]


def _triggers(t: Tables, table: str) -> list[str]:
    # ruff: noqa: S608 - names are quoted, and nothing else is put in
    foreign = f"(SELECT own FROM {t.writer}) = 0"
    newest = f"(SELECT max(sequence) FROM {t.journal})"
    newest_id = f"(SELECT entry_id FROM {t.journal} WHERE sequence = {newest})"
    epoch = f"(SELECT value FROM {t.meta} WHERE name = 'epoch')"

    def journal(key: str, action: str, last: str = "1", condition: str = "1") -> str:
        return f"""INSERT INTO {t.journal} (epoch, entry_id, key, action, owner, last, time_ns)
            SELECT {epoch}, randomblob(8), {key}, {action}, x'', {last}, {_NOW_NS}
            WHERE {condition};"""

    def replace(key: str, condition: str = "1") -> str:
        return f"""UPDATE {t.generations} SET state = 'replaced', touched = {_NOW_S}
            WHERE {condition}
            AND id = (SELECT generation FROM {t.versions} WHERE key = {key});"""

    def trigger(name: str, event: str, *steps: str) -> str:
        return f"""CREATE TRIGGER {quoted(f"{table}.{name}")} AFTER {event} ON {t.main}
            WHEN {foreign} BEGIN {" ".join(steps)} END"""

    def unstamp(key: str) -> str:
        # Not among the columns that the trigger of updates heeds.
        stamp = quoted(STAMP)
        return f"""UPDATE {t.main} SET {stamp} = NULL
            WHERE key = {key} AND {stamp} IS NOT NULL;"""

    new_action = f"""CASE WHEN EXISTS (SELECT 1 FROM {t.versions} WHERE key = NEW.key)
        THEN 'update' ELSE 'set' END"""
    renamed = "NEW.key IS NOT OLD.key"
    return [
        trigger(
            "inserted",
            "INSERT",
            journal("NEW.key", new_action),
            replace("NEW.key"),
            f"DELETE FROM {t.versions} WHERE key = NEW.key;",
            f"""INSERT INTO {t.versions} (key, epoch, sequence, entry_id, indexed)
            VALUES (NEW.key, {epoch}, {newest}, {newest_id}, 0);""",
            unstamp("NEW.key"),
        ),
        trigger(
            "updated",
            # Not of index columns: filling them is no change of the key.
            "UPDATE OF key, metadata, created, modified, data",
            journal("OLD.key", "'delete'", "0", renamed),
            journal("NEW.key", new_action),
            replace("NEW.key", renamed),
            replace("OLD.key", "NEW.data IS NOT NULL"),
            f"DELETE FROM {t.versions} WHERE {renamed} AND key = NEW.key;",
            f"""UPDATE {t.versions} SET key = NEW.key, epoch = {epoch}, sequence = {newest},
            entry_id = {newest_id}, indexed = 0,
            generation = CASE WHEN NEW.data IS NULL THEN generation END,
            size = CASE WHEN NEW.data IS NULL THEN size END
            WHERE key = OLD.key;""",
            unstamp("NEW.key"),
        ),
        trigger(
            "deleted",
            "DELETE",
            journal("OLD.key", "'delete'"),
            replace("OLD.key"),
            f"DELETE FROM {t.versions} WHERE key = OLD.key;",
        ),
        f"""CREATE INDEX {quoted(f"{table}.unindexed")} ON {t.versions} (key) WHERE indexed = 0""",
    ]
