"""Streams of named subscriptions: nothing is missed, and the reader sets the pace."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable

import pytest

from antiphon import BaseEvent, BrokerEventManager
from antiphon.errors import InvalidBusOption
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.subscription_options import SubscriptionOptions

BusOf = Callable[..., BrokerEventManager]


class Entered(BaseEvent):
    """Something to be worked on."""


def run(coroutine: object) -> object:
    """Run *coroutine* to its end, soon."""
    return asyncio.run(asyncio.wait_for(coroutine, 20))  # type: ignore[arg-type]


async def take(bus: BrokerEventManager, count: int, *, name: str = "work") -> list[int]:
    """Read *count* events, and leave the stream as one should."""
    found: list[int] = []
    async with bus.stream(Entered, subscription=name) as stream:
        async for event in stream:
            found.append(event.n)
            if len(found) == count:
                break
    return found


async def emit_later(bus: BrokerEventManager, count: int) -> None:
    """Emit so many events, and wait until the broker has them."""
    for n in range(count):
        bus.emit(Entered(n=n))
    await asyncio.to_thread(bus.flush, 10)


async def subscribed(bus: BrokerEventManager) -> None:
    """Wait until the queue of the bus's subscription stands."""
    while not bus.durable_subscriptions:
        await asyncio.sleep(0.001)
    assert await asyncio.to_thread(bus.durable_subscriptions[0].wait_ready, 10)


def test_what_was_not_read_waits(bus_of: BusOf) -> None:
    """A stream goes on where the last one of its name has ended, in order, without repeats."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> list[int]:
        async with receiver.stream(Entered, subscription="work"):
            pass
        await emit_later(sender, 30)
        first = await take(receiver, 10)
        return first + await take(receiver, 20)

    assert list(range(30)) == run(read())


def test_own_events_come_too(bus_of: BusOf) -> None:
    """A subscription hears its own bus, through the broker."""
    bus = bus_of()

    async def read() -> list[int]:
        async with bus.stream(Entered, subscription="work") as stream:
            bus.emit(Entered(n=1))
            return [(await anext(stream)).n]

    assert [1] == run(read())


def test_the_reader_sets_the_pace(bus_of: BusOf) -> None:
    """Without a reader that asks, one event is at hand and the rest is not begun with."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> tuple[int, int]:
        async with receiver.stream(Entered, subscription="work") as stream:
            await emit_later(sender, 500)
            while not stream.waiting:
                await asyncio.sleep(0.001)
            (subscription,) = receiver.durable_subscriptions
            return stream.waiting, subscription.stats().handled

    assert (1, 0) == run(read())


def test_an_event_whose_handling_failed_comes_again(bus_of: BusOf) -> None:
    """What was at hand when the body raised is not handled; the ones before are."""
    sender, receiver = bus_of(), bus_of()

    async def fail() -> None:
        async with receiver.stream(Entered, subscription="work") as stream:
            await emit_later(sender, 5)
            async for event in stream:
                if event.n == 2:
                    raise ZeroDivisionError

    async def read() -> list[int]:
        with pytest.raises(ZeroDivisionError):
            await fail()
        return await take(receiver, 3)

    assert [2, 3, 4] == run(read())


def test_a_cancelled_task_gives_its_event_back(bus_of: BusOf) -> None:
    """Cancelled in the midst of an event, a reader leaves it to the next."""
    sender, receiver = bus_of(), bus_of()
    at_work = asyncio.Event()

    async def work() -> None:
        async with receiver.stream(Entered, subscription="work") as stream:
            async for _ in stream:
                at_work.set()
                await asyncio.sleep(60)

    async def read() -> list[int]:
        working = asyncio.create_task(work())
        await subscribed(receiver)
        await emit_later(sender, 2)
        await at_work.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        return await take(receiver, 2)

    assert [0, 1] == run(read())


def test_a_dropped_stream_ends(bus_of: BusOf) -> None:
    """After ``break`` without ``async with`` the subscription is closed; what was at hand stays."""
    sender, receiver = bus_of(), bus_of()

    async def leave() -> None:
        async for _ in receiver.stream(Entered, subscription="work"):
            break

    async def read() -> list[int]:
        async with receiver.stream(Entered, subscription="work"):
            await emit_later(sender, 3)
        await leave()
        gc.collect()
        while receiver.durable_subscriptions:
            await asyncio.sleep(0.001)
        return await take(receiver, 3)

    assert [0, 1, 2] == run(read())


def test_closing_the_bus_lets_the_reader_go(bus_of: BusOf) -> None:
    """A reader that has an event at hand gets the end next, and the event comes again."""
    sender, receiver, other = bus_of(), bus_of(), bus_of()

    async def read() -> list[int]:
        found = []
        async with receiver.stream(Entered, subscription="work") as stream:
            await emit_later(sender, 3)
            async for event in stream:
                found.append(event.n)
                await asyncio.to_thread(receiver.close)
        return found + await take(other, 3)

    assert [0, 0, 1, 2] == run(read())


def test_the_end_of_the_loop_ends_it(bus_of: BusOf) -> None:
    """A stream whose loop is gone gives its subscription up when the next event comes."""
    sender, receiver = bus_of(), bus_of()
    stream = receiver.stream(Entered, subscription="work")

    async def begin() -> None:
        await stream.__aenter__()

    asyncio.run(begin())
    sender.emit(Entered(n=1))
    pause = threading.Event()
    while receiver.durable_subscriptions:
        pause.wait(0.001)

    assert stream.is_closed


def test_a_lost_connection_repeats_nothing(bus_of: BusOf, memory_broker: MemoryBroker) -> None:
    """What is at hand when the connection breaks is read once."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> list[int]:
        found = []
        async with receiver.stream(Entered, subscription="work") as stream:
            await emit_later(sender, 20)
            async for event in stream:
                found.append(event.n)
                if event.n == 5:
                    memory_broker.disconnect_all()
                    assert await asyncio.to_thread(receiver.wait_connected, 10)
                if event.n == 19:
                    break
        return found

    assert list(range(20)) == run(read())


def test_groups_share(bus_of: BusOf) -> None:
    """Two streams of one group have each event once between them."""
    sender, one, other = bus_of(), bus_of(), bus_of()
    found: list[int] = []

    async def work(bus: BrokerEventManager) -> None:
        async with bus.stream(Entered, subscription="work", mode="group") as stream:
            async for event in stream:
                found.append(event.n)

    async def read() -> list[int]:
        workers = [asyncio.create_task(work(bus)) for bus in (one, other)]
        await subscribed(one)
        await subscribed(other)
        await emit_later(sender, 40)
        while len(found) < 40:
            await asyncio.sleep(0.001)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        return sorted(found)

    assert list(range(40)) == run(read())


def test_one_reader(bus_of: BusOf) -> None:
    """Two tasks that wait for the same subscription's next event are refused."""
    bus = bus_of()

    async def read() -> None:
        async with bus.stream(Entered, subscription="work") as stream:
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="by one task"):
                await anext(stream)
            waiting.cancel()

    run(read())


def test_wrong_arguments(bus_of: BusOf) -> None:
    """Several workers have no one stream, and a mode needs a name."""
    bus = bus_of()

    with pytest.raises(InvalidBusOption, match="one reader"):
        bus.stream(Entered, subscription="work", options=SubscriptionOptions(workers=2))
    with pytest.raises(InvalidBusOption, match="name one"):
        bus.stream(Entered, mode="group")


def test_subscriber_decorator(bus_of: BusOf) -> None:
    """A decorated function is subscribed, and stays what it was."""
    sender, receiver = bus_of(), bus_of()
    heard: list[int] = []
    done = threading.Event()

    @receiver.subscriber("audit", Entered, mode="group", filter={"n": 2})
    def note(event: BaseEvent) -> None:
        heard.append(event.n)
        done.set()

    sender.emit(Entered(n=1))
    sender.emit(Entered(n=2))
    done.wait(10)
    note(Entered(n=3))

    assert [2, 3] == heard
    assert ["audit"] == [one.name for one in receiver.durable_subscriptions]
