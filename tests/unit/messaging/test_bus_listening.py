"""What listeners may ask for, and what that costs at the broker."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from antiphon.errors import InvalidBusOption
from antiphon.events.api import BaseEvent
from antiphon.events.origin import Prefix
from antiphon.messaging.bus import BrokerEventManager, BusOptions
from antiphon.messaging.memory import MemoryBroker
from antiphon.wire.source import RemoteSource

Opener = Callable[..., BrokerEventManager]


class Saved(BaseEvent):
    """A document was saved."""


class LetterSaved(Saved):
    """A letter was."""


class Mixin:
    """No event class."""


class Mixed(Mixin, BaseEvent):
    """An event with a class beside."""


class End(BaseEvent):
    """The last event of a test, which tells that nothing else comes."""


class Store:
    """A source with an identity."""

    def __init__(self, number: int, origin: str | None = None) -> None:
        self.store_id = UUID(int=number)
        self.origin = origin


def numbers_until_end(heard: Any, sender: BrokerEventManager, receiver: BrokerEventManager) -> Any:
    """Emit the end, wait until it is heard, and return the numbers of the others."""
    receiver.connect(End, heard)
    sender.emit(End(number="end"))
    deadline = time.monotonic() + 10
    while not any(type(event) is End for event in heard.events):
        assert time.monotonic() < deadline
        heard.wait(len(heard.events) + 1)
    return [event.number for event in heard.events if type(event) is not End]


def test_subclasses(bus_of: Opener, heard: Any) -> None:
    """A listener of a class hears its subclasses, and not its bases."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(LetterSaved, heard)
    receiver.connect(Saved, heard, filter={"number": 3})

    for number, cls in enumerate((Saved, LetterSaved, Saved, Saved)):
        sender.emit(cls(number=number))

    assert [1, 3] == numbers_until_end(heard, sender, receiver)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (None, [0, 1, 2, 3, 4]),
        ("a", [0]),
        (Prefix("a"), [0, 1]),
        (Prefix("a.b"), [1]),
        (["a", "c"], [0, 3]),
        ([Prefix("a"), "ab"], [0, 1, 2]),
        ([], []),
        ("", []),
    ],
)
def test_origins(bus_of: Opener, heard: Any, spec: Any, expected: list[int]) -> None:
    """One origin, a prefix, several, or all, the ones without origin included."""
    receiver = bus_of("receiver")
    receiver.connect(Saved, heard, origin=spec)
    senders = [bus_of(origin) for origin in ("a", "a.b", "ab", "c", None)]

    for number, sender in enumerate(senders):
        sender.emit(Saved(number=number))
        sender.flush(10)

    assert expected == numbers_until_end(heard, senders[0], receiver)


def test_own_default_origin_is_not_put_on_others(bus_of: Opener, heard: Any) -> None:
    """An event that came without origin does not get that of the process that hears it."""
    sender, receiver = bus_of(None), bus_of("mine")
    receiver.connect(Saved, heard, origin="mine")

    sender.emit(Saved(number=1))
    receiver.emit(Saved(number=2))

    assert [2] == numbers_until_end(heard, sender, receiver)


def test_origin_of_a_source(bus_of: Opener, heard: Any) -> None:
    """A store's own origin counts before that of the process."""
    sender, receiver = bus_of("process"), bus_of()
    receiver.connect(Saved, heard, origin="catalogue")

    sender.emit(Saved(Store(1, "catalogue"), number=1))
    sender.emit(Saved(Store(1), number=2))
    sender.emit(Saved(Store(1, "catalogue"), origin="event", number=3))

    assert [1] == numbers_until_end(heard, sender, receiver)


def test_local_scope(bus_of: Opener, heard: Any) -> None:
    """A listener of local scope hears its own process only, and binds nothing."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard, scope="local")
    assert 0 == receiver.stats().bindings

    sender.emit(Saved(number=1))
    receiver.emit(Saved(number=2))

    assert [2] == numbers_until_end(heard, sender, receiver)


def test_local_scope_and_origin(bus_of: Opener, heard: Any) -> None:
    """Both may be asked for together."""
    bus = bus_of("mine")
    bus.connect(Saved, heard, scope="local", origin="other")

    bus.emit(Saved(number=1))
    bus.emit(Saved(number=2, origin="other"))

    assert [2] == [event.number for event in heard.events]


def test_bad_arguments(bus_of: Opener) -> None:
    """A scope or an origin that is none is an error, and connects nothing."""
    bus = bus_of()

    with pytest.raises(InvalidBusOption, match="'local' or 'cluster', not 'galaxy'"):
        bus.connect(Saved, print, scope="galaxy")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="values; 'number' does not"):
        bus.connect(Saved, print, filter="number")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"an origin is text.*not 7"):
        bus.connect(Saved, print, origin=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="an origin is text"):
        bus.connect(Saved, print, origin=[7])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        bus.connect(Saved, "no function")  # type: ignore[arg-type]

    assert 0 == bus.stats().bindings
    assert [] == bus.get_listeners(Saved)


def test_replaced(bus_of: Opener, heard: Any) -> None:
    """Connecting a listener to a class again replaces filter and origin, here and at the broker."""
    sender, receiver = bus_of("a"), bus_of()
    receiver.connect(Saved, heard, origin="b")

    bindings = receiver.stats().bindings
    receiver.connect(Saved, heard, filter={"kind": "x"}, origin="a")
    assert bindings == receiver.stats().bindings
    sender.emit(Saved(number=1, kind="y"))
    sender.emit(Saved(number=2, kind="x"))

    assert [2] == numbers_until_end(heard, sender, receiver)


def test_disconnected(bus_of: Opener, heard: Any) -> None:
    """A disconnected listener hears nothing, and its binding goes with the last that needs it."""
    sender, receiver = bus_of(), bus_of()
    other: list[Any] = []
    receiver.connect(Saved, heard)
    receiver.connect(Saved, other.append)
    bindings = receiver.stats().bindings

    receiver.disconnect(Saved, heard)
    assert bindings == receiver.stats().bindings
    receiver.disconnect(Saved, other.append)

    assert 0 == receiver.stats().bindings
    receiver.connect(End, other.append)  # the broker has heard of both when this returns
    sender.emit(Saved(number=1))
    assert [] == numbers_until_end(heard, sender, receiver)
    assert 1 == receiver.stats().received
    with pytest.raises(KeyError):
        receiver.disconnect(Saved, heard)


def test_many_listeners_share_a_binding(bus_of: Opener) -> None:
    """Twenty thousand listeners with other filters need one binding, and little time."""
    bus = bus_of()
    bus.connect(Saved, print, filter={"key": "first"})
    bindings = bus.stats().bindings
    listeners = [lambda event: None for _ in range(20_000)]

    began = time.perf_counter()
    for number, listener in enumerate(listeners):
        bus.connect(Saved, listener, filter={"key": number})
    took_s = time.perf_counter() - began

    assert bindings == bus.stats().bindings
    assert took_s < 4  # 0.3 s on the machine that it was written on
    for listener in listeners:
        bus.disconnect(Saved, listener)


def test_dead_method_gives_up_its_binding(bus_of: Opener, heard: Any) -> None:
    """A bound method whose object died is not called, and its binding goes eventually."""
    sender, receiver = bus_of(), bus_of()

    class Listener:
        def listen(self, event: Any) -> None:
            heard(event)

    listener = Listener()
    receiver.connect(Saved, listener.listen)
    receiver.connect(End, print)
    bindings = receiver.stats().bindings
    del listener
    gc.collect()

    sender.emit(Saved(number=1))
    assert [] == numbers_until_end(heard, sender, receiver)

    receiver.disconnect(End, heard)
    receiver.disconnect(End, print)
    assert 0 == receiver.stats().bindings < bindings


def test_object_at_the_same_address(bus_of: Opener) -> None:
    """A listener that takes a dead one's place and address keeps its binding."""
    bus = bus_of()

    class Listener:
        def listen(self, event: Any) -> None:
            raise AssertionError

    listener = None
    for _ in range(100):
        del listener  # so that its address is free for the next
        listener = Listener()
        bus.connect(Saved, listener.listen)
        assert bus.stats().bindings
    bus.connect(End, print)
    bus.disconnect(End, print)

    assert 1 == len(bus.get_listeners(Saved))
    assert bus.stats().bindings


def test_store_in_a_filter(bus_of: Opener, heard: Any) -> None:
    """{"source": store} means the store wherever it is open, not the object."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Saved, heard, filter={"source": Store(1)})

    sender.emit(Saved(Store(2), number=1))
    sender.emit(Saved(Store(1), number=2))
    receiver.emit(Saved(Store(1), number=3))

    assert [2, 3] == sorted(numbers_until_end(heard, sender, receiver))


def test_source_resolved(bus_of: Opener, heard: Any) -> None:
    """The source of an arriving event is the store that is open here, else a description."""
    sender, receiver = bus_of(), bus_of()
    mine = Store(1)
    receiver.add_source(mine)
    receiver.connect(Saved, heard)

    sender.emit(Saved(Store(1)))
    sender.emit(Saved(Store(2, "o")))
    first, second = heard.wait(2)
    receiver.remove_source(mine)
    sender.emit(Saved(Store(1)))

    assert mine is first.source
    assert RemoteSource("Store", "o", UUID(int=2)) == second.source
    assert RemoteSource("Store", None, UUID(int=1)) == heard.wait(3)[2].source


def test_no_event_class(bus_of: Opener, heard: Any) -> None:
    """A listener of a class that is no event class hears every event that has it."""
    sender, receiver = bus_of(), bus_of()
    receiver.connect(Mixin, heard)

    sender.emit(Saved(number=1))
    sender.emit(Mixed(number=2))

    assert [2] == numbers_until_end(heard, sender, receiver)


def test_by_name(bus_of: Opener, heard: Any) -> None:
    """A class that this process does not have is heard by its name, with all attributes."""
    sender, receiver = bus_of("a"), bus_of()
    gone = type("Archived", (Saved,), {"wire_name": "elsewhere:Archived"})
    receiver.connect_named("elsewhere:Archived", heard, {"kind": "x"}, origin="a")

    sender.emit(gone(number=1, kind="x"))
    sender.emit(gone(number=2, kind="y"))
    sender.emit(Saved(number=3, kind="x"))

    assert [1] == numbers_until_end(heard, sender, receiver)
    receiver.disconnect_named("elsewhere:Archived", heard)
    receiver.disconnect(End, heard)
    assert 0 == receiver.stats().bindings
    with pytest.raises(KeyError):
        receiver.disconnect_named("elsewhere:Archived", heard)


def test_by_name_hears_subclasses(bus_of: Opener, heard: Any) -> None:
    """The name of a base is enough."""
    sender, receiver = bus_of(), bus_of()
    base = type("Archived", (BaseEvent,), {"wire_name": "elsewhere:Archived"})
    derived = type("Burnt", (base,), {"wire_name": "elsewhere:Burnt"})
    receiver.connect_named("elsewhere:Archived", heard)

    sender.emit(derived(number=1))

    assert [1] == numbers_until_end(heard, sender, receiver)


def test_alias(bus_of: Opener) -> None:
    """A listener of a class with an alias asks the broker for both names."""
    bus = bus_of(options=BusOptions(canary_interval_s=0, answers_roll_call=False))
    cls = type("New", (BaseEvent,), {"wire_name": "shop:New", "wire_aliases": ("shop:Old",)})

    bus.connect(cls, print)

    assert {"#.shop:New.#", "#.shop:Old.#", "!.#"} == {
        binding.pattern for binding in bus._topology.snapshot().bindings
    }


def test_listener_that_raises(bus_of: Opener, heard: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A listener that raises is logged, and neither later listeners nor later events miss out."""
    sender, receiver = bus_of(), bus_of()

    def fail(event: Any) -> None:
        raise RuntimeError("broken listener")

    receiver.connect(Saved, fail, priority=1)
    receiver.connect(Saved, heard)

    sender.emit(Saved(number=1))
    sender.emit(Saved(number=2))

    assert [1, 2] == [event.number for event in heard.wait(2)]
    assert "broken listener" in caplog.text


def test_binding_while_disconnected(
    bus_of: Opener, heard: Any, memory_broker: MemoryBroker
) -> None:
    """Connecting while the broker is away returns at once, and holds when it is back."""
    sender, receiver = bus_of(), bus_of()
    memory_broker.stop()
    while sender.is_connected or receiver.is_connected:
        time.sleep(0.001)

    began = time.monotonic()
    receiver.connect(Saved, heard)
    assert time.monotonic() - began < 1
    memory_broker.start()
    assert sender.wait_connected(10)
    assert receiver.wait_connected(10)
    sender.emit(Saved(number=1))

    heard.wait()
