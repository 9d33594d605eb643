"""The declared set that transports replay."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from antiphon.errors import BrokerRefused
from antiphon.messaging.topology import BROADCAST, Binding, QueueSpec, Topology

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
