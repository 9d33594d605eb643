"""Events read with ``async for``."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable

import pytest

from antiphon import BaseEvent, BrokerEventManager
from antiphon.errors import BusClosed, InvalidBusOption, StreamOverrun
from antiphon.messaging.memory import MemoryBroker
from antiphon.messaging.streams import Stream

BusOf = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""


class Renamed(Saved):
    """It got another name, too."""


class Closed(BaseEvent):
    """A document was closed."""


async def numbers(stream: AsyncIterator[BaseEvent], count: int) -> list[int]:
    """Return the numbers of the next *count* events."""
    found: list[int] = []
    async for event in stream:
        found.append(event.n)
        if len(found) == count:
            break
    return found


def test_events_of_other_processes_in_order(bus_of: BusOf) -> None:
    """A stream gives what another bus emits, in its order, subclasses included."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> list[int]:
        async with receiver.stream(Saved) as stream:
            for n in range(100):
                sender.emit((Saved, Renamed, Closed)[n % 3](n=n))
            return await numbers(stream, 66)

    assert [n for n in range(99) if n % 3 != 2] == asyncio.run(read())


def test_filter_and_origin(bus_of: BusOf) -> None:
    """A stream chooses as ``connect`` does."""
    sender, receiver = bus_of("here"), bus_of()

    async def read() -> list[int]:
        async with receiver.stream(Saved, filter={"kind": "a"}, origin="here") as stream:
            sender.emit(Saved(n=1, kind="b"))
            sender.emit(Saved(n=2, kind="a", origin="there"))
            sender.emit(Saved(n=3, kind="a"))
            return await numbers(stream, 1)

    assert [3] == asyncio.run(read())


def test_own_events(bus_of: BusOf) -> None:
    """What the loop's own thread emits is read, too."""
    bus = bus_of()

    async def read() -> list[int]:
        async with bus.stream(Saved) as stream:
            bus.emit(Saved(n=1))
            return await numbers(stream, 1)

    assert [1] == asyncio.run(read())


def test_several_classes(bus_of: BusOf) -> None:
    """A stream of several classes has an event that is of two of them once."""
    bus = bus_of()

    async def read() -> list[int]:
        async with bus.stream((Renamed, Saved, Closed)) as stream:
            for n, cls in enumerate((Renamed, Saved, Closed, BaseEvent, Renamed)):
                bus.emit(cls(n=n))
            return await numbers(stream, 4)

    assert [0, 1, 2, 4] == asyncio.run(read())


def test_a_waiting_reader_is_woken(bus_of: BusOf) -> None:
    """A reader that waits already gets what another thread emits."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> list[int]:
        async with receiver.stream(Saved) as stream:
            reading = asyncio.create_task(numbers(stream, 1))
            await asyncio.sleep(0)
            await asyncio.to_thread(sender.emit, Saved(n=7))
            return await reading

    assert [7] == asyncio.run(asyncio.wait_for(read(), 10))


def test_an_overrun_is_told_where_it_happened(bus_of: BusOf) -> None:
    """Events that found no room are told by an exception; reading goes on behind the gap."""
    bus = bus_of()

    async def read() -> list[object]:
        found: list[object] = []
        async with bus.stream(Saved, max_events=3) as stream:
            for n in range(5):
                bus.emit(Saved(n=n))
            found += await numbers(stream, 3)
            with pytest.raises(StreamOverrun, match="2 events are missing here"):
                await anext(stream)
            bus.emit(Saved(n=5))
            return [*found, *await numbers(stream, 1), stream.missed]

    assert [0, 1, 2, 5, 2] == asyncio.run(read())


def test_a_slow_reader_holds_up_nobody(bus_of: BusOf) -> None:
    """While a stream is full, other listeners on the same bus go on."""
    sender, receiver = bus_of(), bus_of()
    heard = threading.Event()
    receiver.connect(Closed, lambda event: heard.set())

    async def read() -> bool:
        async with receiver.stream(Saved, max_events=1):
            for n in range(10):
                sender.emit(Saved(n=n))
            sender.emit(Closed())
            return await asyncio.to_thread(heard.wait, 10)

    assert asyncio.run(read())


def test_closing_the_bus_ends_it(bus_of: BusOf) -> None:
    """A reader gets what came before, then the end; one that waits is let go."""
    bus = bus_of()

    async def read() -> list[int]:
        async with bus.stream(Saved) as stream:
            bus.emit(Saved(n=1))
            closing = asyncio.get_running_loop().run_in_executor(None, bus.close)
            found = [event.n async for event in stream]
            await closing
            return found

    assert [1] == asyncio.run(asyncio.wait_for(read(), 10))


def test_a_closed_bus_has_no_streams(bus_of: BusOf) -> None:
    """A stream of a closed bus is refused."""
    bus = bus_of()
    bus.close()

    with pytest.raises(BusClosed):
        bus.stream(Saved)


def test_cancelling_ends_it(bus_of: BusOf) -> None:
    """A task that is cancelled while it reads leaves no listener and no binding."""
    bus = bus_of()

    async def read() -> None:
        async with bus.stream(Saved) as stream:
            reading = asyncio.create_task(numbers(stream, 1))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(read())

    assert [] == bus.get_event(Saved).get_listeners()
    assert 0 == bus.stats().bindings


def test_break_ends_it(bus_of: BusOf) -> None:
    """A stream that nothing refers to any more is gone, with its listener."""
    bus = bus_of()

    async def read() -> list[object]:
        reading = asyncio.create_task(numbers(bus.stream(Saved), 1))
        while not bus.stats().bindings:
            await asyncio.sleep(0.001)
        bus.emit(Saved(n=1))
        assert [1] == await reading
        del reading
        gc.collect()
        return list(bus.get_event(Saved).get_listeners())

    assert [] == asyncio.run(asyncio.wait_for(read(), 10))


def test_the_end_of_its_loop_ends_it(bus_of: BusOf) -> None:
    """An event for a stream whose loop is closed ends the stream, not the emitter."""
    bus = bus_of()
    stream: Stream[Saved] = bus.stream(Saved)

    async def begin() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.05)

    asyncio.run(begin())
    bus.emit(Saved(n=1))

    assert stream.is_closed
    assert [] == bus.get_event(Saved).get_listeners()


def test_two_loops_and_several_streams(bus_of: BusOf) -> None:
    """Streams of one bus on several loops each have every event."""
    sender, receiver = bus_of(), bus_of()
    ready = threading.Barrier(3)
    found: list[list[int]] = []

    async def read() -> None:
        async with receiver.stream(Saved) as one, receiver.stream(BaseEvent) as other:
            await asyncio.to_thread(ready.wait, 10)
            found.extend(await asyncio.gather(numbers(one, 50), numbers(other, 50)))

    threads = [threading.Thread(target=lambda: asyncio.run(read())) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    for n in range(50):
        sender.emit(Saved(n=n))
    for thread in threads:
        thread.join(10)

    assert [list(range(50))] * 4 == found


def test_two_readers_share_one_stream(bus_of: BusOf) -> None:
    """Tasks that read the same stream get each event once between them."""
    bus = bus_of()

    async def read() -> list[int]:
        async with bus.stream(Saved) as stream:
            readers = [asyncio.create_task(numbers(stream, 5)) for _ in range(2)]
            await asyncio.sleep(0)
            for n in range(10):
                bus.emit(Saved(n=n))
                await asyncio.sleep(0)
            return sorted([n for reader in readers for n in await reader])

    assert list(range(10)) == asyncio.run(asyncio.wait_for(read(), 10))


def test_another_loop_is_refused(bus_of: BusOf) -> None:
    """A stream belongs to one loop."""
    bus = bus_of()
    stream = bus.stream(Saved)

    async def enter() -> None:
        await stream.__aenter__()

    asyncio.run(enter())
    with pytest.raises(RuntimeError, match="on which it began"):
        asyncio.run(enter())
    stream.close()
    stream.close()


def test_a_dropped_stream_is_not_kept(bus_of: BusOf) -> None:
    """The bus keeps no stream alive."""
    bus = bus_of()

    async def begin() -> weakref.ref[Stream[Saved]]:
        stream = bus.stream(Saved)
        await stream.__aenter__()
        return weakref.ref(stream)

    ref = asyncio.run(begin())
    gc.collect()

    assert ref() is None


def test_a_break_of_the_connection_is_survived(bus_of: BusOf, memory_broker: MemoryBroker) -> None:
    """A stream goes on after the bus has come back."""
    sender, receiver = bus_of(), bus_of()

    async def read() -> list[int]:
        async with receiver.stream(Saved) as stream:
            memory_broker.disconnect_all()
            for bus in (sender, receiver):
                assert await asyncio.to_thread(bus.wait_connected, 10)
            while not stream.waiting:
                sender.emit(Saved(n=1))
                await asyncio.sleep(0.01)
            return await numbers(stream, 1)

    assert [1] == asyncio.run(asyncio.wait_for(read(), 20))


@pytest.mark.parametrize(
    ("cls", "max_events"), [(int, 5), ((), 5), ("Saved", 5), (Saved, 0), (Saved, True)]
)
def test_wrong_arguments(bus_of: BusOf, cls: type[BaseEvent], max_events: int) -> None:
    """What makes no sense is refused at once."""
    with pytest.raises(InvalidBusOption):
        bus_of().stream(cls, max_events=max_events)


def test_listener_decorator(bus_of: BusOf) -> None:
    """A decorated function is connected, and stays what it was."""
    sender, receiver = bus_of("here"), bus_of()
    heard: list[int] = []
    done = threading.Event()

    @receiver.listener(Closed, origin="here")
    @receiver.listener(Saved, filter={"n": 2})
    def note(event: BaseEvent) -> None:
        heard.append(event.n)
        if type(event) is Closed:
            done.set()

    sender.emit(Saved(n=1))
    sender.emit(Saved(n=2))
    sender.emit(Closed(n=3))
    done.wait(10)
    note(Saved(n=4))

    assert [2, 3, 4] == heard
