"""Making events: fields, enums, defaults, and what is refused."""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import pytest

from antiphon.errors import (
    AntiphonError,
    InvalidTopic,
    MissingOrigin,
    UnknownEnumValue,
    UnknownField,
)
from antiphon.notifications import (
    ContainerLifecycleEventPublisher,
    DatasetSupplementAddedEventPublisher,
    EventPublisher,
    EventSubscriber,
    Notification,
    ResourceLifecycleEvent,
    ResourceLifecycleEventPublisher,
)


class TideEvent(Notification):
    """A kind of event of somebody else's."""

    class Direction:
        """As ION writes enums."""

        IN = "IN"
        OUT = "OUT"

    class SpringTide(enum.IntEnum):
        """As Python does; its values are no names."""

        NO = 0
        YES = 1

    wire_name = "test:TideEvent"
    event_id = "9001"  # type: ignore[assignment]
    msg_type = 9101

    unit: ClassVar[str] = "metres"
    height_m: float = 0.0
    direction: str | None
    spring_tide: int | None
    stations: list[str] = []  # noqa: RUF012 - to be copied for each event


class TideEventPublisher(EventPublisher, event=TideEvent):
    """Its publisher."""


class NeapTideEventPublisher(TideEventPublisher):
    """Says nothing of its own."""


def test_fields_go_where_they_belong() -> None:
    """Base fields are the event's, the others are in additional_data as well."""
    publisher = ResourceLifecycleEventPublisher(origin="instrument.7")

    event = publisher.create_event(state=publisher.State.ACTIVE, name="pump", status="CACHED")

    assert ("instrument.7", "pump", "CACHED") == (event.origin, event.name, event.status)
    assert {"state": "ACTIVE"} == dict(event.additional_data)
    assert event.state == event.additional_data.state == publisher.State.ACTIVE


def test_the_time_is_now_unless_it_is_given() -> None:
    """A given time is kept as it is; else it is this moment, in UTC."""
    before = datetime.now(UTC)
    given = datetime(2011, 5, 4, tzinfo=timezone(timedelta(hours=-7)))
    publisher = TideEventPublisher(origin="x")

    assert given is publisher.create_event(datetime=given).datetime
    assert before <= publisher.create_event().datetime <= datetime.now(UTC)
    assert publisher.create_event().datetime.tzinfo is UTC


def test_the_origin_of_the_event_wins() -> None:
    """create_event's origin goes before the publisher's."""
    publisher = TideEventPublisher(origin="a")

    assert "a" == publisher.create_event().origin
    assert "b" == publisher.create_event(origin="b").origin
    assert "unknown" == TideEventPublisher().create_event().origin


def test_an_unknown_field_is_named() -> None:
    """A field that neither the base nor the kind knows is an error that helps."""
    publisher = DatasetSupplementAddedEventPublisher(origin="x")

    with pytest.raises(UnknownField, match=r"no field .titel.*did you mean title") as caught:
        publisher.create_event(titel="Sea")

    assert isinstance(caught.value, AntiphonError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("name", ["source", "event_id", "msg_type", "topic", "Status", "_handled"])
def test_parts_of_every_event_are_no_fields(name: str) -> None:
    """What has a meaning of its own cannot be given as a field."""
    with pytest.raises(UnknownField, match=f"no field '{name}'"):
        ResourceLifecycleEventPublisher(origin="x").create_event(**{name: 1})


def test_an_unknown_enum_value_is_named() -> None:
    """A value that the enum does not have is an error that tells those it has."""
    publisher = ContainerLifecycleEventPublisher(origin="x")

    with pytest.raises(UnknownEnumValue, match=r"\.state cannot be 'activ'.*did you mean ACTIVE"):
        publisher.create_event(state="activ")
    with pytest.raises(UnknownEnumValue, match=r"status cannot be 3 .*IN_PROGRESS, CACHED"):
        publisher.create_event(status=3)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"direction": "IN"}, "IN"),
        ({"direction": TideEvent.Direction.OUT}, "OUT"),
        ({"spring_tide": "YES"}, 1),
        ({"spring_tide": TideEvent.SpringTide.YES}, 1),
        ({"spring_tide": 0}, 0),
        ({"spring_tide": None}, None),
    ],
)
def test_enum_values_by_name_and_by_value(given: dict[str, Any], kept: object) -> None:
    """A name becomes its value, and a member what travels."""
    event = TideEventPublisher(origin="x").create_event(**given)

    (field,) = given
    assert kept == getattr(event, field)
    assert type(kept) is type(getattr(event, field))


def test_enums_of_a_kind_are_on_its_publisher() -> None:
    """A publisher of one's own has the enums of its events, unless it has others."""
    assert TideEventPublisher.Direction is TideEvent.Direction  # type: ignore[attr-defined]
    assert TideEventPublisher.Status is Notification.Status


def test_defaults_are_each_event_s_own() -> None:
    """What the class says is copied, so that events share nothing."""
    one, other = (TideEventPublisher(origin="x").create_event() for _ in range(2))
    one.stations.append("Kiel")

    assert (0.0, [], None) == (other.height_m, other.stations, other.direction)
    assert not hasattr(other.additional_data, "unit")


def test_ids_of_digits_are_numbers() -> None:
    """One id has one form, so that a subscriber finds it."""
    assert 9001 == TideEvent.event_id == TideEventPublisher.event_id
    assert 9001 == NeapTideEventPublisher(origin="x").create_event().event_id


def test_additional_data_can_be_altered() -> None:
    """What is set there is the event's, and a name that is not there is an error."""
    event = TideEventPublisher(origin="x").create_event(height_m=1.5)

    event.additional_data.height_m = 2.5

    assert 2.5 == event.height_m
    assert "height_m=2.5" in repr(event.additional_data)
    with pytest.raises(AttributeError, match="no field 'heigth'"):
        event.additional_data.heigth = 1
    with pytest.raises(AttributeError, match="no field 'name'"):
        _ = event.additional_data.name


def test_the_topic_is_id_and_origin() -> None:
    """An origin may have several words."""
    event = ResourceLifecycleEvent(origin="chan1.process7")

    assert "1001.chan1.process7" == event.topic


@pytest.mark.parametrize("origin", [None, "", "unknown"])
def test_no_topic_without_origin(origin: str | None) -> None:
    """An event that nobody could ask for is not published."""
    with pytest.raises(MissingOrigin, match="event 1001 has no origin"):
        ResourceLifecycleEvent(origin=origin).pre_emit()


@pytest.mark.parametrize("origin", ["a..b", ".a", "*", "a.#", 7, "x" * 300])
def test_an_origin_is_words(origin: Any) -> None:
    """An origin with a wildcard or an empty word, or of 300 bytes, is refused."""
    with pytest.raises(InvalidTopic, match="origin"):
        ResourceLifecycleEvent(origin=origin).pre_emit()


def test_what_was_altered_is_checked_again() -> None:
    """An event that was spoilt after it was made is not published."""
    event = ResourceLifecycleEvent(origin="x")
    event.state = "SPOILT"
    with pytest.raises(UnknownEnumValue, match="state cannot be 'SPOILT'"):
        event.pre_emit()

    event.state = "NEW"
    event.colour = "red"
    with pytest.raises(UnknownField, match="no field 'colour'"):
        event.pre_emit()


def test_a_field_cannot_hide_a_part_of_the_event() -> None:
    """A kind whose field has the name of something that every notification has is refused."""
    with pytest.raises(TypeError, match=r"Bad\.topic has the name of a part"):

        class Bad(Notification):
            event_id = 1
            topic: str  # type: ignore[assignment]


@pytest.mark.parametrize("event_id", ["a.b", "*", "", 1.5, True])
def test_an_event_id_is_a_number_or_a_word(event_id: Any) -> None:
    """A kind whose id is no word of a topic is refused when it is made."""
    with pytest.raises(InvalidTopic, match="an event id is a number"):
        type("Bad", (Notification,), {"event_id": event_id})


def test_a_publisher_has_its_id_from_its_events() -> None:
    """An id in the publisher's own body, as in ION, would be two truths."""
    with pytest.raises(TypeError, match="event=…"):

        class Bad(EventPublisher):
            event_id = 1


@pytest.mark.parametrize("base", [EventPublisher, EventSubscriber])
def test_publishers_and_subscribers_are_for_a_kind(base: Any) -> None:
    """What is given in its place is shown."""
    with pytest.raises(TypeError, match="derived from Notification, not 9001"):
        type("Bad", (base,), {}, event=9001)


def test_only_notifications_are_published() -> None:
    """What was given in place of one is shown."""
    with pytest.raises(TypeError, match="is a Notification, not 'text'"):
        TideEventPublisher(origin="kiel").publish_event("text")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({}, "*.#"),
        ({"event_id": 1001}, "1001.#"),
        ({"event_id": "1001"}, "1001.#"),
        ({"origin": "chan1"}, "*.chan1"),
        ({"event_id": 1001, "origin": "chan1.process7"}, "1001.chan1.process7"),
        ({"event_id": "*", "origin": "*.process7"}, "*.*.process7"),
        ({"binding_key": "#.process7", "event_id": 3}, "#.process7"),
    ],
)
def test_binding_keys(arguments: dict[str, Any], key: str) -> None:
    """``<event_id or *>.<origin or #>``, unless a whole key is given."""
    assert key == EventSubscriber(**arguments).binding_key


@pytest.mark.parametrize(
    "arguments",
    [{"origin": "a..b"}, {"binding_key": ""}, {"event_id": "a.b"}, {"origin": "x" * 300}],
)
def test_a_key_that_matches_nothing_is_refused(arguments: dict[str, Any]) -> None:
    """A subscriber that could never hear anything says so at once."""
    with pytest.raises(InvalidTopic):
        EventSubscriber(**arguments)
