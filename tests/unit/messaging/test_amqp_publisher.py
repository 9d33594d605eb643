"""Confirms: which messages the broker has, however it says so."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import BasicProperties, spec
from pika.frame import Body, Header, decode_frame

from antiphon.errors import AntiphonError, BrokerRefused
from antiphon.messaging.amqp_address import parse_address
from antiphon.messaging.amqp_publisher import CONFIRM_TIMEOUT_S, MAX_IN_FLIGHT, Publisher
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.probation import FIRST_PAUSE_S, MAX_PAUSE_S
from antiphon.messaging.topology import ExchangeSpec
from antiphon.messaging.transport import KEY_HEADER, Message


class Channel:
    """Keeps what is published, and answers declarations at once."""

    channel_number = 1
    may_write_anywhere = False
    is_open = True

    def __init__(self) -> None:
        self.published: list[bytes] = []
        self.destinations: list[tuple[str, str]] = []
        self.properties: list[BasicProperties] = []
        self.declared: list[str] = []
        self.connection = self

    def confirm_together(self, channel: object, on_confirms: Any) -> None:
        self.on_confirms = on_confirms

    def write_frames(self, frames: bytes) -> bool:
        while frames:
            size, frame = decode_frame(frames)
            frames = frames[size:]
            if isinstance(frame, Body):
                self.published.append(frame.fragment)
            elif isinstance(frame, Header):
                self.properties.append(frame.properties)
            else:
                self.destinations.append((frame.method.exchange, frame.method.routing_key))
        return True

    def add_on_return_callback(self, callback: Any) -> None:
        self.on_return = callback

    def exchange_declare(self, exchange: str, *_: Any, callback: Any = None, **__: Any) -> None:
        self.declared.append(exchange)
        if callback is not None:
            callback(None)

    def exchange_bind(self, destination: str, source: str, pattern: str) -> None:
        self.declared.append(f"{source} {pattern} {destination}")

    def confirm_delivery(self, on_confirm: Any, callback: Any) -> None:
        callback(None)

    def basic_publish(
        self, exchange: str, key: str, body: bytes, properties: BasicProperties, **options: Any
    ) -> None:
        assert options == {"mandatory": True}
        self.published.append(body)
        self.destinations.append((exchange, key))
        self.properties.append(properties)


class Incoming:
    """Notes when publishing is blocked."""

    def __init__(self) -> None:
        self.reasons: list[str | None] = []

    def blocked(self, reason: str | None) -> None:
        self.reasons.append(reason)


class Bench:
    """A publisher on a channel that is no real one."""

    def __init__(self) -> None:
        self.outgoing = OutgoingBuffer(100_000, 10**9)
        self.incoming = Incoming()
        self.ready: list[bool] = []
        self.dropped: list[AntiphonError] = []
        self.publisher = Publisher(
            parse_address("amqp://nowhere"),
            "test",
            "x.events",
            self.outgoing,
            self.incoming,  # type: ignore[arg-type]
            lambda is_ready, _: self.ready.append(is_ready),
            partial(ExchangeSpec, feeds_main=True),
        )
        self.publisher.link.drop = self.dropped.append  # type: ignore[method-assign]
        self.publisher.link.wake = lambda: None  # type: ignore[method-assign]
        self.channel = self.open()

    def open(self) -> Channel:
        self.channel = Channel()
        self.publisher.opened(self.channel)
        return self.channel

    def emit(self, *bodies: bytes) -> None:
        for body in bodies:
            self.outgoing.append(Message("key", body))
        self.publisher.woken()

    def forward(self, *bodies: bytes, queue: str | None = "q") -> list[bool]:
        """Forward a message for each body; what the caller is told comes into the result."""
        told: list[bool] = []
        messages = [Message("key", body, {"a": 1}, queue=queue) for body in bodies]
        self.publisher.forward(messages, told.append)
        self.publisher.woken()
        return told

    def give_back(self, message_id: str | None) -> None:
        properties = BasicProperties(message_id=message_id)
        self.publisher._on_returned(None, spec.Basic.Return(), properties, b"")  # type: ignore[arg-type]

    def confirm(self, tag: int, *, multiple: bool = False) -> None:
        self.publisher._on_confirm(SimpleNamespace(method=spec.Basic.Ack(tag, multiple)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_confirmed_one_by_one(bench: Bench) -> None:
    """Each confirm settles one message."""
    bench.emit(b"1", b"2", b"3")

    bench.confirm(1)
    bench.confirm(2)

    assert 2 == bench.outgoing.confirmed


def test_confirmed_many_at_once(bench: Bench) -> None:
    """A confirm of several settles all up to it."""
    bench.emit(b"1", b"2", b"3")

    bench.confirm(3, multiple=True)

    assert 3 == bench.outgoing.confirmed


def test_confirmed_out_of_order(bench: Bench) -> None:
    """A message counts as confirmed only when all older ones are: order is kept in a resend."""
    bench.emit(b"1", b"2", b"3")

    bench.confirm(3)
    bench.confirm(2)
    assert 0 == bench.outgoing.confirmed
    bench.confirm(1)

    assert 3 == bench.outgoing.confirmed


@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8)))
def test_any_order_of_confirms(order: list[int], multiples: set[int]) -> None:
    """Whatever the order and grouping, all is settled in the end, and never too much."""
    bench = Bench()
    bench.emit(*(b"%d" % number for number in range(8)))
    known: set[int] = set()
    for tag in order:
        bench.confirm(tag, multiple=tag in multiples)
        known |= set(range(1, tag + 1)) if tag in multiples else {tag}
        settled = next(number for number in range(9) if number + 1 not in known)
        assert settled == bench.outgoing.confirmed

    assert 8 == bench.outgoing.confirmed


def test_sent_again_on_a_new_connection(bench: Bench) -> None:
    """What was not confirmed goes out again on the next channel, in order, before the rest."""
    bench.emit(b"1", b"2", b"3")
    bench.confirm(1)
    bench.publisher.lost(AntiphonError("gone"))
    bench.emit(b"4")

    channel = bench.open()

    assert [b"2", b"3", b"4"] == channel.published
    assert [True, False, True] == bench.ready


def test_late_confirm_of_a_lost_connection(bench: Bench) -> None:
    """A confirm that comes after the loss settles nothing."""
    bench.emit(b"1")
    bench.publisher.lost(AntiphonError("gone"))

    bench.confirm(1)

    assert 0 == bench.outgoing.confirmed


def test_refused_message(bench: Bench) -> None:
    """A nack makes the connection anew, so that all unconfirmed go out again in order."""
    bench.emit(b"1")

    bench.publisher._on_confirm(SimpleNamespace(method=spec.Basic.Nack(1)))

    assert 1 == len(bench.dropped)
    assert 0 == bench.outgoing.confirmed


def test_refused_forward(bench: Bench) -> None:
    """A nack of what was forwarded fails that alone: the connection and its events go on."""
    bench.emit(b"1")
    told = bench.forward(b"2")
    bench.publisher.woken()
    bench.publisher._on_confirm(SimpleNamespace(method=spec.Basic.Nack(2)))
    bench.confirm(1)

    assert [False] == told
    assert [] == bench.dropped
    assert 1 == bench.outgoing.confirmed


def test_refused_together(bench: Bench) -> None:
    """A nack of several messages, an event among them, makes the connection anew."""
    bench.emit(b"1")
    bench.forward(b"2")
    bench.publisher.woken()
    bench.publisher._on_confirm(SimpleNamespace(method=spec.Basic.Nack(2, multiple=True)))

    assert 1 == len(bench.dropped)


def test_window(bench: Bench) -> None:
    """No more than a window full is under way; confirms open it."""
    bench.emit(*(b"x" for _ in range(MAX_IN_FLIGHT + 500)))
    for _ in range(100):
        bench.publisher.woken()
    assert MAX_IN_FLIGHT == len(bench.channel.published)

    bench.confirm(400, multiple=True)
    for _ in range(100):
        bench.publisher.woken()

    assert MAX_IN_FLIGHT + 400 == len(bench.channel.published)


def test_blocked(bench: Bench) -> None:
    """While the broker takes nothing, nothing is written; afterwards everything is."""
    bench.publisher.blocked("low on memory")
    bench.emit(b"1")
    assert [] == bench.channel.published

    bench.publisher.blocked(None)

    assert [b"1"] == bench.channel.published
    assert ["low on memory", None] == bench.incoming.reasons


def test_blocked_ends_with_the_connection(bench: Bench) -> None:
    """A new connection is not blocked because the old one was."""
    bench.publisher.blocked("low on memory")

    bench.publisher.lost(AntiphonError("gone"))

    assert ["low on memory", None] == bench.incoming.reasons


def test_unconfirmed_for_too_long(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers heartbeats and confirms nothing is given up, unless it is blocked."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bench.emit(b"1")
    bench.publisher.ticked()
    now[0] += CONFIRM_TIMEOUT_S + 1
    bench.publisher.blocked("low on memory")
    bench.publisher.ticked()
    assert [] == bench.dropped

    bench.publisher.blocked(None)
    bench.publisher.ticked()
    assert [] == bench.dropped
    now[0] += CONFIRM_TIMEOUT_S + 1
    bench.publisher.ticked()

    assert "has not confirmed" in str(bench.dropped[0])


def test_idle_is_no_silence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an hour without events the first one gets its full time."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    bench.emit(b"1")
    bench.confirm(1)
    now[0] += 3600

    bench.emit(b"2")
    bench.publisher.ticked()

    assert [] == bench.dropped


# -- Forwarding ----------------------------------------------------------------


def test_forwarded_straight_to_a_queue(bench: Bench) -> None:
    """A message for a queue goes by the default exchange, with its own key in a header."""
    bench.forward(b"1", queue="x.sub.cache")

    assert [("", "x.sub.cache")] == bench.channel.destinations
    assert {"a": 1, KEY_HEADER: "key"} == bench.channel.properties[0].headers


def test_emitted_to_another_exchange(bench: Bench) -> None:
    """A message of the buffer may name an exchange or a queue as well."""
    bench.outgoing.append(Message("key", b"1", {"a": 1}, exchange="x.events.topic"))
    bench.outgoing.append(Message("key", b"2", queue="q"))
    bench.publisher.woken()

    assert [("x.events.topic", "key"), ("", "q")] == bench.channel.destinations


def test_another_exchange_is_declared_where_it_is_published(bench: Bench) -> None:
    """It may not be there, or not yet: once a connection it is declared, and feeds the own one."""
    own = bench.channel.declared[0]
    for _ in range(2):
        bench.outgoing.append(Message("key", b"1", exchange="x.events.topic"))
    bench.publisher.woken()

    wanted = [own, "x.events.topic", f"x.events.topic # {own}"]
    assert wanted == bench.channel.declared
    bench.publisher.opened(bench.channel)  # type: ignore[arg-type]
    assert [*wanted, *wanted] == bench.channel.declared


def test_forward_is_confirmed(bench: Bench) -> None:
    """The caller hears of it once, when the broker has confirmed every message."""
    bench.emit(b"before")
    told = bench.forward(b"1", b"2")
    bench.emit(b"after")

    bench.confirm(2, multiple=True)
    assert [] == told
    bench.confirm(4, multiple=True)

    assert [True] == told
    assert 2 == bench.outgoing.confirmed


def test_forward_of_nothing(bench: Bench) -> None:
    """No messages are confirmed messages."""
    assert [True] == bench.forward()


def test_forward_that_no_queue_took(bench: Bench) -> None:
    """A confirmed message that came back was not taken; the bus's own counter is not touched."""
    told = bench.forward(b"1", b"2")

    bench.give_back(bench.channel.properties[0].message_id)
    bench.confirm(2, multiple=True)

    assert [False] == told
    assert 0 == bench.outgoing.unroutable


def test_returned_message_of_the_buffer(bench: Bench) -> None:
    """What came back and was not forwarded is counted as one that nobody got."""
    bench.forward(b"1")
    bench.emit(b"2")

    bench.give_back(None)

    assert 1 == bench.outgoing.unroutable


def test_forward_lost_with_the_connection(bench: Bench) -> None:
    """With the connection goes what was forwarded and not confirmed; nothing sends it again."""
    told = bench.forward(b"1")

    bench.publisher.lost(AntiphonError("gone"))
    channel = bench.open()

    assert [False] == told
    assert [] == channel.published


def test_forward_without_a_connection(bench: Bench) -> None:
    """It fails with the next attempt to connect, or is published if that succeeds."""
    bench.publisher.lost(AntiphonError("gone"))
    failing = bench.forward(b"1")
    bench.publisher.lost(AntiphonError("still gone"))
    waiting = bench.forward(b"2")

    channel = bench.open()

    assert [False] == failing
    assert [] == waiting
    assert [b"2"] == channel.published


def test_forward_after_the_end(bench: Bench) -> None:
    """When the transport is stopped, everybody who waits is told, and so is who comes later."""
    told = bench.forward(b"1")

    bench.publisher.stop(0)

    assert [False] == told
    assert [False] == bench.forward(b"2")


def test_forward_while_blocked(bench: Bench) -> None:
    """A broker that takes nothing gets no forwarded messages either."""
    bench.publisher.blocked("low on memory")
    told = bench.forward(b"1")
    assert [] == bench.channel.published

    bench.publisher.blocked(None)
    bench.confirm(1)

    assert [True] == told


def test_failing_caller(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What the caller raises is logged, and costs no connection."""

    def fail(_: bool) -> None:
        raise ValueError

    bench.publisher.forward([Message("key", b"1")], fail)
    bench.publisher.woken()

    bench.confirm(1)

    assert "forwarded message failed" in caplog.text
    assert [] == bench.dropped


def test_published_where_it_was_emitted(bench: Bench) -> None:
    """With nothing under way a message is written by the thread that emits it."""
    bench.channel.may_write_anywhere = True
    bench.outgoing.append(Message("key", b"1"))

    bench.publisher.wake()

    assert [b"1"] == bench.channel.published


def test_left_to_the_link_while_something_is_under_way(bench: Bench) -> None:
    """What is emitted before the confirm of the last message is for the link's thread."""
    bench.channel.may_write_anywhere = True
    for body in (b"1", b"2"):
        bench.outgoing.append(Message("key", body))
        bench.publisher.wake()
    published = list(bench.channel.published)
    bench.confirm(1)

    assert ([b"1"], [b"1", b"2"]) == (published, bench.channel.published)


@pytest.mark.parametrize("why", ["blocked", "forward", "lost", "tls"])
def test_left_to_the_link_when_it_cannot_be_published_here(bench: Bench, why: str) -> None:
    """A blocked broker, a message that comes first, and TLS are for the link's thread."""
    bench.channel.may_write_anywhere = why != "tls"
    if why == "blocked":
        bench.publisher.blocked("memory")
    elif why == "forward":
        bench.publisher.forward([Message("key", b"0")], lambda _: None)
    elif why == "lost":
        bench.publisher.lost(AntiphonError("gone"))
    bench.outgoing.append(Message("key", b"1"))

    bench.publisher.wake()

    assert [] == bench.channel.published


def test_what_cannot_be_published_here_is_not_lost(bench: Bench) -> None:
    """A message that was taken, and turned out to need the link's thread, goes out from there."""
    bench.channel.may_write_anywhere = True
    bench.outgoing.append(Message("key", b"1", exchange="x.events.topic"))
    bench.outgoing.append(Message("key", b"2"))

    bench.publisher.wake()
    bench.publisher.woken()
    bench.publisher.woken()

    assert [b"1", b"2"] == bench.channel.published


def test_confirms_that_come_together(bench: Bench) -> None:
    """Confirms that are read at once settle as they do one by one."""
    bench.emit(b"1", b"2", b"3", b"4")

    bench.channel.on_confirms([(2, False), (1, False), (3, True)])

    assert 3 == bench.outgoing.confirmed


# -- A broker that refuses what is published -------------------------------------


def refuse(bench: Bench) -> None:
    bench.publisher.lost(BrokerRefused("no right to write"))
    bench.open()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_refused_publishing_pauses(bench: Bench, now: list[float]) -> None:
    """After a refusal one message is tried after a pause, and the pause grows."""
    bench.emit(b"1", b"2")

    refuse(bench)
    assert [] == bench.channel.published
    now[0] += FIRST_PAUSE_S
    bench.publisher.ticked()
    bench.publisher.ticked()
    assert [b"1"] == bench.channel.published
    refuse(bench)
    now[0] += FIRST_PAUSE_S
    bench.publisher.ticked()

    assert [] == bench.channel.published


def test_refused_publishing_is_not_ready(
    bench: Bench, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as ready when a message was confirmed, not before; and it is logged once."""
    bench.emit(b"1", b"2")
    refuse(bench)
    refuse(bench)
    assert [True, False, False] == bench.ready

    now[0] += MAX_PAUSE_S
    bench.publisher.ticked()
    bench.confirm(1)

    assert [True, False, False, True] == bench.ready
    assert [b"1", b"2"] == bench.channel.published
    assert 1 == caplog.text.count("refuses what is published")


def test_refused_connection_is_no_refused_publishing(bench: Bench) -> None:
    """A login that is refused does not slow publishing down afterwards."""
    bench.publisher.lost(AntiphonError("gone"))
    bench.publisher.lost(BrokerRefused("wrong password"))
    bench.emit(b"1")

    bench.open()

    assert [b"1"] == bench.channel.published
