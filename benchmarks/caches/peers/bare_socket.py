"""An AMQP socket by hand: what the protocol and the broker allow."""

from __future__ import annotations

import threading

import pika
import redis
from pika import spec
from pika.frame import Body, Header, Method

from benchmarks.caches.case import KEY, DictReader, Servers, Write
from benchmarks.messaging.peers.bare_socket import EXCHANGE, BareConnection

NAME = "bare socket"
SAYS = "SET at Redis, then AMQP frames by hand with the value; a thread fills a dict; no errors"
REDIS_KEY = "bench.bare"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    client, connection = redis.Redis.from_url(servers.redis), BareConnection(servers.amqp)
    publish = Method(1, spec.Basic.Publish(exchange=EXCHANGE, routing_key=KEY)).marshal()
    properties = pika.BasicProperties(delivery_mode=1)

    def write(value: bytes) -> None:
        client.set(REDIS_KEY, value)
        header = Header(1, len(value), properties).marshal()
        connection.socket.sendall(publish + header + Body(1, value).marshal())

    return write


def open_reader(servers: Servers) -> DictReader:
    """Connect, and begin to consume."""
    reader = DictReader()
    connection = BareConnection(servers.amqp)
    declared = spec.Queue.Declare(exclusive=True, auto_delete=True, arguments={})
    queue = connection.call(declared).queue
    connection.call(spec.Queue.Bind(queue=queue, exchange=EXCHANGE, routing_key=KEY, arguments={}))
    connection.call(
        spec.Basic.Consume(queue=queue, no_ack=True, arguments={}), spec.Basic.ConsumeOk
    )

    def listen() -> None:
        for kind, payload in connection.frames():
            if kind == spec.FRAME_BODY:
                reader.values[KEY] = payload
                reader.changed()

    threading.Thread(target=listen, daemon=True).start()
    return reader
