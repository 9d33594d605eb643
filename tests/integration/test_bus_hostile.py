"""Garbage from a hostile client: nobody stops listening, and durable garbage is put aside."""

from __future__ import annotations

import pytest
from bus_helpers import Heard, Numbered, wait_until
from hostile import EVIL_TABLES, LONG, RawProperties, hostile_channel, publish_all

from antiphon import open_bus
from antiphon.events.event_id import EventId
from antiphon.messaging.amqp_limits import BoundedConnection
from antiphon.messaging.browser import open_browser
from antiphon.wire import Codec


@pytest.fixture(autouse=True)
def _long_is_a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "max_body_bytes", LONG - 1)


@pytest.fixture
def good() -> tuple[str, bytes]:
    """Routing key and body of a good message."""
    codec = Codec()
    event = codec.encode(Numbered(number=7), origin=None, event_id=EventId(bytes(12), 1), time_ns=1)
    return event.routing_key, codec.join([event.envelope])


def test_broadcast_goes_on(amqp_url: str, system: str, good: tuple[str, bytes]) -> None:
    """Listeners hear what is good among it, over one and the same connection."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as near, open_bus(amqp_url, system=system) as far:
        far.connect(Numbered, heard)
        near.emit(Numbered(number=0))
        with hostile_channel(amqp_url) as channel:
            published = publish_all(channel, f"{system}.events", *good, seed=1, count=200)
            near.emit(Numbered(number=1))
            near.flush(10)
            heard.wait(2)

            wait_until(lambda: heard.numbers[-1] == 1, "the last good event is heard")
            wait_until(lambda: far.stats().corrupt > published * 0.9, "garbage is counted")
        assert 0 == far.stats().reconnects
        assert far.is_connected


@pytest.mark.parametrize("name", EVIL_TABLES)
def test_headers_that_take_libraries_down(
    amqp_url: str, system: str, good: tuple[str, bytes], name: str
) -> None:
    """Headers that the AMQP library cannot read cost that message, and not the connection."""
    key, body = good
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus:
        bus.connect(Numbered, heard)
        with hostile_channel(amqp_url) as channel:
            channel.basic_publish(f"{system}.events", key, body, RawProperties(EVIL_TABLES[name]))
            channel.basic_publish(f"{system}.events", key, body)
            heard.wait(1)

        assert 0 == bus.stats().reconnects
        assert (name != "wide") == bool(bus.stats().corrupt)


def test_routing_keys_that_are_no_text(amqp_url: str, system: str, good: tuple[str, bytes]) -> None:
    """Words of any bytes between those of the classes reach a listener, and hurt nobody."""
    key, body = good
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus:
        bus.connect(Numbered, heard)
        with hostile_channel(amqp_url) as channel:
            channel.basic_publish(f"{system}.events", b"\xff\xfe." + key.encode(), body)
            channel.basic_publish(f"{system}.events", key, body)

            heard.wait(1)
        assert 0 == bus.stats().reconnects


def test_durable_garbage_is_put_aside(amqp_url: str, system: str, good: tuple[str, bytes]) -> None:
    """What a durable queue holds and nobody can read goes to the dead letters, with a reason."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as near, open_bus(amqp_url, system=system) as far:
        subscription = far.subscribe("shop", Numbered, heard, mode="group")
        assert subscription.wait_ready(20)
        with hostile_channel(amqp_url) as channel:
            to_exchange = publish_all(channel, f"{system}.events", *good, seed=2, count=30)
            to_queue = publish_all(channel, "", subscription.queue, good[1], seed=3, count=0)
            near.emit(Numbered(number=1))

            wait_until(lambda: 1 in heard.numbers, "the good event behind it is heard")
            found: dict[str, int] = {}

            def all_dead() -> bool:
                while True:
                    method, properties, _ = channel.basic_get(f"{system}.dead", auto_ack=True)
                    if method is None:
                        return sum(found.values()) > (to_exchange + to_queue) * 0.9
                    reason = properties.headers["antiphon-reason"]
                    found[reason] = found.get(reason, 0) + 1

            wait_until(all_dead, "the garbage is among the dead letters")
        assert {"undecodable"} == set(found)
        assert 0 == far.stats().reconnects


@pytest.mark.parametrize("name", [*EVIL_TABLES, "long"])
def test_dead_letters_that_take_libraries_down(amqp_url: str, system: str, name: str) -> None:
    """An operator can look at the dead letters whatever somebody put among them."""
    with hostile_channel(amqp_url) as channel, open_browser(amqp_url) as browser:
        queue = f"{system}.dead"
        channel.queue_declare(queue, durable=True)
        body = b"x" if name != "long" else bytes(LONG)
        properties = RawProperties(EVIL_TABLES[name]) if name in EVIL_TABLES else None
        channel.basic_publish("", queue, body, properties)
        channel.basic_publish("", queue, b"good")
        found: list[bytes] = []

        def both() -> bool:
            if (one := browser.get(queue)) is not None:
                found.append(one.message.body)
            return len(found) == 2

        wait_until(both, "both are got")
        channel.queue_delete(queue)

    assert [b"x" if name == "wide" else b"", b"good"] == found
