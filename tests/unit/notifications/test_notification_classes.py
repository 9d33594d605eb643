"""ION's table of events, and the classes that there are for it."""

from __future__ import annotations

import pytest

from antiphon import notifications
from antiphon.notifications import EventPublisher, EventSubscriber, Notification

#: event: (event id, message type, base), as ION has them.
TABLE = {
    "ResourceLifecycle": (1001, 2323, ""),
    "ContainerLifecycle": (1051, 2323, "ResourceLifecycle"),
    "ProcessLifecycle": (1052, 2323, "ResourceLifecycle"),
    "Infrastructure": (None, None, ""),
    "AppLoader": (1075, 2332, "Infrastructure"),
    "ContainerStartup": (1076, 2333, "Infrastructure"),
    "Trigger": (None, 2324, ""),
    "DatasourceUpdate": (1101, 2324, "Trigger"),
    "ResourceModified": (None, 2325, ""),
    "DatasourceUnavailable": (1102, 2330, "ResourceModified"),
    "DatasetSupplementAdded": (1111, 2331, "ResourceModified"),
    "BusinessStateModification": (1112, 2325, "ResourceModified"),
    "DatasetChange": (1113, 2341, "ResourceModified"),
    "DatasourceChange": (1114, 2342, "ResourceModified"),
    "IngestionProcessing": (1115, 2343, "ResourceModified"),
    "DatasetStreaming": (1116, None, "ResourceModified"),
    "NewSubscription": (1201, 2327, ""),
    "DelSubscription": (1202, 2328, ""),
    "Schedule": (2001, 2324, "Trigger"),
    "Logging": (None, 2326, ""),
    "CriticalLogging": (3001, 2326, "Logging"),
    "ErrorLogging": (3002, 2326, "Logging"),
    "InfoLogging": (3003, 2326, "Logging"),
    "Data": (None, 2329, ""),
    "DataBlock": (4001, 2329, "Data"),
    "InstrumentSampleData": (4001, 4303, "DataBlock"),
}

#: Events whose subscriber, or publisher, is called otherwise, or is missing.
SUBSCRIBERS = {"BusinessStateModification": "BusinessStateChange"}
WITHOUT_PUBLISHER = {"DatasetStreaming"}

CONCRETE = sorted(name for name, (event_id, _, _) in TABLE.items() if event_id is not None)


def publisher(name: str) -> type[EventPublisher]:
    """The publisher class of an event; the base of all for ``""``."""
    found: type[EventPublisher] = getattr(notifications, f"{name}EventPublisher")
    return found


def subscriber(name: str) -> type[EventSubscriber]:
    """The subscriber class of an event; the base of all for ``""``."""
    found: type[EventSubscriber] = getattr(
        notifications, f"{SUBSCRIBERS.get(name, name)}EventSubscriber"
    )
    return found


def kind(name: str) -> type[Notification]:
    """The class of an event; the base of all for ``""``."""
    found: type[Notification] = getattr(notifications, f"{name}Event" if name else "Notification")
    return found


@pytest.mark.parametrize("name", TABLE)
def test_each_row_of_the_table_has_its_classes(name: str) -> None:
    """Event, publisher and subscriber have the id, the message type and the base of ION's."""
    event_id, msg_type, base = TABLE[name]
    classes: list[tuple[type, type]] = [
        (kind(name), kind(base)),
        (subscriber(name), subscriber(base)),
    ]
    if name not in WITHOUT_PUBLISHER:
        classes.append((publisher(name), publisher(base)))

    for cls, above in classes:
        assert (event_id, msg_type) == (cls.event_id, cls.msg_type)  # type: ignore[attr-defined]
        assert (above,) == cls.__bases__
        assert cls.__doc__


def test_there_are_no_classes_beside_the_table() -> None:
    """What the package offers is the table, the bases, and what is made of them."""
    named = {cls.__name__ for name in TABLE for cls in (kind(name), subscriber(name))}
    named |= {publisher(name).__name__ for name in TABLE.keys() - WITHOUT_PUBLISHER}
    bases = {"Notification", "AdditionalData", "EventPublisher", "EventSubscriber"}

    assert named | bases | {"SubscriberFactory"} == set(notifications.__all__)


def test_dataset_streaming_tells_what_is_sent() -> None:
    """Its agent sends messages of three types of its own, and needs no publisher here."""
    assert (10001, 2001, 2005) == notifications.DatasetStreamingEvent.msg_types
    assert not hasattr(notifications, "DatasetStreamingEventPublisher")


@pytest.mark.parametrize(
    ("cls", "enum", "names"),
    [
        ("EventPublisher", "Status", ["IN_PROGRESS", "CACHED", "ERROR", "NO_CACHE"]),
        (
            "ResourceLifecycleEventPublisher",
            "State",
            ["NEW", "READY", "ACTIVE", "TERMINATED", "ERROR"],
        ),
        (
            "ContainerLifecycleEventPublisher",
            "State",
            ["NEW", "READY", "ACTIVE", "TERMINATED", "ERROR"],
        ),
        ("AppLoaderEventPublisher", "State", ["STARTED", "STOPPED"]),
    ],
)
def test_publishers_have_their_enums(cls: str, enum: str, names: list[str]) -> None:
    """A field's value can be named without an event: ``SomePublisher.State.ACTIVE``."""
    values = getattr(getattr(notifications, cls), enum)

    assert names == [getattr(values, name) for name in names]
    assert names == list(values.__members__)


@pytest.mark.parametrize("name", ["", *sorted(TABLE.keys() - set(CONCRETE))])
def test_abstract_publishers_create_nothing(name: str) -> None:
    """A publisher without event id says so, and so does the class of its events."""
    made = publisher(name)(origin="here")

    with pytest.raises(notifications_error("AbstractEvent"), match="has no event_id"):
        made.create_event()
    with pytest.raises(notifications_error("AbstractEvent"), match="has no event_id"):
        kind(name)(origin="here")


def notifications_error(name: str) -> type[Exception]:
    """An error by its name."""
    from antiphon import errors

    found: type[Exception] = getattr(errors, name)
    return found


@pytest.mark.parametrize("name", sorted(set(CONCRETE) - WITHOUT_PUBLISHER))
def test_each_publisher_makes_its_event(name: str) -> None:
    """All fields of the kind are there, and None until they are given."""
    event = publisher(name)(origin="here").create_event(description="why")

    assert kind(name) is type(event)
    assert ("here", "why", None) == (event.origin, event.description, event.name)
    assert dict(event.additional_data)
    assert {None} == {value for _, value in event.additional_data}
