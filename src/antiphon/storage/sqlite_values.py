"""Values too large for a row: staged in chunks as a generation of their own.

A generation is never changed once it was written, so a stream over it stays
good when its key is changed.  It is ``staged`` until a commit takes it, then
``used`` until that key is changed, then ``replaced``; chunks of generations
that nobody asked for lately go some time after that.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import BinaryIO

from antiphon.errors import StoreError
from antiphon.storage.changes import Staged
from antiphon.storage.sqlite_medium import Medium
from antiphon.storage.sqlite_schema import Tables
from antiphon.storage.streams import open_pieces, rechunked

# ruff: noqa: S608 - names are quoted, values are bound

#: Bytes in one row of a large value: 1 MiB.
CHUNK_BYTES = 1 << 20

#: Seconds that a value stays readable after it was replaced; reading a piece of
#: it begins them anew.
GRACE_S = 120.0

#: Seconds that a staged value waits for its commit; each staged piece begins
#: them anew.  A transaction must not stay open longer.
STAGED_TTL_S = 3600.0

#: Seconds between two looks for generations that can go.
_COLLECT_EVERY_S = 30.0

#: Chunks removed in one transaction, so that writers need not wait for long.
_CHUNKS_AT_A_TIME = 64

#: Chunk number *n* of a generation has the id ``generation << 24 | n``: up to
#: 16 TiB a value, and a chunk is found and removed by one integer.
_NUMBER_BITS = 24


class Values:
    """The large values of one store.

    Args:
        medium: the database.
        tables: the names of its tables.
        clock: seconds since the Unix epoch.
    """

    def __init__(
        self, medium: Medium, tables: Tables, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._medium = medium
        self._tables = tables
        self._clock = clock
        self._collect_at = float("-inf")

    # -- Writing -------------------------------------------------------------

    def stage(self, chunks: Iterable[bytes]) -> Staged:
        """Put a value aside; on any error nothing of it stays.  Pieces may have any size."""
        generation = self._medium.write(self._begin, durable=False)
        size = 0
        try:
            for number, chunk in enumerate(rechunked(chunks, CHUNK_BYTES)):
                size += len(chunk)
                self._append(generation, number, chunk, size)
        except BaseException:
            # What is left if this fails too is collected later.
            with contextlib.suppress(StoreError):
                self.discard(generation)
            raise
        return Staged(str(generation), size)

    def _begin(self, connection: sqlite3.Connection) -> int:
        t = self._tables
        cursor = connection.execute(
            f"INSERT INTO {t.generations} (size, state, touched) VALUES (0, 'staged', ?)",
            (self._clock(),),
        )
        assert cursor.lastrowid is not None  # noqa: S101 - it was inserted
        return cursor.lastrowid

    def _append(self, generation: int, number: int, chunk: bytes, size: int) -> None:
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"INSERT INTO {t.chunks} (id, data) VALUES (?, ?)",
                (generation << _NUMBER_BITS | number, chunk),
            )
            connection.execute(
                f"UPDATE {t.generations} SET touched = ?, size = ? WHERE id = ?",
                (self._clock(), size, generation),
            )

        # The commit that takes the value syncs the log, and with it all of this.
        self._medium.write(work, durable=False)

    def put(self, connection: sqlite3.Connection, chunks: Iterable[bytes]) -> int:
        """Write a value, used at once, in the transaction of the caller.

        Args:
            connection: where the transaction is.
            chunks: ``CHUNK_BYTES`` each, the last one fewer.

        Returns:
            Its generation.
        """
        t = self._tables
        generation = self._begin(connection)
        size = 0
        for number, chunk in enumerate(chunks):
            size += len(chunk)
            connection.execute(
                f"INSERT INTO {t.chunks} (id, data) VALUES (?, ?)",
                (generation << _NUMBER_BITS | number, chunk),
            )
        connection.execute(
            f"UPDATE {t.generations} SET state = 'used', size = ? WHERE id = ?", (size, generation)
        )
        return generation

    def discard(self, generation: int) -> None:
        """Let a staged value go, if no commit took it."""
        t = self._tables

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"UPDATE {t.generations} SET state = 'replaced', touched = 0"
                " WHERE id = ? AND state = 'staged'",
                (generation,),
            )

        self._medium.write(work, durable=False)
        self._collect_at = float("-inf")
        self.collect()

    def take(self, connection: sqlite3.Connection, staged: Staged) -> int:
        """Mark a staged value as used, in the transaction of the commit that takes it."""
        generation = int(staged.token)
        cursor = connection.execute(
            f"UPDATE {self._tables.generations} SET state = 'used'"
            " WHERE id = ? AND state = 'staged'",
            (generation,),
        )
        if cursor.rowcount != 1:
            raise StoreError(
                f"the staged data are gone: they wait {STAGED_TTL_S:g} s for their commit"
            )
        return generation

    def release(self, connection: sqlite3.Connection, generation: int | None) -> None:
        """Mark a value as replaced, in the transaction that replaces it."""
        if generation is not None:
            connection.execute(
                f"UPDATE {self._tables.generations} SET state = 'replaced', touched = ?"
                " WHERE id = ?",
                (self._clock(), generation),
            )

    def release_all(
        self, connection: sqlite3.Connection, select: str, bounds: tuple[str, ...]
    ) -> None:
        """Mark the values whose generations *select* gives as replaced, likewise."""
        connection.execute(
            f"UPDATE {self._tables.generations} SET state = 'replaced', touched = ?"
            f" WHERE id IN ({select})",
            (self._clock(), *bounds),
        )

    # -- Reading -------------------------------------------------------------

    def opener(
        self, generation: int | None, inline: bytes, what: str
    ) -> Callable[[int, int], BinaryIO]:
        """Return the ``open(start, end)`` of a value.

        Args:
            generation: where the value is; None if it is *inline*.
            inline: the value, if there is no generation.
            what: names the value in errors.
        """
        if generation is None:
            return lambda start, end: BytesIO(inline[start:end])
        return lambda start, end: open_pieces(
            _GenerationReader(self, generation, what).fetch, start, end
        )

    def chunk(self, generation: int, number: int, what: str) -> bytes:
        """Return one chunk, and keep a replaced generation for those who read on."""
        t = self._tables
        rows = self._medium.read_one(
            lambda connection: connection.execute(
                f"SELECT c.data, g.state, g.touched FROM {t.chunks} c"
                f" JOIN {t.generations} g ON g.id = ? WHERE c.id = ?",
                (generation, generation << _NUMBER_BITS | number),
            ).fetchall()
        )
        if not rows:
            raise StoreError(
                f"{what} was replaced more than {GRACE_S:g} s ago and is gone: get the key again"
            )
        data, state, touched = rows[0]
        if state == "replaced" and self._clock() - touched > GRACE_S / 4:
            self._touch(generation)
        return bytes(data)

    def _touch(self, generation: int) -> None:
        t = self._tables
        self._medium.write(
            lambda connection: connection.execute(
                f"UPDATE {t.generations} SET touched = ? WHERE id = ?", (self._clock(), generation)
            ),
            durable=False,
        )

    # -- Collecting ----------------------------------------------------------

    def collect(self) -> None:
        """Remove what nobody can read any more; does nothing if that was done just now."""
        now = time.monotonic()
        if now < self._collect_at:
            return
        self._collect_at = now + _COLLECT_EVERY_S
        while self._medium.read_one(self._next_orphan) is not None:
            self._medium.write(self._remove_some, durable=False)

    def _next_orphan(self, connection: sqlite3.Connection) -> int | None:
        now = self._clock()
        row = connection.execute(
            f"SELECT id FROM {self._tables.generations}"
            " WHERE (state = 'replaced' AND touched < ?) OR (state = 'staged' AND touched < ?)"
            " LIMIT 1",
            (now - GRACE_S, now - STAGED_TTL_S),
        ).fetchone()
        return None if row is None else int(row[0])

    def _remove_some(self, connection: sqlite3.Connection) -> None:
        generation = self._next_orphan(connection)
        if generation is None:
            return
        t = self._tables
        first = generation << _NUMBER_BITS
        removed = connection.execute(
            f"DELETE FROM {t.chunks} WHERE id IN"
            f" (SELECT id FROM {t.chunks} WHERE id >= ? AND id < ? LIMIT ?)",
            (first, first + (1 << _NUMBER_BITS), _CHUNKS_AT_A_TIME),
        ).rowcount
        if removed < _CHUNKS_AT_A_TIME:
            connection.execute(f"DELETE FROM {t.generations} WHERE id = ?", (generation,))


class _GenerationReader:
    """Gives one stream its pieces, holding one chunk at a time."""

    def __init__(self, values: Values, generation: int, what: str) -> None:
        self._values = values
        self._generation = generation
        self._what = what
        self._number = -1
        self._chunk = b""

    def fetch(self, offset: int, size: int) -> bytes:
        """Return some of the *size* bytes at *offset*: those that lie in one chunk."""
        number, begin = divmod(offset, CHUNK_BYTES)
        if number != self._number:
            self._chunk = self._values.chunk(self._generation, number, self._what)
            self._number = number
        return self._chunk[begin : begin + size]
