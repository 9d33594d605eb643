"""The base of all publishers of notifications."""

from __future__ import annotations

from typing import Any, ClassVar

from antiphon.errors import AbstractEvent, UnknownField
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.notifications import enumerations
from antiphon.notifications.buses import bus_for
from antiphon.notifications.notification import Notification, checked_kind
from antiphon.notifications.topic import UNKNOWN, EventId


class EventPublisher:
    """Makes events of one kind, and publishes them.

    Use a derived class; a publisher of your own kind of event is::

        class TideEventPublisher(EventPublisher, event=TideEvent): ...

    Args:
        xp_name: the exchange, without the system that comes before its name.
        routing_key: ION's signature has it; the topic is used in its place, as there.
        process: the bus, as in ``bus``; anything else is ignored.
        origin: where its events happen, unless they say so themselves.
        bus: where to publish; None for *process*, else the program's global
            event manager.

    Attributes:
        event_id, msg_type: class attributes; of the kind, None if it is abstract.
        event_class: class attribute; the class of its events.
        Status: values of the field ``status``; likewise for the kind's own fields.
    """

    event_class: ClassVar[type[Notification]] = Notification
    event_id: ClassVar[EventId | None] = None
    msg_type: ClassVar[int | None] = None

    Status = Notification.Status

    def __init_subclass__(cls, *, event: type[Notification] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if event is None:
            if {"event_id", "msg_type"} & vars(cls).keys():
                raise TypeError(
                    f"{cls.__qualname__} says event_id or msg_type, which belong to its class of "
                    f"events: class {cls.__qualname__}(EventPublisher, event=…)"
                )
            return
        cls.event_class = checked_kind(cls, event)
        cls.event_id, cls.msg_type = event.event_id, event.msg_type
        for field in event._enums:
            name = enumerations.class_name(field)
            if name not in vars(cls):
                setattr(cls, name, getattr(event, name))

    def __init__(
        self,
        xp_name: str | None = None,
        routing_key: str | None = None,
        process: Any = None,
        origin: str = UNKNOWN,
        *,
        bus: BrokerEventManager | None = None,
    ) -> None:
        self.xp_name = xp_name
        self.routing_key = routing_key
        self.origin = origin
        self._process = process
        self._bus = bus

    @property
    def bus(self) -> BrokerEventManager:
        """Where it publishes; raises ``NoBus`` if there is none."""
        return bus_for(self._bus, self._process, self)

    def create_event(self, **fields: Any) -> Notification:
        """Return an event of this kind, which may be altered before it is published.

        Args:
            fields: of the base event (``origin``, ``datetime``, ``name``,
                ``description``, ``status``) and of its ``additional_data``;
                ``origin`` is the publisher's, and ``datetime`` now, unless given.

        Raises:
            AbstractEvent: this publisher's class has no ``event_id``.
            UnknownField: the kind has no such field.
            UnknownEnumValue: a field cannot have that value.
        """
        if self.event_id is None:
            raise AbstractEvent(
                f"{type(self).__name__} has no event_id: it can create nothing; use a class that "
                "is derived from it"
            )
        if "source" in fields:
            raise UnknownField(f"{self.event_class.__name__} has no field 'source'")
        if fields.get("origin") is None:
            fields["origin"] = self.origin
        return self.event_class(**fields)

    def publish_event(self, event: Notification, origin: str | None = None) -> None:
        """Publish *event*; listeners of this process are called before it returns.

        Args:
            event: of any kind; its topic is ``<event_id>.<origin>``.
            origin: put into the event; None for the one it has, else the publisher's.

        Raises:
            MissingOrigin: there is none, or it is ``"unknown"``.
            InvalidTopic, UnknownField, UnknownEnumValue: the event is not as it should be.
            NoBus, BusClosed, BrokerRefused, UnencodableAttribute, PublishBufferFull: as they say.
            Nothing was published in all these cases.
        """
        if not isinstance(event, Notification):
            raise TypeError(f"what is published is a Notification, not {event!r}")
        if origin is not None:
            event.origin = origin
        elif event.origin is None or event.origin == UNKNOWN:
            event.origin = self.origin
        bus = self.bus
        if self.xp_name is not None:
            event.publish_to(self.xp_name.removeprefix(f"{bus.system}."))
        bus.put_exchange(event.exchange)  # where the broker may refuse it, and say so
        bus.emit(event)

    def create_and_publish_event(self, **fields: Any) -> Notification:
        """Do both in one; return the event."""
        event = self.create_event(**fields)
        self.publish_event(event)
        return event
