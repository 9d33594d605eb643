"""Transactions: what one thread has changed and not committed yet.

Nothing but staged values touches the medium before the commit, so every
backend has transactions alike, and a rollback only forgets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Any, BinaryIO

from antiphon.errors import VersionConflict
from antiphon.events.event_id import EventId
from antiphon.storage.changes import Change, Record, Staged, conflict, missing
from antiphon.storage.journal import ABSENT, Version, new_entry_id
from antiphon.storage.portions import Portion

#: Opens bytes *start* to *end* of a staged value.
OpenStaged = Callable[[Staged, int, int], BinaryIO]


class Unread(Enum):
    """Stands for what nobody has read."""

    UNREAD = 1


#: Given for a key that was not read, because nothing depends on what it has.
UNREAD = Unread.UNREAD


@dataclass(slots=True)
class Pending:
    """A change that waits for its commit; see ``Change``, which it becomes."""

    key: str
    delete: bool = False
    data: bytes | Staged | None = None
    metadata: dict[str, Any] | None = None
    merge: bool = False
    must_exist: bool = False
    expect: Version | None = None

    def as_change(self, event_id: EventId) -> Change:
        """Return the change, with the ids of its event and of its journal entry."""
        # Ids are drawn at the commit, so that their order is that of the events.
        return Change(
            key=self.key,
            event_id=event_id,
            entry_id=new_entry_id(),
            delete=self.delete,
            data=self.data,
            metadata=self.metadata,
            merge=self.merge,
            must_exist=self.must_exist,
            expect=self.expect,
        )


@dataclass(slots=True)
class _Effect:
    """What a changed key looks like from inside; None in a field: as in the medium."""

    is_new: bool
    at: float
    data: bytes | Staged | None = None
    metadata: dict[str, Any] | None = None


class Overlay:
    """The pending changes of one transaction, and what reads in it see.

    Args:
        most: what is committed at once; None: all of it.
    """

    def __init__(self, most: Portion | None = None) -> None:
        self.most = most
        self.depth = 0
        self.changes: list[Pending] = []
        self._first: dict[str, Pending] = {}
        self._effects: dict[str, _Effect | None] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._effects

    def keys(self) -> list[str]:
        """Return the keys that were changed, the deleted ones included."""
        return list(self._effects)

    def staged(self, begin: int = 0) -> Iterator[Staged]:
        """Yield the staged values of all changes from number *begin* on."""
        for change in self.changes[begin:]:
            if isinstance(change.data, Staged):
                yield change.data

    def add(
        self, change: Pending, present: Record | Unread | None, now: float, store: object
    ) -> None:
        """Take *change* up.

        Args:
            change: the change.
            present: what its key looks like from inside before it; ``UNREAD``
                will do for a change that neither expects nor needs anything.
            now: the time, in seconds since the Unix epoch.
            store: named in errors.

        Raises:
            KeyNotFound: the key must exist, and does not.
            VersionConflict: the key has not the version that is expected, or
                an earlier change expects another.
        """
        expect = self._agreed_expectation(change, present, store)
        if present is None and change.must_exist:
            raise missing(change.key, store)
        # An expectation speaks of what others wrote, so it belongs to the first
        # change of the key: a later one would meet our own version.
        change.expect = None
        self._first.setdefault(change.key, change).expect = expect
        self.changes.append(change)
        if change.delete:
            self._effects[change.key] = None
            return
        before = self._effects.get(change.key)
        is_new = present is None or (before is None and change.key in self._effects)
        effect = _Effect(is_new=is_new, at=now)
        if before is not None:
            effect = _Effect(before.is_new, now, before.data, before.metadata)
        if change.data is not None:
            effect.data = change.data
        if change.metadata is not None:
            merged = present.metadata if change.merge and isinstance(present, Record) else {}
            effect.metadata = {**merged, **change.metadata}
        self._effects[change.key] = effect

    def _agreed_expectation(
        self, change: Pending, present: Record | Unread | None, store: object
    ) -> Version | None:
        first = self._first.get(change.key)
        if first is None:
            found = present.version if isinstance(present, Record) else None
            if change.expect is not None and change.expect != (found or ABSENT):
                raise conflict(change.key, change.expect, found, store)
            return change.expect
        if first.expect is None or change.expect is None:
            return first.expect or change.expect
        if first.expect != change.expect:
            raise VersionConflict(
                f"key {change.key!r:.200} was expected at version {first.expect} and, later in the"
                f" same transaction, at {change.expect}; it cannot have both"
            )
        return first.expect

    def view(
        self, key: str, read: Callable[[str], Record | None], open_staged: OpenStaged
    ) -> Record | None:
        """Return what a changed *key* looks like from inside; None if it was deleted.

        Args:
            key: one of ``keys()``.
            read: reads the medium.
            open_staged: opens a staged value.
        """
        effect = self._effects[key]
        if effect is None:
            return None
        below = None if effect.is_new else read(key)
        data = effect.data
        if data is None and below is not None:
            size, open_data = below.size, below.open
        elif isinstance(data, Staged):
            staged = data
            size, open_data = staged.size, lambda start, end: open_staged(staged, start, end)
        else:
            held = data or b""
            size, open_data = len(held), lambda start, end: BytesIO(held[start:end])
        metadata = effect.metadata
        if metadata is None:
            metadata = {} if below is None else below.metadata
        created = effect.at if below is None else below.created
        return Record(size, metadata, created, effect.at, ABSENT, open_data)
