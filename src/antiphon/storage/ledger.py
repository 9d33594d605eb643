"""The ledger: how a medium keeps cache entries right for all that share it.

Cache entries live beside a store's own keys, in a key space of their own: a
fill or a drop is no change of the store, emits nothing and is in no journal,
and invalidating can never touch what a user wrote (DESIGN section 8, P6).

The rules that make a fill safe, whatever the interleaving (traps 5, 6, 14):

1. ``reserve`` comes before the read of the backing store.
2. ``void`` of the key, or of a prefix of it, ends all its reservations, drops
   the entry (unless it is of that very version or a later one already) and
   notes the version of the invalidation.
3. ``fill`` keeps the value only if its reservation still stands *and* the
   value's version is not older than the last noted invalidation of the key,
   nor than a checked entry that is there.

The rules of doubt about everything (history was rewritten or truncated, a
backup was restored, the cache was filled from another store before):

4. ``suspect`` makes all entries *unchecked* and ends all reservations, at once
   and at the same cost whatever the cache holds.
5. An unchecked entry may be served as fresh only after ``confirm``: after a
   reservation, the backing store said that the key has the entry's very
   version.  Versions hold random ids, so nothing else has it.
6. The numbers of an unchecked entry say nothing: any fill replaces it, and any
   invalidation drops it, but one of its very version.

And of the room that a cache takes:

7. ``evict`` drops entries and nothing else: no reservation ends and nothing is
   noted, for nothing changed.  A fill or confirmation under way goes on.

Each method is one transaction of the medium, so the rules also hold between
processes that share one cache.  Keys here are those of the backing store.  A
ledger does not know from which stores it is filled: who finds positions of
other stores than their own there begins anew: ``suspect()``, ``advance(None)``,
then the heads that were read *before* these two.  Doubt comes first: whoever
advances a position meanwhile would speak of entries that are still checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from antiphon.storage.cached_entry import CachedEntry as CachedEntry
from antiphon.storage.journal import Position, Version


@dataclass(frozen=True, slots=True)
class Reservation:
    """The right to fill or confirm one key, until something voids it.

    Attributes:
        key: the key of the backing store.
        token: bytes that name this reservation in the medium, and no other ever.
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


class Lookup(NamedTuple):
    """What one look into the ledger found.

    Attributes:
        entry: the cached entry, or None.
        beat: counts up each time an invalidator vouched for the cache; None
            while it is in doubt.  A reader that sees it grow knows, by its own
            clock alone, that the cache was right lately.
    """

    entry: CachedEntry | None
    beat: int | None


class Usage(NamedTuple):
    """The room that the entries of a cache take.

    Attributes:
        entries: how many there are, unchecked ones included.
        bytes: the sum of their sizes; keys and metadata come on top.
    """

    entries: int
    bytes: int


@runtime_checkable
class CacheLedger(Protocol):
    """Cache entries of one medium; see the module for the rules."""

    # -- Entries -------------------------------------------------------------

    def lookup(self, key: str) -> Lookup:
        """Return the cached entry of *key*, checked or not, and the present beat."""

    def reserve(self, key: str) -> Reservation:
        """Note that a read of *key* from the backing store begins now.

        Reservations of processes that died are forgotten after ten minutes;
        a fill that took longer than that is not kept.
        """

    def fill(self, reservation: Reservation, value: Fill) -> CachedEntry | None:
        """Keep *value* if the rules allow it, and return it as cached; else None.

        The stream is read before the transaction begins, so that a slow source
        holds no lock.  What is kept is checked, and replaces an unchecked entry
        whatever the numbers of both (rule 6).  Either way the reservation and
        the stream are used up: after None the caller reads the backing store
        again.
        """

    def confirm(self, reservation: Reservation, version: Version | None) -> CachedEntry | None:
        """Note that the backing store was found to have *version* of the key, after *reservation*.

        The entry of that very version becomes checked, and is returned.  None
        means that nothing was confirmed: the reservation had ended (``void``
        and ``suspect`` end it), or there is no such entry.  If the reservation
        stood, an unchecked entry of another version is known to be wrong, and
        is dropped; a checked one stays, for it came after the answer.  Either
        way the reservation is used up: to fill, the caller reserves anew.

        Args:
            reservation: taken before the backing store was asked.
            version: what it answered; None (no such key there, or a store
                without versions) confirms nothing.
        """

    def release(self, reservation: Reservation) -> None:
        """Give a reservation back unused: the read failed."""

    def keys(self) -> Iterable[str]:
        """Return the keys that have a cached entry, checked or not, in no order."""

    # -- Invalidation --------------------------------------------------------

    def void(self, key: str, version: Version | None) -> bool:
        """Apply rule 2 to one key, at *version* (None: unknown); whether an entry was dropped."""

    def void_many(self, changes: Sequence[tuple[str, Version | None]]) -> list[bool]:
        """Apply ``void`` to each of *changes*, in their order, at the cost of one transaction.

        A medium may cut a very long list into several transactions, so that
        others get a turn; after an error some of the changes may be applied.
        Applying them again does no harm.

        Returns:
            For each change whether an entry was dropped.
        """

    def void_prefix(self, prefix: str, version: Version | None) -> int:
        """Apply rule 2 to all keys with *prefix* (``""``: all keys); how many were dropped."""

    def suspect(self) -> None:
        """Apply rule 4: all entries become unchecked, and all reservations end.

        It costs the same whatever the cache holds.  Notes stay: where their
        numbers say nothing any more, ``advance(None)`` comes next.
        """

    # -- Trust ---------------------------------------------------------------

    def position(self) -> Position | None:
        """Return how far invalidations were applied; None before the first.

        Doubt keeps it: the repair begins there.  None too if the cache follows
        several stores: ``positions`` then tells.
        """

    def positions(self) -> dict[UUID, Position]:
        """Return how far invalidations of each store were applied, by its id."""

    def advance(self, position: Position | None) -> None:
        """Note that all invalidations up to *position* were applied (after applying them).

        It is noted for the store that it names.  Within one epoch it never goes
        back, whoever calls.  None forgets the positions of all stores and all
        noted invalidations: a backing store's history was rewritten, and
        numbers of the old one say nothing about the new one.
        """

    def verified(self) -> dict[UUID, Position]:
        """Return up to where the journal of each store itself was read, by its id.

        A position may have been reached by events alone, over a loss of the
        store that the next reading of the journal will find: from here.
        """

    def verify(self, position: Position) -> None:
        """Note that the journal showed *position*, and that all changes up to it were applied.

        It replaces what was noted for the store, and may lag: less is believed then.
        """

    def beat(self) -> None:
        """Vouch for the cache: count the beat up."""

    def doubt(self) -> None:
        """Stop vouching: readers read through from now on."""

    # -- The user's own writes -----------------------------------------------

    def base(self, key: str) -> Version | None:
        """Return the backing version that the user's own write of *key* began from."""

    def set_base(self, key: str, version: Version | None) -> None:
        """Note it; written before the user's own write, so that a crash between harms nothing."""

    def note_push(self, key: str, note: bytes | None) -> None:
        """Note that a push of *key* begins, or with None that it is over.

        The note is whatever the pusher needs in order to go on after a crash; a
        new one replaces the old.  No rule of the cache touches it.
        """

    def pushes(self) -> dict[str, bytes]:
        """Return the notes of the pushes that have begun and are not over."""

    # -- Room ----------------------------------------------------------------

    def evict(self, keys: Iterable[str]) -> int:
        """Apply rule 7: drop the entries of *keys*; how many there were."""

    def sizes(self) -> Iterable[tuple[str, int]]:
        """Return key and size in bytes of each entry, in no order."""

    def usage(self) -> Usage:
        """Return the room taken, also by what other processes filled.

        It is counted along, not summed up: asking is quick however large the
        cache is.
        """


#: Seconds after which a reservation is forgotten: its process died, or its
#: source is slower than any that a cache is of use for.
RESERVATION_TTL_S = 600.0

#: Seconds for which an invalidation is remembered against fills from sources
#: that lag (trap 14): a replica or proxy that lags longer is broken.
NOTE_TTL_S = 3600.0

#: Keys whose last invalidation is remembered, those invalidated last; up to a
#: tenth more may be for a while.  About 20 MB in memory.
NOTES_KEPT = 100_000

#: Prefixes whose last invalidation is remembered: each is looked at by fills.
PREFIX_NOTES_KEPT = 1000


def is_older(version: Version | None, noted: Version | None) -> bool:
    """Return whether a value of *version* must not be kept after *noted* (rule 3)."""
    if version is None or noted is None:
        return False
    return (version.epoch, version.sequence) < (noted.epoch, noted.sequence)


def outlives(kept: Version | None, version: Version | None, *, checked: bool = True) -> bool:
    """Return whether an entry of version *kept* stays when *version* is voided (rules 2 and 6).

    It does if the invalidation is late: the entry is what it tells of, or came
    after it.  The same numbers with another id are of another history.
    """
    if kept is None or version is None:
        return False
    return kept == version or (checked and kept[:2] > version[:2])


def latest(one: Version | None, other: Version | None) -> Version | None:
    """Return the later of two noted versions; unknown ones count as the earliest."""
    return other if one is None or is_older(one, other) else one


def is_behind(position: Position, present: Position) -> bool:
    """Return whether *position* must not replace *present*, which is of the same store."""
    return position.epoch == present.epoch and position.sequence < present.sequence
