"""What Encore's tests need to run on Antiphon; becomes their ``conftest.py``.

They put things into the stores behind their backs, through private parts of
Encore's stores: the dictionary of ``DictMemoryStore``, and the adapter that its
``sqlite_store`` registers for dictionaries when it is imported.  One asks a
private method for a URL.
"""

from __future__ import annotations

import pickle
import sqlite3
import unittest
from collections.abc import Iterator, MutableMapping
from io import BytesIO
from typing import Any

from antiphon.storage import passwords
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.storage.http_plain_server import PlainServer
from antiphon.storage.http_servers import Places

#: Protocol of the pickles in Encore's sqlite files.
PICKLE_PROTOCOL = 2


class _Metadata(dict[str, Any]):
    """Metadata in the raw dictionary: what is assigned is in the store."""

    def __init__(self, store: DictMemoryStore, key: str) -> None:
        super().__init__(store.get_metadata(key))
        self._store, self._key = store, key

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._store.set_metadata(self._key, dict(self))


class _Raw(MutableMapping[str, tuple[Any, ...]]):
    """The dictionary ``key -> (data, metadata, created, modified)`` of Encore's memory store."""

    def __init__(self, store: DictMemoryStore) -> None:
        self._store = store

    def __getitem__(self, key: str) -> tuple[Any, ...]:
        value = self._store.get(key)
        metadata = _Metadata(self._store, key)
        return (value.data.read(), metadata, value.created, value.modified)

    def __setitem__(self, key: str, raw: tuple[Any, ...]) -> None:
        data, metadata, _, _ = raw
        self._store.set(key, (BytesIO(data), metadata))

    def __delitem__(self, key: str) -> None:
        self._store.delete(key)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._store.query_keys()))

    def __len__(self) -> int:
        return len(list(self._store.query_keys()))


DictMemoryStore._store = property(_Raw)  # type: ignore[attr-defined]

sqlite3.register_adapter(dict, lambda metadata: pickle.dumps(metadata, PICKLE_PROTOCOL))


def _url(store: DynamicURLStore, key: str, part: str | None = None) -> str:
    places = Places(
        store.base_url, store.query_url, store.url_format, store.url_format_no_part, store.parts
    )
    asks_nobody: Any = None
    return PlainServer(asks_nobody, places, store).url(key, part)


DynamicURLStore._url = _url  # type: ignore[attr-defined]

# Each of fifty tests makes a user, and a hash is slow on purpose.
for costly in (passwords.hash_password, passwords.scrypt):
    defaults = costly.__kwdefaults__
    assert defaults is not None
    defaults["log2_n"] = 4

if not hasattr(unittest.TestCase, "assertEquals"):
    # Python 3.12 took it away, and nobody noticed: Encore's CI never ran the file.
    unittest.TestCase.assertEquals = unittest.TestCase.assertEqual  # type: ignore[attr-defined]
