"""Nobody pays for events that no one listens to; everybody who listens hears them."""

from __future__ import annotations

from typing import Any

import pytest

from antiphon.events.api import BaseEvent, BaseEventManager, EventManager
from antiphon.storage import backend_telling
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.events import StoreEvent, StoreSetEvent, StoreUpdateEvent
from antiphon.storage.string_value import StringValue


@pytest.fixture
def store() -> DictMemoryStore:
    """A store with an event manager of its own that has planned its events."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    for _ in range(2):
        store.set("a", StringValue())
    return store


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The actions for which an event was made."""
    made: list[str] = []

    def making(cls: type) -> Any:
        class Made(cls):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                made.append(self.action)
                super().__init__(*args, **kwargs)

        return Made

    classes = {name: making(cls) for name, cls in backend_telling.EVENT_OF_ACTION.items()}
    monkeypatch.setattr(backend_telling, "EVENT_OF_ACTION", classes)
    return made


def test_an_event_that_no_one_hears_is_not_made(made: list[str]) -> None:
    """But for the first of each class, with which the manager finds that out."""
    store = DictMemoryStore()
    store.event_manager = EventManager()
    for _ in range(3):
        store.set("a", StringValue())
        store.delete("a")

    assert ["set", "delete"] == made


@pytest.mark.parametrize("cls", [StoreUpdateEvent, StoreEvent, BaseEvent])
@pytest.mark.parametrize("options", [{}, {"filter": {"key": "a"}}, {"priority": 1}])
def test_who_connects_later_hears(
    store: DictMemoryStore, cls: type, options: dict[str, Any]
) -> None:
    """A listener to the class or any of its bases."""
    heard: list[Any] = []
    store.event_manager.connect(cls, heard.append, **options)
    store.set("a", StringValue())

    assert ["update"] == [event.action for event in heard]


def test_who_disconnects_hears_no_more(store: DictMemoryStore, made: list[str]) -> None:
    """And it costs nothing again."""
    heard: list[Any] = []
    manager = store.event_manager
    manager.connect(StoreEvent, heard.append)
    manager.disconnect(StoreEvent, heard.append)
    for _ in range(3):
        store.set("a", StringValue())

    assert ["update"] == made
    assert [] == heard


def test_a_tracer_sees_what_no_one_hears(store: DictMemoryStore) -> None:
    """It sees all that is emitted."""
    seen: list[str] = []
    manager = store.event_manager
    assert isinstance(manager, EventManager)
    manager.set_trace(lambda name, func, args: seen.append(name))
    store.set("a", StringValue())

    assert ["emit"] == seen


def test_a_disabled_class_is_enabled_again(store: DictMemoryStore) -> None:
    """And heard again."""
    heard: list[Any] = []
    store.event_manager.connect(StoreEvent, heard.append)
    store.event_manager.disable(StoreEvent)
    store.set("a", StringValue())
    store.event_manager.enable(StoreEvent)
    store.set("a", StringValue())

    assert 1 == len(heard)


class Publishing(EventManager):
    """Sends events elsewhere, as the bus does."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[BaseEvent] = []

    def emit(self, event: BaseEvent, block: bool = True) -> Any:
        self.sent.append(event)
        return super().emit(event, block)


class Passing:
    """Passes on what it lacks to another manager, as users' wrappers do."""

    def __init__(self, inner: BaseEventManager) -> None:
        self._inner = inner
        self.sent: list[BaseEvent] = []

    def emit(self, event: BaseEvent, block: bool = True) -> Any:
        self.sent.append(event)
        return self._inner.emit(event, block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("manager", [Publishing(), Passing(EventManager())])
def test_a_manager_that_sends_events_elsewhere_gets_all(manager: Any) -> None:
    """Whether anybody listens here or not."""
    store = DictMemoryStore()
    store.event_manager = manager
    for _ in range(3):
        store.set("a", StringValue())

    assert ["set", "update", "update"] == [event.action for event in manager.sent]


def test_an_emit_that_was_replaced_gets_all(
    store: DictMemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tests do it."""
    emitted: list[Any] = []
    monkeypatch.setattr(store.event_manager, "emit", emitted.append)
    store.set("a", StringValue())
    store.set("b", StringValue())

    assert [StoreUpdateEvent, StoreSetEvent] == [type(event) for event in emitted]


def test_a_class_with_hooks_is_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does before and after listeners are called happens without them, too."""
    done: list[str] = []

    class Hooked(BaseEvent):
        def post_emit(self) -> None:
            done.append("post")

    manager = EventManager()
    manager.emit(Hooked())

    assert manager.hears(Hooked)
    assert ["post"] == done
