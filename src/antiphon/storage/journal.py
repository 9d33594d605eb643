"""The journal: what every writable store says about its own past.

The journal is written in the same transaction as the data, so a change and
its entry are one.  An entry's sequence is gapless within an epoch and counts
changes of keys; a commit is a contiguous run whose last entry is marked, and a
reader advances only there.  Numbers alone identify nothing (a Redis that lost
its last second counts the same numbers again), so an entry also has a random
id, and a position holds both (DESIGN section 7).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable
from uuid import UUID

from antiphon.events.event_id import PUBLISHER_BYTES, EventId

#: Bytes of an entry id: random, so that a rewritten history is recognised.
ENTRY_ID_BYTES = 8

#: Bytes of the id of the entry before that an event carries along: a link.
LINK_BYTES = 4


class Version(NamedTuple):
    """The version of one key: the journal entry that last changed it.

    Attributes:
        epoch: starts at 1; grows when a store begins a new history.
        sequence: number of the entry within the epoch, from 1.
        entry_id: 8 random bytes of that entry.
    """

    epoch: int
    sequence: int
    entry_id: bytes

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}-{self.entry_id.hex()}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """Return the version that ``str()`` wrote; ``ValueError`` if *text* is none."""
        try:
            epoch, sequence, entry_id = text.split("-")
            return cls(int(epoch), int(sequence), bytes.fromhex(entry_id))
        except ValueError:
            raise ValueError(
                f"no version: {text!r} (expected '<epoch>-<sequence>-<hex entry id>')"
            ) from None


#: ``expect=ABSENT``: the key must not exist.
ABSENT = Version(0, 0, b"")


class PledgedVersion(Version):
    """An expected version, with which a writer says what id the entry of the write will have.

    So the write is recognised later in the journal, whatever became of the
    writer and of the answer.  Equal to the version itself.

    Attributes:
        entry_id_to_be: 8 random bytes, of ``new_entry_id()``.
    """

    entry_id_to_be: bytes

    @classmethod
    def of(cls, version: Version, entry_id_to_be: bytes) -> PledgedVersion:
        """Return *version*, with the id that the entry is to have."""
        pledged = cls(*version)
        pledged.entry_id_to_be = entry_id_to_be
        return pledged


class Position(NamedTuple):
    """A point in the history of one store; sequence 0 is before the first entry."""

    store_id: UUID
    epoch: int
    sequence: int
    entry_id: bytes

    def __str__(self) -> str:
        return f"{self.store_id}@{self.epoch}-{self.sequence}-{self.entry_id.hex()}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that ``str()`` wrote; ``ValueError`` if *text* is none."""
        store_id, at, version = text.partition("@")
        if not at:
            raise ValueError(f"no position: {text!r} (expected '<store id>@<version>')")
        return cls(UUID(store_id), *Version.parse(version))

    @property
    def version(self) -> Version:
        """The version that a key changed at this position has."""
        return Version(self.epoch, self.sequence, self.entry_id)


class JournalEntry(NamedTuple):
    """One change of one key, as the store's journal keeps it.

    Attributes:
        version: epoch, sequence and id of this entry; also the key's new version.
        key: the key that changed; None if whoever reads may not see it, which
            only journals of authorizing stores say: it may be any key then.
        action: ``set`` (new key), ``update`` (existing key) or ``delete``.
        event_id: id of the event that tells of it; None for a foreign writer's.
        owner: publisher id of the process that committed and publishes it;
            ``b""`` where no one does.
        last: whether this is the last entry of its commit.
        time_ns: wall clock of the commit in nanoseconds since the Unix epoch.
    """

    version: Version
    key: str | None
    action: str
    event_id: EventId | None
    owner: bytes
    last: bool
    time_ns: int


@runtime_checkable
class Journal(Protocol):
    """What a store can tell about its own past."""

    @property
    def store_id(self) -> UUID | None:
        """Identity of the data, written into the medium at first connect."""

    def head(self) -> Position:
        """Return the position of the newest commit."""

    def since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*, oldest first, whole commits only.

        Raises:
            PositionLost: *position* is of another store or epoch, the entry
                there has another id (history was rewritten), or the journal
                was truncated after it.  Whoever relied on it repairs everything.
        """


@runtime_checkable
class WaitingJournal(Journal, Protocol):
    """A journal that says when it grew, so that nobody has to ask again and again."""

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is another than *position*.

        At once if it is another already, whichever way: a store that lost its
        last changes, or has another epoch, is not at *position* either.

        Args:
            position: where the caller is.
            timeout_s: at most this many seconds are waited, and then the head
                is returned, *position* itself if nothing changed; 0: not at all.
                ``journals.wake`` may end it sooner.

        Raises:
            StoreUnavailable: the head cannot be read.
            NotConnected: the store was disconnected, also meanwhile.
        """


class TailedJournal(Journal, Protocol):
    """A journal that hands out new entries itself, as soon as they are committed."""

    def tail(self, position: Position, timeout_s: float) -> Sequence[JournalEntry]:
        """Return some of the entries after *position*, in order, once there are any.

        Entries of a later epoch are after it, too.

        Args:
            position: where the caller is.
            timeout_s: seconds after which nothing is returned, at the latest;
                ``journals.wake`` ends it sooner, with an error.

        Raises:
            PositionLost: the journal has not (any more) the entry at *position*.
            StoreUnavailable: the medium cannot be reached, or does not answer.
            NotConnected: the store was disconnected.
        """

    def has_arrivals(self) -> bool:
        """Return whether entries came that nobody has read yet; a quick hint for any thread."""


def place_of(store_id: UUID, version: Version, before: bytes) -> Position:
    """Return the position of *version* as its event carries it, with a link to what came before.

    An event with the next number shows nothing: a store that lost its last
    changes counts the same numbers again.  One that links to the id that a
    follower is at shows that there was nothing in between.

    Args:
        store_id: of the store.
        version: of the change.
        before: id of the entry before it, all or the beginning; b"" if unknown.
    """
    epoch, sequence, entry_id = version
    if len(entry_id) == ENTRY_ID_BYTES:
        entry_id += before[:LINK_BYTES]
    return Position(store_id, epoch, sequence, entry_id)


def split_place(place: tuple[UUID, int, int, bytes]) -> tuple[Position, bytes]:
    """Return the position and the link in what ``place_of`` returned; b"" without a link."""
    store_id, epoch, sequence, entry_id = place
    return Position(store_id, epoch, sequence, entry_id[:ENTRY_ID_BYTES]), entry_id[ENTRY_ID_BYTES:]


def version_of(value: object) -> Version | None:
    """Return the version of *value*; None where its store has none."""
    version = getattr(value, "version", None)
    return version if isinstance(version, Version) else None


def foreign_event_id(store_id: UUID, entry_id: bytes) -> EventId:
    """Return the id of the event of an entry that no process of ours made, the same for all.

    Made of the random id of the entry, never of its number: another history
    counts the same numbers again.
    """
    digest = hashlib.blake2b(store_id.bytes, digest_size=PUBLISHER_BYTES, person=b"foreign writer")
    return EventId(digest.digest(), int.from_bytes(entry_id[:ENTRY_ID_BYTES]))


def pledged_as(version: Version, expect: Version) -> Version:
    """Return *version*, to be expected in place of *expect*, with what that pledges."""
    if isinstance(expect, PledgedVersion):
        return PledgedVersion.of(version, expect.entry_id_to_be)
    return version


def entry_id_for(expect: Version | None) -> bytes:
    """Return the id of the entry of a write that expects *expect*."""
    return expect.entry_id_to_be if isinstance(expect, PledgedVersion) else new_entry_id()


def new_entry_id() -> bytes:
    """Return the random id of a new journal entry.  Thread-safe."""
    try:
        return _entry_ids.pop()
    except IndexError:
        drawn = os.urandom(ENTRY_ID_BYTES * _DRAWN)
        _entry_ids.extend(
            drawn[at : at + ENTRY_ID_BYTES] for at in range(0, len(drawn), ENTRY_ID_BYTES)
        )
        return os.urandom(ENTRY_ID_BYTES)


#: Ids that are drawn at a time: asking the system for each takes longer than a dictionary does.
_DRAWN = 512

_entry_ids: list[bytes] = []

if hasattr(os, "register_at_fork"):
    # A child that went on with its parent's would give the same ids.
    os.register_at_fork(after_in_child=_entry_ids.clear)
