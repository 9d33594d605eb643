"""Logs of services name the event that is in hand, which is found on the stack."""

from __future__ import annotations

import io
import json
import logging
import secrets
import threading
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from antiphon import BaseEvent, BrokerEventManager, EventManager, open_bus, open_store
from antiphon.messaging.subscription_batches import Received
from antiphon.storage.events import StoreSetEvent
from antiphon.wire.registry import default_registry
from patience import wait_until
from services.invalidator.service import Invalidator
from services.invalidator.settings import CacheSettings, InvalidatorSettings
from services.skeleton import in_hand
from services.skeleton.in_hand import also_ask, handling, trace_id_of
from services.skeleton.logs import MaskingFormatter

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"

TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"

logger = logging.getLogger("test.in-hand")


class Sold(BaseEvent):
    """An event that travels."""


class Noted(BaseEvent):
    """An event that does not."""

    travels = False


class Awkward(BaseEvent):
    """An event whose class raises."""

    @property
    def origin(self) -> str:
        raise RuntimeError("nobody asks me")


class Lines(logging.Handler):
    """Keeps the lines as a service would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(MaskingFormatter("sample", ()))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged in the test."""
    handler = Lines()
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler.lines
    root.removeHandler(handler)


@pytest.fixture
def buses() -> Iterator[tuple[BrokerEventManager, BrokerEventManager]]:
    """A bus that emits, of origin ``shop.vienna``, and one that hears."""
    url = f"memory://{secrets.token_hex(6)}"
    with open_bus(url, origin="shop.vienna") as sender, open_bus(url) as receiver:
        yield sender, receiver


def facts(line: dict[str, Any]) -> dict[str, Any]:
    """Return what a line says of what was in hand."""
    names = ("event_id", "event_class", "origin", "trace_id", "events", "request")
    return {name: line[name] for name in names if name in line}


def test_a_listener_names_the_event(
    buses: tuple[BrokerEventManager, BrokerEventManager], lines: list[dict[str, Any]]
) -> None:
    """What a listener logs has the id, class and origin of its event."""
    sender, receiver = buses
    receiver.connect(Sold, lambda sold: logger.warning("sold"))
    event = Sold(article="tea")
    sender.emit(event)
    wait_until(lambda: bool(lines), "it is heard")

    assert {
        "event_id": str(event._event_id),
        "event_class": default_registry.name_of(Sold),
        "origin": "shop.vienna",
    } == facts(lines[0])


def test_the_error_of_a_listener_names_the_event(
    buses: tuple[BrokerEventManager, BrokerEventManager], lines: list[dict[str, Any]]
) -> None:
    """It is logged once the listener is left, and must be found all the same."""
    sender, receiver = buses
    receiver.subscribe("audit", Sold, lambda sold: sold.no_such_thing)
    event = Sold()
    sender.emit(event)
    wait_until(lambda: bool(lines), "it has failed")

    assert "the listener failed" in lines[0]["message"]
    assert str(event._event_id) == lines[0]["event_id"]


def test_the_trace_of_the_sender_is_named(
    buses: tuple[BrokerEventManager, BrokerEventManager], lines: list[dict[str, Any]]
) -> None:
    """Lines of all machines can be joined by the id of the trace."""
    sender, receiver = buses
    receiver.connect(Sold, lambda sold: logger.warning("sold"))
    with TracerProvider().get_tracer("test").start_as_current_span("sell") as span:
        sender.emit(Sold())
    wait_until(lambda: bool(lines), "it is heard")

    assert trace.format_trace_id(span.get_span_context().trace_id) == lines[0]["trace_id"]


def test_an_event_that_travels_wins_over_one_that_follows_from_it(
    buses: tuple[BrokerEventManager, BrokerEventManager], lines: list[dict[str, Any]]
) -> None:
    """What a cache tells its own process has no id; the change that it applied has."""
    sender, receiver = buses
    receiver.connect(Sold, lambda sold: receiver.emit(Noted()))
    receiver.connect(Noted, lambda noted: logger.warning("noted"))
    event = Sold()
    sender.emit(event)
    wait_until(lambda: bool(lines), "it is heard")

    assert str(event._event_id) == lines[0]["event_id"]


def test_of_events_that_came_together_the_right_one_is_named(
    buses: tuple[BrokerEventManager, BrokerEventManager], lines: list[dict[str, Any]]
) -> None:
    """What follows from one of a batch follows from the newest change of its key."""
    sender, receiver = buses
    receiver.connect(Noted, lambda noted: logger.warning("noted"))
    batches: list[int] = []

    def on_batch(received: Sequence[Received[Sold]]) -> None:
        events = [one.event for one in received]
        batches.append(len(events))
        for key in ("a", "b", "c"):
            receiver.emit(Noted(key=key))

    # As a function of a service would be: of others the locals are not looked at.
    own = types.FunctionType(
        on_batch.__code__, globals() | {"__name__": "services.own"}, closure=on_batch.__closure__
    )
    receiver.subscribe_batches("audit", Sold, own, max_wait_s=5, max_events=4)
    sent = [Sold(key=key) for key in "abba"]
    for event in sent:
        sender.emit(event)
    wait_until(lambda: len(lines) == 3, "they have come")

    assert [4] == batches
    assert [sent[3], sent[2], sent[0]] == [
        next(event for event in sent if str(event._event_id) == line["event_id"]) for line in lines
    ]
    assert [None, None, 4] == [line.get("events") for line in lines]


def test_an_event_that_stays_is_named_by_its_class(lines: list[dict[str, Any]]) -> None:
    """It has no id, and says so by having none."""
    events = EventManager()
    events.connect(Noted, lambda noted: logger.warning("noted"))
    events.emit(Noted())

    assert ["event_class"] == list(facts(lines[0]))


def test_what_was_put_aside_is_named(lines: list[dict[str, Any]]) -> None:
    """A thread that handles events later says which, and for a batch how many."""

    def work() -> None:
        with handling(Sold(origin="a"), Sold(origin="b")):
            logger.warning("saved")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert ("a", 2) == (lines[0]["origin"], lines[0]["events"])


def test_without_an_event_nothing_is_named(lines: list[dict[str, Any]]) -> None:
    """No line says more than is known."""
    logger.warning("alone")

    assert {} == facts(lines[0])


def test_a_span_is_named_without_an_event(lines: list[dict[str, Any]]) -> None:
    """A program that traces its own work finds its lines, too."""
    with TracerProvider().get_tracer("test").start_as_current_span("work"):
        logger.warning("at work")

    assert ["trace_id"] == list(facts(lines[0]))


def test_others_are_asked(lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that has requests in hand names those."""
    monkeypatch.setattr(in_hand, "_others", [])
    also_ask(lambda: {"request": 7})
    logger.warning("asked")

    assert {"request": 7} == facts(lines[0])


def test_whoever_logs_knows_best(lines: list[dict[str, Any]]) -> None:
    """What a record says itself is kept."""
    with handling(Sold(origin="a")):
        logger.warning("of another one", extra={"origin": "b"})

    assert "b" == lines[0]["origin"]


def test_a_class_that_raises_spoils_no_line(lines: list[dict[str, Any]]) -> None:
    """The record is more important than what it is about."""
    with handling(Awkward()):
        logger.warning("all the same")

    assert ["event_class"] == list(facts(lines[0]))


@pytest.mark.parametrize(
    ("text", "found"),
    [(TRACEPARENT, TRACE_ID), (TRACEPARENT.upper(), None), ("nonsense", None), (None, None)],
)
def test_the_id_of_a_trace(text: str | None, found: str | None) -> None:
    """Only what W3C says is one."""
    assert found == trace_id_of(text)


def test_the_invalidator_names_the_event_that_it_applied(
    tmp_path: Path, lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """Through inbox, intake and cache: who looks for an event finds what became of it."""
    caplog.set_level(logging.DEBUG, "antiphon.service.invalidator")
    url, backing_url = f"memory://{secrets.token_hex(6)}", f"sqlite:{tmp_path}/store.db?origin=shop"
    cache = CacheSettings(
        mount_point="p/", cache_url=f"sqlite:{tmp_path}/cache.db", backing_url=backing_url
    )
    service = Invalidator(InvalidatorSettings(amqp_url=url, caches=(cache,)))
    service.start()
    try:
        wait_until(lambda: service.readiness()["cache p/"] is None, "it is vouched for")
        with open_bus(url) as bus, open_store(backing_url, event_manager=bus) as store:
            heard: list[Any] = []
            bus.connect(StoreSetEvent, heard.append)
            store.set_data("p/a", io.BytesIO(b"1"))
            wait_until(lambda: any("applied" in line["message"] for line in lines), "applied")
    finally:
        service.stop()
    (line,) = [line for line in lines if "applied" in line["message"]]

    assert {
        "event_id": str(heard[0]._event_id),
        "event_class": "antiphon:StoreSetEvent",
        "origin": "shop",
    } == facts(line)
