"""The tables of an archive in sqlite.

``events`` has one row an event; ``seq`` is its place, counted by ``archive`` so
that the order of places is that of commits and no place is given twice.
``flags`` is walked in the order of time for one flag without a look at what has
others; every event has the flag number 0, so that the walk over all is one, too.
A flag's text stands once, in ``names``, with the number of its events.
"""

from __future__ import annotations

import sqlite3

from antiphon.errors import ArchiveUnusable

#: Number of this layout; a file with another one is refused.
FORMAT = 1

#: Tells an archive from other sqlite files (``PRAGMA application_id``): "anti".
APPLICATION_ID = 0x616E7469

#: The flag that every event has.
ALL = 0

#: Events of a flag from which on it is among the frequent ones, which ``stats`` finds at once.
FREQUENT = 1000

_TABLES = (
    # ``forgotten`` counts up when names were deleted, so that writers drop what they remember.
    """CREATE TABLE archive(
        head INTEGER NOT NULL, events INTEGER NOT NULL, forgotten INTEGER NOT NULL)""",
    "INSERT INTO archive VALUES (0, 0, 0)",
    # What is small stands first: a row is read without its content where that is not asked for.
    """CREATE TABLE events(
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        timestamp REAL NOT NULL,
        received REAL,
        source TEXT NOT NULL,
        tags BLOB NOT NULL,
        content TEXT NOT NULL,
        message BLOB)""",
    # No number is given twice: readers remember what it stands for.
    """CREATE TABLE names(
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        events INTEGER NOT NULL)""",
    # Not of all: there may be a flag for each event, and counts change with each commit.
    f"CREATE INDEX frequent ON names(events) WHERE events >= {FREQUENT}",
    """CREATE TABLE flags(
        flag INTEGER NOT NULL,
        timestamp REAL NOT NULL,
        seq INTEGER NOT NULL,
        PRIMARY KEY (flag, timestamp, seq)) WITHOUT ROWID""",
)


def prepare(connection: sqlite3.Connection, location: str) -> None:
    """Create the tables in an empty file; in one transaction of the caller.

    Raises:
        ArchiveUnusable: the file is another program's, or another version's.
    """
    if not is_archive(connection, location):
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={FORMAT}")


def is_archive(connection: sqlite3.Connection, location: str) -> bool:
    """Return whether the tables are there; False if the file is empty.

    Raises:
        ArchiveUnusable: the file is another program's, or another version's.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone() or application:
            raise ArchiveUnusable(
                f"{location} is a database of another program, and no archive; name another file"
            )
        return False
    if version != FORMAT:
        remedy = "upgrade Antiphon" if version > FORMAT else "restore it from a backup"
        raise ArchiveUnusable(
            f"the archive {location} has format {version}, and this version reads {FORMAT};"
            f" {remedy}"
        )
    return True
