"""pika, a topic exchange and a dictionary: what one builds on a broker in an afternoon."""

from __future__ import annotations

import threading
from typing import Any

import pika
import redis

from benchmarks.caches.case import KEY, DictReader, Servers, Write

NAME = "pika topic"
SAYS = "SET at Redis, then basic_publish with the value; a thread that consumes fills a dict"
REDIS_KEY = "bench.pika"
EXCHANGE = "bench.pika-topic"


def _channel(servers: Servers) -> Any:
    # It writes only now and then, and could not answer heartbeats.
    connection = pika.BlockingConnection(pika.URLParameters(f"{servers.amqp}?heartbeat=0"))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    return channel


def open_writer(servers: Servers) -> Write:
    """Connect."""
    client, channel = redis.Redis.from_url(servers.redis), _channel(servers)

    def write(value: bytes) -> None:
        client.set(REDIS_KEY, value)
        channel.basic_publish(EXCHANGE, KEY, value)

    return write


def open_reader(servers: Servers) -> DictReader:
    """Connect, and begin to consume."""
    reader = DictReader()
    channel = _channel(servers)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, EXCHANGE, "#")

    def on_message(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        reader.values[method.routing_key] = body
        reader.changed()

    channel.basic_consume(queue, on_message, auto_ack=True)
    threading.Thread(target=channel.start_consuming, daemon=True).start()
    return reader
