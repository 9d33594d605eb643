"""What passes between a store's public methods and its backend: records and changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

from antiphon.errors import KeyNotFound, VersionConflict
from antiphon.events.event_id import EventId
from antiphon.storage.journal import ABSENT, JournalEntry, Version

#: Values up to this many bytes travel in memory; larger ones are staged first.
STAGE_ABOVE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """Who a store is, as written in its medium.

    Attributes:
        store_id: UUID drawn when the medium was first connected to.
        epoch: number of the present history, from 1.
        system: the system that the store belongs to; None until a bus claims it.
    """

    store_id: UUID
    epoch: int
    system: str | None


class Record(NamedTuple):
    """One key as a backend holds it, at one version.

    Attributes:
        size: bytes of data.
        metadata: a copy that belongs to the caller.
        created, modified: seconds since the Unix epoch, UTC.
        version: the journal entry that last changed the key.
        open: ``open(start, end)`` returns a stream over the bytes from *start*
            up to, not including, *end* (``0 <= start <= end <= size``) of this
            version, also when the key is changed meanwhile.
    """

    size: int
    metadata: dict[str, Any]
    created: float
    modified: float
    version: Version
    open: Callable[[int, int], BinaryIO]


@dataclass(frozen=True, slots=True)
class Staged:
    """A large value that lies in the medium, committed by no key yet.

    Attributes:
        token: what the backend finds it by.
        size: bytes of data.
    """

    token: str
    size: int


class Change(NamedTuple):
    """One change of one key, checked and ready to be committed.

    Attributes:
        key: the key.
        event_id: id of the event that will tell of it.
        entry_id: random id of its journal entry.
        delete: remove the key; data and metadata are ignored.
        data: new data; None keeps what is there (a new key gets ``b""``).
        metadata: new metadata; None keeps what is there (a new key gets ``{}``).
        merge: update the present metadata with *metadata* instead of replacing it.
        must_exist: raise ``KeyNotFound`` if there is no such key.
        expect: raise ``VersionConflict`` unless the key has this version
            (``ABSENT``: unless there is no such key).
    """

    key: str
    event_id: EventId
    entry_id: bytes
    delete: bool = False
    data: bytes | Staged | None = None
    metadata: Mapping[str, Any] | None = None
    merge: bool = False
    must_exist: bool = False
    expect: Version | None = None


class Committed(NamedTuple):
    """What became of one change.

    Attributes:
        entry: its journal entry.
        metadata: metadata of the key after the change; before it, for a delete.
        before: id of the journal entry before this one; b"" if unknown.
    """

    entry: JournalEntry
    metadata: dict[str, Any]
    before: bytes = b""


def action_of(change: Change, present: Version | None, store: object) -> str:
    """Return what *change* does to its key: ``set``, ``update`` or ``delete``.

    Args:
        change: the change.
        present: version that the key has just before it; None if it is not there.
        store: named in errors.

    Raises:
        VersionConflict: *present* is not what the change expects.
        KeyNotFound: the key must exist, and does not.
    """
    if change.expect is not None and change.expect != (present or ABSENT):
        raise conflict(change.key, change.expect, present, store)
    if present is None and change.must_exist:
        raise missing(change.key, store)
    if change.delete:
        return "delete"
    return "set" if present is None else "update"


def missing(key: str, store: object) -> KeyNotFound:
    """Return the error of a key that is not there."""
    return KeyNotFound(f"no key {key!r:.200} in {store!r}")


def conflict(key: str, expected: Version, found: Version | None, store: object) -> VersionConflict:
    """Return the error of a key that has not the version that was expected."""
    wanted = "not to exist" if expected == ABSENT else f"at version {expected}"
    has = "it does not exist" if found is None else f"it is at {found}"
    return VersionConflict(
        f"key {key!r:.200} in {store!r} was expected {wanted}, and {has};"
        " nothing was written: read it again and decide anew"
    )
