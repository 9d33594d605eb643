"""Whoever works for a request can find out for which, and its events carry its trace."""

from __future__ import annotations

import queue
import secrets
from collections.abc import Iterator

import opentelemetry.trace  # noqa: F401 - once imported it is used
import pytest

from antiphon import BrokerEventManager, open_bus
from antiphon.events.delivery import delivery_of
from antiphon.server import RequestRecord
from antiphon.server.request_in_hand import RequestInHand, request_in_hand
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreModificationEvent
from tests.unit.server.asgi import Asker, asker_of

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def buses() -> Iterator[tuple[BrokerEventManager, BrokerEventManager]]:
    """The server's bus, and one that hears of its changes."""
    url = f"memory://{secrets.token_hex(6)}"
    with open_bus(url) as server, open_bus(url) as other:
        yield server, other


@pytest.fixture
def records() -> list[RequestRecord]:
    """What was told of requests."""
    return []


@pytest.fixture
def ask(
    store: DictMemoryStore,
    buses: tuple[BrokerEventManager, BrokerEventManager],
    records: list[RequestRecord],
) -> Iterator[Asker]:
    """Asks an application whose changes are events on the bus."""
    store.event_manager = buses[0]
    asker = asker_of(store, name="notes", observe=records.append)
    yield asker
    asker.app.close()


def test_a_listener_finds_the_request(
    ask: Asker, buses: tuple[BrokerEventManager, BrokerEventManager]
) -> None:
    """In the thread that writes for it, and nowhere afterwards."""
    found: list[RequestInHand | None] = []
    buses[0].connect(
        StoreModificationEvent, lambda event: found.append(request_in_hand()), scope="local"
    )
    ask("PUT", "/keys/a/data", content=b"1", headers={"traceparent": TRACEPARENT})
    ask("PUT", "/keys/a/data", content=b"2")

    assert [RequestInHand("notes", "PUT", each) for each in (TRACEPARENT, None)] == found
    assert request_in_hand() is None


@pytest.mark.parametrize(
    ("sent", "carried"), [(TRACEPARENT, TRACEPARENT), ("nonsense", None), (None, None)]
)
def test_the_event_carries_the_trace(
    ask: Asker,
    buses: tuple[BrokerEventManager, BrokerEventManager],
    sent: str | None,
    carried: str | None,
) -> None:
    """What is no trace context is carried nowhere, and harms nothing."""
    heard: queue.Queue[StoreModificationEvent] = queue.Queue()
    buses[1].connect(StoreModificationEvent, heard.put)
    headers = {} if sent is None else {"traceparent": sent}
    assert 201 == ask("PUT", "/keys/a/data", content=b"1", headers=headers).status_code
    delivery = delivery_of(heard.get(timeout=10))

    assert delivery is not None
    assert carried == delivery.traceparent


def test_the_record_has_event_and_trace(ask: Asker, records: list[RequestRecord]) -> None:
    """Who logs a request can name what came of it; of a read, or an error, nothing did."""
    answer = ask("PUT", "/keys/a/data", content=b"1", headers={"traceparent": TRACEPARENT}).json()
    ask("GET", "/keys/a/data")
    ask("DELETE", "/keys/b")

    assert [
        (TRACEPARENT, answer["event_id"], "set"),
        (None, None, None),
        (None, None, None),
    ] == [(each.traceparent, each.event_id, each.action) for each in records]
