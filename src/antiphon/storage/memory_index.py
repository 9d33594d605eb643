"""Which keys of a memory store have which metadata: an index made of what is asked for.

An entry gets an index when the first query asks for it, so that writing pays
only for what is asked for.  That query looks at all keys; from then on every
change keeps the index right, and a query costs what its hits cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from antiphon.storage.metadata import text_of

#: Metadata entries that have an index at a time; the one that was not asked for
#: the longest makes room.  Each takes about 100 bytes for each key that has it.
MAX_INDEXED = 32

# One key stands for itself: a dictionary for each would take twice the room of
# all the rest where every key has a value of its own.
_Keys = str | dict[str, None]

#: A key and the metadata that it has.
Item = tuple[str, Mapping[str, Any]]


class MemoryIndex:
    """The index of one store.  Not thread-safe: the store's lock is held around it."""

    def __init__(self) -> None:
        # Name of the entry -> text of the value (``text_of``, which is what
        # queries compare) -> keys.
        self._by_name: dict[str, dict[str, _Keys]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_name)

    def change(
        self, key: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
    ) -> None:
        """Take in that *key* has the metadata *after* now; None is a key that is not there."""
        for name, by_text in self._by_name.items():
            old = text_of(before[name]) if before is not None and name in before else None
            new = text_of(after[name]) if after is not None and name in after else None
            if old != new:
                if old is not None:
                    _remove(by_text, old, key)
                if new is not None:
                    _add(by_text, new, key)

    def find(
        self, conditions: Mapping[str, str], items: Callable[[], Iterable[Item]]
    ) -> Sequence[str]:
        """Return keys among which are all that fulfil *conditions*.

        Args:
            conditions: what ``encode_conditions`` made, at least one; with one,
                just the keys that fulfil it are returned.
            items: returns all keys; called for each name that has no index yet.
        """
        least: Sequence[str] | dict[str, None] | None = None
        for name, text in conditions.items():
            keys = self._index_of(name, items).get(text, ())
            found: Sequence[str] | dict[str, None] = (keys,) if isinstance(keys, str) else keys
            if least is None or len(found) < len(least):
                least = found
        return list(least or ())

    def _index_of(self, name: str, items: Callable[[], Iterable[Item]]) -> dict[str, _Keys]:
        # Taken out and put back, so that the first one is that to let go.
        by_text = self._by_name.pop(name, None)
        if by_text is None:
            by_text = {}
            for key, metadata in items():
                if name in metadata:
                    _add(by_text, text_of(metadata[name]), key)
            if len(self._by_name) >= MAX_INDEXED:
                del self._by_name[next(iter(self._by_name))]
        self._by_name[name] = by_text
        return by_text


def _add(by_text: dict[str, _Keys], text: str, key: str) -> None:
    present = by_text.get(text)
    if present is None:
        by_text[text] = key
    elif isinstance(present, str):
        by_text[text] = {present: None, key: None}
    else:
        present[key] = None


def _remove(by_text: dict[str, _Keys], text: str, key: str) -> None:
    present = by_text[text]
    if isinstance(present, str) or len(present) == 1:
        del by_text[text]
    else:
        del present[key]
