"""Cache entries in the memory of one process (protocol: ``storage/ledger.py``)."""

from __future__ import annotations

import copy
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

from antiphon.errors import InvalidValue
from antiphon.storage.forking import Forked
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
from antiphon.storage.metadata import normalise

logger = logging.getLogger(__name__)

#: Changes that are applied while others wait: about a millisecond.
_AT_A_TIME = 1000

_new_tuple = tuple.__new__


class _Entry(CachedEntry):
    """An entry that knows the number of the ``suspect()`` after which it was checked."""

    __slots__ = ("era",)

    def __init__(
        self,
        content: bytes,
        metadata: dict[str, Any],
        created: float | None,
        modified: float | None,
        version: Version | None,
        era: int,
    ) -> None:
        super().__init__(content, len(content), metadata, created, modified, version)
        self.era = era

    def of_era(self, era: int, *, checked: bool) -> _Entry:
        """Return the same entry, checked in *era* or not."""
        other = copy.copy(self)
        other.era, other.checked = era, checked
        return other


class _OddEntry(_Entry):
    """An entry whose metadata another kind of store may have, and ours could not keep."""

    __slots__ = ()

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata; a copy that belongs to the caller."""
        kept: Any = self._metadata
        return dict(copy.deepcopy(kept))


class MemoryLedger(Forked):
    """A cache ledger in dictionaries, for the threads of one process.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Read elsewhere, too (quick_reads.py): this dictionary is never
        # replaced by another, and an entry never changed in place.
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0
        self._era = 0
        self._reservations: dict[str, dict[bytes, float]] = {}
        #: What no other reservation has: no other process sees these.
        self._tokens = itertools.count()
        self._key_notes = Notes(clock)
        self._prefix_notes = PrefixNotes(clock)
        self._bases: dict[str, Version] = {}
        self._pushes: dict[str, bytes] = {}
        self._positions: dict[UUID, Position] = {}
        self._verified: dict[UUID, Position] = {}
        self._beat: int | None = None
        self._beats = 0
        self._renew_in_children("_lock")

    def _forked(self) -> None:
        # A thread may have been between an entry and its size.
        self._bytes = sum(entry.size for entry in self._entries.values())

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat."""
        # Without the lock: the beat first, for an entry is then never older
        # than what it vouches for; the era last, for an entry is then never
        # called checked that was suspected before it was found.
        beat = self._beat
        entry = self._entries.get(key)
        if entry is not None and entry.era != self._era:
            entry = entry.of_era(entry.era, checked=False)
        # Without the call of a constructor in Python: this is what every hit is made of.
        return _new_tuple(Lookup, (entry, beat))

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now."""
        reservation = Reservation(key, b"%d" % next(self._tokens))
        now = self._clock()
        with self._lock:
            tokens = self._reservations.setdefault(key, {})
            if tokens:
                for token in [t for t, until in tokens.items() if until <= now]:
                    del tokens[token]
            tokens[reservation.token] = now + RESERVATION_TTL_S
        return reservation

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules allow it, and return it as cached; else None."""
        try:
            with value.data as stream:
                data = stream.read()
            entry = _entry(data, value)
        except BaseException:
            self.release(reservation)
            raise
        if entry is None:
            logger.warning("%r is not cached: its metadata cannot be copied", reservation.key)
            self.release(reservation)
            return None
        key, version = reservation.key, value.version
        with self._lock:
            if not self._end(reservation):
                return None
            noted = latest(self._key_notes.of(key), self._prefix_notes.of_key(key))
            if is_older(version, noted):
                return None
            present = self._entries.get(key)
            if present is not None:
                if present.era == self._era and is_older(version, present.version):
                    # Two readers filled at once; the later value is already here.
                    return None
                self._bytes -= present.size
            entry.era = self._era
            self._entries[key] = entry
            self._bytes += entry.size
        return entry

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
            self._entries[key] = confirmed = present.of_era(era, checked=True)
        return confirmed

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
        self._bytes -= self._entries.pop(key).size

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

    def verified(self) -> dict[UUID, Position]:
        """Return up to where the journal of each store itself was read."""
        with self._lock:
            return dict(self._verified)

    def verify(self, position: Position) -> None:
        """Note that the journal showed *position*."""
        with self._lock:
            self._verified[position.store_id] = position

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
            return [(key, entry.size) for key, entry in self._entries.items()]

    def usage(self) -> Usage:
        """Return the room taken."""
        with self._lock:
            return Usage(len(self._entries), self._bytes)


def _entry(data: bytes, value: Fill) -> _Entry | None:
    """Return the entry of *value*, whose era is to be set; None if it cannot be kept."""
    # A subclass of bytes may have more to say than its bytes.
    content = data if type(data) is bytes else bytes(data)
    made: type[_Entry] = _Entry
    try:
        metadata = normalise(value.metadata)
    except InvalidValue:
        try:
            made, metadata = _OddEntry, copy.deepcopy(dict(value.metadata))
        except Exception:  # whatever a store of others has there, it can be read
            return None
    return made(content, metadata, value.created, value.modified, value.version, 0)
