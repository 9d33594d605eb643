"""Cache entries in the memory of one process (protocol: ``storage/ledger.py``)."""

from __future__ import annotations

import copy
import io
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import (
    NOTE_TTL_S,
    RESERVATION_TTL_S,
    CachedEntry,
    Fill,
    Lookup,
    Reservation,
    is_older,
    latest,
)

#: Invalidations between two sweeps of the notes that have outlived their time.
_SWEEP_EVERY = 1024

_Stored = tuple[bytes, dict[str, Any], float | None, float | None, Version | None]


class _Notes:
    """The last invalidation of each key or prefix, for ``NOTE_TTL_S``."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._notes: dict[str, tuple[Version, float]] = {}
        self._until_sweep = _SWEEP_EVERY

    def add(self, name: str, version: Version | None) -> None:
        old = self._notes.pop(name, (None, 0.0))[0]
        newest = latest(old, version)
        if newest is not None:
            self._notes[name] = (newest, self._clock() + NOTE_TTL_S)
        self._until_sweep -= 1
        if self._until_sweep <= 0:
            self._until_sweep = _SWEEP_EVERY
            now = self._clock()
            self._notes = {k: note for k, note in self._notes.items() if note[1] > now}

    def clear(self) -> None:
        self._notes.clear()

    def of_key(self, key: str) -> Version | None:
        return self._notes.get(key, (None,))[0]

    def of_prefixes(self, key: str) -> Version | None:
        found: Version | None = None
        for prefix, (version, _) in self._notes.items():
            if key.startswith(prefix):
                found = latest(found, version)
        return found


class MemoryLedger:
    """A cache ledger in dictionaries, for the threads of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Stored] = {}
        self._reservations: dict[str, dict[bytes, float]] = {}
        self._key_notes = _Notes(clock)
        self._prefix_notes = _Notes(clock)
        self._bases: dict[str, Version] = {}
        self._position: Position | None = None
        self._beat: int | None = None
        self._beats = 0

    def lookup(self, key: str) -> Lookup:
        with self._lock:
            stored, beat = self._entries.get(key), self._beat
        return Lookup(None if stored is None else _as_entry(stored), beat)

    def reserve(self, key: str) -> Reservation:
        reservation = Reservation(key, os.urandom(16))
        with self._lock:
            tokens = self._reservations.setdefault(key, {})
            now = self._clock()
            for token in [t for t, until in tokens.items() if until <= now]:
                del tokens[token]
            tokens[reservation.token] = now + RESERVATION_TTL_S
        return reservation

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        try:
            with value.data as stream:
                data = stream.read()
        except BaseException:
            self.release(reservation)
            raise
        metadata = copy.deepcopy(dict(value.metadata))
        stored = (data, metadata, value.created, value.modified, value.version)
        key = reservation.key
        with self._lock:
            if not self._end(reservation):
                return None
            noted = latest(self._key_notes.of_key(key), self._prefix_notes.of_prefixes(key))
            if is_older(value.version, noted):
                return None
            present = self._entries.get(key)
            if present is not None and is_older(value.version, present[4]):
                # Two readers filled at once; the later value is already here.
                return None
            self._entries[key] = stored
        return _as_entry(stored)

    def release(self, reservation: Reservation) -> None:
        with self._lock:
            self._end(reservation)

    def _end(self, reservation: Reservation) -> bool:
        """Remove a reservation; whether it still stood."""
        tokens = self._reservations.get(reservation.key, {})
        until = tokens.pop(reservation.token, None)
        if not tokens:
            self._reservations.pop(reservation.key, None)
        return until is not None and until > self._clock()

    def void(self, key: str, version: Version | None) -> bool:
        with self._lock:
            self._reservations.pop(key, None)
            self._key_notes.add(key, version)
            return self._drop(key, version)

    def _drop(self, key: str, version: Version | None) -> bool:
        present = self._entries.get(key)
        if present is None:
            return False
        kept = present[4]
        if kept is not None and version is not None and not is_older(kept, version):
            # A late invalidation of a value that was replaced since.
            return False
        del self._entries[key]
        return True

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        with self._lock:
            for key in [k for k in self._reservations if k.startswith(prefix)]:
                del self._reservations[key]
            self._prefix_notes.add(prefix, version)
            keys = [k for k in self._entries if k.startswith(prefix)]
            return sum(self._drop(key, version) for key in keys)

    def position(self) -> Position | None:
        return self._position

    def advance(self, position: Position | None) -> None:
        with self._lock:
            present = self._position
            if position is None:
                self._key_notes.clear()
                self._prefix_notes.clear()
            elif present is not None:
                same = (present.store_id, present.epoch) == (position.store_id, position.epoch)
                if same and position.sequence < present.sequence:
                    return
            self._position = position

    def beat(self) -> None:
        with self._lock:
            self._beats += 1
            self._beat = self._beats

    def doubt(self) -> None:
        with self._lock:
            self._beat = None

    def base(self, key: str) -> Version | None:
        return self._bases.get(key)

    def set_base(self, key: str, version: Version | None) -> None:
        with self._lock:
            if version is None:
                self._bases.pop(key, None)
            else:
                self._bases[key] = version

    def keys(self) -> list[str]:
        with self._lock:
            return list(self._entries)


def _as_entry(stored: _Stored) -> CachedEntry:
    data, metadata, created, modified, version = stored
    return CachedEntry(
        io.BytesIO(data), len(data), copy.deepcopy(metadata), created, modified, version
    )
