"""The ledger: how a medium keeps cache entries right for all that share it.

Cache entries live beside a store's own keys, in a key space of their own: a
fill or a drop is no change of the store, emits nothing and is in no journal,
and invalidating can never touch what a user wrote (DESIGN section 8, P6).

The rules that make a fill safe, whatever the interleaving (traps 5, 6, 14):

1. ``reserve`` comes before the read of the backing store.
2. ``void`` of the key, or of a prefix of it, ends all its reservations, drops
   the entry (unless it is of that version or a later one already) and notes the
   version of the invalidation.
3. ``fill`` keeps the value only if its reservation still stands *and* the
   value's version is not older than the last noted invalidation of the key.

Each method is one transaction of the medium, so the rules also hold between
processes that share one cache.  Keys here are those of the backing store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable

from antiphon.storage.journal import Position, Version


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to fill one key, until something voids it.

    Attributes:
        key: the key of the backing store.
        token: random bytes that name this reservation in the medium.
    """

    key: str
    token: bytes


@dataclass(frozen=True, slots=True)
class Fill:
    """What was read from the backing store, to be kept in the cache.

    Attributes:
        data: the stream of the value; read to its end and closed by the ledger.
        metadata: metadata of the value.
        created, modified: seconds since the Unix epoch, or None if unknown.
        version: version in the backing store; None if that store has none.
    """

    data: BinaryIO
    metadata: Mapping[str, Any]
    created: float | None
    modified: float | None
    version: Version | None


@dataclass(frozen=True, slots=True)
class CachedEntry:
    """An entry as the cache holds it; *data* opens at the first byte."""

    data: BinaryIO
    size: int
    metadata: dict[str, Any]
    created: float | None
    modified: float | None
    version: Version | None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What one look into the ledger found.

    Attributes:
        entry: the cached entry, or None.
        beat: counts up each time an invalidator vouched for the cache; None
            while it is in doubt.  A reader that sees it grow knows, by its own
            clock alone, that the cache was right lately.
    """

    entry: CachedEntry | None
    beat: int | None


@runtime_checkable
class CacheLedger(Protocol):
    """Cache entries of one medium; see the module for the rules."""

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key* and the present beat."""

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now.

        Reservations of processes that died are forgotten after ten minutes;
        a fill that took longer than that is not kept.
        """

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules allow it, and return it as cached; else None.

        The stream is read before the transaction begins, so that a slow source
        holds no lock.  Either way the reservation and the stream are used up:
        after None the caller reads the backing store again.
        """

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused: the read failed."""

    def void(self, key: str, version: Version | None) -> bool:
        """Apply rule 2 to one key, at *version* (None: unknown); whether an entry was dropped."""

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Apply rule 2 to all keys with *prefix* (``""``: all keys); how many were dropped."""

    def position(self) -> Position | None:
        """Return how far invalidations were applied; None before the first.

        Doubt keeps it: the repair begins there.
        """

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied (after applying them).

        Within one epoch it never goes back, whoever calls.  None forgets the
        position and all noted invalidations: the backing store's history was
        rewritten, and numbers of the old one say nothing about the new one.
        """

    def beat(self) -> None:
        """Vouch for the cache: count the beat up."""

    def doubt(self) -> None:
        """Stop vouching: readers read through from now on."""

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; written before the user's own write, so that a crash between harms nothing."""

    def keys(self) -> Iterable[str]:
        """Return the keys that have a cached entry, in no order."""


#: Seconds after which a reservation is forgotten: its process died, or its
#: source is slower than any that a cache is of use for.
RESERVATION_TTL_S = 600.0

#: Seconds for which an invalidation is remembered against fills from sources
#: that lag (trap 14): a replica or proxy that lags longer is broken.
NOTE_TTL_S = 3600.0


def is_older(version: Version | None, noted: Version | None) -> bool:
    """Return whether a value of *version* must not be kept after *noted* (rule 3)."""
    if version is None or noted is None:
        return False
    return (version.epoch, version.sequence) < (noted.epoch, noted.sequence)


def latest(one: Version | None, other: Version | None) -> Version | None:
    """Return the later of two noted versions; unknown ones count as the earliest."""
    return other if one is None or is_older(one, other) else one
