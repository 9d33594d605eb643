"""What every transport must do: subclass ``TransportSuite`` and run it with pytest.

    class TestMyTransport(TransportSuite):
        def make_transport(self) -> Transport: ...          # not started, all to one broker
        def make_unreachable(self) -> Transport: ...        # to a place where none listens
        def break_connections(self) -> None: ...            # all of them, at the broker
        def delete_queue(self, name: str) -> None: ...      # under its consumers

``OutgoingBuffer`` and ``Topology`` are the real ones; ``Recorder`` stands in
place of the bus.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from antiphon.errors import BrokerUnavailable
from antiphon.messaging.topology import BROADCAST, Binding

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    "antiphon.testing.transport_party", "antiphon.testing.transport_tests"
)

from antiphon.testing.transport_party import PATIENCE_S, Party  # noqa: E402
from antiphon.testing.transport_tests.changes import QueueChangeTests  # noqa: E402
from antiphon.testing.transport_tests.durable import DurableQueueTests  # noqa: E402
from antiphon.testing.transport_tests.exchanges import ExchangeTests  # noqa: E402


class TransportSuite(DurableQueueTests, QueueChangeTests, ExchangeTests):
    """Tests of a transport; see the module."""

    # -- Messages ------------------------------------------------------------------

    def test_message_arrives_whole(self, join: Callable[..., Party]) -> None:
        """Key, body, headers and publisher arrive as they were sent."""
        alice, bob = join(), join("#")

        alice.publish("a.ü.c", b"\x00\xff", headers={"classes": ["x", "y"], "origin": "ö"})
        bob.wait_bodies(b"\x00\xff")

        message = bob.incoming.arrivals[0].message
        assert "a.ü.c" == message.routing_key
        assert {"classes": ["x", "y"], "origin": "ö"} == dict(message.headers or {})
        assert "party-0" == message.publisher

    @pytest.mark.parametrize(
        ("pattern", "key", "is_match"),
        [
            ("#", "", True),
            ("#.b.#", "a.b.c", True),
            ("#.b.#", "b", True),
            ("#.b.#", "a.c", False),
            ("#.b.#.@o", "a.b.c.@o", True),
            ("#.b.#.@o", "a.b.c.@o.+p", False),
            ("#.b.#.@o.#", "a.b.c.@o.+p", True),
            ("a.*.c", "a.b.c", True),
            ("a.*.c", "a.c", False),
            ("a.*", "a.", True),
            ("!.#", "!", True),
        ],
    )
    def test_topics(
        self, join: Callable[..., Party], pattern: str, key: str, is_match: bool
    ) -> None:
        """A queue gets what its patterns match, and nothing else."""
        alice, bob = join(), join(pattern, "the.end")

        alice.publish(key, b"maybe")
        alice.publish("the.end", b"end")

        bob.wait_bodies(*([b"maybe"] if is_match else []), b"end")

    def test_one_copy(self, join: Callable[..., Party]) -> None:
        """A message that several patterns of a queue match comes once."""
        alice, bob = join(), join("#", "a.#", "*.b")

        alice.publish("a.b", b"1", b"2")

        bob.wait_bodies(b"1", b"2")

    def test_order(self, join: Callable[..., Party]) -> None:
        """Messages of one publisher arrive in its order."""
        alice, bob = join(), join("#")
        bodies = [b"%d" % number for number in range(3000)]

        alice.publish("a", *bodies)
        bob.settle(len(bodies))

        assert bodies == bob.incoming.bodies

    def test_large_body(self, join: Callable[..., Party]) -> None:
        """A body of several megabytes arrives whole."""
        alice, bob = join(), join("#")
        body = bytes(range(256)) * 12_000

        alice.publish("a", body, b"after")

        bob.wait_bodies(body, b"after")

    def test_longest_key(self, join: Callable[..., Party]) -> None:
        """A routing key may have 255 bytes."""
        alice, bob = join(), join("#.end")
        key = "ü" * 125 + ".end"
        assert 254 == len(key.encode())

        alice.publish("x" + key, b"1")

        bob.wait_bodies(b"1")

    def test_echo(self, join: Callable[..., Party]) -> None:
        """Own messages that come back are counted, and not delivered."""
        alice, bob = join("#"), join("#")

        alice.publish("a", b"mine")
        bob.publish("a", b"yours")

        alice.wait_bodies(b"yours")
        alice.incoming.wait_for(lambda: alice.incoming.echoes == 1)

    def test_exchanges_are_apart(self, join: Callable[..., Party]) -> None:
        """What is published to one exchange is not heard at another."""
        alice, bob, carol = join(), join("#"), join("#", exchange="suite.other")

        alice.publish("a", b"1")
        bob.wait_bodies(b"1")
        bob.publish("a", b"2")
        bob.flush()

        assert [] == carol.incoming.arrivals

    # -- Confirms ------------------------------------------------------------------

    def test_confirms(self, join: Callable[..., Party]) -> None:
        """Everything that was published is confirmed."""
        alice = join()

        alice.publish("a", *(b"x" for _ in range(2500)))
        alice.flush()

        assert 2500 == alice.outgoing.confirmed

    def test_returned(self, join: Callable[..., Party]) -> None:
        """A message that no queue takes is counted, and confirmed nevertheless."""
        alice, _bob = join(), join("b")

        alice.publish("a", b"nobody")
        alice.publish("b", b"somebody")
        alice.flush()

        assert 1 == alice.outgoing.unroutable

    def test_many_threads(self, join: Callable[..., Party]) -> None:
        """Any thread may publish at any time; nothing is lost or doubled."""
        alice, bob = join(), join("#")

        def publish(name: int) -> None:
            for number in range(50):
                alice.publish("a", b"%d %d" % (name, number))

        threads = [threading.Thread(target=publish, args=(name,)) for name in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        alice.flush()

        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) >= 1000)
        assert 1000 == len(set(bob.incoming.bodies)) == len(bob.incoming.bodies)

    def test_prefetch(self, join: Callable[..., Party]) -> None:
        """No more messages are under way than asked for, until some are settled."""
        alice, bob = join(), join("#", prefetch=8)
        alice.publish("a", *(b"%d" % number for number in range(20)))
        alice.flush()
        bob.incoming.wait_for(lambda: len(bob.incoming.arrivals) >= 8)
        assert 8 == len(bob.incoming.arrivals)

        bob.settle(20)

        assert [b"%d" % number for number in range(20)] == bob.incoming.bodies

    # -- Declarations --------------------------------------------------------------

    def test_binding_stands_when_waited_for(self, join: Callable[..., Party]) -> None:
        """What is published after a binding was waited for arrives."""
        alice, bob = join(), join()

        for number in range(50):
            bob.bind(f"key.{number}")
            alice.publish(f"key.{number}", b"%d" % number)

        bob.wait_bodies(*(b"%d" % number for number in range(50)))

    def test_unbind(self, join: Callable[..., Party]) -> None:
        """What is no longer bound no longer comes."""
        alice, bob = join(), join("gone", "stays")

        bob.topology.unbind([Binding(BROADCAST, "gone")])
        bob.transport.reconcile()
        bob.bind("new")
        alice.publish("gone", b"gone")
        alice.publish("stays", b"stays")
        alice.publish("new", b"new")

        bob.wait_bodies(b"stays", b"new")

    # -- Losses --------------------------------------------------------------------

    def test_comes_back(self, join: Callable[..., Party]) -> None:
        """After a break everything is declared again, and messages flow both ways."""
        alice, bob = join("for.alice"), join("for.bob")
        bob.bind("bound.later")

        self.break_connections()
        alice.wait_up_again()
        bob.wait_up_again()
        alice.publish("for.bob", b"1")
        alice.publish("bound.later", b"2")
        bob.publish("for.alice", b"3")

        bob.wait_bodies(b"1", b"2")
        alice.wait_bodies(b"3")
        assert alice.transport.is_connected
        assert alice.transport.last_error is None

    def test_states(self, join: Callable[..., Party]) -> None:
        """A break is reported with its reason, and so is the return, in turns."""
        alice = join()

        self.break_connections()
        alice.wait_up_again()

        states = alice.incoming.states
        assert [True, False] * (len(states) // 2) + [True] == states
        assert isinstance(alice.incoming.errors[1], BrokerUnavailable)

    def test_changes_while_away(self, join: Callable[..., Party]) -> None:
        """What is bound, unbound and published around a break holds after it."""
        alice, bob = join(), join("old", "kept")

        self.break_connections()
        bob.topology.unbind([Binding(BROADCAST, "old")])
        bob.topology.bind([Binding(BROADCAST, "new")])
        bob.transport.reconcile()
        alice.wait_up_again()
        bob.wait_up_again()
        bob.bind("end")
        for key in ("old", "new", "kept", "end"):
            alice.publish(key, key.encode())

        bob.wait_bodies(b"new", b"kept", b"end")

    def test_unconfirmed_is_sent_again(self, join: Callable[..., Party]) -> None:
        """What a break caught unconfirmed is confirmed afterwards, in order."""
        alice, bob = join(), join("#")
        bodies = [b"%05d" % number for number in range(2000)]

        alice.publish("a", *bodies[:1000])
        self.break_connections()
        alice.publish("a", *bodies[1000:])
        alice.flush()

        assert 2000 == alice.outgoing.confirmed
        # Bob was cut off, too: what comes is in order, but for whole runs sent twice.
        heard = list(bob.incoming.bodies)
        falls = sum(later <= earlier for earlier, later in itertools.pairwise(heard))
        assert falls <= alice.incoming.states.count(False)

    def test_breaks_in_a_row(self, join: Callable[..., Party]) -> None:
        """Several breaks are overcome one after the other."""
        alice, bob = join(), join("#")

        for number in range(1, 4):
            self.break_connections()
            alice.wait_up_again(number)
            bob.wait_up_again(number)
        alice.publish("a", b"1")

        bob.wait_bodies(b"1")

    def test_renewed(self, join: Callable[..., Party]) -> None:
        """Who finds a connection useless has it made anew, with the reason; others keep theirs."""
        alice, bob = join(), join("#")
        assert bob.transport.is_alive()

        bob.transport.renew(BrokerUnavailable("nothing comes"))
        bob.wait_up_again()
        alice.publish("a", b"1")

        bob.wait_bodies(b"1")
        assert "nothing comes" in {str(error) for error in bob.incoming.errors}
        assert [True] == alice.incoming.states
        bob.transport.stop(PATIENCE_S)
        assert bob.transport.is_alive()  # since it was to end

    # -- Beginning and end -----------------------------------------------------------

    def test_unreachable(self) -> None:
        """A broker that cannot be reached is one error at once; nothing is left running."""
        transport = self.make_unreachable()
        threads = threading.active_count()

        with pytest.raises(BrokerUnavailable):
            Party(transport, exchange="suite.events", publisher="p")

        # A thread that looked up a name may take its time to end.
        deadline = time.monotonic() + 10
        while threading.active_count() > threads and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threads >= threading.active_count()
        assert not transport.is_connected

    def test_unreachable_in_the_background(self) -> None:
        """Without waiting a broker that cannot be reached is no error; stopping is quick."""
        transport = self.make_unreachable()

        party = Party(transport, exchange="suite.events", publisher="p", timeout_s=None)
        party.publish("a", b"1")
        began = time.monotonic()
        transport.stop(PATIENCE_S)

        assert time.monotonic() - began < 2
        assert 1 == len(party.outgoing)

    def test_stop_twice(self, join: Callable[..., Party]) -> None:
        """Stopping ends the threads; doing it again, or using the rest, is harmless."""
        threads = threading.active_count()
        alice = join("#")

        alice.transport.stop(PATIENCE_S)
        alice.transport.stop(PATIENCE_S)
        alice.publish("a", b"1")
        alice.transport.reconcile()

        assert threads >= threading.active_count()
        assert not alice.transport.is_connected
