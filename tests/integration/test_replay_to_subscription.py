"""A replay to a subscription on RabbitMQ, while the broker is killed, too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bus_helpers import Heard, Numbered, wait_until

from antiphon import BrokerEventManager, BusOptions, open_bus
from antiphon.archive import Event, EventStore, Replayed, open_archive, replay
from antiphon.archive.recorded import recorded
from antiphon.errors import QueueMissing
from antiphon.events.delivery import delivery_of
from antiphon.testing.servers import RabbitMQ


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[EventStore]:
    with open_archive(f"sqlite:///{tmp_path / 'archive.db'}") as store:
        yield store


def fill(archive: EventStore, bus: BrokerEventManager, count: int, size: int = 100) -> None:
    """Emit events, and save them as they come back from the broker, as a recorder does."""
    events: list[Event] = []
    batched = bus.subscribe_batches(
        "recorder",
        Numbered,
        lambda received: events.extend(recorded(one.event, one.message) for one in received),
    )
    with batched:
        for number in range(count):
            bus.emit(Numbered(number=number, text="x" * size))
        bus.flush(20)
        wait_until(lambda: len(events) >= count, f"{count} events were recorded")
    archive.save_many(events)


def test_a_subscriber_handles_all_of_it_once_more(
    amqp_url: str, system: str, archive: EventStore
) -> None:
    """In order, each once, marked; and other subscriptions and listeners get nothing."""
    heard, others = Heard(), Heard()
    with open_bus(amqp_url, system=system) as bus, open_bus(amqp_url, system=system) as operator:
        bus.subscribe("books", Numbered, heard)
        bus.subscribe("others", Numbered, others)
        fill(archive, bus, 3000)
        heard.wait(3000)
        done = replay(archive, 0, to=operator.replay_to("books"))
        again = heard.wait(6000)[3000:]
        bus.emit(Numbered(number=-1))
        heard.wait(6001)
        others.wait(3001)

    assert 3000 == done.sent
    assert list(range(3000)) == [event.number for event in again]
    assert {True} == {told.replayed for told in map(delivery_of, again) if told}
    assert (6001, 3001) == (len(heard.events), len(others.events))


def test_what_waits_for_a_subscriber_that_is_away(
    amqp_url: str, system: str, archive: EventStore
) -> None:
    """Two replays are two; the broker keeps them as anything else."""
    with open_bus(amqp_url, system=system) as bus:
        fill(archive, bus, 100)
        bus.subscribe("books", Numbered, Heard()).close()
        for _ in range(2):
            replay(archive, 0, to=bus.replay_to("books"))
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus:
        bus.subscribe("books", Numbered, heard)
        heard.wait(200)

    assert list(range(100)) * 2 == heard.numbers


def test_any_queue_can_be_replayed_to(amqp_url: str, system: str, archive: EventStore) -> None:
    """By its name; one that is not there is told."""
    heard = Heard()
    with open_bus(amqp_url, system=system) as bus:
        subscription = bus.subscribe("books", Numbered, heard)
        fill(archive, bus, 10)
        replay(archive, 0, to=bus.replay_to(queue=subscription.queue))
        heard.wait(20)

        with pytest.raises(QueueMissing, match="nobody"):
            replay(archive, 0, to=bus.replay_to("nobody"))

    assert list(range(10)) * 2 == heard.numbers


class Disturbed:
    """Replays on a thread, and tells when the first events were sent."""

    def __init__(self, archive: EventStore, bus: BrokerEventManager) -> None:
        self.has_begun = threading.Event()
        self.done: Replayed | None = None
        self._archive, self._bus = archive, bus
        self._thread = threading.Thread(target=self._replay)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    def _progress(self, so_far: Replayed) -> None:
        if so_far.sent:
            self.has_begun.set()

    def _replay(self) -> None:
        queue = self._bus.replay_to("books")
        self.done = replay(self._archive, 0, to=queue, progress=self._progress)


def test_a_replay_goes_on_when_the_broker_is_back(
    broker: RabbitMQ, broker_url: str, archive: EventStore
) -> None:
    """After kill -9, in order; the subscriber, which lives on, handles each event once."""
    count, size = 4000, 4000  # so that it takes longer than to kill the broker
    heard = Heard()
    options = BusOptions(batch_events=1)
    with (
        open_bus(f"{broker_url}?heartbeat=2", options=options) as bus,
        open_bus(f"{broker_url}?heartbeat=2") as operator,
    ):
        fill(archive, bus, count, size)
        bus.subscribe("books", Numbered, heard)
        running = Disturbed(archive, operator)
        try:
            assert running.has_begun.wait(30)
            broker.kill()
            wait_until(lambda: not operator.is_connected, "the loss is noticed")
            assert running.done is None
            broker.start()
            broker.wait_ready()
        finally:
            running.join()
        heard.wait(count)

    assert running.done is not None
    assert count == running.done.sent
    assert list(range(count)) == heard.numbers
