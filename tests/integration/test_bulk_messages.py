"""A bulk set sends few messages: 1 000 000 keys no more than 2 000, and fewer in proportion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from antiphon import open_bus, open_store
from antiphon.messaging import holding
from antiphon.messaging.bus import BrokerEventManager
from antiphon.storage.string_value import StringValue

#: Keys, and messages that their events may take.
KEYS, MESSAGES = 10_000, 20

FLUSH_S = 60.0


@pytest.fixture
def bus(amqp_url: str, system: str) -> Iterator[BrokerEventManager]:
    with open_bus(amqp_url, system=system) as opened:
        yield opened


@pytest.fixture
def counted(amqp_url: str, bus: BrokerEventManager) -> Iterator[Callable[[], int]]:
    """Yield what returns how many messages with changes the broker got since the last time."""
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel: BlockingChannel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    pattern = "#.antiphon:StoreModificationEvent.#"
    channel.queue_bind(queue, f"{bus.system}.events", pattern)

    def count() -> int:
        bus.flush(FLUSH_S)
        number = channel.queue_declare(queue, passive=True).method.message_count
        channel.queue_purge(queue)
        return int(number)

    yield count
    connection.close()


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners may be kept waiting until a message is full, however busy the machine is.

    What comes when they are not is in tests/unit/messaging/test_holding.py.
    """
    monkeypatch.setattr(holding, "MAX_HELD_S", 30.0)
    monkeypatch.setattr(holding, "MAX_LISTENING_S", 30.0)


@pytest.mark.usefixtures("_patience")
@pytest.mark.parametrize("medium", ["memory", "sqlite", "redis"])
def test_bulk_sets_send_few_messages(
    medium: str, bus: BrokerEventManager, counted: Callable[[], int], redis_url: str, tmp_path: Path
) -> None:
    """One ``multiset`` of new keys, and one transaction over new and old ones in turns."""
    urls = {
        "memory": "memory:",
        "sqlite": f"sqlite:///{tmp_path / 'store.db'}",
        "redis": f"{redis_url}?namespace=bulk",
    }
    store = open_store(urls[medium], event_manager=bus)
    store.connect()
    names = [f"prices/{number:06}" for number in range(2 * KEYS)]
    store.multiset(names[::2], (StringValue(b"1") for _ in range(KEYS)))
    for_new = counted()
    with store.transaction():
        for name in names[:KEYS]:
            store.set(name, StringValue(b"2"))
    for_mixed = counted()
    store.disconnect()

    assert (True, True) == (1 <= for_new <= MESSAGES, 1 <= for_mixed <= MESSAGES)
