"""How many changes are made at once, where all at once would keep others waiting.

A Redis does nothing else while it makes a commit.  So there ``multiset`` and its
like are several commits, each with a portion of the changes, and a transaction
has a most.  Elsewhere each of them is one commit, however large.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from antiphon.storage.bulk_telling import WINDOW

if TYPE_CHECKING:
    from antiphon.storage.backend_transactions import BackendTransactions
    from antiphon.storage.changes import Change
    from antiphon.storage.overlay import Pending


class Portion(NamedTuple):
    """What changes weigh, or may weigh.

    Attributes:
        changes: how many they are.
        entries: how many metadata entries they bring.
        size: bytes, about, of keys, metadata and data; without data that are staged.
    """

    changes: int = 0
    entries: int = 0
    size: int = 0

    def plus(self, change: Pending) -> Portion:
        """Return what it weighs with *change*, too."""
        data, entries = change.data, len(change.metadata or ())
        size = text_size(change) + (len(data) if isinstance(data, bytes) else 0)
        return Portion(self.changes + 1, self.entries + entries, self.size + size)

    def exceeds(self, most: Portion) -> bool:
        """Return whether it is more than *most*, in any of the three."""
        return any(mine > limit for mine, limit in zip(self, most, strict=True))


def text_size(change: Pending | Change) -> int:
    """Return how many bytes the key and the metadata of *change* have, about."""
    metadata = change.metadata
    if not metadata:
        return len(change.key)
    return len(change.key) + sum(len(name) + _size_of(each) for name, each in metadata.items())


def portions(changes: Sequence[Pending], most: Portion) -> Iterator[Sequence[Pending]]:
    """Yield *changes*, in order, so many at a time as *most* has room for; at least one."""
    begin, weight = 0, Portion()
    for number, change in enumerate(changes):
        grown = weight.plus(change)
        if number > begin and grown.exceeds(most):
            yield changes[begin:number]
            begin, grown = number, Portion().plus(change)
        weight = grown
    if changes:
        yield changes[begin:]


class Bulk(Protocol):
    """The block in which ``multiset`` and its like write."""

    def __enter__(self) -> Self:
        """Begin it."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> bool | None:
        """Commit what is not committed yet; drop that if the block failed."""

    def step(self) -> bool:
        """Take note that a key was written; commit, if that is enough for now.

        Raises what a commit raises.

        Returns:
            Whether all that was written is committed now.
        """


class InOne:
    """A bulk that is one transaction.

    Args:
        transaction: that transaction.
    """

    def __init__(self, transaction: contextlib.AbstractContextManager[Any]) -> None:
        self._transaction = transaction

    def __enter__(self) -> Self:
        self._transaction.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> bool | None:
        return self._transaction.__exit__(exc_type, exc_value, exc_traceback)

    def step(self) -> bool:
        """Do nothing: all is committed at the end."""
        return False


class InPortions:
    """A bulk of a store that commits in portions.

    Several portions are told of together, so that few messages carry them.

    Args:
        store: not in a transaction.
        most: what a portion has.
    """

    def __init__(self, store: BackendTransactions, most: Portion) -> None:
        self._store = store
        self._most = most
        # What is held until it is told; four portions of the Redis store.
        times = max(1, -(-WINDOW // most.changes))
        self._lot = Portion(*(times * limit for limit in most))
        self._held = Portion()
        self._seen = 0
        self._failure: Exception | None = None

    def __enter__(self) -> Self:
        self._store._begin(self._most)
        return self

    def step(self) -> bool:
        """Commit what was written since the last time, if it is enough to be told of."""
        overlay = self._store._overlay
        if overlay is None or overlay.depth > 1:
            return False
        held = self._held
        for change in overlay.changes[self._seen :]:
            held = held.plus(change)
        self._held, self._seen = held, len(overlay.changes)
        if not held.exceeds(self._lot._replace(changes=self._lot.changes - 1)):
            return False
        self._held, self._seen = Portion(), 0
        # An event that failed is no reason to stop: what it tells of is committed.
        failure = self._store._commit_lot()
        self._failure = self._failure or failure
        return True

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        self._store._end(exc_value)
        if exc_value is None and self._failure is not None:
            raise self._failure


def bulk_of(store: Any, notes: str) -> Bulk:
    """Return the bulk of a store that another one wraps."""
    # Asked of the class: a wrapper that passes on what it lacks would pass on this past
    # what it has itself.
    own = getattr(type(store), "_bulk", None)
    if own is None:
        try:
            return InOne(store.transaction(notes))
        except (NotImplementedError, AttributeError):
            return InOne(contextlib.nullcontext())
    found: Bulk = own(store, notes)
    return found


def _size_of(value: object) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    return len(repr(value)) if isinstance(value, Mapping | list | tuple | set | frozenset) else 8
