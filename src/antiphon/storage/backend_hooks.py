"""What a backend fills so that ``BackendStore`` can make a store of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar

from antiphon.storage.changes import Change, Committed, Record, Staged, StoreIdentity
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.journal_watch import JournalWatch, Pauses
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.metadata import copied
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.portions import Portion
from antiphon.storage.stored_value import StoredValue
from antiphon.storage.value import Value

#: Where ``BackendStore`` is made: private names there are no backend's to use.
_BASE_MODULES = (
    "antiphon.storage.backend_reading",
    "antiphon.storage.backend_telling",
    "antiphon.storage.backend_transactions",
    "antiphon.storage.backend_store",
)


class BackendHooks:
    """The hooks: short methods that move bytes.

    They get arguments that were checked, may be called by several threads at
    once, and raise errors of ``antiphon.errors`` only.

    A class with a private method that ``BackendStore`` has for itself, such as
    ``_write``, is a ``TypeError``: it would be called in place of that one.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__ in _BASE_MODULES:
            return
        own = {
            name
            for base in cls.__mro__
            if base.__module__ in _BASE_MODULES
            for name, found in vars(base).items()
            if name.startswith("_") and not name.startswith("__") and callable(found)
        }
        taken = sorted(own.difference(vars(BackendHooks)).intersection(vars(cls)))
        if taken:
            raise TypeError(
                f"{cls.__name__} has {', '.join(taken)}, which BackendStore has for itself"
                " and which is no hook; choose another name"
            )

    #: Seconds between looks for commits of others while somebody waits for one;
    #: None where nobody else can commit.
    _look_pauses: ClassVar[Pauses | None] = Pauses(0.001, 0.03)

    #: Set by ``BackendReading``; told of this store's own commits.
    _watch: JournalWatch

    #: How many keys ``multiget`` and its like read at a time; 1 where that saves nothing.
    _read_ahead: ClassVar[int] = 1

    #: What ``multiset`` and its like commit at once; None: all that they are given.  For a
    #: medium in which all others wait meanwhile.
    _portion: Portion | None = None

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        """Open the medium, making it if it is new; return who the store is."""
        raise NotImplementedError

    def _close_medium(self) -> None:
        """Let go of the medium."""
        raise NotImplementedError

    def _claim(self, system: str) -> str | None:
        """Record *system* in the medium unless it has one; return the recorded one."""
        raise NotImplementedError

    def _read(self, key: str) -> Record | None:
        """Return what the medium has under *key*, or None."""
        raise NotImplementedError

    def _read_many(self, keys: Sequence[str]) -> Sequence[Record | None]:
        """Return what ``_read`` does for each of *keys*, in one go if that is quicker.

        Called with at most ``_read_ahead`` keys.
        """
        return [self._read(key) for key in keys]

    def _read_many_metadata(self, keys: Sequence[str]) -> Sequence[dict[str, Any] | None]:
        """Return what ``_read_metadata`` does for each of *keys*; see ``_read_many``."""
        return [self._read_metadata(key) for key in keys]

    def _get(self, key: str) -> Value | None:
        """Return the value of *key*, or None; cheaper than by ``_read`` if may be."""
        record = self._read(key)
        return None if record is None else StoredValue(record)

    def _read_metadata(self, key: str) -> dict[str, Any] | None:
        """Return a copy of the metadata of *key*, or None; cheaper than ``_read`` if may be."""
        record = self._read(key)
        return None if record is None else copied(record.metadata)

    def _exists(self, key: str) -> bool:
        """Return whether there is *key*; cheaper than ``_read`` if may be."""
        return self._read(key) is not None

    def _keys(self) -> Iterable[str]:
        """Return all keys, in no order; each once, also while others change."""
        raise NotImplementedError

    def _query(self, conditions: Mapping[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
        """Return key and metadata (a copy) of what matches *conditions*.

        What matches is what ``metadata.matches`` says; as for order and
        changes by others see ``_keys``.
        """
        raise NotImplementedError

    def _matching_keys(self, conditions: Mapping[str, Any]) -> Iterable[str]:
        """Return the keys of what ``_query`` returns; cheaper if may be."""
        return (key for key, _ in self._query(conditions))

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        """Apply *changes* in order, with their journal entries: all of them, or none.

        Conditions are checked inside.  A staged value is used up by its change,
        and is the data of nothing else.  What is returned belongs to the caller.
        """
        raise NotImplementedError

    def _stage(self, chunks: Iterable[bytes]) -> Staged:
        """Write *chunks* into the medium, for no key yet; leave nothing if they fail.

        No lock is held while the next chunk is waited for.
        """
        raise NotImplementedError

    def _open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        """Return a stream over bytes *start* to *end* of a staged value."""
        raise NotImplementedError

    def _discard(self, staged: Staged) -> None:
        """Forget a staged value that no change has used up."""
        raise NotImplementedError

    def _head(self) -> Position:
        """Return the position of the newest commit."""
        raise NotImplementedError

    def _since(self, position: Position) -> Iterable[JournalEntry]:
        """Return the entries after *position*; see ``Journal.since``."""
        raise NotImplementedError

    def _wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head once it is not *position*, or after *timeout_s*; raise once closed.

        Here it is looked for every ``_look_pauses``, and after each own commit.
        """
        return self._watch.wait(self._head, position, timeout_s, self._look_pauses)

    def cache_ledger(self) -> CacheLedger | None:
        """Return the ledger of the cache entries in this medium; None if it can hold none."""
        return None

    def outbox_ledger(self) -> OutboxLedger | None:
        """Return the ledger of the events of this medium; None if all die with its process.

        Called while the medium is open, also before the store counts as connected.
        """
        return None
