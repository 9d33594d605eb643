"""An application over a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from antiphon.events.event_manager import EventManager
from antiphon.storage.dict_memory_store import DictMemoryStore
from tests.unit.server.asgi import Asker, asker_of


@pytest.fixture
def store() -> DictMemoryStore:
    """An empty store with an event manager of its own."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    store.connect()
    return store


@pytest.fixture
def ask(store: DictMemoryStore) -> Iterator[Asker]:
    """Asks the application that serves the store."""
    asker = asker_of(store)
    yield asker
    asker.app.close()
