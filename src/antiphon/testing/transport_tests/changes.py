"""Queues that come, change and go, by wish or by accident."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from collections.abc import Callable
from dataclasses import replace

import pytest

from antiphon.errors import BrokerRefused
from antiphon.messaging.topology import Binding
from antiphon.messaging.transport import Message
from antiphon.testing.transport_party import PATIENCE_S, Party, durable
from antiphon.testing.transport_tests.base import TransportTests


class QueueChangeTests(TransportTests):
    """Part of ``TransportSuite``."""

    def test_told_when_made(self, join: Callable[..., Party]) -> None:
        """A durable queue that was not there is reported; one that was is not."""
        alice, bob = join(), join()

        alice.put_queue("kept", "a")
        bob.put_queue("kept", "a")

        assert (["kept"], []) == (alice.incoming.made, bob.incoming.made)

    def test_prefetch_changes(self, join: Callable[..., Party]) -> None:
        """With another prefetch more comes, and nothing twice."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a", prefetch=2)
        alice.publish("a", *(b"%d" % number for number in range(9)))
        bob.wait_from("kept", b"0", b"1")

        bob.put_queue("kept", prefetch=7)

        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) >= 7)
        bob.settle(9)
        assert [b"%d" % number for number in range(9)] == bob.incoming.bodies
        assert not any(arrival.redelivered for arrival in bob.incoming.arrivals)

    def test_changes_in_a_row(self, join: Callable[..., Party]) -> None:
        """Bindings and prefetches that change faster than the broker answers all hold."""
        alice, bob = join(), join()
        spec = bob.put_queue("kept", prefetch=1)
        keys = [f"key.{number}" for number in range(20)]

        for number, key in enumerate(keys):
            bob.topology.bind([Binding("kept", key)])
            generation = bob.topology.put_queue(replace(spec, prefetch=100 + number))
            bob.transport.reconcile()
            if number % 2:
                bob.reconcile(generation)
        assert alice.forward(*(Message(key, key.encode()) for key in keys))

        bob.wait_from("kept", *(key.encode() for key in keys))
        assert [True] == bob.incoming.states

    def test_dropped_queue(self, join: Callable[..., Party]) -> None:
        """From a queue that was dropped nothing comes any more; it goes on collecting."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")
        bob.drop_queue("kept")

        alice.publish("a", b"1", b"2")
        alice.flush()
        assert [] == bob.incoming.arrivals
        bob.put_queue("kept")

        bob.wait_from("kept", b"1", b"2")
        assert ["kept"] == bob.incoming.made

    def test_drop_gives_back(self, join: Callable[..., Party]) -> None:
        """What was not settled before the drop is stale, and goes to whoever comes next."""
        alice, bob, carol = join(), join(), join()
        bob.put_queue("kept", "a")
        alice.publish("a", b"1", b"2", b"3")
        first, second, _ = bob.wait_from("kept", b"1", b"2", b"3")

        bob.transport.settle(first)
        bob.drop_queue("kept")
        assert bob.transport.is_stale(second)
        bob.transport.settle(second)
        carol.put_queue("kept")

        carol.wait_from("kept", b"2", b"3")

    def test_stop_gives_back(self, join: Callable[..., Party]) -> None:
        """The broker hears of all that was settled before the transport was stopped."""
        alice, bob, carol = join(), join(), join()
        bob.put_queue("kept", "a")
        alice.publish("a", b"1", b"2", b"3")
        first, second, _ = bob.wait_from("kept", b"1", b"2", b"3")

        bob.transport.settle(first)
        bob.transport.settle(second)
        bob.transport.stop(5)
        carol.put_queue("kept")

        carol.wait_from("kept", b"3")

    def test_deleted_on_wish(self, join: Callable[..., Party]) -> None:
        """A queue that was dropped for good is gone; put again, it is a new one."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a")

        bob.drop_queue("kept", delete=True)

        assert not alice.forward(Message("a", b"1"))
        bob.put_queue("kept", "a")
        assert ["kept", "kept"] == bob.incoming.made
        assert alice.forward(Message("a", b"2"))
        bob.wait_from("kept", b"2")

    def test_deleted_and_put_at_once(self, join: Callable[..., Party]) -> None:
        """A queue that is deleted and wished for in one breath stands in the end, and is empty."""
        alice, bob = join(), join()
        bob.put_queue("kept", "a", is_consumed=False)
        assert alice.forward(Message("a", b"old"))

        bob.topology.drop_queue("kept", delete=True)
        bob.put_queue("kept", "a")

        assert alice.forward(Message("a", b"new"))
        bob.wait_from("kept", b"new")

    def test_deleted_by_somebody(self, join: Callable[..., Party]) -> None:
        """A queue that is deleted under its consumer is made anew and reported; nobody minds."""
        alice, bob = join(), join("b")
        bob.put_queue("kept", "a")

        self.delete_queue("suite.kept")
        bob.incoming.wait_for(lambda: bob.incoming.made == ["kept", "kept"])

        assert alice.forward(Message("a", b"1"), Message("b", b"2"))
        bob.wait_from("kept", b"1")
        bob.wait_from("broadcast", b"2")
        assert [True] == bob.incoming.states
        assert {} == bob.topology.troubles

    def test_expired(self, join: Callable[..., Party]) -> None:
        """A queue that nobody consumes for long goes, and whoever comes then is told."""
        alice, bob = join(), join()
        bob.put_queue("brief", "a", expires_s=0.5)
        bob.transport.stop(5)
        assert alice.forward(Message("a", b"1"))

        bob.incoming.wait_for(lambda: not alice.forward(Message("a", b"2")))
        bob = join()
        bob.put_queue("brief", "a", expires_s=0.5)

        assert ["brief"] == bob.incoming.made
        assert [] == bob.incoming.arrivals

    def test_bad_queue(self, join: Callable[..., Party]) -> None:
        """A queue that exists with other arguments is refused; the others do not mind."""
        alice, bob = join(), join("b")
        bob.put_queue("kept", "a")
        alice.put_queue("odd", "a", max_messages=3)

        generation = bob.topology.put_queue(durable("odd"))
        bob.transport.reconcile()
        with pytest.raises(BrokerRefused, match=r"suite\.odd"):
            bob.topology.wait(generation, PATIENCE_S)

        assert ["odd"] == list(bob.topology.troubles)
        assert isinstance(bob.transport.last_error, BrokerRefused)
        assert alice.forward(Message("a", b"1"), Message("b", b"2"))
        bob.wait_from("kept", b"1")
        bob.wait_from("broadcast", b"2")
        assert [True] == bob.incoming.states

    def test_bad_queue_heals(self, join: Callable[..., Party]) -> None:
        """A refused queue is tried again, after a reconnect, too, until it can be had."""
        alice, bob = join(), join()
        alice.put_queue("odd", max_messages=3)
        bob.topology.put_queue(durable("odd"))
        bob.transport.reconcile()
        bob.incoming.wait_for(lambda: bool(bob.topology.troubles))
        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()
        assert ["odd"] == list(bob.topology.troubles)

        alice.drop_queue("odd", delete=True)

        bob.incoming.wait_for(lambda: not bob.topology.troubles)
        assert alice.forward(Message("a", b"1", queue="suite.odd"))
        bob.wait_from("odd", b"1")
        assert bob.transport.last_error is None

    def test_bad_queue_is_given_up(self, join: Callable[..., Party]) -> None:
        """A refused queue that is dropped troubles no more."""
        alice, bob = join(), join()
        alice.put_queue("odd", max_messages=3)
        bob.topology.put_queue(durable("odd"))
        bob.transport.reconcile()
        bob.incoming.wait_for(lambda: bool(bob.topology.troubles))

        bob.drop_queue("odd")

        assert {} == bob.topology.troubles
        assert alice.forward(Message("a", b"1", queue="suite.odd"))

    # -- Around a break ------------------------------------------------------------------

    def test_put_while_away(self, join: Callable[..., Party]) -> None:
        """What is put, bound, unbound and deleted around a break holds after it."""
        alice, bob = join(), join()
        bob.put_queue("kept", "old", "stays")
        bob.put_queue("gone", "a")

        self.break_connections()
        bob.topology.unbind([Binding("kept", "old")])
        bob.topology.drop_queue("gone", delete=True)
        bob.topology.put_queue(durable("new"))
        bob.topology.bind([Binding("new", "a"), Binding("kept", "b")])
        bob.transport.reconcile()
        alice.wait_up_again()
        bob.wait_up_again()
        bob.put_queue("end", "end")

        assert not alice.forward(Message("old", b"0"))
        assert not alice.forward(Message("a", b"0", queue="suite.gone"))
        assert alice.forward(Message("stays", b"1"), Message("b", b"2"), Message("a", b"3"))
        bob.wait_from("kept", b"1", b"2")
        bob.wait_from("new", b"3")

    def test_everything_comes_back(self, join: Callable[..., Party]) -> None:
        """After a break all queues are consumed again with all that is bound to them."""
        alice, bob = join(), join("all")
        labels = [f"q{number}" for number in range(20)]
        for label in labels:
            bob.put_queue(label, "all", label)

        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()
        alice.publish("all", b"all")
        for label in labels:
            alice.publish(label, label.encode())

        for label in labels:
            bob.wait_from(label, b"all", label.encode())
        bob.wait_from("broadcast", b"all")
