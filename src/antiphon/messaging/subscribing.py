"""The part of a bus that subscribes by name: events wait while nobody is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from antiphon.errors import CorruptMessage, InvalidBusOption
from antiphon.events.abstract_event_manager import BaseEvent, Filter
from antiphon.events.delivery import TRACEPARENT
from antiphon.events.filters import Rest
from antiphon.events.origin import OriginSpec
from antiphon.messaging.bus_part import BusPart
from antiphon.messaging.dead_letters import Rationing, dead_letter, dead_queue_spec
from antiphon.messaging.events import EventsMayBeMissing, refuse_forged
from antiphon.messaging.inbox import Inbox
from antiphon.messaging.matching import Condition, both, checked_origins, origin_test, portable
from antiphon.messaging.sources import Sources
from antiphon.messaging.subscription import Means, Subscription
from antiphon.messaging.subscription_batches import Batching, Received
from antiphon.messaging.subscription_checks import (
    check_queue_name,
    check_subscription_name,
    checked_classes,
    checked_options,
    options_for_batches,
    parted_classes,
)
from antiphon.messaging.subscription_forwarder import Forwarder
from antiphon.messaging.subscription_options import Mode, SubscriptionOptions
from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.subscriptions import BIND_TIMEOUT_S, Subscriptions, bindings_for
from antiphon.messaging.topology import BROADCAST, Binding
from antiphon.messaging.tracing import call_traced
from antiphon.messaging.transport import Arrival, Message

EventT = TypeVar("EventT", bound=BaseEvent)

#: Attempts at a dead letter of the broadcast queue: its message is settled anyway.
_CORRUPT_ATTEMPTS = 5


class _Asked(NamedTuple):
    """What a subscription to event classes is made of."""

    classes: tuple[type[BaseEvent], ...]
    queue: str
    bindings: tuple[Binding, ...]
    condition: Condition | None


class SubscribingManager(BusPart):
    """Base of ``BrokerEventManager``."""

    _inbox: Inbox
    _sources: Sources
    _subscriptions: Subscriptions

    def __init__(self) -> None:
        super().__init__()
        self._durable: dict[str, Subscription] = {}  # by the name of the queue
        self._subscribing = threading.RLock()
        self._rationing = Rationing()

    def subscribe(
        self,
        name: str,
        cls: type[EventT] | Iterable[type[EventT]],
        func: Callable[[EventT], object],
        *,
        mode: Mode = "broadcast",
        filter: Filter | None = None,
        origin: OriginSpec = None,
        options: SubscriptionOptions | None = None,
    ) -> Subscription:
        """Call *func* with every event of class *cls*, also with those emitted while we were away.

        Args:
            name: 1 to 100 letters, digits, ``_``, ``-`` and ``.``; names the queue
                at the broker, ``<system>.sub.<name>``, in which events wait.
            cls: an event class, or several; events of subclasses match as well.
            func: called with each event on a thread of the subscription, which
                holds it.  When it returns, the event counts as handled; when it
                raises, it is called again, see ``SubscriptionOptions``.
            mode: who of those that subscribe under *name* gets an event.
                "broadcast": the one process that the name is for; give each its
                own name.  "group": one of them, so that they share the work.
                "single": one gets all, in order, until it goes and another takes
                over.
            filter, origin: as for ``connect``.  All who share a name must ask for
                the same: what comes to one that does not want it is passed over.
            options: what is rarely changed.

        Raises:
            InvalidBusOption: an argument makes no sense; nothing was subscribed.
            SubscriptionConflict: the broker has *name* with another mode or other
                options; nothing was subscribed.
            NameConflict, BrokerRefused, BusClosed: as for ``connect``.

        Events of this process come back through the queue, too, beside priority and
        ``mark_as_handled``.  When it returns and the bus is connected, everything
        emitted from then on is kept for *name*.  The first time under a name, and
        whenever the queue was gone, ``EventsMayBeMissing`` is told.
        """
        asked = self._asked(name, checked_classes(cls), origin)
        return self.subscribe_queue(
            name,
            asked.queue,
            asked.bindings,
            func,
            classes=asked.classes,
            mode=mode,
            filter=portable(filter),
            condition=asked.condition,
            options=options,
        )

    def subscribe_batches(
        self,
        name: str,
        cls: type[EventT] | str | Iterable[type[EventT] | str],
        func: Callable[[Sequence[Received[EventT]]], object],
        *,
        max_events: int = 500,
        max_wait_s: float = 0.05,
        mode: Mode = "broadcast",
        filter: Filter | None = None,
        origin: OriginSpec = None,
        options: SubscriptionOptions | None = None,
    ) -> Subscription:
        """Call *func* with many events at once, for work that is cheaper so, such as a commit.

        Args:
            name, mode, filter, origin: as for ``subscribe``.
            cls: as for ``subscribe``; or the name on the wire, such as ``myapp:Saved``,
                of a class that this process does not have.
            func: called with what came, in order: each has the ``event`` and the
                ``message`` that carries it alone.  When it returns, all of them
                count as handled.  When it raises, none does: it is called again
                with each of them for itself, and what fails then is tried again,
                see ``SubscriptionOptions``.
            max_events: so many for one call at most.
            max_wait_s: seconds for which the first of them waits for others.
            options: what is rarely changed; ``workers`` is 1.  Unless given,
                ``prefetch`` is *max_events*, or 200 if that is less.

        Raises:
            As ``subscribe``.

        A call may take long, say because what it writes to is away: before the
        broker loses its patience, all goes back to the queue, and comes again once
        the call has returned; what that has handled is then passed over.
        """
        asked = self._asked(name, cls, origin)
        options = options_for_batches(max_events, max_wait_s, options)
        options = checked_options(func, mode, filter, options)
        wants = self._chooser(func, asked.classes, portable(filter), asked.condition)
        batching = Batching(func, wants, max_events, max_wait_s)
        return self._open(name, asked.queue, asked.bindings, batching, mode, options)

    def _asked(self, name: str, cls: Any, origin: OriginSpec) -> _Asked:
        classes, named = parted_classes(cls)
        check_subscription_name(name)
        self._check_open()
        origins = checked_origins(origin)
        heard = self._codec.registry.names_heard
        names = (*dict.fromkeys((*(one for each in classes for one in heard(each)), *named)),)
        queue = f"{self.system}.sub.{name}"
        condition = origin_test(origins, self.origin)
        if named:
            condition = both(condition, self._kind_test(classes, frozenset(named)))
            classes = (BaseEvent,)
        return _Asked(classes, queue, bindings_for(names, origins, queue), condition)

    def _kind_test(self, classes: tuple[type, ...], named: frozenset[str]) -> Condition:
        names_of = self._codec.registry.names_of
        return lambda event: (
            isinstance(event, classes) or not named.isdisjoint(names_of(type(event)))
        )

    def subscribe_queue(
        self,
        name: str,
        queue: str,
        bindings: Iterable[Binding],
        func: Callable[[Any], object],
        *,
        classes: tuple[type[BaseEvent], ...] = (BaseEvent,),
        mode: Mode = "broadcast",
        filter: Filter | None = None,
        condition: Condition | None = None,
        options: SubscriptionOptions | None = None,
    ) -> Subscription:
        """Subscribe to a queue with bindings of one's own; ``subscribe`` is what most want.

        Args:
            name: what it is called in logs, dead letters and ``EventsMayBeMissing``.
            queue: its name at the broker, and its label in the topology.
            bindings: of that queue.
            func, mode, options: as for ``subscribe``.
            classes, filter, condition: what an event must be and pass; others are passed over.

        Raises:
            As ``subscribe``.
        """
        self._check_open()
        options = checked_options(func, mode, filter, options)
        check_queue_name(queue)
        call = self._caller(func, classes, filter, condition)
        return self._open(name, queue, bindings, call, mode, options)

    def _open(
        self,
        name: str,
        queue: str,
        bindings: Iterable[Binding],
        call: Callable[[Any], bool] | Batching,
        mode: Mode,
        options: SubscriptionOptions,
    ) -> Subscription:
        with self._subscribing:
            if queue in self._durable:
                raise InvalidBusOption(
                    f"this bus has subscribed as {name!r} already: close() that one first, or use "
                    "another name"
                )
            subscription = Subscription(name, mode, queue, options, self._means(), call)
            self._durable[queue] = subscription
            self._inbox.route((queue, subscription.retry_queue), subscription)
        try:
            subscription.start(bindings, BIND_TIMEOUT_S)
        except BaseException:
            subscription.close(1)
            raise
        return subscription

    @property
    def durable_subscriptions(self) -> tuple[Subscription, ...]:
        """The open subscriptions that ``subscribe`` made."""
        return tuple(self._durable.values())

    # -- For the bus -----------------------------------------------------------------------

    def _watch_inbox(self) -> None:
        """Begin to hear of what the inbox can say."""
        self._timetable = Timetable(f"{self.system} timetable")
        self._forwarder = Forwarder(self._transport, self._timetable)
        self._inbox.when_corrupt = self._corrupted
        self._inbox.when_changed = self._changed
        self._inbox.when_interrupted = self._interrupted
        self._inbox.when_resumed = self._resumed

    def _end_subscriptions(self, timeout_s: float) -> None:
        """Close all subscriptions, together within about *timeout_s*."""
        deadline = time.monotonic() + timeout_s
        subscriptions = self.durable_subscriptions
        for one in subscriptions:
            one.stop_working()
        # One after the other: at the end of the program no thread can be started any more.
        for one in subscriptions:
            one.close(max(0.0, deadline - time.monotonic()))

    def _means(self) -> Means:
        return Means(
            transport=self._transport,
            topology=self._topology,
            timetable=self._timetable,
            system=self.system,
            decode=self._decode,
            wait_connected=self._inbox.wait_connected,
            ended=self._subscription_ended,
            queue_made=self._queue_made,
        )

    def _decode(self, message: Message) -> list[BaseEvent]:
        events = self._codec.decode(
            message.routing_key, message.headers, message.body, self._sources.resolve
        )
        refuse_forged(events)
        return events

    def _subscription_ended(self, subscription: Subscription) -> None:
        with self._subscribing:
            self._inbox.route((subscription.queue, subscription.retry_queue), None)
            self._durable.pop(subscription.queue, None)

    def _caller(
        self,
        func: Callable[[Any], object],
        classes: tuple[type[BaseEvent], ...],
        filter: Filter | None,
        condition: Condition | None,
    ) -> Callable[[Any], bool]:
        """Return what calls *func* with an event that it wants, and says whether it did."""
        wants = self._chooser(func, classes, filter, condition)

        def call(event: BaseEvent) -> bool:
            if not wants(event):
                return False
            if event.__dict__["_came"][TRACEPARENT] is not None:
                call_traced(func, event)
            else:
                func(event)
            return True

        return call

    def _chooser(
        self,
        func: Callable[[Any], object],
        classes: tuple[type[BaseEvent], ...],
        filter: Filter | None,
        condition: Condition | None,
    ) -> Callable[[Any], bool]:
        """Return what says whether *func* is to be called with an event."""
        rest = Rest((filter or {}).items(), None, condition)
        is_plain = not filter and condition is None
        publisher_id = self.publisher_id

        def wants(event: BaseEvent) -> bool:
            if not isinstance(event, classes) or not (is_plain or rest.passes(event, func)):
                return False
            if self._disabled and not self.is_enabled(type(event)):
                return False
            trace = self._trace_func
            if trace is not None and trace("listen", func, (event,)):
                return False
            event.__dict__["_arrived_at"] = publisher_id
            return True

        return wants

    # -- What may be missing, and what cannot be read ----------------------------------------

    def _changed(self, is_connected: bool) -> None:
        for subscription in self.durable_subscriptions:
            subscription.connection_changed()

    def _interrupted(self) -> float:
        good_until = self._transport.last_heard_at or time.time()
        canary = self._inbox.canary
        if canary is None or canary.good_at is None:
            return good_until
        # With slow listeners the queue may have been long, and what was heard last old.
        return min(good_until, canary.good_at)

    def _resumed(self, since: float) -> None:
        if self._subscriptions.binding_count:
            self._tell_missing(BROADCAST, since, "the connection was lost for a while")

    def _queue_made(self, subscription: Subscription, is_first: bool) -> None:
        cause = "it is new, or has expired" if is_first else "it was deleted, or has expired"
        reason = f"the queue {subscription.queue!r} was not there: {cause}"
        # What had waited in it may have been of any age.
        self._tell_missing(subscription.name, None, reason)

    def _tell_missing(self, subscription: str, since: float | None, reason: str) -> None:
        event = EventsMayBeMissing(subscription=subscription, since=since, reason=reason)
        self._inbox.tell(self._dispatch_own, event)

    def _dispatch_own(self, event: BaseEvent) -> None:
        if self._closed_because is None and self.is_enabled(type(event)):
            self._dispatch(event)

    def _corrupted(self, arrival: Arrival, error: CorruptMessage) -> None:
        """Keep a few of the messages of the broadcast queue that nobody can read."""
        if not self._rationing.passes() or self._closed_because is not None:
            return
        spec = dead_queue_spec(self.system)
        self._topology.put_queue(spec)
        self._transport.reconcile()
        letter = dead_letter(
            arrival.message,
            queue=spec.name,
            subscription=BROADCAST,
            reason="undecodable",
            error=str(error),
            attempts=1,
        )
        attempts = iter(range(_CORRUPT_ATTEMPTS))
        self._forwarder.send(
            [letter], is_wanted=lambda: next(attempts, None) is not None, done=lambda _: None
        )
