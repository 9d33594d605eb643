"""minimalkv as a contender, over whatever medium it is given."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.stores.harness import ByHand, Call
from benchmarks.stores.items import Item


class MinimalKV(ByHand):
    """minimalkv: bytes only, so that metadata are a second key, as JSON.

    Args:
        store: one of minimalkv's stores.
    """

    name = "minimalkv"

    def __init__(self, store: Any) -> None:
        self._store = store

    def fill(self, items: Iterator[Item]) -> None:
        for item in items:
            self._set(item)

    def operations(self) -> Mapping[str, Call]:
        return {"set": self._set, "set, new key": self._set, "get": self._get}

    def _set(self, item: Item) -> None:
        # Its keys may have no slash.
        key = item.key.replace("/", ".")
        self._store.put(key, item.data)
        self._store.put(key + ".metadata", json.dumps(item.metadata).encode())

    def _get(self, item: Item) -> object:
        key = item.key.replace("/", ".")
        return self._store.get(key), json.loads(self._store.get(key + ".metadata"))

    def close(self) -> None:
        pass
