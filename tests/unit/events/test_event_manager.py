"""The event manager: who hears what, in which order."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from antiphon.events import registry
from antiphon.events.api import BaseEvent, EventManager


class FileEvent(BaseEvent):
    """Something happened to a file."""


class SaveEvent(FileEvent):
    """A file was saved."""


class DeleteEvent(FileEvent):
    """A file was deleted."""


class Heard(list[Any]):
    """A list of what was heard, and by whom."""

    def by(self, name: str) -> Callable[[BaseEvent], None]:
        """Return a new listener that notes its name."""
        return lambda event: self.append(name)


@pytest.fixture
def manager() -> EventManager:
    return EventManager()


@pytest.fixture
def heard() -> Heard:
    return Heard()


# -- Classes -------------------------------------------------------------------


def test_a_listener_gets_the_event(manager: EventManager, heard: Heard) -> None:
    """What is emitted is what the listener is called with."""
    manager.connect(SaveEvent, heard.append)
    event = SaveEvent(filename="f")
    manager.emit(event)

    assert [event] == heard


def test_a_listener_hears_subclasses_only(manager: EventManager, heard: Heard) -> None:
    """Events of bases and of siblings pass it by."""
    manager.connect(SaveEvent, heard.append)
    for cls in (BaseEvent, FileEvent, DeleteEvent):
        manager.emit(cls())

    assert [] == heard


@pytest.mark.parametrize("base", [BaseEvent, FileEvent, SaveEvent])
def test_listeners_of_every_base_are_called(
    manager: EventManager, heard: Heard, base: type
) -> None:
    """A listener hears the events of all subclasses of its class."""
    manager.connect(base, heard.by("listener"))
    manager.emit(SaveEvent())

    assert ["listener"] == heard


def test_a_base_of_two_ways_is_called_once(manager: EventManager, heard: Heard) -> None:
    """In a diamond of classes the common base's listener hears an event once."""

    class Both(SaveEvent, DeleteEvent):
        pass

    manager.connect(FileEvent, heard.by("file"))
    manager.emit(Both())

    assert ["file"] == heard


def test_a_listener_on_two_classes_is_called_twice(manager: EventManager, heard: Heard) -> None:
    """Connections are one for each class and listener."""
    listener = heard.by("l")
    manager.connect(FileEvent, listener)
    manager.connect(SaveEvent, listener)
    manager.emit(SaveEvent())

    assert ["l", "l"] == heard


def test_a_mixin_can_be_listened_to(manager: EventManager, heard: Heard) -> None:
    """A class that is no event may be a base of events."""

    class Audited:
        pass

    class AuditedSave(SaveEvent, Audited):
        pass

    manager.connect(Audited, heard.by("audit"))
    manager.emit(AuditedSave())
    manager.emit(SaveEvent())

    assert ["audit"] == heard


def test_a_class_made_known_later_is_heard(manager: EventManager, heard: Heard) -> None:
    """A first listener of a base is heard by classes whose events were emitted before."""
    manager.connect(SaveEvent, heard.by("save"))
    manager.emit(SaveEvent())
    manager.connect(FileEvent, heard.by("file"))
    manager.emit(SaveEvent())

    assert ["save", "save", "file"] == heard


@pytest.mark.parametrize("filter", [None, {"a": 1}])
def test_classes_that_come_and_go_are_not_kept(
    manager: EventManager, heard: Heard, monkeypatch: pytest.MonkeyPatch, filter: Any
) -> None:
    """Some programs make classes as they run: no more than some thousands are remembered."""
    monkeypatch.setattr(registry, "MAX_PLANS", 3)
    manager.connect(BaseEvent, lambda event: heard.append(type(event)), filter)
    classes = [type(f"E{number}", (BaseEvent,), {}) for number in range(10)]
    expected = classes * 2
    for cls in expected:
        manager.emit(cls(a=1))

    assert expected == heard

    kept = [weakref.ref(cls) for cls in classes]
    del classes, expected, cls, heard[:]
    gc.collect()

    assert 3 >= sum(cls() is not None for cls in kept)


def test_what_is_no_class_is_refused(manager: EventManager) -> None:
    """Listeners are connected to classes, and the mistake is told at once."""
    with pytest.raises(TypeError, match="no class"):
        manager.connect("SaveEvent", print)  # type: ignore[arg-type]


@pytest.mark.parametrize("thing", ["saved", None, BaseEvent])
@pytest.mark.parametrize("block", [True, False])
def test_what_is_no_event_is_refused(manager: EventManager, thing: Any, block: bool) -> None:
    """Its class is none either; the message shows what is."""
    with pytest.raises(TypeError, match="an event is an object of BaseEvent"):
        manager.emit(thing, block)


def test_what_cannot_be_called_is_refused(manager: EventManager) -> None:
    """A listener is something to call, and the mistake is told at once."""
    with pytest.raises(TypeError, match="must be callable"):
        manager.connect(SaveEvent, "print")  # type: ignore[arg-type]

    assert [] == manager.get_listeners(SaveEvent)


# -- Order ---------------------------------------------------------------------


def test_higher_priorities_come_first(manager: EventManager, heard: Heard) -> None:
    """Priority goes before the order of connecting, and across classes."""
    manager.connect(SaveEvent, heard.by("low"), priority=-1)
    manager.connect(BaseEvent, heard.by("high"), priority=2)
    manager.connect(FileEvent, heard.by("middle"), priority=0.5)
    manager.connect(SaveEvent, heard.by("none"))
    manager.emit(SaveEvent())

    assert ["high", "middle", "none", "low"] == heard


def test_equal_priorities_go_by_the_order_of_connecting(
    manager: EventManager, heard: Heard
) -> None:
    """Also across classes, and filtered with unfiltered."""
    for number, cls in enumerate(itertools.islice(itertools.cycle([BaseEvent, SaveEvent]), 8)):
        manager.connect(cls, heard.by(str(number)), filter={"a": 1} if number % 3 == 0 else None)
    manager.emit(SaveEvent(a=1))

    assert [str(number) for number in range(8)] == heard


@pytest.mark.parametrize("sizes", [(100, 3), (3, 100), (60, 60)])
def test_many_listeners_of_two_classes_keep_their_order(
    manager: EventManager, heard: Heard, sizes: tuple[int, int]
) -> None:
    """However many each class has, the order is that of connecting."""
    left = {FileEvent: sizes[0], SaveEvent: sizes[1]}
    for number in range(sum(sizes)):
        cls = FileEvent if left[FileEvent] * sizes[1] >= left[SaveEvent] * sizes[0] else SaveEvent
        left[cls] -= 1
        manager.connect(cls, heard.by(str(number)))
    manager.emit(SaveEvent())

    assert [str(number) for number in range(sum(sizes))] == heard


def test_connecting_again_replaces_the_place(manager: EventManager, heard: Heard) -> None:
    """A listener that is connected again comes last, and once."""
    first, second = heard.by("first"), heard.by("second")
    manager.connect(SaveEvent, first)
    manager.connect(SaveEvent, second)
    manager.connect(SaveEvent, first)
    manager.emit(SaveEvent())

    assert ["second", "first"] == heard


def test_connecting_again_replaces_filter_and_priority(manager: EventManager, heard: Heard) -> None:
    """Nothing of the former connection is left."""
    first, second = heard.by("first"), heard.by("second")
    manager.connect(SaveEvent, first, filter={"a": 1}, priority=-5)
    manager.connect(SaveEvent, second)
    manager.connect(SaveEvent, first, filter={"b": 2}, priority=5)
    manager.emit(SaveEvent(a=1))
    manager.emit(SaveEvent(b=2))

    assert ["second", "first", "second"] == heard


def test_handled_events_go_no_further(manager: EventManager, heard: Heard) -> None:
    """Marking an event as handled keeps it from lower priorities, and from equal later ones."""
    manager.connect(SaveEvent, heard.by("before"), priority=2)
    manager.connect(SaveEvent, lambda event: event.mark_as_handled(), priority=1)
    manager.connect(SaveEvent, heard.by("later"), priority=1)
    manager.connect(FileEvent, heard.by("lower"))
    manager.emit(SaveEvent())

    assert ["before"] == heard


def test_a_handled_event_that_is_emitted_again_has_one_listener(
    manager: EventManager, heard: Heard
) -> None:
    """The mark is looked at after each listener, as Encore does."""
    manager.connect(SaveEvent, heard.by("first"))
    manager.connect(SaveEvent, heard.by("second"))
    event = SaveEvent()
    event.mark_as_handled()
    manager.emit(event)

    assert ["first"] == heard


# -- Changes while an event is emitted -------------------------------------------


def test_disconnecting_during_an_emit_leaves_that_emit_alone(
    manager: EventManager, heard: Heard
) -> None:
    """Who is called was settled before the first listener ran."""
    later = heard.by("later")

    def first(event: BaseEvent) -> None:
        heard.append("first")
        manager.disconnect(SaveEvent, first)
        manager.disconnect(SaveEvent, later)

    manager.connect(SaveEvent, first)
    manager.connect(SaveEvent, later)
    manager.emit(SaveEvent())
    manager.emit(SaveEvent())

    assert ["first", "later"] == heard


def test_connecting_during_an_emit_counts_from_the_next(
    manager: EventManager, heard: Heard
) -> None:
    """A listener does not hear the event during which it was connected."""
    new = heard.by("new")
    manager.connect(SaveEvent, lambda event: manager.connect(SaveEvent, new))
    manager.emit(SaveEvent())

    assert [] == heard

    manager.emit(SaveEvent())

    assert ["new"] == heard


def test_a_listener_may_change_what_others_filter_by(manager: EventManager, heard: Heard) -> None:
    """Filters see the event as it was emitted."""
    manager.connect(SaveEvent, lambda event: setattr(event, "a", 2))
    manager.connect(SaveEvent, heard.by("one"), filter={"a": 1})
    manager.connect(SaveEvent, heard.by("two"), filter={"a": 2})
    manager.emit(SaveEvent(a=1))

    assert ["one"] == heard


def test_listeners_may_emit(manager: EventManager, heard: Heard) -> None:
    """An event emitted by a listener is through before the next listener runs."""
    manager.connect(SaveEvent, lambda event: manager.emit(DeleteEvent()))
    manager.connect(SaveEvent, heard.by("save"))
    manager.connect(DeleteEvent, heard.by("delete"))
    manager.emit(SaveEvent())

    assert ["delete", "save"] == heard


# -- Listeners that fail ---------------------------------------------------------


def test_a_failing_listener_harms_no_other(
    manager: EventManager, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged with its name, and the next listener is called."""

    def fails(event: BaseEvent) -> None:
        raise RuntimeError("just like this")

    manager.connect(SaveEvent, fails)
    manager.connect(SaveEvent, heard.by("next"))
    manager.emit(SaveEvent())

    assert ["next"] == heard
    assert "fails" in caplog.text
    assert "SaveEvent" in caplog.text
    assert "just like this" in caplog.text


def test_a_failing_filtered_listener_is_logged(
    manager: EventManager, caplog: pytest.LogCaptureFixture
) -> None:
    """The way through the index is as safe."""

    def fails(event: BaseEvent) -> None:
        raise RuntimeError("just like this")

    manager.connect(SaveEvent, fails, filter={"a": 1})
    manager.emit(SaveEvent(a=1))

    assert "just like this" in caplog.text


def test_a_failing_listener_may_have_handled_the_event(manager: EventManager, heard: Heard) -> None:
    """The mark counts, whatever came after it."""

    def handles_and_fails(event: BaseEvent) -> None:
        event.mark_as_handled()
        raise RuntimeError

    manager.connect(SaveEvent, handles_and_fails)
    manager.connect(SaveEvent, heard.by("next"))
    manager.emit(SaveEvent())

    assert [] == heard


def test_what_is_no_exception_goes_to_the_emitter(manager: EventManager) -> None:
    """KeyboardInterrupt and its like are not for a log."""
    manager.connect(SaveEvent, mock.Mock(side_effect=KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        manager.emit(SaveEvent())


# -- Disconnecting ---------------------------------------------------------------


def test_a_disconnected_listener_hears_nothing(manager: EventManager, heard: Heard) -> None:
    """Nor is it listed any more."""
    listener = heard.by("l")
    manager.connect(SaveEvent, listener)
    manager.emit(SaveEvent())
    manager.disconnect(SaveEvent, listener)
    manager.emit(SaveEvent())

    assert (["l"], []) == (heard, manager.get_listeners(SaveEvent))


@pytest.mark.parametrize("filter", [None, {"a": 1}, {"a": [1]}])
def test_disconnecting_twice_is_an_error(manager: EventManager, filter: Any) -> None:
    """KeyError tells that it was not connected; the rest stays as it was."""
    manager.connect(SaveEvent, print, filter=filter)
    manager.disconnect(SaveEvent, print)

    with pytest.raises(KeyError, match=r"cannot disconnect .*print.* from SaveEvent"):
        manager.disconnect(SaveEvent, print)


def test_disconnecting_from_a_subclass_is_an_error(manager: EventManager) -> None:
    """A connection belongs to the class that it was made with."""
    manager.connect(FileEvent, print)
    manager.connect(SaveEvent, repr)

    with pytest.raises(KeyError):
        manager.disconnect(SaveEvent, print)

    assert [print, repr] == manager.get_listeners(SaveEvent)


# -- Enabling --------------------------------------------------------------------


def test_disabling_a_class_disables_its_subclasses(manager: EventManager, heard: Heard) -> None:
    """Its bases and siblings go on."""
    manager.connect(BaseEvent, lambda event: heard.append(type(event)))
    manager.emit(SaveEvent())
    manager.disable(FileEvent)
    for cls in (BaseEvent, FileEvent, SaveEvent):
        manager.emit(cls())
    manager.enable(FileEvent)
    manager.emit(SaveEvent())

    assert [SaveEvent, BaseEvent, SaveEvent] == heard


def test_a_disabled_class_stays_so_while_others_change(manager: EventManager, heard: Heard) -> None:
    """Whatever is dispatched, connected and switched meanwhile, emit does nothing."""
    manager.connect(FileEvent, heard.by("file"))
    manager.disable(SaveEvent)
    manager._dispatch(SaveEvent())
    manager.disable(DeleteEvent)
    manager.enable(DeleteEvent)
    manager.connect(SaveEvent, heard.by("save"))
    manager._dispatch(SaveEvent())
    heard.clear()
    manager.emit(SaveEvent())
    manager.emit(DeleteEvent())

    assert ["file"] == heard


def test_enabling_a_base_leaves_a_disabled_subclass_disabled(manager: EventManager) -> None:
    """Each class is disabled and enabled for itself."""
    manager.disable(SaveEvent)
    manager.disable(FileEvent)
    manager.enable(FileEvent)

    assert [True, True, False] == [
        manager.is_enabled(cls) for cls in (BaseEvent, FileEvent, SaveEvent)
    ]


def test_enabling_a_subclass_does_not_enable_it_against_its_base(manager: EventManager) -> None:
    """A disabled base counts."""
    manager.disable(BaseEvent)
    manager.enable(SaveEvent)

    assert not manager.is_enabled(SaveEvent)


def test_disabling_twice_is_as_good_as_once(manager: EventManager) -> None:
    """It is a switch, not a counter."""
    manager.disable(SaveEvent)
    manager.disable(SaveEvent)
    manager.enable(SaveEvent)

    assert manager.is_enabled(SaveEvent)


def test_a_disabled_event_has_no_hooks(manager: EventManager) -> None:
    """Nothing at all happens when it is emitted."""
    event = SaveEvent()
    manager.disable(SaveEvent)
    with (
        mock.patch.object(SaveEvent, "pre_emit") as pre,
        mock.patch.object(SaveEvent, "post_emit") as post,
    ):
        manager.emit(event)

    assert (0, 0) == (pre.call_count, post.call_count)


# -- Hooks -----------------------------------------------------------------------


def test_hooks_run_before_and_after_the_listeners(manager: EventManager, heard: Heard) -> None:
    """pre_emit, listeners, post_emit."""

    class Hooked(BaseEvent):
        def pre_emit(self) -> None:
            heard.append("pre")

        def post_emit(self) -> None:
            heard.append("post")

    manager.connect(BaseEvent, heard.by("listener"))
    manager.emit(Hooked())
    manager.emit(Hooked())

    assert ["pre", "listener", "post"] * 2 == heard


def test_hooks_run_without_listeners(manager: EventManager) -> None:
    """An event that nobody hears has its hooks called all the same."""
    with mock.patch.object(SaveEvent, "post_emit") as post:
        manager.emit(SaveEvent())

    assert 1 == post.call_count


def test_hooks_may_be_replaced_at_any_time(manager: EventManager) -> None:
    """Also after events of the class were emitted."""
    manager.emit(SaveEvent())
    with mock.patch.object(SaveEvent, "pre_emit") as pre:
        manager.emit(SaveEvent())

    assert 1 == pre.call_count


def test_pre_emit_may_change_the_event_and_the_listeners(
    manager: EventManager, heard: Heard
) -> None:
    """Who hears an event is settled after pre_emit."""

    class Stamped(BaseEvent):
        def pre_emit(self) -> None:
            self.stamp = 1
            manager.connect(Stamped, new)

    new = heard.by("new")
    manager.connect(Stamped, heard.by("stamped"), filter={"stamp": 1})
    manager.emit(Stamped())
    manager.disconnect(Stamped, new)
    manager.emit(Stamped())

    assert ["stamped", "new"] * 2 == heard


def test_what_a_hook_raises_goes_to_the_emitter(manager: EventManager, heard: Heard) -> None:
    """A hook that fails keeps the listeners from being called."""

    class Invalid(BaseEvent):
        def pre_emit(self) -> None:
            raise ValueError("invalid")

    manager.connect(Invalid, heard.by("listener"))

    with pytest.raises(ValueError, match="invalid"):
        manager.emit(Invalid())

    assert [] == heard


# -- Emitting on a thread --------------------------------------------------------


def test_emit_without_blocking_returns_a_thread(manager: EventManager) -> None:
    """The listeners run on the thread that is returned, hooks included."""
    threads: list[threading.Thread] = []
    proceed = threading.Event()

    class Hooked(BaseEvent):
        def post_emit(self) -> None:
            threads.append(threading.current_thread())

    def listener(event: BaseEvent) -> None:
        proceed.wait(10)
        threads.append(threading.current_thread())

    manager.connect(Hooked, listener)
    thread = manager.emit(Hooked(), block=False)
    heard_before = list(threads)
    proceed.set()
    assert thread is not None
    thread.join(10)

    assert ([], [thread, thread]) == (heard_before, threads)


def test_emit_with_blocking_returns_nothing(manager: EventManager) -> None:
    """None tells that the event is through."""
    assert manager.emit(SaveEvent()) is None


def test_a_subclass_that_overrides_emit_is_asked_once(heard: Heard) -> None:
    """With block=False too: the thread does not go through its emit again."""

    class Counting(EventManager):
        def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
            heard.append("emit")
            return super().emit(event, block)

    manager = Counting()
    manager.connect(SaveEvent, heard.by("listener"))
    thread = manager.emit(SaveEvent(), block=False)
    assert thread is not None
    thread.join(10)

    assert ["emit", "listener"] == heard


# -- What subclasses build on ------------------------------------------------------


def test_dispatch_calls_listeners_only(manager: EventManager, heard: Heard) -> None:
    """No hooks, and whether the class is enabled is the caller's business."""
    manager.connect(SaveEvent, heard.by("listener"))
    manager.disable(SaveEvent)
    with mock.patch.object(SaveEvent, "pre_emit") as pre:
        manager._dispatch(SaveEvent())
        manager._dispatch(SaveEvent())

    assert (["listener"] * 2, 0) == (heard, pre.call_count)


def test_dispatch_on_a_thread(manager: EventManager, heard: Heard) -> None:
    """With block=False the listeners run on the thread that is returned."""
    manager.connect(SaveEvent, lambda event: heard.append(threading.current_thread()))
    thread = manager._dispatch(SaveEvent(), block=False)
    assert thread is not None
    thread.join(10)

    assert [thread] == heard


def test_sources_are_of_no_concern_in_one_process(manager: EventManager) -> None:
    """add_source and remove_source are there for stores to call."""
    manager.add_source(object())
    manager.remove_source(object())

    assert {} == manager.get_event()


# -- Looking at what is there -------------------------------------------------------


def test_get_listeners_of_a_class_ignores_filters(manager: EventManager) -> None:
    """All that events of the class may be heard by, in order."""
    manager.connect(FileEvent, print, filter={"a": 1})
    manager.connect(SaveEvent, repr, priority=1)
    manager.connect(SaveEvent, str, filter={"a": [2]})

    assert [repr, print, str] == manager.get_listeners(SaveEvent)


def test_get_listeners_of_an_event_minds_filters(manager: EventManager) -> None:
    """Those that it would reach, in order."""
    manager.connect(FileEvent, print, filter={"a": 1})
    manager.connect(SaveEvent, repr, priority=1)
    manager.connect(SaveEvent, str, filter={"a": 2})

    assert [repr, str] == manager.get_listeners(SaveEvent(a=2))
    assert [print] == manager.get_listeners(SaveEvent(a=1), FileEvent)


def test_the_hierarchy_of_an_event_class(manager: EventManager) -> None:
    """The class and its bases, as Python resolves them, without object."""

    class Both(SaveEvent, DeleteEvent):
        pass

    expected = (Both, SaveEvent, DeleteEvent, FileEvent, BaseEvent)

    assert expected == manager.get_event_hierarchy(Both)


def test_registering_twice_is_an_error(manager: EventManager) -> None:
    """ValueError, also if a listener made the class known."""
    manager.register(SaveEvent)
    manager.connect(FileEvent, print)

    with pytest.raises(ValueError, match="SaveEvent is registered"):
        manager.register(SaveEvent)
    with pytest.raises(ValueError, match="FileEvent is registered"):
        manager.register(FileEvent)


def test_known_classes_are_listed(manager: EventManager) -> None:
    """Registering, connecting and disabling make a class known."""
    manager.register(SaveEvent)
    manager.connect(FileEvent, print)
    manager.disable(DeleteEvent)

    assert {SaveEvent, FileEvent, DeleteEvent} == set(manager.get_event())
    assert manager.get_event(SaveEvent) is manager.get_event()[SaveEvent]
    with pytest.raises(KeyError):
        manager.get_event(BaseEvent)


def test_the_info_of_a_class_acts_on_it(manager: EventManager) -> None:
    """It connects, lists, disables and enables, for its class alone."""
    manager.register(SaveEvent)
    manager.connect(FileEvent, str)
    info = manager.get_event(SaveEvent)
    info.connect(print, filter={"a": 1})
    info.connect(repr)
    info.disable()

    assert [print, repr] == info.get_listeners()
    assert [repr] == info.get_listeners(SaveEvent(a=2))
    assert (False, False) == (info.is_enabled(), manager.is_enabled(SaveEvent))

    info.enable()
    info.disconnect(print)

    assert (True, [repr]) == (info.is_enabled(), info.get_listeners())
    assert "SaveEvent" in repr(info)
