"""The event that all notifications are, and the fields of each kind."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from copy import copy
from datetime import UTC
from datetime import datetime as _datetime
from enum import StrEnum
from typing import Any, ClassVar

from antiphon.errors import AbstractEvent, UnknownField
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.notifications import enumerations
from antiphon.notifications.topic import EventId, checked_id, topic_of

#: Annotations of a kind's class that are no fields.
_NO_FIELDS = frozenset(
    ("event_id", "msg_type", "source", "travels", "wire_name", "wire_aliases", "xp_name")
)

#: The exchange of events that say no other, after the system's name.
EXCHANGE = "events.topic"


class Notification(BaseEvent):
    """Something that happened somewhere: an event with an id of its kind, and an origin.

    Derive one class for each kind, with its ``event_id``, and its fields as
    annotations; a class in it whose name is that of a field lists the values that
    the field may have.  Classes without ``event_id`` are abstract: there are no
    events of them, but ``bus.connect`` hears those of all their kinds.

    Args:
        source: as for every event.
        fields: of the base event (below) and of the kind; those that are not
            given are what the class says, else None.

    Raises:
        AbstractEvent: the class has no ``event_id``.
        UnknownField: the kind has no such field.
        UnknownEnumValue: a field cannot have that value.

    Attributes:
        event_id: of the kind.
        msg_type: ION's number for the kind's own fields.
        origin: where it happened: words with dots between them.
        datetime: when; now (in UTC), unless it is given.
        name, description: for people.
        status: one of ``Status``.
    """

    class Status(StrEnum):
        """How far something has come."""

        IN_PROGRESS = "IN_PROGRESS"
        CACHED = "CACHED"
        ERROR = "ERROR"
        NO_CACHE = "NO_CACHE"

    event_id: EventId | None = None
    msg_type: int | None = None

    origin: str | None
    datetime: Any
    name: str | None
    description: str | None
    status: str | None

    #: Field -> what it is unless it is given; those of the bases included.
    _fields: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("origin", "datetime", "name", "description", "status")
    )
    _enums: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "status": {status.name: status.value for status in Status}
    }
    # Where a bus publishes it: see ``BaseEvent``.
    _exchange = EXCHANGE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.event_id is not None:
            cls.event_id = checked_id(cls.event_id)
        own = {name: vars(cls).get(name) for name in _annotated(cls)}
        for name in own:
            if name in Notification._fields or hasattr(Notification, name):
                raise TypeError(
                    f"{cls.__qualname__}.{name} has the name of a part of every notification; "
                    "call the field something else"
                )
        cls._fields = {**cls._fields, **own}
        cls._enums = {
            field: allowed
            for field in cls._fields
            if (allowed := enumerations.values_of(cls, field)) is not None
        }

    def __init__(self, /, source: Any = None, **fields: Any) -> None:
        cls = type(self)
        if cls.event_id is None:
            raise AbstractEvent(_abstract(cls))
        for name in fields.keys() - cls._fields.keys():
            raise UnknownField(_unknown(cls, name))
        super().__init__(source, event_id=cls.event_id)
        state = self.__dict__
        state.update((name, copy(default)) for name, default in cls._fields.items())
        state.update(fields)
        if state["datetime"] is None:
            state["datetime"] = _datetime.now(UTC)
        self._check()

    @property
    def topic(self) -> str:
        """``<event_id>.<origin>``; raises ``MissingOrigin`` or ``InvalidTopic``."""
        # Not by class: an event of a kind that this process does not have is a placeholder.
        event_id = self.__dict__.get("event_id", type(self).event_id)
        return topic_of(checked_id(event_id), self.__dict__.get("origin"))

    @property
    def exchange(self) -> str:
        """Where it is published, or was: name of the exchange without the system's before it."""
        return str(self.__dict__.get("xp_name", EXCHANGE))

    def publish_to(self, exchange: str) -> None:
        """Let it go to *exchange*, named without the system, when it is emitted."""
        self._exchange = exchange
        if exchange == EXCHANGE:
            self.__dict__.pop("xp_name", None)
        else:
            self.xp_name = exchange  # travels, so that each subscriber knows where it came from

    @property
    def additional_data(self) -> AdditionalData:
        """The fields of this kind of event, without those that every notification has."""
        return AdditionalData(self)

    def pre_emit(self) -> None:
        """Check the fields and the origin, which may have been changed since it was made."""
        if self._delivery is None:  # else another process has, where the kind may be another
            self._check()
        _ = self.topic

    def _check(self) -> None:
        cls, state = type(self), self.__dict__
        for name in state:
            if name not in cls._fields and name not in _NO_FIELDS and name[:1] != "_":
                raise UnknownField(_unknown(cls, name))
        for field, allowed in cls._enums.items():
            value = state.get(field)
            if value is not None:
                state[field] = enumerations.checked_value(cls.__name__, field, value, allowed)


class AdditionalData:
    """The fields that one kind of event has beside those of every notification.

    They are attributes of the event, too: ``event.additional_data.state`` is
    ``event.state``.
    """

    __slots__ = ("_event",)

    _event: Notification

    def __init__(self, event: Notification) -> None:
        object.__setattr__(self, "_event", event)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of each field."""
        return iter(_own_fields(self._event).items())

    def __getattr__(self, name: str) -> Any:
        fields = _own_fields(self._event)
        if name not in fields:
            raise AttributeError(_unknown(type(self._event), name))
        return fields[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _own_fields(self._event):
            raise AttributeError(_unknown(type(self._event), name))
        setattr(self._event, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdditionalData) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"AdditionalData({', '.join(f'{name}={value!r}' for name, value in self)})"


def checked_kind(owner: type, event: object) -> type[Notification]:
    """Return *event*, which the class *owner* is for; raise ``TypeError`` if it is no kind."""
    if isinstance(event, type) and issubclass(event, Notification):
        return event
    raise TypeError(
        f"class {owner.__qualname__}(…, event=…) takes a class derived from Notification, not "
        f"{event!r}"
    )


def _own_fields(event: Notification) -> dict[str, Any]:
    # Not by class: the kind may be one that this process does not have.
    return {
        name: value
        for name, value in event.__dict__.items()
        if name[:1] != "_" and name not in _NO_FIELDS and name not in Notification._fields
    }


def _annotated(cls: type) -> Iterator[str]:
    for name, annotation in inspect.get_annotations(cls).items():
        is_of_class = "ClassVar" in str(annotation)
        if not (is_of_class or name.startswith("_") or name in _NO_FIELDS):
            yield name


def _abstract(cls: type[Notification]) -> str:
    kinds = sorted(
        kind.__name__ for kind in cls.__subclasses__() if isinstance(kind.event_id, int | str)
    )
    known = f" (such as {', '.join(kinds[:5])})" if kinds else ""
    return (
        f"{cls.__name__} has no event_id, so there are no events of it: make one of a class derived"
        f" from it{known}, or derive one with an event_id"
    )


def _unknown(cls: type[Notification], name: str) -> str:
    near = difflib.get_close_matches(name, cls._fields, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{cls.__name__} has no field {name!r} (it has: {', '.join(cls._fields)}){hint}"
