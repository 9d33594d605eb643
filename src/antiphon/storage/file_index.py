"""What a process knows of a file store's keys: the log, read and kept in memory."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from uuid import UUID

from antiphon.errors import IncompatibleStore, PositionLost
from antiphon.storage.file_names import file_name, folded
from antiphon.storage.file_record import Entry, Source, Step
from antiphon.storage.journal import JournalEntry, Position, Version
from antiphon.storage.metadata import decode, text_of

logger = logging.getLogger(__name__)

#: Text of a value in a query -> the keys that have it.
_Keys = dict[str, dict[str, None]]


class Index:
    """Entries by key, the journal's end, and keys by metadata as they are asked for.

    Not thread-safe: its owner sees to it.

    Args:
        journal_length: journal entries to keep.
        where: the directory; named in what is logged.
    """

    def __init__(self, journal_length: int, where: str) -> None:
        self.entries: dict[str, Entry] = {}
        self.journal: deque[JournalEntry] = deque(maxlen=journal_length)
        self.head = Version(1, 0, b"")
        #: Names that are not those of ``file_name``, as a disk that ignores case has them.
        self.odd_names: dict[str, str] = {}
        self._where = where
        self._by_name: dict[str, _Keys] = {}

    # -- Changing ------------------------------------------------------------

    def apply(self, steps: Iterable[Step]) -> None:
        """Take a commit up."""
        for step in steps:
            self.journal.append(step.journal)
            self.head = step.journal.version
            if step.final:
                self.put(step.key, step.entry)
                if step.source is Source.FOUND and step.entry is not None:
                    self.note_name(step.key, step.name)

    def put(self, key: str, entry: Entry | None) -> None:
        """Make *entry* that of *key*; None: there is no such key."""
        before = self.entries.get(key)
        if self._by_name:
            self._reindex(key, before, entry)
        if self.odd_names and before is not None and (entry is None or entry.name != before.name):
            name = folded(before.name)
            if self.odd_names.get(name) == key:
                del self.odd_names[name]
        if entry is None:
            self.entries.pop(key, None)
            return
        self.entries[key] = entry

    def note_name(self, key: str, name: str) -> None:
        """Remember what another program called the files of *key*, if it is unlike ours."""
        if name != file_name(key):
            self.odd_names[folded(name)] = key

    def begin_epoch(self, epoch: int) -> None:
        """Start a new history; the keys stay."""
        self.head = Version(epoch, 0, b"")
        self.journal.clear()

    # -- Asking --------------------------------------------------------------

    def matching(self, conditions: Mapping[str, str]) -> list[tuple[str, Entry]]:
        """Return keys and entries that meet *conditions* (of ``encode_conditions``)."""
        if not conditions:
            return list(self.entries.items())
        found = [self._indexed(name).get(text, {}) for name, text in conditions.items()]
        found.sort(key=len)
        return [
            (key, self.entries[key])
            for key in found[0]
            if all(key in others for others in islice(found, 1, None))
        ]

    def decoded(self, found: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield key and metadata of what ``matching`` found."""
        for key, entry in found:
            if entry.text is None:
                logger.warning(
                    "left out of a query: %s.metadata in %s is not valid", entry.name, self._where
                )
                continue
            yield key, decode(entry.text)

    def _indexed(self, name: str) -> _Keys:
        keys = self._by_name.get(name)
        if keys is None:
            keys = self._by_name[name] = {}
            for key, entry in self.entries.items():
                text = _value_text(entry, name)
                if text is not None:
                    keys.setdefault(text, {})[key] = None
        return keys

    def _reindex(self, key: str, before: Entry | None, after: Entry | None) -> None:
        old = _metadata(before)
        new = _metadata(after)
        for name, keys in self._by_name.items():
            was = text_of(old[name]) if name in old else None
            now = text_of(new[name]) if name in new else None
            if was == now:
                continue
            if was is not None:
                others = keys[was]
                del others[key]
                if not others:
                    del keys[was]
            if now is not None:
                keys.setdefault(now, {})[key] = None

    # -- The journal ---------------------------------------------------------

    def position(self, store_id: UUID) -> Position:
        """Return the position of the newest commit."""
        return Position(store_id, *self.head)

    def since(self, position: Position, store_id: UUID, store: object) -> list[JournalEntry]:
        """Return the entries after *position*; see ``Journal.since``."""
        head = self.position(store_id)
        if position == head:
            return []
        oldest = self.journal[0].version.sequence if self.journal else head.sequence + 1
        at = position.sequence - oldest
        known = 0 <= at < len(self.journal) and self.journal[at].version == position.version
        at_start = position.sequence == 0 and oldest == 1 and position.entry_id == b""
        if position[:2] != head[:2] or not (known or at_start):
            raise PositionLost(
                f"the journal of {store!r} does not go on from {position}: it has changes"
                f" {oldest} to {head.sequence} of epoch {head.epoch}; check everything anew"
            )
        return list(islice(self.journal, at + 1, None))


def _metadata(entry: Entry | None) -> dict[str, Any]:
    if entry is None or entry.text is None:
        return {}
    try:
        return decode(entry.text)
    except IncompatibleStore:
        return {}


def _value_text(entry: Entry, name: str) -> str | None:
    metadata = _metadata(entry)
    return text_of(metadata[name]) if name in metadata else None
