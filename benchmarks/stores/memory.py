"""Stores in memory.

    .venv/bin/python -m benchmarks.stores.memory [--keys 1000000] [--save]

The limit is a dictionary plus an index over all metadata entries, changed under
one lock: ``set`` copies the metadata and replaces the entry, ``get`` returns a
stream and a copy of the metadata.  It has no journal, no versions and no events,
and checks nothing.
"""

from __future__ import annotations

import importlib.metadata
import threading
import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import encore.events.api
import encore.storage.dict_memory_store
import encore.storage.string_value
from minimalkv.memory import DictStore

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.string_value import StringValue
from benchmarks.stores import harness
from benchmarks.stores.harness import ByHand, Call, Item
from benchmarks.stores.minimal import MinimalKV


class Limit(ByHand):
    """A dictionary plus an index."""

    name = "by hand"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[bytes, dict[str, Any], float, float]] = {}
        self._index: dict[tuple[str, type, Any], dict[str, None]] = {}

    def fill(self, items: Iterator[Item]) -> None:
        for item in items:
            self._set(item)

    def operations(self) -> Mapping[str, Call]:
        return {
            "set": self._set,
            "set, new key": self._set,
            "get": self._get,
            "get_metadata": lambda item: dict(self._entries[item.key][1]),
            "query": lambda item: [
                (key, dict(self._entries[key][1])) for key in self._hits(item.group)
            ],
            "query_keys": lambda item: self._hits(item.group),
            "multiset": self._multiset,
        }

    def _set(self, item: Item) -> None:
        key, metadata, now = item.key, dict(item.metadata), time.time()
        with self._lock:
            present = self._entries.get(key)
            if present is not None:
                for name, value in present[1].items():
                    del self._index[name, type(value), value][key]
            for name, value in metadata.items():
                self._index.setdefault((name, type(value), value), {})[key] = None
            created = now if present is None else present[2]
            self._entries[key] = (item.data, metadata, created, now)

    def _multiset(self, item: Item) -> None:
        for each in item.bulk:
            self._set(each)

    def _get(self, item: Item) -> object:
        data, metadata, _, _ = self._entries[item.key]
        return BytesIO(data).read(), dict(metadata)

    def _hits(self, group: str) -> list[str]:
        with self._lock:
            return list(self._index.get(("group", str, group), ()))

    def close(self) -> None:
        self._entries.clear()
        self._index.clear()


def contenders(keys: int) -> list[harness.Contender]:
    """Return those who take part."""
    ours = DictMemoryStore()
    ours.connect()
    theirs = encore.storage.dict_memory_store.DictMemoryStore()
    theirs.event_manager = encore.events.api.EventManager()
    theirs.connect()
    return [
        Limit(),
        harness.StoreContender("Antiphon", ours, StringValue),
        harness.StoreContender("Encore", theirs, encore.storage.string_value.StringValue),
        MinimalKV(DictStore()),
    ]


def main() -> None:
    """Measure."""
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("encore", "minimalkv")
    )
    harness.main(
        "memory",
        contenders,
        harness.operations(set=0.5, get=0.6, query=0.5),
        libraries=f"Antiphon this commit, {versions}",
        remarks=[
            "The limit: a dictionary plus an index over all entries, under a lock; no journal,",
            "no versions, no events, no checks.  minimalkv has neither metadata nor queries:",
            "metadata are kept as a second key there, as JSON.",
        ],
    )


if __name__ == "__main__":
    main()
