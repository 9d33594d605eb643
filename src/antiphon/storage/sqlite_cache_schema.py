"""The tables that a sqlite store has for a cache, beside those of its own keys.

They are made when the store is first asked for its ledger.  A cache that an
earlier version made in another layout is dropped: it is filled anew as it is
read.  What belongs to the user stays: the bases of own writes and the notes of
pushes, in tables that never change.
"""

from __future__ import annotations

import sqlite3
import time

from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables

# ruff: noqa: S608 - names are quoted, and nothing else is put in

#: Number of the layout of the cache's tables.
CACHE_FORMAT = 3

_FORMAT_NAME = "cache_format"

_VERSION = "epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, entry_id BLOB NOT NULL"


def prepare_cache(medium: Medium, tables: Tables) -> None:
    """Make the tables of the cache, unless they are there.

    Raises:
        ReadOnlyStore: they are not, and the database cannot be written.
    """
    if medium.read_one(lambda c: _format(c, tables)) != CACHE_FORMAT:
        medium.write(lambda c: _make(c, tables))


def _format(connection: sqlite3.Connection, t: Tables) -> object:
    sql = f"SELECT value FROM {t.meta} WHERE name = ?"
    row = connection.execute(sql, (_FORMAT_NAME,)).fetchone()
    return None if row is None else row[0]


def _make(connection: sqlite3.Connection, t: Tables) -> None:
    if _format(connection, t) == CACHE_FORMAT:
        return  # another process was quicker
    _drop_earlier(connection, t)
    for statement in _tables(t):
        connection.execute(statement)
    connection.execute(
        f"INSERT INTO {t.trust} (beats, era, entries, bytes)"
        # Beats of a cache that was here before never come again.
        " VALUES (?, 1, 0, 0)",
        (int(time.time() * 1000),),
    )
    connection.execute(
        f"INSERT OR REPLACE INTO {t.meta} (name, value) VALUES (?, ?)", (_FORMAT_NAME, CACHE_FORMAT)
    )


def _drop_earlier(connection: sqlite3.Connection, t: Tables) -> None:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if t.cache[1:-1].replace('""', '"') in names:
        # Who reads one of its large values now has the time that all readers have.
        connection.execute(
            f"UPDATE {t.generations} SET state = 'replaced', touched = ?"
            f" WHERE id IN (SELECT generation FROM {t.cache})",
            (time.time(),),
        )
    for name in (t.cache, t.reservations, t.notes, t.trust, t.positions, t.verified):
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def _tables(t: Tables) -> list[str]:
    return [
        f"""CREATE TABLE {t.cache} (
            key TEXT PRIMARY KEY, era INTEGER NOT NULL, generation INTEGER, size INTEGER NOT NULL,
            metadata TEXT NOT NULL, stamp BLOB NOT NULL, data BLOB)""",
        f"""CREATE TABLE {t.reservations} (
            key TEXT NOT NULL, token BLOB NOT NULL, until FLOAT NOT NULL, era INTEGER NOT NULL,
            PRIMARY KEY (key, token)) WITHOUT ROWID""",
        f"""CREATE TABLE {t.notes} (
            is_prefix INTEGER NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL,
            sequence INTEGER NOT NULL, until FLOAT NOT NULL,
            PRIMARY KEY (is_prefix, name)) WITHOUT ROWID""",
        f"""CREATE INDEX {t.notes[:-1]}.until" ON {t.notes} (is_prefix, until)""",
        f"CREATE TABLE {t.positions} (store_id TEXT PRIMARY KEY, {_VERSION}) WITHOUT ROWID",
        f"CREATE TABLE {t.verified} (store_id TEXT PRIMARY KEY, {_VERSION}) WITHOUT ROWID",
        # One row: what is counted along, so that asking is quick.
        f"""CREATE TABLE {t.trust} (
            beat INTEGER, beats INTEGER NOT NULL, era INTEGER NOT NULL,
            entries INTEGER NOT NULL, bytes INTEGER NOT NULL)""",
        f"CREATE TABLE IF NOT EXISTS {t.bases} (key TEXT PRIMARY KEY, {_VERSION}) WITHOUT ROWID",
        f"CREATE TABLE IF NOT EXISTS {t.pushes} (key TEXT PRIMARY KEY, note BLOB NOT NULL)",
    ]
