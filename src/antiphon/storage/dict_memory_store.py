"""A store in the memory of one process."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

from antiphon.errors import InvalidURL, PositionLost, StoreError
from antiphon.schemes import mask_url
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import (
    Change,
    Committed,
    Record,
    Staged,
    StoreIdentity,
    action_of,
)
from antiphon.storage.forking import Forked
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.journal_watch import Pauses
from antiphon.storage.ledger import CacheLedger
from antiphon.storage.memory_entry import Entry, EntryValue, entry_of, metadata_of
from antiphon.storage.memory_index import MemoryIndex
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.metadata import check_size, copied, encode_conditions, matches
from antiphon.storage.opening import url_parameters
from antiphon.storage.value import Value

#: Entries that the journal keeps: about 5 MB when it is full.
JOURNAL_ENTRIES = 10_000

_EPOCH = 1


class DictMemoryStore(Forked, BackendStore):
    """A store that lives in a dictionary, and ends with it.

    As Encore's it may be used without ``connect()``, and keeps what it holds
    through ``disconnect()``.  Its journal keeps the last 10 000 changes.

    The first query for a metadata entry looks at all keys, while writers wait,
    and makes an index of it (of 32 entries at a time); then queries take as
    long as their hits.

    Args:
        origin: readable name that its events are routed by.
    """

    _needs_connecting: ClassVar[bool] = False
    _look_pauses: ClassVar[Pauses | None] = None

    def __init__(self, *, origin: str | None = None) -> None:
        super().__init__(origin=origin)
        self.store_id = uuid4()
        self._system: str | None = None
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        # The newest entry in it tells the head, so it keeps at least that one.
        self._journal: deque[JournalEntry] = deque(maxlen=JOURNAL_ENTRIES)
        self._staged: dict[str, bytes] = {}
        self._ledger: MemoryLedger | None = None
        self._index = MemoryIndex()
        self._renew_in_children("_lock")

    def get(self, key: str) -> Value:
        if type(key) is str and self._open.overlay is None:
            # What is there was checked when it was set.
            entry = self._entries.get(key)
            if entry is not None:
                return EntryValue(entry)
        return super().get(key)

    def get_if_any(self, key: str) -> Value | None:
        if (
            type(self).get is DictMemoryStore.get
            and type(key) is str
            and self._open.overlay is None
        ):
            entry = self._entries.get(key)
            return None if entry is None else EntryValue(entry)
        return super().get_if_any(key)

    # -- Hooks ---------------------------------------------------------------

    def _open_medium(self, credentials: Any) -> StoreIdentity:
        assert self.store_id is not None  # noqa: S101 - drawn in __init__
        return StoreIdentity(self.store_id, _EPOCH, self._system)

    def _close_medium(self) -> None:
        pass

    def _claim(self, system: str) -> str | None:
        with self._lock:
            if self._system is None:
                self._system = system
            return self._system

    def _get(self, key: str) -> Value | None:
        entry = self._entries.get(key)
        return None if entry is None else EntryValue(entry)

    def _read(self, key: str) -> Record | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        data, metadata, _, created, modified, version = entry

        def open_data(start: int, end: int) -> BinaryIO:
            return BytesIO(data[start:end])

        return Record(len(data), metadata, created, modified, version, open_data)

    def _read_metadata(self, key: str) -> dict[str, Any] | None:
        entry = self._entries.get(key)
        return None if entry is None else metadata_of(entry)

    def _exists(self, key: str) -> bool:
        return key in self._entries

    def _keys(self) -> Iterable[str]:
        with self._lock:
            return list(self._entries)

    def _query(self, conditions: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        if not conditions:
            return self._all_rows()
        encoded = encode_conditions(conditions)
        with self._lock:
            keys = self._index.find(encoded, self._items)
            entries = [self._entries[key] for key in keys]
        rows = zip(keys, entries, strict=True)
        if len(encoded) > 1:
            return ((key, metadata_of(entry)) for key, entry in rows if matches(entry[1], encoded))
        return (
            (key, dict(metadata) if flat else copied(metadata))
            for key, (_, metadata, flat, _, _, _) in rows
        )

    def _all_rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for key in self._keys():
            entry = self._entries.get(key)
            if entry is not None:
                yield key, metadata_of(entry)

    def _items(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return ((key, entry[1]) for key, entry in self._entries.items())

    def _matching_keys(self, conditions: Mapping[str, Any]) -> Iterable[str]:
        if len(conditions) != 1:
            return super()._matching_keys(conditions)
        encoded = encode_conditions(conditions)
        with self._lock:
            return iter(self._index.find(encoded, self._items))

    def _stage(self, chunks: Iterable[bytes]) -> Staged:
        data = b"".join(chunks)
        token = uuid4().hex
        self._staged[token] = data
        return Staged(token, len(data))

    def _open_staged(self, staged: Staged, start: int, end: int) -> BinaryIO:
        data = self._staged.get(staged.token)
        if data is None:
            raise StoreError(
                "a large value of a transaction was read after its end: get the key again"
            )
        return BytesIO(data[start:end])

    def _discard(self, staged: Staged) -> None:
        self._staged.pop(staged.token, None)

    def _commit(self, changes: Sequence[Change]) -> list[Committed]:
        with self._lock:
            # Worked out beside the dictionary first, so that a change that
            # fails leaves nothing of those before it.
            now_ns = time.time_ns()
            after: dict[str, Entry | None] = {}
            sequence, last = self._sequence(), len(changes)
            before = self._journal[-1].version.entry_id if self._journal else b""
            committed = []
            for number, change in enumerate(changes, start=1):
                committed.append(
                    self._apply(change, after, sequence + number, number == last, now_ns, before)
                )
                before = change.entry_id
            self._put(after)
            self._journal.extend([done.entry for done in committed])
        for change in changes:
            if isinstance(change.data, Staged):
                self._staged.pop(change.data.token, None)
        return committed

    def _put(self, after: Mapping[str, Entry | None]) -> None:
        index, entries = self._index, self._entries
        for key, entry in after.items():
            if index:
                present = entries.get(key)
                index.change(
                    key,
                    None if present is None else present[1],
                    None if entry is None else entry[1],
                )
            if entry is None:
                entries.pop(key, None)
            else:
                entries[key] = entry

    def _apply(
        self,
        change: Change,
        after: dict[str, Entry | None],
        sequence: int,
        last: bool,
        now_ns: int,
        before: bytes,
    ) -> Committed:
        key, event_id, entry_id, _, _, given, merge, _, _ = change
        present = after[key] if key in after else self._entries.get(key)
        action = action_of(change, None if present is None else present[5], self)
        version = Version(_EPOCH, sequence, entry_id)
        entry = JournalEntry(version, key, action, event_id, event_id.publisher, last, now_ns)
        if change.delete:
            after[key] = None
            return Committed(entry, metadata_of(present) if present is not None else {}, before)
        metadata = present[1] if present is not None else {}
        if given is not None:
            # Nobody else has it: it was made for this change.
            metadata = {**metadata, **given} if merge else dict(given)
            check_size(metadata)
        now = now_ns / 1e9
        new = after[key] = entry_of(
            self._data_of(change, present),
            metadata,
            now if present is None else present[3],
            now,
            version,
        )
        return Committed(entry, metadata_of(new), before)

    def _data_of(self, change: Change, present: Entry | None) -> bytes:
        if change.data is None:
            return b"" if present is None else present[0]
        if not isinstance(change.data, Staged):
            return change.data
        try:
            return self._staged[change.data.token]
        except KeyError:
            raise StoreError(f"the value of {change.key!r:.200} is no longer staged") from None

    def _sequence(self) -> int:
        return self._journal[-1].version.sequence if self._journal else 0

    def _head(self) -> Position:
        assert self.store_id is not None  # noqa: S101 - drawn in __init__
        newest = self._journal[-1].version if self._journal else Version(_EPOCH, 0, b"")
        return Position(self.store_id, *newest)

    def _since(self, position: Position) -> Iterable[JournalEntry]:
        with self._lock:
            entries = list(self._journal)
            head = self._head()
        return _entries_after(position, entries, head, self)

    def cache_ledger(self) -> CacheLedger:
        """Return the ledger of the cache entries beside this store's own keys."""
        with self._lock:
            if self._ledger is None:
                self._ledger = MemoryLedger()
            return self._ledger


def _entries_after(
    position: Position, entries: list[JournalEntry], head: Position, store: object
) -> Iterator[JournalEntry]:
    if position == head:
        return iter(())
    oldest = entries[0].version.sequence if entries else 1
    # The entry at the position has to be there still, to be compared by its id.
    index = position.sequence - oldest
    known = 0 <= index < len(entries) and entries[index].version == position.version
    at_start = position.sequence == 0 and oldest == 1 and position.entry_id == b""
    if position[:2] != head[:2] or not (known or at_start):
        raise PositionLost(
            f"the journal of {store!r} does not go on from {position}: it has changes"
            f" {oldest} to {head.sequence} of epoch {head.epoch}; check everything anew"
        )
    return iter(entries[index + 1 :])


def from_url(url: str, **options: Any) -> DictMemoryStore:
    """Return a new memory store for ``memory:`` or ``memory:?origin=NAME``.

    Raises:
        InvalidURL: the URL has a part that means nothing here.
    """
    parts = urlsplit(url)
    if parts.netloc or parts.path.strip("/") or parts.fragment:
        raise InvalidURL(
            f"a memory store has no name or place, and {mask_url(url)!r} gives one; write"
            " 'memory:', or 'memory:?origin=NAME' to route its events by that origin"
        )
    return DictMemoryStore(**url_parameters(url, {"origin": str}, options))
