"""Exchanges beside the main one, and messages with several routing keys."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from collections.abc import Callable

from antiphon.messaging.topology import BROADCAST, Binding, ExchangeSpec
from antiphon.messaging.transport import KEY_HEADER, Message
from antiphon.testing.transport_party import Party
from antiphon.testing.transport_tests.base import TransportTests

TOPICS = ExchangeSpec("suite.topics", feeds_main=True)


class ExchangeTests(TransportTests):
    """Part of ``TransportSuite``."""

    def test_exchange_feeds_the_main_one(self, join: Callable[..., Party]) -> None:
        """What is published to an exchange that feeds the main one is heard at both."""
        alice, bob, carol = join(), join("#"), join()
        with_topics(bob, "a.*")
        with_topics(carol, "b.*")

        assert alice.forward(Message("a.1", b"1", exchange=TOPICS.name))
        assert alice.forward(Message("b.1", b"2", exchange=TOPICS.name))

        bob.wait_bodies(b"1", b"2")
        carol.wait_bodies(b"2")

    def test_hidden_key(self, join: Callable[..., Party]) -> None:
        """A message with a second routing key comes once, with the key that it is to be read by."""
        alice, bob, carol = join(), join("some.class"), join()
        with_topics(bob, "event.*")
        with_topics(carol, "event.origin")
        headers = {KEY_HEADER: "some.class", "BCC": ["some.class"], "own": 1}

        assert alice.forward(Message("event.origin", b"1", headers, exchange=TOPICS.name))
        assert alice.forward(Message("some.class", b"end"))
        assert alice.forward(Message("event.origin", b"end", exchange=TOPICS.name))

        bob.wait_bodies(b"1", b"end", b"end")
        carol.wait_bodies(b"1", b"end")
        for one in (bob, carol):
            message = one.incoming.arrivals[0].message
            assert ("some.class", {"own": 1}) == (message.routing_key, message.headers)

    def test_shown_key(self, join: Callable[..., Party]) -> None:
        """More routing keys may be shown to the receiver, too."""
        alice, bob = join(), join("b")

        alice.publish("a", b"1", headers={"CC": ["b", "c"]})
        bob.wait_bodies(b"1")

        message = bob.incoming.arrivals[0].message
        assert ("a", {"CC": ["b", "c"]}) == (message.routing_key, message.headers)

    def test_exchange_comes_back(self, join: Callable[..., Party]) -> None:
        """After a break a queue is bound to all exchanges again."""
        alice, bob = join(), join()
        with_topics(bob, "a")
        bob.put_queue("kept")
        with_topics(bob, "b", queue="kept")

        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()

        assert alice.forward(Message("a", b"1", exchange=TOPICS.name))
        assert alice.forward(Message("b", b"2", exchange=TOPICS.name))
        bob.wait_from(BROADCAST, b"1")
        bob.wait_from("kept", b"2")


def with_topics(party: Party, pattern: str, *, queue: str = BROADCAST) -> None:
    """Bind a queue of *party* to the exchange, and wait until that stands."""
    binding = Binding(queue, pattern, TOPICS.name)
    party.topology.put_exchange(TOPICS)
    party.topology.bind([binding])
    party.reconcile(party.topology.generation_of([binding]))
