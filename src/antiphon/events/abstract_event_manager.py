"""Events, and what every event manager can do."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from antiphon.events.delivery import Came, Delivery, id_of
from antiphon.events.event_id import EventId

#: A listener: called with the event; what it returns is ignored.
Listener: TypeAlias = Callable[[Any], object]

#: A filter: dotted attribute names and the values that they must equal.
Filter: TypeAlias = Mapping[str, Any]

#: Grows with every subclass of ``BaseEvent`` that is made; who keeps what it worked out of the
#: living subclasses sees by it that there are others now.
subclasses_made = 0


# What an event that travelled says of that is made when it is asked for: most are never asked,
# and to make it for each costs more than a listener (benchmarks/messaging).  These are no
# properties, since those would win over an attribute that is given to the event itself.


class _IdOfEvent:
    def __get__(self, event: BaseEvent | None, owner: type) -> EventId | None:
        if event is None:
            return None
        if event._sent is not None:
            return EventId(*event._sent[1:])
        return None if event._came is None else id_of(event._came)


class _DeliveryOfEvent:
    def __get__(self, event: BaseEvent | None, owner: type) -> Delivery | None:
        return None if event is None or event._came is None else Delivery.of(event._came)


class BaseEvent:
    """Something that happened.  Subclass it, one class for each kind of event.

    Every keyword becomes an attribute of the event::

        event = SaveEvent(source=document, directory="letters", filename="baz.txt")
        event.filename    # 'baz.txt'

    Attributes:
        source: the object that made the event; None if it has none.
        travels: class attribute; False keeps events of the class, and of its
            subclasses, in the process that emits them.
    """

    #: Whether a bus sends events of this class to other processes.
    travels: ClassVar[bool] = True

    source: Any

    # Names with a leading underscore belong to this process and never travel.
    # They are class attributes so that making an event sets none of them.
    _handled: bool = False
    if TYPE_CHECKING:
        _event_id: EventId | None
        _delivery: Delivery | None
    else:
        _event_id = _IdOfEvent()
        _delivery = _DeliveryOfEvent()
    # How it came, of those that came from the broker.
    _came: Came | None = None
    # Bus that sent it last, and publisher and counter of the id that it had then.
    _sent: tuple[str, bytes, int] | None = None
    _position: Any = None
    # Exchange that a bus publishes it to, by its ``topic``; None for the bus's own.
    _exchange: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        global subclasses_made
        super().__init_subclass__(**kwargs)
        subclasses_made += 1

    def __init__(self, /, source: Any = None, **kwargs: Any) -> None:
        self.source = source
        self.__dict__.update(kwargs)

    if TYPE_CHECKING:
        # Keywords become attributes, which no type checker can know.
        def __getattr__(self, name: str) -> Any: ...

    def __repr__(self) -> str:
        shown = [
            f"{name}={_shortened(value)}"
            for name, value in self.__dict__.items()
            if not name.startswith("_") and not (name == "source" and value is None)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def mark_as_handled(self) -> None:
        """Keep the event from all listeners that were still to be called."""
        self._handled = True

    def pre_emit(self) -> None:
        """Do what must happen just before listeners are called.  Override it."""

    def post_emit(self) -> None:
        """Do what must happen just after listeners were called.  Override it."""


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


class BaseEventManager(ABC):
    """What every event manager can do; ``EventManager`` is the one to use."""

    @abstractmethod
    def connect(
        self,
        cls: type,
        func: Listener,
        filter: Filter | None = None,
        priority: float = 0,
    ) -> None:
        """Call *func* with every event of class *cls* from now on."""
        raise NotImplementedError

    @abstractmethod
    def disconnect(self, cls: type, func: Listener) -> None:
        """Stop calling *func* with events of class *cls*; ``KeyError`` if it is not connected."""
        raise NotImplementedError

    @abstractmethod
    def emit(self, event: BaseEvent, block: bool = True) -> threading.Thread | None:
        """Call all listeners that *event* matches."""
        raise NotImplementedError

    @abstractmethod
    def disable(self, cls: type) -> None:
        """Make ``emit`` do nothing for events of class *cls* and its subclasses."""
        raise NotImplementedError

    @abstractmethod
    def enable(self, cls: type) -> None:
        """Undo ``disable`` for *cls*; a subclass that was disabled itself stays so."""
        raise NotImplementedError

    @abstractmethod
    def is_enabled(self, cls: type) -> bool:
        """Return whether events of class *cls* reach listeners."""
        raise NotImplementedError

    def add_source(self, source: object) -> None:  # noqa: B027 - nothing to do in one process
        """Tell the manager of an object that arriving events may have as their source."""

    def remove_source(self, source: object) -> None:  # noqa: B027
        """Undo ``add_source``; a source that was never added is no error."""
