"""An AMQP socket by hand: what the protocol and the broker allow, one event a message."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pika
from pika import spec
from pika.frame import Body, Header, Method, ProtocolHeader, decode_frame

from benchmarks.messaging.case import (
    ACK_EVERY,
    KEYS,
    PREFETCH,
    WINDOW,
    Case,
    Tally,
    paced,
    stamped,
)

NAME = "bare socket"
SAYS = (
    f"frames by hand, 50 messages a write, {WINDOW} unconfirmed at most, "
    f"acknowledges {ACK_EVERY} at once; no heartbeat, no errors, nothing else"
)
EXCHANGE = "bench.bare-socket"

#: Messages in one write, when they come fast.
CHUNK = 50

_head = struct.Struct(">BHI")
_id = struct.Struct(">HH")
_confirm = struct.Struct(">QB")


class BareConnection:
    """A connection with one channel and one exchange, as bare as it gets."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 5672))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.socket.sendall(ProtocolHeader().marshal())
        self.await_method(spec.Connection.Start)
        login = f"\0{unquote(parts.username or 'guest')}\0{unquote(parts.password or 'guest')}"
        self.send_method(0, spec.Connection.StartOk({}, "PLAIN", login, "en_US"))
        tune = self.await_method(spec.Connection.Tune)
        self.send_method(0, spec.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self.send_method(0, spec.Connection.Open(unquote(parts.path[1:]) or "/"))
        self.await_method(spec.Connection.OpenOk)
        self.call(spec.Channel.Open(), spec.Channel.OpenOk)
        self.call(spec.Exchange.Declare(exchange=EXCHANGE, type="topic", durable=True))

    def send_method(self, channel: int, method: pika.amqp_object.Method) -> None:
        self.socket.sendall(Method(channel, method).marshal())

    def call(self, method: pika.amqp_object.Method, answer: type | None = None) -> object:
        """Send *method* and return the answer."""
        self.send_method(1, method)
        return self.await_method(answer)

    def await_method(self, kind: type | None) -> object:
        while True:
            consumed, frame = decode_frame(self._buffer)
            if frame is None:
                self._buffer += self.socket.recv(65536)
                continue
            self._buffer = self._buffer[consumed:]
            if isinstance(frame, Method) and (kind is None or isinstance(frame.method, kind)):
                return frame.method

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Yield kind and payload of each frame, for ever."""
        buffer, at = self._buffer, 0
        while True:
            while len(buffer) - at >= 8:
                kind, _, size = _head.unpack_from(buffer, at)
                end = at + 8 + size
                if end > len(buffer):
                    break
                yield kind, buffer[at + 7 : end - 1]
                at = end
            buffer = buffer[at:] + self.socket.recv(262144)
            at = 0


class _Sender:
    def __init__(self, url: str, case: Case) -> None:
        self._connection = BareConnection(url)
        self._is_confirmed = case.persistent
        if case.persistent:
            self._connection.call(spec.Confirm.Select(), spec.Confirm.SelectOk)
        self._frames = self._connection.frames()
        self._published = self._confirmed = 0
        properties = pika.BasicProperties(delivery_mode=2 if case.persistent else 1)
        self._heads = [
            Method(1, spec.Basic.Publish(exchange=EXCHANGE, routing_key=key)).marshal()
            + Header(1, len(stamped()), properties).marshal()
            for key in (KEYS if case.mixed else KEYS[:1] * 2)
        ]

    def prepare(self, count: int) -> None:
        pass

    def send(self, count: int) -> None:
        body = Body(1, stamped()).marshal()
        pair = self._heads[0] + body + self._heads[1] + body
        for begin in range(0, count, CHUNK):
            number = min(CHUNK, count - begin)
            self._connection.socket.sendall(pair * (number // 2))
            self._published += number
            if self._is_confirmed and self._published - self._confirmed > WINDOW:
                self._await_confirms(self._published - WINDOW // 2)
        if self._is_confirmed:
            self._await_confirms(self._published)

    def _await_confirms(self, upto: int) -> None:
        # The broker may confirm out of order: what is counted is right, and all that is needed.
        while self._confirmed < upto:
            _, payload = next(self._frames)
            tag, is_multiple = _confirm.unpack_from(payload, 4)
            self._confirmed = tag if is_multiple else self._confirmed + 1

    def pace(self, count: int, rate: float) -> None:
        send, head = self._connection.socket.sendall, self._heads[0]
        paced(count, rate, lambda: send(head + Body(1, stamped()).marshal()))


def open_sender(url: str, case: Case) -> _Sender:
    """Connect."""
    return _Sender(url, case)


def receive(url: str, case: Case, tally: Tally, *, is_timed: bool) -> None:
    """Count what comes, for ever."""
    handle = tally.of_body(is_timed=is_timed)
    connection = BareConnection(url)
    if case.persistent:
        queue, arguments = f"{EXCHANGE}.{case.name}", {"x-queue-type": "quorum"}
        declared = spec.Queue.Declare(queue=queue, durable=True, arguments=arguments)
    else:
        declared = spec.Queue.Declare(exclusive=True, auto_delete=True, arguments={})
    queue = connection.call(declared).queue
    connection.call(spec.Queue.Bind(queue=queue, exchange=EXCHANGE, routing_key="#", arguments={}))
    connection.call(spec.Basic.Qos(0, PREFETCH, False))
    consume = spec.Basic.Consume(queue=queue, no_ack=not case.persistent, arguments={})
    connection.call(consume, spec.Basic.ConsumeOk)
    tally.ready()
    delivered = 0
    for kind, payload in connection.frames():
        if kind == spec.FRAME_BODY:
            handle(payload)
            delivered += 1
            if case.persistent and not delivered % ACK_EVERY:
                connection.send_method(1, spec.Basic.Ack(delivered, multiple=True))
