"""Durable queues on RabbitMQ that time out, or have nobody who answers for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broker_users import add_user
from bus_helpers import Heard, Numbered, wait_until

from antiphon import open_bus
from antiphon.messaging import amqp_queue
from antiphon.messaging.amqp import from_url
from antiphon.messaging.topology import Binding, QueueSpec
from antiphon.messaging.transport import Message
from antiphon.testing.broker_control import close_all_connections
from antiphon.testing.servers import RabbitMQ
from antiphon.testing.servers.rabbitmq_private import PrivateRabbitMQ

pytest.register_assert_rewrite("antiphon.testing.transport_party")

from antiphon.testing.transport_party import Party  # noqa: E402


@pytest.fixture
def party(broker_url: str) -> Iterator[Callable[[], Party]]:
    """Start parties, and stop them after the test."""
    parties: list[Party] = []

    def start(*patterns: str) -> Party:
        name = f"party-{len(parties)}"
        parties.append(
            Party(from_url(broker_url), exchange="t.events", publisher=name, patterns=patterns)
        )
        return parties[-1]

    yield start
    for one in parties:
        one.transport.stop(5)


@contextlib.contextmanager
def silent(broker: RabbitMQ, broker_url: str, queue: str) -> Iterator[None]:
    """Let nobody in the broker answer for *queue*, as if it had no leader."""
    assert isinstance(broker, PrivateRabbitMQ)
    vhost = broker_url.rpartition("/")[2]
    find = (
        f'case rabbit_amqqueue:lookup(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)) of '
        "{ok, Q} -> {N, _} = amqqueue:get_pid(Q), catch sys:%s(N); _ -> none end."
    )
    broker.evaluate(find % "suspend")
    try:
        yield
    finally:
        broker.evaluate(find % "resume")


def test_queue_without_a_leader(
    broker: RabbitMQ,
    broker_url: str,
    party: Callable[..., Party],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A queue that answers nobody is kept apart and reported; when it answers it is consumed."""
    monkeypatch.setattr(amqp_queue, "STEP_TIMEOUT_S", 1.0)
    alice, bob = party(), party("b")
    bob.put_queue("dumb", "a")
    bob.put_queue("well", "b")

    with silent(broker, broker_url, "suite.dumb"):
        close_all_connections(broker)
        alice.wait_up_again()
        bob.wait_up_again()
        bob.incoming.wait_for(lambda: bool(bob.topology.troubles))
        assert ["dumb"] == list(bob.topology.troubles)
        assert "leader" in str(bob.transport.last_error)
        assert alice.forward(Message("b", b"1"))
        bob.wait_from("well", b"1")
        bob.wait_from("broadcast", b"1")

    bob.incoming.wait_for(lambda: not bob.topology.troubles)
    assert alice.forward(Message("a", b"2"))
    bob.wait_from("dumb", b"2")
    assert ["dumb", "well"] == bob.incoming.made


def test_killed_just_after_it_was_made(broker: RabbitMQ, broker_url: str) -> None:
    """What was confirmed in a new queue is there after a kill of the broker at that moment."""
    heard = Heard()
    with open_bus(broker_url) as sender, open_bus(broker_url) as receiver:
        receiver.subscribe("books", Numbered, Heard()).close()
        for number in range(10):
            sender.emit(Numbered(number=number))
        sender.flush(10)
        broker.kill()
        broker.start()
        broker.wait_ready()
        wait_until(lambda: receiver.is_connected, "it is back")
        receiver.subscribe("books", Numbered, heard)
        heard.wait(10)

    assert list(range(10)) == heard.numbers


def test_queue_lost_at_birth(
    broker: RabbitMQ,
    broker_url: str,
    party: Callable[[], Party],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A queue whose making the broker did not survive is made anew, and reported once."""
    asked: list[str] = []

    def not_noted(channel: Any, name: str, then: Any) -> None:
        asked.append(name)

    monkeypatch.setattr(amqp_queue, "SUSPECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(amqp_queue, "have_noted", not_noted)
    alice, bob = party(), party()
    bob.topology.put_queue(QueueSpec("dead", "suite.dead", is_exclusive=False, is_consumed=False))
    bob.topology.put_queue(QueueSpec("kept", "suite.kept", is_exclusive=False))
    bob.topology.bind([Binding("kept", "a")])
    bob.transport.reconcile()
    bob.incoming.wait_for(lambda: len(asked) == 2)
    monkeypatch.undo()
    monkeypatch.setattr(amqp_queue, "SUSPECT_TIMEOUT_S", 0.5)

    with (
        silent(broker, broker_url, "suite.kept"),
        silent(broker, broker_url, "suite.dead"),
    ):
        close_all_connections(broker)
        alice.wait_up_again()
        bob.incoming.wait_for(lambda: len(bob.incoming.made) == 2)

    assert ["dead", "kept"] == sorted(bob.incoming.made)
    assert alice.forward(Message("a", b"1"), Message("a", b"2", queue="suite.dead"))
    bob.wait_from("kept", b"1")


def test_rights_to_one_queue_only(
    broker: RabbitMQ, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may make no queue but the one that is wanted waits until the broker has noted it."""
    monkeypatch.setattr(amqp_queue, "SETTLE_S", 0.1)
    queues = r"antiphon\.(sub|retry)\.books|antiphon\.dead"
    rights = rf"^(antiphon\.events|amq\.(gen.*|default)|{queues})$"
    add_user(broker, "reader", "pw", (rights, rights, rights), broker_url.rpartition("/")[2])
    heard = Heard()
    with open_bus(broker_url.replace("guest:guest@", "reader:pw@")) as bus:
        subscription = bus.subscribe("books", Numbered, heard)
        assert subscription.wait_ready(10)
        bus.emit(Numbered(number=1))

        assert [1] == [event.number for event in heard.wait()]


def test_delivery_that_waits_too_long(broker: Any, party: Callable[..., Party]) -> None:
    """A queue whose delivery the broker finds too old is consumed again; the others do not mind."""
    broker.evaluate(
        "application:set_env(rabbit, consumer_timeout, 300), "
        "application:set_env(rabbit, channel_tick_interval, 200)."
    )
    try:
        alice, bob = party(), party("b")
        bob.put_queue("slow", "a")
        alice.publish("a", b"1")
        (first,) = bob.wait_from("slow", b"1")

        bob.incoming.wait_for(lambda: len(bob.incoming.of("slow")) > 1)
        again = bob.incoming.of("slow")[1]
    finally:
        broker.evaluate(
            "application:set_env(rabbit, consumer_timeout, 1800000), "
            "application:set_env(rabbit, channel_tick_interval, 60000)."
        )

    assert bob.transport.is_stale(first)
    assert (True, 1) == (again.redelivered, again.delivery_count)
    assert [True] == bob.incoming.states
    assert alice.forward(Message("b", b"2"))
    bob.wait_from("broadcast", b"2")
