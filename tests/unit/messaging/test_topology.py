"""The declared set that transports replay."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from antiphon.errors import BrokerRefused, BrokerUnavailable
from antiphon.messaging.topology import (
    BROADCAST,
    Binding,
    ExchangeSpec,
    Part,
    QueueSpec,
    Topology,
)

A, B = Binding(BROADCAST, "a"), Binding(BROADCAST, "b")


@pytest.fixture
def topology() -> Topology:
    return Topology("x.events", [QueueSpec(BROADCAST)])


def test_snapshot_has_everything(topology: Topology) -> None:
    """A new connection gets all that is wished for, and none of the history."""
    topology.bind([A, B])
    topology.unbind([A])

    snapshot = topology.snapshot()

    assert ((B,), (QueueSpec(BROADCAST),), "x.events") == (
        snapshot.bindings,
        snapshot.queues,
        snapshot.exchange,
    )
    assert [] == topology.changes()


def test_changes_come_once_and_in_order(topology: Topology) -> None:
    """After a snapshot only what changed comes, in order."""
    topology.snapshot()
    topology.bind([A])
    topology.unbind([A])
    topology.bind([A, B])

    changes = topology.changes()

    assert [(A, True), (A, False), (A, True), (B, True)] == [
        (change.what, change.is_wanted) for change in changes
    ]
    assert all(later.generation > one.generation for one, later in pairwise(changes))
    assert [] == topology.changes()


def test_wishing_twice_is_no_change(topology: Topology) -> None:
    """A binding that is wished for already, or unbound although unknown, changes nothing."""
    topology.bind([A])
    topology.snapshot()

    topology.bind([A])
    topology.unbind([B])

    assert [] == topology.changes()


def test_wait_returns_at_once_without_connection(topology: Topology) -> None:
    """While nothing is connected there is nothing to wait for."""
    topology.bind([A])

    assert topology.wait(topology.generation_of([A]), 60) is False


def test_wait_until_applied(topology: Topology) -> None:
    """Waiting ends when the transport says that the change stands."""
    topology.connected()
    topology.bind([A])
    generation = topology.generation_of([A])
    waited: list[bool] = []
    thread = threading.Thread(target=lambda: waited.append(topology.wait(generation, 30)))
    thread.start()

    topology.stands(BROADCAST, generation)
    thread.join(10)

    assert [True] == waited


def test_wait_ends_with_the_connection(topology: Topology) -> None:
    """Whoever waits is let go when the connection is lost."""
    topology.connected()
    topology.bind([A])
    waited: list[bool] = []
    thread = threading.Thread(
        target=lambda: waited.append(topology.wait(topology.generation_of([A]), 30))
    )
    thread.start()

    topology.lost()
    thread.join(10)

    assert [False] == waited


def test_wait_in_vain(topology: Topology) -> None:
    """After the time is over it says so."""
    topology.connected()
    topology.bind([A])

    assert topology.wait(topology.generation_of([A]), 0.01) is False


def test_refused(topology: Topology) -> None:
    """What the broker refuses is taken back, and whoever waits gets the reason."""
    topology.connected()
    topology.bind([A])
    topology.bind([B])
    generation = topology.generation_of([B])

    topology.refuse(topology.changes()[1:], BrokerRefused("not allowed"))
    topology.lost()

    with pytest.raises(BrokerRefused, match="not allowed"):
        topology.wait(generation, 1)
    assert (A,) == topology.snapshot().bindings


DURABLE = QueueSpec("sub", "x.sub", is_exclusive=False)
SUB_A, SUB_B = Binding("sub", "a"), Binding("sub", "b")


def test_queue_comes_with_its_bindings(topology: Topology) -> None:
    """What concerns one queue can be asked for, and is of the newest state."""
    topology.bind([A])
    topology.put_queue(DURABLE)
    topology.bind([SUB_A])

    part = topology.part("sub")

    assert part == Part(DURABLE, (SUB_A,), (), topology.snapshot().generation)
    assert topology.part("nobody") is None


def test_queues_do_not_wait_for_each_other(topology: Topology) -> None:
    """That one queue stands says nothing of another, whatever came first."""
    topology.connected()
    first = topology.put_queue(DURABLE)
    topology.bind([A])

    topology.stands(BROADCAST, topology.generation_of([A]))

    assert topology.wait(topology.generation_of([A]), 0)
    assert not topology.wait(first, 0)


def test_putting_the_same_queue_is_no_change(topology: Topology) -> None:
    """A queue that is wished for already keeps its generation."""
    generation = topology.put_queue(DURABLE)
    topology.snapshot()

    assert generation == topology.put_queue(DURABLE)
    assert [] == topology.changes()
    assert generation < topology.put_queue(replace(DURABLE, prefetch=2))


def test_nothing_stands_after_a_loss(topology: Topology) -> None:
    """After a reconnect a change is waited for again, until its queue stands again."""
    topology.connected()
    generation = topology.put_queue(DURABLE)
    topology.stands("sub", generation)
    topology.lost()
    topology.connected()
    assert not topology.wait(generation, 0)

    topology.stands("sub", topology.snapshot().generation)

    assert topology.wait(generation, 0)


def test_unbinding_outlives_a_loss(topology: Topology) -> None:
    """What a durable queue is to lose is remembered until the broker has done it."""
    topology.put_queue(DURABLE)
    topology.bind([SUB_A, SUB_B])
    topology.unbind([SUB_A])
    topology.lost()
    part = topology.part("sub")
    assert part is not None
    assert ((SUB_B,), (SUB_A,)) == (part.bindings, part.unbindings)

    topology.stands("sub", part.generation)

    part = topology.part("sub")
    assert part is not None
    assert () == part.unbindings


def test_bound_again_is_not_unbound(topology: Topology) -> None:
    """The last wish for a binding counts."""
    topology.put_queue(DURABLE)
    topology.bind([SUB_A])
    topology.unbind([SUB_A])
    topology.bind([SUB_A])

    part = topology.part("sub")

    assert part is not None
    assert ((SUB_A,), ()) == (part.bindings, part.unbindings)


def test_dropped_queue_takes_its_bindings_along(topology: Topology) -> None:
    """A queue that is dropped leaves nothing to be replayed."""
    topology.put_queue(DURABLE)
    topology.bind([SUB_A])

    topology.drop_queue("sub", delete=False)

    snapshot = topology.snapshot()
    assert ((QueueSpec(BROADCAST),), (), ()) == (
        snapshot.queues,
        snapshot.bindings,
        snapshot.deletions,
    )
    assert 0 == topology.drop_queue("sub", delete=True)


def test_deletion_outlives_a_loss(topology: Topology) -> None:
    """A queue that is to be deleted is remembered until it is."""
    topology.put_queue(DURABLE)
    generation = topology.drop_queue("sub", delete=True)
    topology.lost()
    topology.connected()
    assert [DURABLE] == [change.what for change in topology.snapshot().deletions]
    assert not topology.wait(generation, 0)

    topology.deleted("x.sub")

    assert () == topology.snapshot().deletions
    assert topology.wait(generation, 0)


def test_troubled_queue(topology: Topology) -> None:
    """Whoever waits for a refused queue is told; it is wished for all the same."""
    topology.connected()
    topology.put_queue(DURABLE)
    topology.bind([SUB_A])

    topology.trouble("sub", BrokerRefused("no"), is_refusal=True)

    with pytest.raises(BrokerRefused, match="no"):
        topology.wait(topology.generation_of([SUB_A]), 1)
    assert ["sub"] == list(topology.troubles)
    assert DURABLE in topology.snapshot().queues
    topology.stands("sub", topology.snapshot().generation)
    assert {} == topology.troubles


def test_trouble_that_may_pass(topology: Topology) -> None:
    """Whoever waits for a queue that may come goes on waiting."""
    topology.connected()
    generation = topology.put_queue(DURABLE)

    topology.trouble("sub", BrokerUnavailable("later"), is_refusal=False)

    assert not topology.wait(generation, 0.01)


def test_refused_exchange(topology: Topology) -> None:
    """An exchange that the broker refuses is taken back, and may be wished for again."""
    topology.connected()
    exchange = ExchangeSpec("x.topics", feeds_main=True)
    generation = topology.put_exchange(exchange)

    topology.refuse(topology.changes(), BrokerRefused("no"))

    with pytest.raises(BrokerRefused):
        topology.wait(generation, 1)
    assert () == topology.snapshot().exchanges
    assert generation < topology.put_exchange(exchange)
