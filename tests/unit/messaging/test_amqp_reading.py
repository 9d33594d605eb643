"""Reading the common frames without pika, beside pika."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pika import spec
from pika.adapters.select_connection import SelectConnection
from pika.callback import CallbackManager
from pika.channel import Channel
from pika.connection import Connection
from pika.exceptions import InvalidFrameError
from pika.frame import Body, Header, Heartbeat, Method
from pika.heartbeat import HeartbeatChecker
from pika.spec import BasicProperties

from antiphon.messaging import amqp_reading
from antiphon.messaging.amqp_limits import BoundedConnection
from antiphon.messaging.amqp_reading import CAN_READ, ReadingConnection

Heard = list[tuple[Any, ...]]


class Checker(HeartbeatChecker):  # type: ignore[misc]
    """Counts heartbeats, and has no timers."""

    def __init__(self) -> None:
        self._heartbeat_frames_received = 0


def connected(kind: type[SelectConnection]) -> tuple[Any, Heard]:
    """Return an open connection that is connected to nothing, and what it will have told."""
    connection = kind.__new__(kind)
    connection.callbacks = CallbackManager()
    connection._frame_buffer = b""
    connection.bytes_received = connection.frames_received = 0
    connection._heartbeat_checker = Checker()
    connection._channels = {}
    connection.connection_state = Connection.CONNECTION_OPEN
    heard: Heard = []
    for number in (1, 2):
        channel = connection._channels[number] = Channel(connection, number, lambda _: None)
        channel._state = Channel.OPEN
        channel._consumers["tag-é"] = lambda c, m, p, body: heard.append(
            (
                c.channel_number,
                m.delivery_tag,
                m.redelivered,
                m.exchange,
                m.routing_key,
                m.consumer_tag,
                p,
                body,
            )
        )
        channel._cancelled.add("gone")
        channel.add_on_return_callback(
            lambda c, m, p, body: heard.append((c.channel_number, "returned", p, body))
        )
    confirms = connection._channels[2].callbacks
    for confirm in (spec.Basic.Ack, spec.Basic.Nack):
        confirms.add(
            2,
            confirm,
            lambda frame: heard.append(
                (type(frame.method).__name__, frame.method.delivery_tag, frame.method.multiple)
            ),
            False,
        )
    if kind is ReadingConnection:
        connection.read_quickly(connection._channels[1])
        connection.confirm_together(
            connection._channels[2],
            lambda together: heard.extend(("Ack", tag, multiple) for tag, multiple in together),
        )
    return connection, heard


def message(
    number: int, method: Any, properties: BasicProperties, body: bytes, frame_bytes: int
) -> list[bytes]:
    """Return the frames of a message."""
    parts = [body[at : at + frame_bytes] for at in range(0, len(body), frame_bytes)]
    return [
        Method(number, method).marshal(),
        Header(number, len(body), properties).marshal(),
        *(Body(number, part).marshal() for part in parts),
    ]


channels = st.sampled_from((1, 2))
properties = st.builds(
    BasicProperties,
    app_id=st.none() | st.text(max_size=8),
    delivery_mode=st.none() | st.integers(1, 2),
    message_id=st.none() | st.text(max_size=3),
    headers=st.none() | st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=2),
)
methods = st.builds(
    spec.Basic.Deliver,
    consumer_tag=st.sampled_from(("tag-é", "tag-é", "tag-é", "gone", "unknown")),
    delivery_tag=st.integers(1, 2**63),
    redelivered=st.booleans(),
    exchange=st.text(max_size=5),
    routing_key=st.text(max_size=60),
) | st.builds(
    spec.Basic.Return, reply_code=st.just(312), reply_text=st.just("NO_ROUTE"),
    exchange=st.just("e"), routing_key=st.text(max_size=4),
)  # fmt: skip
messages = st.builds(message, channels, methods, properties, st.binary(max_size=99), st.just(40))
confirms = st.builds(
    lambda method, tag, multiple: [Method(2, method(tag, multiple)).marshal()],
    st.sampled_from((spec.Basic.Ack, spec.Basic.Ack, spec.Basic.Nack)),
    st.integers(0, 2**63),
    st.booleans(),
)


def delivery(body: bytes, properties: BasicProperties | None = None) -> list[bytes]:
    """Return the frames of a message to the consumer of channel 1."""
    method = spec.Basic.Deliver("tag-é", 7, False, "e", "k")
    return message(1, method, properties or BasicProperties(), body, 40)


heartbeats = st.just([Heartbeat().marshal()])


def interleaved(frames: list[bytes], at: int) -> list[bytes]:
    """Return *frames* with a heartbeat somewhere between."""
    return [*frames[: at % len(frames)], Heartbeat().marshal(), *frames[at % len(frames) :]]


pieces = messages | confirms | heartbeats | st.builds(interleaved, messages, st.integers(0, 5))
streams = st.lists(pieces, max_size=12).map(lambda some: b"".join(b"".join(one) for one in some))


def fed(kind: type[SelectConnection], stream: bytes, cuts: list[int]) -> tuple[Any, ...]:
    """Return all that a connection says and counts that gets *stream* in pieces."""
    connection, heard = connected(kind)
    connection._channels[1].basic_reject = lambda tag: heard.append(("rejected", tag))
    connection._channels[2].basic_reject = lambda tag: heard.append(("rejected", tag))
    ends = [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    begin, failure = 0, None
    for end in ends:
        if begin < end:
            try:
                connection._on_data_available(stream[begin:end])
            except InvalidFrameError as exc:
                failure = str(exc)
                break
        begin = end
    beats = connection._heartbeat_checker._heartbeat_frames_received
    return heard, connection.frames_received, connection.bytes_received, beats, failure


@given(streams, st.lists(st.integers(0, 2000), max_size=8))
@example(b"".join(delivery(b"")), [])
def test_a_stream_says_the_same_however_it_is_cut(stream: bytes, cuts: list[int]) -> None:
    """What pika tells of a stream of frames is told, and counted, however the bytes come."""
    assert fed(SelectConnection, stream, []) == fed(ReadingConnection, stream, cuts)


@settings(max_examples=50)
@given(streams.filter(len), st.integers(0), st.integers(1, 255), st.lists(st.integers(0, 2000)))
def test_a_spoilt_stream_fails_as_with_pika(
    stream: bytes, at: int, change: int, cuts: list[int]
) -> None:
    """A byte that is wrong does with pika's reader and with ours the same, an error included.

    (pika's with our limits: properties that it cannot read end no connection.)
    """
    place = at % len(stream)
    spoilt = stream[:place] + bytes((stream[place] ^ change,)) + stream[place + 1 :]
    try:
        expected = fed(BoundedConnection, spoilt, cuts)
    except Exception as exc:
        with pytest.raises(type(exc)):
            fed(ReadingConnection, spoilt, cuts)
    else:
        # What is not counted yet is a message that will never be whole.
        heard, *_, failure = fed(ReadingConnection, spoilt, cuts)

        assert (expected[0], expected[-1]) == (heard, failure)


def test_long_bodies_are_pikas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is too long to wait for is assembled by pika, piece by piece."""
    monkeypatch.setattr(amqp_reading, "MAX_BODY_BYTES", 50)
    stream = b"".join(delivery(b"x" * 90))

    assert fed(SelectConnection, stream, []) == fed(ReadingConnection, stream, [60, 110])


def test_messages_are_not_left_to_pika(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries and confirms pass by pika's decoding, or all of this is for nothing."""
    monkeypatch.setattr("pika.frame.decode_frame", None)
    deliver = delivery(b"x" * 90)
    stream = b"".join((*deliver, Method(2, spec.Basic.Ack(5)).marshal(), *deliver))

    heard, frames, received, *_ = fed(ReadingConnection, stream, [])

    assert (3, 11, len(stream)) == (len(heard), frames, received)


def test_headers_are_each_messages_own() -> None:
    """A consumer that changes the headers of a message changes those of no other."""
    stream = b"".join(delivery(b"x", BasicProperties(headers={"a": 1})))
    connection, heard = connected(ReadingConnection)
    connection._on_data_available(stream)
    heard[0][6].headers.clear()

    connection._on_data_available(stream)

    assert {"a": 1} == heard[1][6].headers


def test_this_pika_can_be_read() -> None:
    """With the pika that is installed, ours reads."""
    assert CAN_READ
    assert connected(ReadingConnection)[0]._reads_quickly


def test_a_pika_that_differs_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pika that lacks what reading needs, all is read pika's way, confirms too."""
    monkeypatch.setattr(amqp_reading, "CAN_READ", False)
    stream = b"".join((*delivery(b"x" * 90), Method(2, spec.Basic.Ack(5)).marshal()))
    connection, _ = connected(ReadingConnection)

    assert not connection._reads_quickly
    assert fed(SelectConnection, stream, []) == fed(ReadingConnection, stream, [30])
