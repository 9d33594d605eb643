"""What goes wrong while a transaction's own events are emitted leaves nothing half done."""

import io

import pytest

from antiphon.errors import BusClosed
from antiphon.events.api import BaseEvent, EventManager
from antiphon.messaging.bus import open_bus
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import (
    StoreModificationEvent,
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
)


def test_a_start_that_cannot_be_told_opens_no_transaction() -> None:
    """After the error, writes on the same thread are committed as ever."""
    bus = open_bus("memory:")
    store = DictMemoryStore()
    store.event_manager = bus
    bus.close()
    with pytest.raises(BusClosed), store.transaction("t"):
        pass
    store.event_manager = EventManager()

    assert store.set_data("a", io.BytesIO(b"1")) is not None
    assert not store.in_transaction


def test_a_listener_of_the_start_may_use_a_transaction_itself() -> None:
    """Its block ends before the one that it hears of begins."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    heard: list[BaseEvent] = []

    def note(event: BaseEvent) -> None:
        if not heard:
            heard.append(event)
            with store.transaction("inner"):
                store.from_bytes("inner", b"")

    store.event_manager.connect(StoreTransactionStartEvent, note)
    with pytest.raises(ZeroDivisionError), store.transaction("outer"):
        store.from_bytes("outer", b"")
        raise ZeroDivisionError

    assert ["inner"] == list(store.query_keys())


def test_an_end_that_cannot_be_told_hides_no_change() -> None:
    """What was committed is told of, whatever happened to the event of the end."""

    class Refusing(EventManager):
        def emit(self, event: BaseEvent, block: bool = True) -> None:
            if isinstance(event, StoreTransactionEndEvent):
                raise RuntimeError("refused")
            super().emit(event, block)

    store = DictMemoryStore()
    store.event_manager = manager = Refusing()
    heard: list[str] = []
    manager.connect(StoreModificationEvent, lambda event: heard.append(event.key))
    with pytest.raises(RuntimeError, match="refused"), store.transaction("t"):
        store.from_bytes("a", b"")

    assert ["a"] == heard
