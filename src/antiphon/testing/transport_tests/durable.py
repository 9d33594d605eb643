"""Durable queues: what outlives a connection, who gets it, and how often."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from collections.abc import Callable

from antiphon.messaging.transport import Message
from antiphon.testing.transport_party import Party
from antiphon.testing.transport_tests.base import TransportTests


def numbers(first: int, last: int) -> list[bytes]:
    """Return *first* to *last* as bodies."""
    return [b"%d" % number for number in range(first, last + 1)]


class DurableQueueTests(TransportTests):
    """Part of ``TransportSuite``."""

    def test_durable_queue_survives_a_break(self, join: Callable[..., Party]) -> None:
        """What is published while the consumer is away waits for it."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")
        bob.transport.stop(5)

        alice.publish("a", *numbers(1, 50))
        alice.flush()
        carol = join()
        carol.put_queue("kept")

        carol.wait_from("kept", *numbers(1, 50))
        assert [] == carol.incoming.made

    def test_durable_queue_after_a_reconnect(self, join: Callable[..., Party]) -> None:
        """After a break what was not settled comes again, before what is new."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")
        alice.publish("a", b"1", b"2", b"3")
        first = bob.wait_from("kept", b"1", b"2", b"3")
        bob.transport.settle(first[0])
        bob.drop_queue("kept")  # so that it is sure that the broker knows
        bob.put_queue("kept")

        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()
        alice.publish("a", b"4")
        bob.incoming.wait_for(lambda: b"4" in bob.incoming.bodies)

        bodies = bob.incoming.bodies
        assert [b"2", b"3", b"4"] == bodies[-3:]
        assert 1 == bodies.count(b"1")

    def test_settling_what_is_stale(self, join: Callable[..., Party]) -> None:
        """What came before a break is known to be stale, and settling it does no harm."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")
        alice.publish("a", b"1")
        (first,) = bob.wait_from("kept", b"1")
        assert not bob.transport.is_stale(first)

        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()
        bob.transport.settle(first)

        _, again = bob.wait_from("kept", b"1", b"1")
        assert bob.transport.is_stale(first)
        assert not bob.transport.is_stale(again)

    def test_group_shares(self, join: Callable[..., Party]) -> None:
        """Consumers of one queue share what comes: each message goes to one of them."""
        alice, bob, carol = join(), join(), join()
        for one in (bob, carol):
            one.put_queue("work", "a", prefetch=10)

        alice.publish("a", *numbers(1, 20))
        for one in (bob, carol):
            one.wait_count("work", 10)

        assert set(numbers(1, 20)) == {*bob.incoming.bodies, *carol.incoming.bodies}

    def test_group_goes_on(self, join: Callable[..., Party]) -> None:
        """What one consumer had under way when it went goes to the others."""
        alice, bob, carol = join(), join(), join()
        for one in (bob, carol):
            one.put_queue("work", "a", prefetch=10)
        alice.publish("a", *numbers(1, 20))
        bob.incoming.wait_for(lambda: len(bob.incoming.of("work")) == 10)

        bob.transport.stop(5)
        carol.settle(20)

        assert set(numbers(1, 20)) == set(carol.incoming.bodies)

    def test_single_active(self, join: Callable[..., Party]) -> None:
        """One consumer gets everything, in order; when it goes, the next takes over."""
        alice, bob, carol = join(), join(), join()
        for one in (bob, carol):
            one.put_queue("one", "a", is_single_active=True, prefetch=5)
        alice.publish("a", *numbers(1, 9))
        bob.settle(3)
        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) >= 8)
        assert [] == carol.incoming.arrivals

        bob.transport.stop(5)
        carol.settle(5)

        carol.incoming.wait_for(lambda: carol.incoming.bodies[-1] == b"9")
        assert numbers(4, 9) == carol.incoming.bodies[-6:]

    def test_delivery_count(self, join: Callable[..., Party]) -> None:
        """Each return of a message to its queue is counted."""
        alice = join()
        counts: list[list[tuple[bool, int]]] = []
        for _ in range(3):
            bob = join()
            bob.put_queue("kept", "a")
            if not counts:
                alice.publish("a", b"1", b"2")
            arrivals = bob.wait_from("kept", b"1", b"2")
            counts.append([(one.redelivered, one.delivery_count) for one in arrivals])
            assert all(one.message.headers is None for one in arrivals)
            bob.transport.stop(5)

        assert [[(False, 0)] * 2, [(True, 1)] * 2, [(True, 2)] * 2] == counts

    def test_forged_delivery_count(self, join: Callable[..., Party]) -> None:
        """A sender cannot make a message look as if it had crashed somebody."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")

        alice.publish("a", b"1", headers={"x-delivery-count": 99, "own": 1})

        (arrival,) = bob.wait_from("kept", b"1")
        assert (False, 0) == (arrival.redelivered, arrival.delivery_count)
        assert {"own": 1} == arrival.message.headers

    def test_own_messages(self, join: Callable[..., Party]) -> None:
        """A queue may ask for what its own party publishes; the others drop it."""
        alice = join("a")
        alice.put_queue("mine", "a", consume_own=True)
        alice.put_queue("others", "a")

        alice.publish("a", b"1")

        alice.wait_from("mine", b"1")
        alice.incoming.wait_for(lambda: alice.incoming.echoes == 2)
        assert [b"1"] == alice.incoming.bodies

    def test_several_prefetches(self, join: Callable[..., Party]) -> None:
        """Each queue has its own bound of what is under way."""
        alice, bob = join(), join("a")
        bob.put_queue("few", "a", prefetch=3)
        bob.put_queue("more", "a", prefetch=7)

        alice.publish("a", *numbers(1, 30))
        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) >= 40)

        assert (3, 7) == (len(bob.incoming.of("few")), len(bob.incoming.of("more")))

    def test_settling_in_any_order(self, join: Callable[..., Party]) -> None:
        """Whatever is settled makes room for the next, and is never given out again."""
        alice, bob, carol = join(), join(), join()
        bob.put_queue("kept", "a", prefetch=4)
        alice.publish("a", *numbers(1, 8))
        arrivals = bob.wait_from("kept", *numbers(1, 4))

        for number in (3, 1):
            bob.transport.settle(arrivals[number])
        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) == 6)
        for number in (0, 5, 4):
            bob.transport.settle(bob.incoming.arrivals[number])
        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) == 8)
        bob.drop_queue("kept")
        bob.transport.stop(5)
        carol.put_queue("kept")

        carol.wait_from("kept", b"3", b"7", b"8")

    def test_too_many_messages(self, join: Callable[..., Party]) -> None:
        """The oldest that do not fit go to the dead-letter queue, with their own routing key."""
        alice, bob = join(), join()
        bob.put_queue("dead")
        options = {"max_messages": 2, "dead_letters_to": "suite.dead"}
        bob.put_queue("small", "a.*", is_consumed=False, **options)

        for number in range(1, 6):
            alice.publish(f"a.{number}", b"%d" % number)

        arrivals = bob.wait_from("dead", b"1", b"2", b"3")
        assert ["a.1", "a.2", "a.3"] == [one.message.routing_key for one in arrivals]

    # -- Forwarding ------------------------------------------------------------------

    def test_forward(self, join: Callable[..., Party]) -> None:
        """What is forwarded to a queue or through an exchange is confirmed, and arrives whole."""
        alice, bob = join(), join("b.#")
        bob.put_queue("kept")

        straight = Message("x.y", b"1", {"own": 1}, "sender", queue="suite.kept")
        assert alice.forward(straight, Message("b.c", b"2"))

        (arrival,) = bob.wait_from("kept", b"1")
        assert Message("x.y", b"1", {"own": 1}, "sender") == arrival.message
        bob.wait_from("broadcast", b"2")

    def test_forward_to_nobody(self, join: Callable[..., Party]) -> None:
        """If one of the messages finds no queue the whole was not forwarded."""
        alice, _bob = join(), join("b")

        assert not alice.forward(Message("b", b"1"), Message("nobody", b"2"))
        assert not alice.forward(Message("b", b"1", queue="suite.nowhere"))
        assert alice.forward(Message("b", b"3"))
        assert 0 == alice.outgoing.unroutable

    def test_forward_without_connection(self, join: Callable[..., Party]) -> None:
        """Without a connection nothing was forwarded, and whoever asked is told."""
        alice = join("#")
        alice.transport.stop(5)

        assert not alice.forward(Message("b", b"1"))

    def test_forward_passes_what_waits(self, join: Callable[..., Party]) -> None:
        """Forwarding goes on while much is being published, and disturbs its order not."""
        alice, bob = join(), join("#")

        alice.publish("a", *numbers(1, 500))
        assert alice.forward(Message("b", b"forwarded"))
        alice.publish("a", *numbers(501, 1000))
        bob.settle(1001)

        assert numbers(1, 1000) == [body for body in bob.incoming.bodies if body != b"forwarded"]
