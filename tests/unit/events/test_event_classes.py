"""Events: what they are made of."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from antiphon.events.api import (
    BaseEvent,
    BaseEventManager,
    HeartbeatEvent,
    ProgressEndEvent,
    ProgressEvent,
)
from antiphon.events.delivery import Delivery, delivery_of
from antiphon.events.event_id import EventId, next_event_id


class SaveEvent(BaseEvent):
    """A file was saved."""


def test_keywords_become_attributes() -> None:
    """Whatever keyword an event is made with is an attribute of it."""
    event = SaveEvent(source="app", directory="foo/bar", filename="baz.txt")

    assert ("app", "foo/bar", "baz.txt") == (event.source, event.directory, event.filename)


@pytest.mark.parametrize("name", ["self", "cls", "event", "kwargs"])
def test_any_name_is_a_keyword(name: str) -> None:
    """No attribute name is taken by the constructor, but for source."""
    event = BaseEvent(**{name: 1})

    assert 1 == getattr(event, name)


def test_source_may_be_left_out() -> None:
    """An event without a source has the source None."""
    assert BaseEvent().source is None


def test_only_what_was_given_is_in_the_events_dict() -> None:
    """Nothing of this process is among the attributes that travel."""
    assert {"source": None, "key": "k"} == vars(BaseEvent(key="k"))


def test_attributes_set_before_the_base_constructor_stay() -> None:
    """A subclass may set attributes before it calls BaseEvent's constructor."""

    class Early(BaseEvent):
        def __init__(self, name: str, **kwargs: Any) -> None:
            self.name = name
            super().__init__(**kwargs)

    event = Early("n", size=3)

    assert ("n", 3) == (event.name, event.size)


def test_a_subclass_need_not_call_the_base_constructor() -> None:
    """Everything that managers ask of an event is there without it."""

    class Bare(BaseEvent):
        def __init__(self) -> None:
            pass

    event = Bare()

    assert (False, None, None) == (event._handled, event._event_id, event._delivery)


def test_mark_as_handled_concerns_one_event() -> None:
    """Marking an event leaves its class alone."""
    event = SaveEvent()
    event.mark_as_handled()

    assert (True, False) == (event._handled, SaveEvent()._handled)


def test_progress_and_heartbeats_stay_in_the_process() -> None:
    """Only events of use elsewhere travel by default."""
    assert [True, False, False, False] == [
        cls.travels for cls in (SaveEvent, ProgressEvent, ProgressEndEvent, HeartbeatEvent)
    ]


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_events_can_be_copied(copied: Any) -> None:
    """Copies and pickles of events have the same class and attributes."""
    event = SaveEvent(source="s", names=["a"])
    other = copied(event)

    assert (SaveEvent, vars(event)) == (type(other), vars(other))


def test_the_abstract_manager_cannot_be_made() -> None:
    """BaseEventManager is for subclasses."""
    with pytest.raises(TypeError, match="abstract"):
        BaseEventManager()  # type: ignore[abstract]


def test_event_ids_rise_and_come_back_from_text() -> None:
    """An id names its publisher, counts up, and survives being written down."""
    first, second = next_event_id(), next_event_id()

    assert (first.publisher, first.counter + 1) == second
    assert first == EventId.parse(str(first))


def test_what_is_no_event_id_is_refused() -> None:
    """Text without the dash between publisher and counter is no id."""
    with pytest.raises(ValueError, match="no event id"):
        EventId.parse("abc")


def test_an_event_made_here_has_no_delivery() -> None:
    """Only events that came from elsewhere have one."""
    event = BaseEvent()
    arrived = BaseEvent()
    arrived._delivery = Delivery(next_event_id(), "billing", 1)

    assert (None, arrived._delivery) == (delivery_of(event), delivery_of(arrived))


def test_what_arrived_says_so_when_asked() -> None:
    """Id and delivery are made of what came; copies have the same."""
    event = BaseEvent(number=1)
    event._came = (b"publisher-12", 7, "billing", 5, None, True, "trace")
    event_id = EventId(b"publisher-12", 7)
    expected = (event_id, Delivery(event_id, "billing", 5, None, True, "trace"))
    again = pickle.loads(pickle.dumps(event))

    assert (expected, expected) == (
        (event._event_id, delivery_of(event)),
        (again._event_id, delivery_of(again)),
    )


def test_a_given_id_wins() -> None:
    """Over the one that the event arrived with."""
    event = BaseEvent()
    event._came = (b"publisher-12", 7, None, 5, None, False, None)
    event._event_id = EventId(b"publisher-12", 8)

    assert 8 == event._event_id.counter
