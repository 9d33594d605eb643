"""Events of an archive, sent once more: to a listener, or to the queue of a subscription."""

from __future__ import annotations

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from antiphon import BaseEvent
from antiphon.archive import Event, EventStore, InvalidSearch, Replayed, replay
from antiphon.archive.recorded import pack_message, recorded
from antiphon.errors import QueueMissing
from antiphon.events.delivery import delivery_of
from antiphon.events.event_id import EventId
from antiphon.messaging.bus import BrokerEventManager, open_bus
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.transport import Message
from antiphon.wire import packing
from antiphon.wire.codec import Codec
from patience import wait_until

SECOND = 1_000_000_000


class Paid(BaseEvent):
    """A bill was paid."""

    wire_name = "test:ArchivedPaid"


class Refunded(Paid):
    """It was paid back."""

    wire_name = "test:ArchivedRefunded"


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)

    @property
    def numbers(self) -> list[int]:
        return [event.number for event in self.events]


@pytest.fixture
def bus() -> Iterator[BrokerEventManager]:
    with open_bus(f"memory://{secrets.token_hex(4)}") as opened:
        yield opened


_counter = itertools.count(1)


def archived(event: BaseEvent, at: float, origin: str | None = "shop") -> Event:
    """Return *event*, which happened *at* that time, as a recorder would have saved it."""
    codec = Codec()
    event_id = EventId(b"publisher-12", next(_counter))
    sent = codec.encode(event, origin=origin, event_id=event_id, time_ns=int(at * SECOND))
    message = Message(sent.routing_key, codec.join([sent.envelope]), sent.headers)
    (arrived,) = codec.decode(message.routing_key, message.headers, message.body)
    return recorded(arrived, message, received=at + 1)


def fill(store: EventStore, count: int) -> None:
    store.save_many(archived(Paid(number=number), 100.0 + number) for number in range(count))


def test_a_listener_is_called_in_the_order_of_time(archive: EventStore) -> None:
    """With the events as they were, marked as replayed."""
    archive.save(archived(Paid(number=2), 20.0))
    archive.save(archived(Refunded(number=1), 10.0))
    heard = Heard()
    done = replay(archive, 0, to=heard)

    assert Replayed(sent=2, latest=20.0) == done
    assert [1, 2] == heard.numbers
    assert [Refunded, Paid] == [type(event) for event in heard.events]
    assert [(True, "shop", 10 * SECOND), (True, "shop", 20 * SECOND)] == [
        (told.replayed, told.origin, told.time_ns)
        for told in map(delivery_of, heard.events)
        if told
    ]


def test_ids_are_those_that_were_recorded(archive: EventStore) -> None:
    """So that who keeps them knows them again."""
    fill(archive, 2)
    heard = Heard()
    replay(archive, 0, to=heard)

    assert [one.id for one in archive.search(0)] == [str(event._event_id) for event in heard.events]


def test_a_part_can_be_replayed(archive: EventStore) -> None:
    """By time, class and pattern."""
    for number in range(10):
        kind = Refunded if number % 2 else Paid
        archive.save(archived(kind(number=number), float(number)))
    heard = Heard()
    replay(archive, 2, 8, ["test:ArchivedRefunded"], r'"number":\s*[357]', to=heard)

    assert [3, 5, 7] == heard.numbers


def test_a_subscription_gets_what_it_has_handled(
    archive: EventStore, bus: BrokerEventManager
) -> None:
    """In order, each once, and others get nothing."""
    heard, others = Heard(), Heard()
    bus.subscribe("books", Paid, heard)
    bus.subscribe("others", Paid, others)
    fill(archive, 1500)
    progress: list[int] = []

    for _ in range(2):
        done = replay(
            archive,
            0,
            to=bus.replay_to("books"),
            progress=lambda so_far: progress.append(so_far.sent),
        )
        assert Replayed(sent=1500, latest=1599.0) == done

    wait_until(lambda: len(heard.events) == 3000, "both replays were heard")
    assert list(range(1500)) * 2 == heard.numbers
    assert [1000, 1500] * 2 == progress
    assert [] == others.events


def test_long_events_go_in_smaller_portions(archive: EventStore, bus: BrokerEventManager) -> None:
    """Few of them are held in memory at a time."""
    bus.subscribe("books", Paid, Heard())
    for number in range(3):
        archive.save(archived(Paid(text="x" * 600_000), float(number)))
    progress: list[int] = []
    queue = bus.replay_to("books")
    replay(archive, 0, to=queue, progress=lambda told: progress.append(told.sent))

    assert [2, 3] == progress


def test_events_that_did_not_come_from_a_bus_are_counted(archive: EventStore) -> None:
    """There is nothing to send of them."""
    archive.save_many([Event("a", "syslog", 1.0), archived(Paid(number=1), 2.0)])
    heard = Heard()

    assert Replayed(sent=1, skipped=1, latest=2.0) == replay(archive, 0, to=heard)
    assert [1] == heard.numbers


def _packed(*envelopes: bytes, key: str = "antiphon:BaseEvent") -> bytes:
    return pack_message(Message(key, Codec.join(envelopes)))


def _envelope(**attributes: Any) -> bytes:
    return (
        Codec()
        .encode(BaseEvent(**attributes), origin=None, event_id=EventId(b"p" * 12, 1), time_ns=1)
        .envelope
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        _packed(b"\xc0"),
        _packed(b"\x94\x01\x02\x03\x04"),
        _packed(_envelope(), _envelope()),
        _packed(_envelope(), key="a%b"),
        _packed(_envelope(), key="!"),
        _packed(_envelope(), key="antiphon:BaseEvent.antiphon:EventsMayBeMissing"),
    ],
)
@pytest.mark.parametrize("is_to_queue", [True, False])
def test_what_nobody_could_read_is_counted(
    archive: EventStore,
    bus: BrokerEventManager,
    caplog: pytest.LogCaptureFixture,
    message: bytes,
    is_to_queue: bool,
) -> None:
    """An archive may have been filled by anybody; what is behind goes on."""
    assert "antiphon:EventsMayBeMissing" in _name_of(EventsMayBeMissing)
    heard = Heard()
    bus.subscribe("books", BaseEvent, heard)
    archive.save_many([Event("bad", "", 1.0, message=message), archived(Paid(number=1), 2.0)])
    with caplog.at_level(logging.WARNING, "antiphon.archive.replay"):
        done = replay(archive, 0, to=bus.replay_to("books") if is_to_queue else heard)

    assert Replayed(sent=1, unreadable=1, latest=2.0) == done
    assert "event bad cannot be replayed" in caplog.text
    wait_until(lambda: heard.events, "the other one was heard")
    assert [1] == heard.numbers


def _name_of(cls: type[BaseEvent]) -> tuple[str, ...]:
    return Codec().registry.names_of(cls)


def test_headers_that_nobody_looks_at_are_left_out(
    archive: EventStore, bus: BrokerEventManager
) -> None:
    """What a broker's library cannot write would end its connection."""
    sent: list[Message] = []
    queue = bus.replay_to("books")
    queue.send = sent.extend  # type: ignore[assignment, method-assign]
    good = archived(Paid(number=1), 1.0)
    assert good.message is not None
    bad = _with_headers(good.message, {"classes": [{"a": 1}], "x": 7, "origin": "?"})
    archive.save(Event("a", "", 1.0, message=bad))
    replay(archive, 0, to=queue)

    assert [None] == [one.headers for one in sent]


def _with_headers(packed: bytes, headers: dict[str, Any]) -> bytes:
    version, key, _, body = packing.library.unpack(packed, ext_hook=packing.library.ext_hook)
    return packing.library.pack([version, key, headers, body])


def test_origins_too_long_for_a_key_are_replayed(
    archive: EventStore, bus: BrokerEventManager
) -> None:
    """Then headers complete it."""
    heard = Heard()
    bus.subscribe("books", Paid, heard)
    origin = ".".join(["a" * 40] * 9)
    archive.save(archived(Paid(number=1), 1.0, origin))
    replay(archive, 0, to=bus.replay_to("books"))
    wait_until(lambda: heard.events, "it was heard")

    told = delivery_of(heard.events[0])
    assert told is not None
    assert origin == told.origin


def test_a_listener_that_fails_ends_it(archive: EventStore) -> None:
    """And what was told of it says how far it came."""
    fill(archive, 5)
    told: list[Replayed] = []

    def fail(event: Any) -> None:
        if event.number == 3:
            raise LookupError("no such bill")

    with pytest.raises(LookupError):
        replay(archive, 0, to=fail, progress=told.append)

    assert Replayed(sent=3, latest=102.0) == told[-1]


def test_a_subscription_that_is_not_there_is_told(
    archive: EventStore, bus: BrokerEventManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing counts as sent."""
    monkeypatch.setattr("antiphon.messaging.replaying._DELAYS_S", (0.01,))
    fill(archive, 1)
    told: list[Replayed] = []

    with pytest.raises(QueueMissing):
        replay(archive, 0, to=bus.replay_to("nobody"), progress=told.append)

    assert [] == told


def test_a_speed_keeps_the_times_between_events(archive: EventStore) -> None:
    """Sped up; the first comes at once."""
    for at in (0.0, 0.1, 10.0, 20.0):
        archive.save(archived(Paid(number=at), at))
    heard: list[float] = []
    began = time.monotonic()
    replay(archive, 0, to=lambda _: heard.append(time.monotonic() - began), speed=50)

    due = (0.0, 0.0, 0.2, 0.4)
    assert [True] * 4 == [at <= came + 0.02 for at, came in zip(due, heard, strict=True)]
    assert 10 > heard[-1]


def test_a_pause_holds_nothing_back(archive: EventStore, bus: BrokerEventManager) -> None:
    """What is due is sent before the replay waits, and the pause can be ended."""
    heard = Heard()
    bus.subscribe("books", Paid, heard)
    archive.save(archived(Paid(number=1), 0.0))
    archive.save(archived(Paid(number=2), 1e9))
    stop = threading.Event()
    done: list[Replayed] = []
    thread = threading.Thread(
        target=lambda: done.append(
            replay(archive, 0, to=bus.replay_to("books"), speed=1, stop=stop)
        )
    )
    thread.start()
    try:
        wait_until(lambda: heard.events, "the first was heard")
    finally:
        stop.set()
        thread.join(10)

    assert [Replayed(sent=1, latest=0.0)] == done


def test_it_can_be_ended_between_events(archive: EventStore) -> None:
    """The listener at work is the last."""
    fill(archive, 5)
    stop, heard = threading.Event(), Heard()

    def hear(event: Any) -> None:
        heard(event)
        if event.number == 2:
            stop.set()

    assert Replayed(sent=3, latest=102.0) == replay(archive, 0, to=hear, stop=stop)


def test_what_comes_into_the_archive_meanwhile_is_not_replayed(archive: EventStore) -> None:
    """Else a replay that is recorded might never end."""
    fill(archive, 3)

    def hear(_: Any) -> None:
        archive.save(archived(Paid(number=7), 1000.0))

    assert 3 == replay(archive, 0, to=hear).sent


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"to": None}, "replay_to"),
        ({"to": "books"}, "replay_to"),
        ({"to": print, "speed": 0}, "speed"),
        ({"to": print, "speed": -1}, "speed"),
        ({"to": print, "speed": float("nan")}, "speed"),
        ({"to": print, "speed": "2x"}, "speed"),
        ({"to": print, "ts_end": -1}, "before ts_start"),
        ({"to": print, "match": "("}, "pattern"),
    ],
)
def test_what_makes_no_sense_is_refused(
    archive: EventStore, asked: dict[str, Any], why: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidSearch, match=why):
        replay(archive, 0, **asked)
