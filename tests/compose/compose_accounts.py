"""Each account can do its work, and nothing else: tried on the broker and on Redis."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator

import pika
import pika.exceptions
import pytest
import redis
from pika.adapters.blocking_connection import BlockingChannel

from antiphon import open_bus
from antiphon.events.api import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.messaging.options import BusOptions
from antiphon.storage.events import StoreSetEvent
from antiphon.wire import Codec
from tests.compose.stack import Stack

SERVICES = ("invalidator", "store-server", "recorder")
ACCOUNTS = (*SERVICES, "program", "operator")

Attempt = Callable[[BlockingChannel], object]

RECORDERS = "antiphon.sub.recorder"


class Tried(BaseEvent):
    """Something that an account sends."""


@contextlib.contextmanager
def channel_of(stack: Stack, account: str) -> Iterator[BlockingChannel]:
    """Return a channel of an account's own."""
    url = stack.secrets(account)["ANTIPHON_AMQP_URL"]
    with pika.BlockingConnection(pika.URLParameters(f"{url}/%2F")) as connection:
        yield connection.channel()


def is_refused(stack: Stack, account: str, attempt: Attempt) -> bool:
    """Return whether the broker refuses an attempt for want of a right."""
    with channel_of(stack, account) as channel:
        try:
            attempt(channel)
        except pika.exceptions.ChannelClosedByBroker as exc:
            return bool(exc.reply_code == 403)
    return False


def published_to(exchange: str) -> Attempt:
    """Return an attempt to publish, with the broker's answer."""

    def attempt(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        channel.basic_publish(exchange, "none.at.all", b"")

    return attempt


#: What nobody but RabbitMQ's own tools may do.
FORBIDDEN_TO_ALL: dict[str, Attempt] = {
    "a queue beside the system": lambda c: c.queue_declare("other", auto_delete=True),
    "an exchange beside the system": lambda c: c.exchange_declare("other", auto_delete=True),
    "another system": lambda c: c.exchange_declare("shop.events", "topic", durable=True),
    "publishing elsewhere": published_to("amq.topic"),
}

#: What only some may.
RECORDERS_WORK: dict[str, Attempt] = {
    "take the recorder's events": lambda c: c.basic_get(RECORDERS),
    "delete the recorder's queue": lambda c: c.queue_delete(
        RECORDERS, if_empty=True, if_unused=True
    ),
    "purge the recorder's queue": lambda c: c.queue_purge("antiphon.retry.recorder"),
    "change what the recorder gets": lambda c: c.queue_bind(RECORDERS, "antiphon.events", "x"),
}
DURABLE_QUEUES: dict[str, Attempt] = {
    "a durable queue": lambda c: c.queue_declare("antiphon.sub.tried", auto_delete=True),
}
DEAD_LETTERS: dict[str, Attempt] = {
    "take dead letters": lambda c: c.basic_get("antiphon.dead"),
    "drop dead letters": lambda c: c.queue_purge("antiphon.dead"),
}


@pytest.mark.parametrize("account", ACCOUNTS)
def test_an_account_can_do_a_buss_work(stack: Stack, account: str) -> None:
    """With each, a bus is healthy: it sends, hears itself, and its listeners hear events."""
    heard: list[Tried] = []
    url = stack.secrets(account)["ANTIPHON_AMQP_URL"]
    options = BusOptions(canary_interval_s=0.3)
    with open_bus(url, origin=f"tried.{account}", options=options) as bus:
        bus.connect(Tried, heard.append)
        stack.wait(lambda: bus.health().ready, 10)
        bus.emit(Tried())
        bus.flush(10)

    assert 1 == len(heard)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("what", FORBIDDEN_TO_ALL)
def test_nobody_leaves_the_system(stack: Stack, account: str, what: str) -> None:
    """The broker refuses what is outside the system `antiphon`."""
    assert is_refused(stack, account, FORBIDDEN_TO_ALL[what])


@pytest.mark.parametrize("account", ["invalidator", "store-server", "program"])
@pytest.mark.parametrize("what", RECORDERS_WORK)
def test_only_the_recorder_has_its_queue(stack: Stack, account: str, what: str) -> None:
    """Others can neither take nor spoil what is to be archived."""
    assert is_refused(stack, account, RECORDERS_WORK[what])


@pytest.mark.parametrize("account", SERVICES)
def test_services_make_no_queues_of_programs(stack: Stack, account: str) -> None:
    """Durable subscriptions are for programs, and the recorder's own."""
    assert is_refused(stack, account, DURABLE_QUEUES["a durable queue"])


@pytest.mark.parametrize("account", [*SERVICES, "program"])
@pytest.mark.parametrize("what", DEAD_LETTERS)
def test_dead_letters_are_the_operators(stack: Stack, account: str, what: str) -> None:
    """All put events aside that they cannot handle; one looks at them."""
    assert is_refused(stack, account, DEAD_LETTERS[what])


def test_a_program_subscribes_for_good(stack: Stack) -> None:
    """A durable subscription, and its dead letter, which the operator finds and drops."""
    heard: list[Tried] = []
    url = stack.secrets("program")["ANTIPHON_AMQP_URL"]
    with open_bus(url, origin="tried.program") as bus:
        subscription = bus.subscribe("tried", Tried, heard.append, mode="group")
        assert subscription.wait_ready(10)
        bus.emit(Tried())
        stack.wait(lambda: len(heard) == 1, 10)
        subscription.delete()


def test_what_cannot_be_read_is_put_aside(stack: Stack) -> None:
    """Services put garbage aside with the rights that they have; the operator drops it."""
    changed = StoreSetEvent(key="prices/eur", metadata={})
    key = (
        Codec()
        .encode(changed, origin="catalogue", event_id=EventId(bytes(12), 1), time_ns=1)
        .routing_key
    )
    with channel_of(stack, "program") as channel:
        channel.basic_publish("antiphon.events", key, b"garbage")

    def aside() -> set[str]:
        lines = stack.run("antiphon", "dlq", "ls", "--json").splitlines()
        return {json.loads(line)["subscription"] for line in lines}

    # The recorder's copy, and that of the invalidator, which listens for itself.
    stack.wait(lambda: aside() >= {"recorder", "broadcast"}, 20)
    assert {200} == {stack.ready(name).status for name in SERVICES}
    for name in SERVICES:
        assert "antiphon_bus_reconnects_total 0.0" in stack.get(name, "/metrics").body.decode()
    stack.run("antiphon", "dlq", "drop", "--all", "--yes")
    assert set() == aside()


# -- Redis ---------------------------------------------------------------------


@contextlib.contextmanager
def redis_of(stack: Stack, account: str) -> Iterator[redis.Redis]:
    """Return a client of an account's own."""
    client = redis.Redis.from_url(stack.secrets(account)["ANTIPHON_REDIS_URL"])
    with contextlib.closing(client):
        yield client


@pytest.mark.parametrize("account", ["invalidator", "store-server"])
def test_a_service_reaches_its_namespaces_only(stack: Stack, account: str) -> None:
    """Another program's keys can be neither read nor written, also by a script."""
    with redis_of(stack, account) as client:
        assert client.exists("{catalogue}:none") == 0
        for attempt in (
            lambda: client.set("other", "1"),
            lambda: client.get("{salaries}:x"),
            lambda: client.eval("return redis.call('GET', 'other')", 0),
            lambda: client.scan(),
            lambda: client.flushall(),
            lambda: client.config_set("appendonly", "no"),
            lambda: client.acl_list(),
        ):
            with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|access"):
                attempt()


@pytest.mark.parametrize("account", ["program", "operator"])
def test_nobody_reconfigures_redis(stack: Stack, account: str) -> None:
    """Commands that can lose everything are nobody's."""
    with redis_of(stack, account) as client:
        assert client.exists("any") == 0
        for attempt in (
            client.flushall,
            lambda: client.config_set("appendonly", "no"),
            client.shutdown,
            lambda: client.execute_command("ACL", "SETUSER", "eve", "on"),
            lambda: client.replicaof("no", "one"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                attempt()


def test_nobody_comes_in_without_a_name(stack: Stack) -> None:
    """Redis asks for a login, and the health check's may only ask for a sign of life."""
    port = stack.ports["ANTIPHON_REDIS_PORT"]
    with redis.Redis(port=port) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()
    with redis.Redis(port=port, username="health", password="any") as client:
        assert client.ping()
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("any")
