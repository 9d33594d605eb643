"""Cache entries in the memory of one process (protocol: ``storage/ledger.py``)."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from antiphon.errors import InvalidValue
from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import (
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
    Usage,
    is_behind,
    is_older,
    latest,
    outlives,
)
from antiphon.storage.memory_notes import Notes, PrefixNotes
from antiphon.storage.metadata import is_flat, normalise

#: Changes that are applied while others wait: about a millisecond.
_AT_A_TIME = 1000


class _Stored(NamedTuple):
    data: bytes
    metadata: dict[str, Any]
    is_flat: bool
    created: float | None
    modified: float | None
    version: Version | None
    #: Number of the ``suspect()`` after which it was checked.
    era: int


class MemoryLedger:
    """A cache ledger in dictionaries, for the threads of one process.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Stored] = {}
        self._bytes = 0
        self._era = 0
        self._reservations: dict[str, dict[bytes, float]] = {}
        self._key_notes = Notes(clock)
        self._prefix_notes = PrefixNotes(clock)
        self._bases: dict[str, Version] = {}
        self._pushes: dict[str, bytes] = {}
        self._positions: dict[UUID, Position] = {}
        self._beat: int | None = None
        self._beats = 0

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat."""
        # Without the lock: the beat first, for an entry is then never older
        # than what it vouches for; the era last, for an entry is then never
        # called checked that was suspected before it was found.
        beat = self._beat
        stored = self._entries.get(key)
        if stored is None:
            return Lookup(None, beat)
        return Lookup(_as_entry(stored, self._era), beat)

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now."""
        reservation = Reservation(key, os.urandom(16))
        now = self._clock()
        with self._lock:
            tokens = self._reservations.setdefault(key, {})
            for token in [t for t, until in tokens.items() if until <= now]:
                del tokens[token]
            tokens[reservation.token] = now + RESERVATION_TTL_S
        return reservation

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules allow it, and return it as cached; else None."""
        try:
            with value.data as stream:
                data = stream.read()
            metadata, flat = _kept_metadata(value)
        except BaseException:
            self.release(reservation)
            raise
        key, version = reservation.key, value.version
        with self._lock:
            if not self._end(reservation):
                return None
            noted = latest(self._key_notes.of(key), self._prefix_notes.of_key(key))
            if is_older(version, noted):
                return None
            present, era = self._entries.get(key), self._era
            if present is not None:
                if present.era == era and is_older(version, present.version):
                    # Two readers filled at once; the later value is already here.
                    return None
                self._bytes -= len(present.data)
            stored = _Stored(data, metadata, flat, value.created, value.modified, version, era)
            self._entries[key] = stored
            self._bytes += len(data)
        return _as_entry(stored, era)

    def confirm(self, reservation: Reservation, version: Version | None) -> CachedEntry | None:
        """Note that the backing store was found to have *version* after *reservation*."""
        key = reservation.key
        with self._lock:
            if not self._end(reservation):
                return None
            present, era = self._entries.get(key), self._era
            if present is None:
                return None
            if version is None or present.version != version:
                if present.era != era:
                    self._remove(key)
                return None
            self._entries[key] = stored = present._replace(era=era)
        return _as_entry(stored, era)

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused."""
        with self._lock:
            self._end(reservation)

    def _end(self, reservation: Reservation) -> bool:
        """Remove a reservation; whether it still stood."""
        tokens = self._reservations.get(reservation.key)
        if tokens is None:
            return False
        until = tokens.pop(reservation.token, None)
        if not tokens:
            del self._reservations[reservation.key]
        return until is not None and until > self._clock()

    def keys(self) -> list[str]:
        """Return the keys that have a cached entry."""
        with self._lock:
            return list(self._entries)

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        """Invalidate one key; whether an entry was dropped."""
        with self._lock:
            return self._void(key, version)

    def void_many(self, changes: Sequence[tuple[str, Version | None]]) -> list[bool]:
        """Invalidate many keys, in the order given; for each whether an entry was dropped."""
        dropped: list[bool] = []
        remaining = iter(changes)
        while some := list(islice(remaining, _AT_A_TIME)):
            with self._lock:
                dropped.extend(self._void(key, version) for key, version in some)
        return dropped

    def _void(self, key: str, version: Version | None) -> bool:
        self._reservations.pop(key, None)
        self._key_notes.add(key, version)
        return self._drop(key, version)

    def _drop(self, key: str, version: Version | None) -> bool:
        present = self._entries.get(key)
        if present is None:
            return False
        if outlives(present.version, version, checked=present.era == self._era):
            return False
        self._remove(key)
        return True

    def _remove(self, key: str) -> None:
        self._bytes -= len(self._entries.pop(key).data)

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Invalidate all keys with *prefix*; how many entries were dropped."""
        with self._lock:
            for key in [k for k in self._reservations if k.startswith(prefix)]:
                del self._reservations[key]
            self._prefix_notes.add(prefix, version)
            keys = [k for k in self._entries if k.startswith(prefix)]
            return sum(self._drop(key, version) for key in keys)

    def suspect(self) -> None:
        """Make all entries unchecked, and end all reservations."""
        with self._lock:
            self._reservations = {}
            self._era += 1

    # -- Trust ---------------------------------------------------------------

    def position(self) -> Position | None:
        """Return how far invalidations were applied, if it is of one store."""
        with self._lock:
            return next(iter(self._positions.values())) if len(self._positions) == 1 else None

    def positions(self) -> dict[UUID, Position]:
        """Return how far invalidations of each store were applied."""
        with self._lock:
            return dict(self._positions)

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied; None forgets everything."""
        with self._lock:
            if position is None:
                self._positions.clear()
                self._key_notes.clear()
                self._prefix_notes.clear()
                return
            present = self._positions.get(position.store_id)
            if present is None or not is_behind(position, present):
                self._positions[position.store_id] = position

    def beat(self) -> None:
        """Vouch for the cache: count the beat up."""
        with self._lock:
            self._beats += 1
            self._beat = self._beats

    def doubt(self) -> None:
        """Stop vouching."""
        with self._lock:
            self._beat = None

    # -- The user's own writes -----------------------------------------------

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""
        return self._bases.get(key)

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; None takes it back."""
        with self._lock:
            if version is None:
                self._bases.pop(key, None)
            else:
                self._bases[key] = version

    def note_push(self, key: str, note: bytes | None) -> None:
        """Note that a push of *key* begins, or with None that it is over."""
        with self._lock:
            if note is None:
                self._pushes.pop(key, None)
            else:
                self._pushes[key] = bytes(note)

    def pushes(self) -> dict[str, bytes]:
        """Return the notes of the pushes that have begun and are not over."""
        with self._lock:
            return dict(self._pushes)

    # -- Room ----------------------------------------------------------------

    def evict(self, keys: Iterable[str]) -> int:
        """Drop the entries of *keys*, noting nothing; how many there were."""
        evicted = 0
        with self._lock:
            for key in keys:
                if key in self._entries:
                    self._remove(key)
                    evicted += 1
        return evicted

    def sizes(self) -> list[tuple[str, int]]:
        """Return key and size of each entry."""
        with self._lock:
            return [(key, len(stored.data)) for key, stored in self._entries.items()]

    def usage(self) -> Usage:
        """Return the room taken."""
        with self._lock:
            return Usage(len(self._entries), self._bytes)


def _kept_metadata(value: Fill) -> tuple[dict[str, Any], bool]:
    """Return a copy of the metadata, and whether a flat copy of it is one of its own."""
    try:
        metadata = normalise(value.metadata)
    except InvalidValue:
        # Another kind of store may have what ours could not keep.
        return copy.deepcopy(dict(value.metadata)), False
    return metadata, is_flat(metadata)


def _as_entry(stored: _Stored, era: int) -> CachedEntry:
    data, metadata, flat, created, modified, version, checked_in = stored
    return CachedEntry(
        BytesIO(data),
        len(data),
        dict(metadata) if flat else copy.deepcopy(metadata),
        created,
        modified,
        version,
        checked_in == era,
    )
