"""Encore's own clients, unchanged, use our server."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.testing.store_server import ServedStore, serve

with warnings.catch_warnings():
    # Encore 0.8 is older than what it warns of.
    warnings.simplefilter("ignore")
    from encore.events.event_manager import EventManager
    from encore.storage.dynamic_url_store import DynamicURLStore
    from encore.storage.static_url_store import StaticURLStore
    from encore.storage.string_value import StringValue

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def store() -> DictMemoryStore:
    """What is served."""
    return DictMemoryStore()


@pytest.fixture
def served(store: DictMemoryStore) -> Iterator[ServedStore]:
    """The store over HTTP."""
    with serve(store) as served:
        yield served


@pytest.fixture
def client(served: ServedStore) -> Iterator[Any]:
    """Encore's ``DynamicURLStore``."""
    client = DynamicURLStore(served.keys_url, served.query_url)
    client.event_manager = EventManager()
    with requests.Session() as session:
        client.connect(("user", session))
        yield client


def test_it_writes_and_reads(store: DictMemoryStore, client: Any) -> None:
    """Values, data and metadata go both ways."""
    client.set("a/b", StringValue(b"data", {"x": 1}))
    client.update_metadata("a/b", {"y": 2})
    client.set_data("c", io.BytesIO(b"c"))
    client.set_metadata("c", {"x": 1})
    value = client.get("a/b")

    assert (b"data", {"x": 1, "y": 2}) == (store.to_bytes("a/b"), store.get_metadata("a/b"))
    assert (b"data", {"x": 1, "y": 2}, 4) == (value.data.read(), value.metadata, value.size)
    assert {"y": 2} == client.get_metadata("a/b", select=["y"])
    assert [b"a/b", b"c"] == sorted(client.query_keys(x=1))


def test_it_sees_what_is_not_there(store: DictMemoryStore, client: Any) -> None:
    """Keys that are missing or deleted are a KeyError."""
    store.set_metadata("a", {})
    client.delete("a")

    assert not store.exists("a")
    assert not client.exists("a")
    with pytest.raises(KeyError):
        client.get("a")


def test_the_static_layout_is_read(store: DictMemoryStore, served: ServedStore) -> None:
    """``StaticURLStore`` finds the index and the data."""
    store.set("a/b", StringValue(b"data", {"x": 1}))
    client = StaticURLStore(served.root_url, "data/", "index.json", poll=0)
    client.event_manager = EventManager()
    client.connect()

    assert {"x": 1} == client.get_metadata("a/b")
    assert ["a/b"] == list(client.query_keys(x=1))
    with client.get_data("a/b") as data:
        assert b"data" == data.read()
    client.disconnect()
