"""The base of all subscribers to notifications."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Self

from antiphon.errors import NoHandler
from antiphon.events.abstract_event_manager import Filter
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.messaging.matching import Condition
from antiphon.messaging.subscription import Subscription
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.messaging.topics import TopicPattern
from antiphon.messaging.topology import Binding
from antiphon.notifications.buses import bus_for
from antiphon.notifications.notification import EXCHANGE, Notification, checked_kind
from antiphon.notifications.topic import EventId, checked_id, checked_pattern
from antiphon.notifications.topic import binding_key as make_key


class EventSubscriber:
    """Hears of events by the id of their kind and by their origin.

    This class hears events of any kind; a derived one those of its kind, and a
    subscriber of your own kind of event is::

        class TideEventSubscriber(EventSubscriber, event=TideEvent): ...

    Assign what is to be called to ``ondata``, or override ``on_data``, then call
    ``activate()``; ``deactivate()`` ends it.  It is a context manager as well.

    Args:
        xp_name: the exchange, without the system that comes before its name.
        binding_key: what it listens to; None makes it of the next two.
        event_id: of the kind; None for the class's own, ``"*"`` for every kind.
        origin: words; ``*`` is any one, ``#`` any number of them.  None for all.
        queue_name: of a durable queue, which keeps events while nobody listens,
            and which subscribers of several processes may share: each event goes
            to one of them.  The system is put before it, unless it is there.
            None: what happens while it is not active, or not connected, is missed.
        process: the bus, as in ``bus``; anything else is ignored.
        bus: where to listen; None for *process*, else the program's global event manager.
        options: of the durable queue.

    Raises:
        InvalidTopic: *event_id*, *origin* or *binding_key* make no pattern.

    Attributes:
        ondata: called with each event, unless ``on_data`` is overridden.
        binding_key: ``<event_id or *>.<origin or #>``.
        subscription: while it is active with a durable queue, what can wait for it,
            count, and delete it; else None.
        event_id, msg_type: class attributes; of the kind, None if it is abstract.
        event_class: class attribute; the class of its events.
    """

    event_class: ClassVar[type[Notification]] = Notification
    event_id: ClassVar[EventId | None] = None
    msg_type: ClassVar[int | None] = None

    ondata: Callable[[Any], object] | None = None

    def __init_subclass__(cls, *, event: type[Notification] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if event is not None:
            cls.event_class = checked_kind(cls, event)
            cls.event_id, cls.msg_type = event.event_id, event.msg_type

    def __init__(
        self,
        xp_name: str | None = None,
        binding_key: str | None = None,
        event_id: EventId | None = None,
        origin: str | None = None,
        queue_name: str | None = None,
        process: Any = None,
        *,
        bus: BrokerEventManager | None = None,
        options: SubscriptionOptions | None = None,
    ) -> None:
        self.xp_name = xp_name
        self.binding_key = (
            make_key(self.event_id if event_id is None else event_id, origin)
            if binding_key is None
            else checked_pattern(binding_key)
        )
        self._queue_name = queue_name
        self._process = process
        self._bus = bus
        self._options = options
        self._undo: Callable[[], None] | None = None
        self.subscription: Subscription | None = None

    @property
    def bus(self) -> BrokerEventManager:
        """Where it listens; raises ``NoBus`` if there is none."""
        return bus_for(self._bus, self._process, self)

    @property
    def queue_name(self) -> str | None:
        """Name of the durable queue at the broker, with the system before it; None without."""
        if self._queue_name is None:
            return None
        prefix = f"{self.bus.system}."
        name = self._queue_name
        return name if name.startswith(prefix) else prefix + name

    @property
    def is_active(self) -> bool:
        """Whether it listens."""
        return self._undo is not None

    def on_data(self, data: Any) -> None:
        """Take an event; override it, or assign ``ondata``."""
        if self.ondata is not None:
            self.ondata(data)

    def activate(self) -> Self:
        """Begin to listen; return the subscriber.  Twice is fine.

        When it returns and the bus is connected, everything published from then on comes.
        The bus holds the subscriber until ``deactivate()``.

        Raises:
            NoHandler: there is no ``ondata``, and ``on_data`` is not overridden.
            NoBus, BusClosed, BrokerRefused, InvalidBusOption: as they say (the bus has
                that queue already, say); nothing is listened to.
        """
        if self._undo is None:
            if self.ondata is None and type(self).on_data is EventSubscriber.on_data:
                raise NoHandler(
                    f"{type(self).__name__} has nothing to call: assign a function of the event to "
                    "its ondata, or override on_data(data)"
                )
            self._undo = self._listen()
        return self

    def deactivate(self) -> None:
        """Stop listening; a durable queue stays, and keeps events.  Twice is fine."""
        undo, self._undo = self._undo, None
        self.subscription = None
        if undo is not None:
            undo()

    def _listen(self) -> Callable[[], None]:
        bus = self.bus
        exchange = (self.xp_name or EXCHANGE).removeprefix(f"{bus.system}.")
        filter, condition = _test(exchange, self.binding_key)

        def hear(event: Any) -> None:  # no bound method: the bus would hold that weakly
            self.on_data(event)

        if self._queue_name is None:
            key = self.binding_key
            bus.connect_topic(exchange, key, Notification, hear, filter, condition)
            return lambda: bus.disconnect(Notification, hear)
        queue = str(self.queue_name)
        self.subscription = subscription = bus.subscribe_queue(
            queue.removeprefix(f"{bus.system}."),
            queue,
            [Binding(queue, self.binding_key, bus.put_exchange(exchange))],
            hear,
            classes=(Notification,),
            mode="group",
            filter=filter,
            condition=condition,
            options=self._options,
        )
        return subscription.close

    def __enter__(self) -> Self:
        return self.activate()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.deactivate()


def _test(exchange: str, pattern: str) -> tuple[Filter | None, Condition]:
    """Return the test of a listener for what goes to *exchange* by a topic like *pattern*."""
    first, _, rest = pattern.partition(".")
    if first in ("*", "#"):
        return None, _condition(exchange, None if pattern in ("#", "*.#") else pattern)
    # What can be looked up is looked up: of a thousand subscribers few are asked.
    kind = {"event_id": checked_id(first)}
    if rest == "#":
        return kind, _condition(exchange, None)
    if rest and not {"*", "#"} & set(rest.split(".")):
        return {**kind, "origin": rest}, _condition(exchange, None)
    return kind, _condition(exchange, pattern)


def _condition(exchange: str, pattern: str | None) -> Condition:
    topics = None if pattern is None else TopicPattern(pattern)

    def is_match(event: Any) -> bool:
        # By hand, and not event.topic: what arrives may be anything.
        state = event.__dict__
        return exchange == state.get("xp_name", EXCHANGE) and (
            topics is None or topics.matches(f"{state.get('event_id')}.{state.get('origin')}")
        )

    return is_match
