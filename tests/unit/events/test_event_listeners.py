"""Listeners: how they are held, told apart, and let go."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from antiphon.events.api import BaseEvent, EventManager


class Owner:
    """An object with listening methods."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    def listen(self, event: BaseEvent) -> None:
        self.heard.append(event)

    def listen_too(self, event: BaseEvent) -> None:
        self.heard.append(event)

    @classmethod
    def of_the_class(cls, event: BaseEvent) -> None:
        event.heard_by = cls


@dataclass
class Equal:
    """All of these are equal, and none can be hashed."""

    def listen(self, event: BaseEvent) -> None:
        event.heard.append(id(self))


class Slotted:
    """Allows no weak references."""

    __slots__ = ()

    def listen(self, event: BaseEvent) -> None:
        pass


@pytest.fixture
def manager() -> EventManager:
    return EventManager()


# -- Bound methods ----------------------------------------------------------------


def test_a_method_does_not_keep_its_object(manager: EventManager) -> None:
    """The object goes as if nothing were connected, and the listener with it."""
    owner = Owner([])
    gone = weakref.ref(owner)
    manager.connect(BaseEvent, owner.listen)
    manager.connect(BaseEvent, owner.listen_too, filter={"a": 1})
    del owner

    assert gone() is None
    assert [] == manager.get_listeners(BaseEvent)


@pytest.mark.parametrize("filter", [None, {"a": 1}, {"a": [1]}])
@pytest.mark.parametrize("priority", [0, 1])
def test_a_gone_object_hears_nothing(manager: EventManager, filter: Any, priority: float) -> None:
    """Neither alone nor beside others, filtered or not."""
    heard: list[BaseEvent] = []
    owner = Owner(heard)
    manager.connect(BaseEvent, owner.listen, filter, priority)
    event = BaseEvent(a=(filter or {"a": 1})["a"])
    manager.emit(event)
    del owner
    manager.emit(event)

    assert [event] == heard


def test_an_object_that_goes_during_an_emit_is_passed_over(manager: EventManager) -> None:
    """What is called next was settled, but the object is not there any more."""
    heard: list[BaseEvent] = []
    owners = [Owner(heard)]
    manager.connect(BaseEvent, lambda event: owners.clear(), priority=1)
    manager.connect(BaseEvent, owners[0].listen)
    manager.emit(BaseEvent())

    assert [] == heard


def test_an_object_in_a_cycle_goes_with_the_collector(manager: EventManager) -> None:
    """The collector may find it at any time; the listener is gone then."""
    owner = Owner([])
    owner.heard.append(owner)
    manager.connect(BaseEvent, owner.listen)
    del owner
    gc.collect()

    assert [] == manager.get_listeners(BaseEvent)


def test_methods_are_told_apart_by_their_object(manager: EventManager) -> None:
    """Two equal objects are two listeners, and need not be hashable."""
    first, second = Equal(), Equal()
    manager.connect(BaseEvent, first.listen)
    manager.connect(BaseEvent, second.listen)
    manager.connect(BaseEvent, first.listen)
    event = BaseEvent(heard=[])
    manager.emit(event)

    assert [id(second), id(first)] == event.heard

    manager.disconnect(BaseEvent, first.listen)

    assert [second.listen] == manager.get_listeners(BaseEvent)


def test_each_method_of_an_object_is_a_listener(manager: EventManager) -> None:
    """Disconnecting one leaves the other."""
    owner = Owner([])
    manager.connect(BaseEvent, owner.listen)
    manager.connect(BaseEvent, owner.listen_too)
    manager.disconnect(BaseEvent, owner.listen)

    assert [owner.listen_too] == manager.get_listeners(BaseEvent)


def test_a_class_method_is_held_by_its_class(manager: EventManager) -> None:
    """It is a bound method of the class."""
    manager.connect(BaseEvent, Owner.of_the_class)
    event = BaseEvent()
    manager.emit(event)

    assert Owner is event.heard_by


def test_an_object_without_weak_references_is_refused(manager: EventManager) -> None:
    """The message says what to do; nothing is connected."""
    with pytest.raises(TypeError, match="__weakref__"):
        manager.connect(BaseEvent, Slotted().listen)

    assert [] == manager.get_listeners(BaseEvent)


def test_a_manager_goes_while_its_listeners_stay() -> None:
    """Objects that outlive a manager do not keep it, and go in peace."""
    manager = EventManager()
    owner = Owner([])
    manager.connect(BaseEvent, owner.listen)
    gone = weakref.ref(manager)
    del manager
    gc.collect()

    assert gone() is None

    del owner


# -- Everything else --------------------------------------------------------------


def test_functions_are_held(manager: EventManager) -> None:
    """A lambda that nobody else knows goes on hearing."""
    heard: list[BaseEvent] = []
    manager.connect(BaseEvent, lambda event: heard.append(event))
    gc.collect()
    manager.emit(BaseEvent())

    assert 1 == len(heard)


def test_a_disconnected_function_is_let_go(manager: EventManager) -> None:
    """Neither plans nor indexes keep what is not connected any more."""

    class Callable_:
        def __call__(self, event: BaseEvent) -> None:
            pass

    for filter in (None, {"a": 1}):
        listener = Callable_()
        gone = weakref.ref(listener)
        manager.connect(BaseEvent, listener, filter)
        manager.emit(BaseEvent(a=1))
        manager.disconnect(BaseEvent, listener)
        manager.emit(BaseEvent(a=1))
        del listener

        assert gone() is None


@pytest.mark.parametrize(
    "make",
    [
        lambda heard: heard.append,
        lambda heard: functools.partial(Owner.listen, Owner(heard)),
        lambda heard: Owner(heard).__class__(heard).heard.append,
    ],
)
def test_other_callables_are_held(
    manager: EventManager, make: Callable[[list[Any]], Callable[[BaseEvent], None]]
) -> None:
    """Methods of built-in objects, partials, and whatever can be called."""
    heard: list[BaseEvent] = []
    manager.connect(BaseEvent, make(heard))
    manager.emit(BaseEvent())

    assert 1 == len(heard)


def test_equal_callables_are_one_listener(manager: EventManager) -> None:
    """``heard.append`` is another object each time, but always equal."""
    heard: list[BaseEvent] = []
    manager.connect(BaseEvent, heard.append)
    manager.connect(BaseEvent, heard.append)
    manager.emit(BaseEvent())
    manager.disconnect(BaseEvent, heard.append)
    manager.emit(BaseEvent())

    assert 1 == len(heard)


def test_a_callable_need_not_be_hashable(manager: EventManager) -> None:
    """Then it is told from others by its identity."""

    @dataclass
    class Listener:
        heard: list[BaseEvent]

        def __call__(self, event: BaseEvent) -> None:
            self.heard.append(event)

    first, second = Listener([]), Listener([])
    manager.connect(BaseEvent, first)
    manager.connect(BaseEvent, second)
    manager.disconnect(BaseEvent, first)
    manager.emit(BaseEvent())

    assert (0, 1) == (len(first.heard), len(second.heard))


# -- In the middle of a change -----------------------------------------------------


class Meddler:
    """A listener whose comparison does something: a stand-in for a finalizer.

    The garbage collector may run finalizers while a change is being made; when,
    no test can say.  Connecting compares the new listener with the one that is
    there, and that is such a moment.
    """

    meddle: Callable[[], object] | None = None

    def __call__(self, event: BaseEvent) -> None:
        event.heard.append(self)

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()
        return self is other


@pytest.fixture
def meddler(manager: EventManager) -> Meddler:
    """A connected listener that meddles with the next connect."""
    meddler = Meddler()
    manager.connect(BaseEvent, meddler)
    return meddler


@pytest.mark.parametrize("filter", [None, {"a": 1}])
def test_connecting_in_the_middle_of_a_change(
    manager: EventManager, meddler: Meddler, filter: Any
) -> None:
    """What a finalizer connects is connected when the change is through."""
    new, second = (lambda event: None), Meddler()
    meddler.meddle = lambda: manager.connect(BaseEvent, new, filter)
    manager.connect(BaseEvent, second)

    assert [meddler, second, new] == manager.get_listeners(BaseEvent)


def test_disconnecting_in_the_middle_of_a_change(manager: EventManager, meddler: Meddler) -> None:
    """What a finalizer disconnects is gone when the change is through."""
    second = Meddler()
    manager.connect(BaseEvent, print)
    meddler.meddle = lambda: manager.disconnect(BaseEvent, print)
    manager.connect(BaseEvent, second)

    assert [meddler, second] == manager.get_listeners(BaseEvent)


def test_disconnecting_what_is_not_there_in_the_middle_of_a_change(
    manager: EventManager, meddler: Meddler
) -> None:
    """It is too late to tell anybody, and harms nothing."""
    second = Meddler()
    meddler.meddle = lambda: manager.disconnect(BaseEvent, print)
    manager.connect(BaseEvent, second)

    assert [meddler, second] == manager.get_listeners(BaseEvent)


def test_emitting_in_the_middle_of_a_change(manager: EventManager, meddler: Meddler) -> None:
    """What a finalizer emits is heard by those that are connected; the change takes hold."""
    event = BaseEvent(heard=[])
    manager.emit(event)
    second = Meddler()
    manager.connect(BaseEvent, second)
    meddler.meddle = lambda: manager.emit(event)
    manager.connect(BaseEvent, Meddler())
    manager.emit(event)

    assert 1 + 2 + 3 == len(event.heard)


def test_an_object_that_goes_in_the_middle_of_a_change(
    manager: EventManager, meddler: Meddler
) -> None:
    """Its listener is gone when the change is through."""
    owners, second = [Owner([])], Meddler()
    manager.connect(BaseEvent, owners[0].listen)
    meddler.meddle = owners.clear
    manager.connect(BaseEvent, second)

    assert [meddler, second] == manager.get_listeners(BaseEvent)


def test_thousands_of_objects_that_go_in_the_middle_of_a_change(
    manager: EventManager, meddler: Meddler
) -> None:
    """However many changes wait, they are made one after the other."""
    owners, second = [Owner([]) for _ in range(3000)], Meddler()
    for owner in owners:
        manager.connect(BaseEvent, owner.listen)
    del owner
    meddler.meddle = owners.clear
    manager.connect(BaseEvent, second)

    assert [meddler, second] == manager.get_listeners(BaseEvent)


def test_a_finalizer_may_disconnect(manager: EventManager) -> None:
    """An object that cleans up after itself does so from inside a change."""

    class Tidy:
        def __init__(self) -> None:
            self.other = lambda event: None
            manager.connect(BaseEvent, self.other)

        def __call__(self, event: BaseEvent) -> None:
            pass

        def __del__(self) -> None:
            manager.disconnect(BaseEvent, self.other)

    tidy = [Tidy()]
    manager.connect(BaseEvent, tidy[0], {"a": 1})
    manager.connect(BaseEvent, lambda event: None)
    manager.disconnect(BaseEvent, tidy.pop())

    assert 1 == len(manager.get_listeners(BaseEvent))
