"""A bus that emits faster than the broker takes, or without one; and what it leaves on disk."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import (
    BusClosed,
    EventsDropped,
    FlushTimeout,
    InvalidBusOption,
    PublishBufferFull,
    SpoolInUse,
)
from antiphon.events.api import BaseEvent
from antiphon.messaging.bus import BrokerEventManager, BusOptions, open_bus
from antiphon.messaging.memory import MemoryBroker

Opener = Callable[..., BrokerEventManager]

PATIENCE_S = 10.0


class Counted(BaseEvent):
    """An event with a number."""


def emit(bus: BrokerEventManager, *numbers: int) -> None:
    for number in numbers:
        bus.emit(Counted(number=number))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline


def is_waiting(bus: BrokerEventManager) -> bool:
    return bool(bus._outgoing._waiters)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("when_full", "wait"),
        ("buffer_events", 0),
        ("batch_events", 0),
        ("batch_events", 1.5),
        ("batch_bytes", -1),
        ("spool_bytes", 0),
        ("block_timeout_s", -1),
        ("spool", ""),
        ("spool", 5),
    ],
)
def test_options_that_make_no_sense(option: str, value: object) -> None:
    """They are named, with what is allowed, before anything is opened."""
    with pytest.raises(InvalidBusOption, match=f"{option} is .*not {value!r}"):
        BusOptions(**{option: value})  # type: ignore[arg-type]


def test_many_events_few_messages(bus_of: Opener, memory_broker: MemoryBroker, heard: Any) -> None:
    """Events that wait for the broker travel together, and are heard one by one, in order."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Counted, heard)
    memory_broker.hold_confirms()
    emit(sender, *range(1000))
    memory_broker.release_confirms()

    assert list(range(1000)) == [event.number for event in heard.wait(1000)]
    sender.flush(PATIENCE_S)
    assert sender.stats().messages < 100
    assert 1000 == sender.stats().confirmed


def test_one_event_a_message(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """Joining can be switched off."""
    sender = bus_of(options=BusOptions(batch_events=1))
    memory_broker.hold_confirms()
    emit(sender, *range(100))
    memory_broker.release_confirms()
    sender.flush(PATIENCE_S)

    assert 100 == sender.stats().messages


def test_block_by_default(bus_of: Opener, memory_broker: MemoryBroker, heard: Any) -> None:
    """With the buffer full emit waits, until the broker has taken something."""
    sender, receiver = bus_of(options=BusOptions(buffer_events=3)), bus_of()
    receiver.connect(Counted, heard)
    memory_broker.hold_confirms()
    thread = threading.Thread(target=emit, args=(sender, *range(10)))
    thread.start()
    wait_until(lambda: is_waiting(sender))
    memory_broker.release_confirms()
    thread.join(PATIENCE_S)

    assert list(range(10)) == [event.number for event in heard.wait(10)]
    assert sender.stats().blocked_s > 0
    assert 0 == sender.stats().rejected


def test_block_only_so_long(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """After its time emit raises, and nobody has heard of the event."""
    sender = bus_of(options=BusOptions(buffer_events=2, block_timeout_s=0.05))
    here: list[Any] = []
    sender.connect(Counted, here.append)
    memory_broker.hold_confirms()
    emit(sender, 1, 2)

    with pytest.raises(PublishBufferFull, match="2 events"):
        emit(sender, 3)

    assert [1, 2] == [event.number for event in here]
    assert 1 == sender.stats().rejected
    memory_broker.release_confirms()


def test_close_lets_the_blocked_go(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """A thread that waits for room hears at once that the bus was closed."""
    sender = bus_of(options=BusOptions(buffer_events=1, block_timeout_s=60))
    memory_broker.hold_confirms()
    emit(sender, 1)
    raised: list[Exception] = []

    def emit_more() -> None:
        try:
            emit(sender, 2)
        except BusClosed as exc:
            raised.append(exc)

    thread = threading.Thread(target=emit_more)
    thread.start()
    wait_until(lambda: is_waiting(sender))
    sender.close(0.05)
    thread.join(PATIENCE_S)

    assert 1 == len(raised)


def test_a_blocked_listener_hinders_nobody(
    bus_of: Opener, memory_broker: MemoryBroker, heard: Any
) -> None:
    """A listener that emits and finds no room waits by itself: what it waits for goes on."""
    relay = bus_of(options=BusOptions(buffer_events=2, block_timeout_s=60))
    sender, receiver = bus_of(), bus_of()
    relay.connect(Counted, lambda event: relay.emit(BaseEvent(twice=event.number * 2)))
    receiver.connect(BaseEvent, heard, filter={"twice": 18})
    memory_broker.hold_confirms()
    emit(sender, *range(10))
    wait_until(lambda: is_waiting(relay))

    memory_broker.release_confirms()

    heard.wait()


def test_drop_the_oldest(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """emit never waits, the oldest go, and flush tells once how many."""
    sender = bus_of(options=BusOptions(buffer_events=5, when_full="drop_oldest"))
    memory_broker.stop()
    wait_until(lambda: not sender.is_connected)
    emit(sender, *range(20))
    memory_broker.start()

    with pytest.raises(EventsDropped, match="15 events emitted since the last flush"):
        sender.flush(PATIENCE_S)

    sender.flush(PATIENCE_S)
    assert (20, 5, 15) == (
        sender.stats().emitted,
        sender.stats().confirmed,
        sender.stats().dropped,
    )


def test_flush_by_many_threads(bus_of: Opener) -> None:
    """Fifty threads emit and flush; each returns when its own are confirmed."""
    sender = bus_of(options=BusOptions(buffer_events=100))
    failed: list[Exception] = []

    def work(start: int) -> None:
        try:
            for number in range(20):
                emit(sender, start + number)
                sender.flush(PATIENCE_S)
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(20 * number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [] == failed
    assert (1000, 0) == (sender.stats().confirmed, sender.stats().buffered)


def test_flush_of_a_bus_that_is_closed_meanwhile(
    bus_of: Opener, memory_broker: MemoryBroker
) -> None:
    """flush ends with BusClosed, not with the end of its time."""
    sender = bus_of()
    memory_broker.hold_confirms()
    emit(sender, 1)
    threading.Timer(0.05, sender.close, (0.05,)).start()

    with pytest.raises(BusClosed):
        sender.flush(60)


def test_flush_says_why(bus_of: Opener, memory_broker: MemoryBroker) -> None:
    """Without a broker flush tells what is known of it."""
    sender = bus_of()
    memory_broker.stop()
    wait_until(lambda: not sender.is_connected)
    emit(sender, 1)

    with pytest.raises(FlushTimeout, match=r"not confirmed 1 events within 0\.05 s \(.*broker"):
        sender.flush(0.05)


# -- With a spool ----------------------------------------------------------------


def test_spool_of_a_closed_bus(
    bus_of: Opener, memory_broker: MemoryBroker, heard: Any, tmp_path: Path
) -> None:
    """What a bus leaves behind is sent by the next on the same directory, before its own."""
    receiver = bus_of()
    receiver.connect(Counted, heard)
    options = BusOptions(spool=tmp_path / "spool", buffer_events=10)
    memory_broker.hold_confirms()
    first = bus_of(options=options)
    memory_broker.stop()
    wait_until(lambda: not first.is_connected)
    emit(first, *range(50))
    first.close(0.05)
    memory_broker.start()
    wait_until(lambda: receiver.is_connected)
    memory_broker.release_confirms()

    second = bus_of(options=options)
    emit(second, 50)
    second.flush(PATIENCE_S)

    assert list(range(51)) == [event.number for event in heard.wait(51)]
    assert (50, 1, 51) == (
        second.stats().recovered,
        second.stats().emitted,
        second.stats().confirmed,
    )


def test_spool_in_use(bus_of: Opener, tmp_path: Path) -> None:
    """A second bus cannot use it, and leaves nothing of itself behind."""
    options = BusOptions(spool=tmp_path / "spool")
    first = bus_of(options=options)

    with pytest.raises(SpoolInUse, match=f"process {os.getpid()}"):
        bus_of(options=options)

    first.close()
    bus_of(options=options)


def test_spool_of_a_bus_that_cannot_be_opened(
    memory_url: str, memory_broker: MemoryBroker, tmp_path: Path
) -> None:
    """It is given back, so that the next attempt may use it."""
    options = BusOptions(spool=tmp_path / "spool")
    memory_broker.stop()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            open_bus(memory_url, options=options, connect_timeout_s=0.05)


def test_spool_after_a_fork(bus_of: Opener, memory_broker: MemoryBroker, tmp_path: Path) -> None:
    """A child has no part in its parent's spool, and does not keep it locked."""
    options = BusOptions(spool=tmp_path / "spool")
    memory_broker.hold_confirms()
    bus = bus_of(options=options)
    emit(bus, 1)
    (go_on, went_on), (at_rest, rested) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(went_on)
        try:
            emit(bus, 2)
        except BusClosed:
            os.write(rested, b".")
            os.read(go_on, 1)  # until the parent has opened it again
            os._exit(0)
        os._exit(1)
    os.close(go_on)
    os.close(rested)
    try:
        assert b"." == os.read(at_rest, 1)  # it has let go of the spool, however late it ran
        bus.close(0.05)
        memory_broker.release_confirms()

        again = bus_of(options=options)
    finally:
        os.close(went_on)
        os.close(at_rest)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 1 == again.stats().recovered
