"""The part of a bus that people read from: decorators, and streams for asyncio."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from antiphon.errors import InvalidBusOption
from antiphon.events.abstract_event_manager import BaseEvent, Filter
from antiphon.events.origin import OriginSpec
from antiphon.messaging.durable_streams import DurableStream, Handover, end_when_dropped
from antiphon.messaging.listening import ListeningManager, Scope
from antiphon.messaging.streams import E, Feed, Stream
from antiphon.messaging.subscribing import SubscribingManager
from antiphon.messaging.subscription_options import Mode, SubscriptionOptions

#: Events that may wait for the reader of a stream, unless told otherwise.
MAX_EVENTS = 10_000

F = TypeVar("F", bound=Callable[[Any], object])


class ReadingManager(ListeningManager, SubscribingManager):
    """Base of ``BrokerEventManager``."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: weakref.WeakSet[Stream[Any]] = weakref.WeakSet()
        self._streams_change = threading.RLock()

    def listener(
        self,
        cls: type,
        *,
        filter: Filter | None = None,
        priority: float = 0,
        origin: OriginSpec = None,
        scope: Scope = "cluster",
    ) -> Callable[[F], F]:
        """Connect the decorated function to events of class *cls*::

            @bus.listener(Saved, origin="catalogue")
            def index(event: Saved) -> None: ...

        Args:
            cls, filter, priority, origin, scope: as for ``connect``, which also
                tells what is raised.

        The function is returned as it is: it can be called, decorated again for
        another class, and disconnected.
        """

        def decorate(func: F) -> F:
            self.connect(cls, func, filter, priority, origin=origin, scope=scope)
            return func

        return decorate

    def subscriber(
        self,
        name: str,
        cls: type[BaseEvent] | tuple[type[BaseEvent], ...],
        *,
        mode: Mode = "broadcast",
        filter: Filter | None = None,
        origin: OriginSpec = None,
        options: SubscriptionOptions | None = None,
    ) -> Callable[[F], F]:
        """Subscribe the decorated function under *name* to events of class *cls*::

            @bus.subscriber("audit", Saved, mode="group")
            def note(event: Saved) -> None: ...

        Args:
            name, cls, mode, filter, origin, options: as for ``subscribe``, which
                also tells what is raised.

        The function is returned as it is.  The subscription ends with the bus.
        """

        def decorate(func: F) -> F:
            self.subscribe(
                name, cls, func, mode=mode, filter=filter, origin=origin, options=options
            )
            return func

        return decorate

    def stream(
        self,
        cls: type[E] | tuple[type[E], ...],
        *,
        filter: Filter | None = None,
        origin: OriginSpec = None,
        max_events: int = MAX_EVENTS,
        subscription: str | None = None,
        mode: Mode = "broadcast",
        options: SubscriptionOptions | None = None,
    ) -> Stream[E]:
        """Return the events of class *cls*, of any process, for ``async for``::

            async with bus.stream(StoreEvent, origin="catalogue") as changes:
                async for event in changes:
                    ...

        Args:
            cls: an event class, or several; events of subclasses match as well.
            filter, origin: as for ``connect``.
            max_events: events that may wait for a slow reader; of those that come
                while so many wait, none is kept.
            subscription: a name under which events are kept at the broker until
                they are read, see ``subscribe`` and ``DurableStream``; then
                *max_events* has no meaning.
            mode, options: as for ``subscribe``, with *subscription* only.

        Raises:
            InvalidBusOption: an argument makes no sense.
            BusClosed: the bus was closed.

        Without *subscription* nobody waits for the reader.  Where events found no
        room, reading raises ``StreamOverrun``, once, and goes on after that.  A
        connection that broke leaves a gap too, as for every listener: ask for
        ``EventsMayBeMissing`` as well to be told of it in the stream.  What is
        emitted before the stream has begun (see ``Stream``) is not read.
        """
        self._check_open()
        classes = cls if isinstance(cls, tuple) else (cls,)
        if not classes or not all(
            isinstance(c, type) and issubclass(c, BaseEvent) for c in classes
        ):
            raise InvalidBusOption(f"a stream is of an event class, or of several, not {cls!r}")
        if isinstance(max_events, bool) or not isinstance(max_events, int) or max_events < 1:
            raise InvalidBusOption(f"max_events is a number from 1 on, not {max_events!r}")
        if subscription is not None:
            return self._durable_stream(subscription, classes, mode, filter, origin, options)
        if mode != "broadcast" or options is not None:
            raise InvalidBusOption("mode and options are those of a subscription: name one")

        def begin(stream: Stream[Any]) -> Callable[[], None]:
            return self._begin_stream(stream, classes, filter, origin)

        return Stream(begin, max_events)

    def _begin_stream(
        self,
        stream: Stream[Any],
        classes: tuple[type[BaseEvent], ...],
        filter: Filter | None,
        origin: OriginSpec,
    ) -> Callable[[], None]:
        """Connect *stream*, and return what disconnects it; nothing here refers to it."""
        feeds: list[tuple[type, Feed]] = []

        def end() -> None:
            while feeds:
                with contextlib.suppress(KeyError):  # who is told of it knows already
                    self.disconnect(feeds[-1][0], feeds[-1][1].put)
                feeds.pop()

        for number, cls in enumerate(classes):
            feeds.append((cls, Feed(stream, classes[:number])))
            try:
                self.connect(cls, feeds[-1][1].put, filter, origin=origin)
            except BaseException:
                end()
                raise
        self._keep_stream(stream)
        return end

    def _durable_stream(
        self,
        name: str,
        classes: tuple[type[E], ...],
        mode: Mode,
        filter: Filter | None,
        origin: OriginSpec,
        options: SubscriptionOptions | None,
    ) -> DurableStream[E]:
        if options is not None and options.workers != 1:
            raise InvalidBusOption(f"a stream has one reader, so workers=1, not {options.workers}")
        handover = Handover()

        def begin(stream: Stream[Any]) -> Callable[[], None]:
            made = self.subscribe(
                name, classes, handover, mode=mode, filter=filter, origin=origin, options=options
            )
            self._keep_stream(stream)
            return end_when_dropped(stream, handover, made.close)

        return DurableStream(begin, handover)

    def _keep_stream(self, stream: Stream[Any]) -> None:
        with self._streams_change:
            self._streams.add(stream)
        if self._closed_because is not None:
            stream.close()

    def _end_streams(self) -> None:
        """Let all readers go, once they have what came; for ``close``."""
        with self._streams_change:
            streams = list(self._streams)
        for stream in streams:
            stream.close()


def _is_event_class(cls: object) -> bool:
    return isinstance(cls, type) and issubclass(cls, BaseEvent)
