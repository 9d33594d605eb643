"""A durable subscription: a queue at the broker, and a listener for what is in it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from antiphon.errors import BrokerRefused, SubscriptionClosed, SubscriptionConflict
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.dead_letters import dead_queue_spec
from antiphon.messaging.subscription_batches import Batching, BatchRunner
from antiphon.messaging.subscription_ending import hand_back
from antiphon.messaging.subscription_forwarder import Forwarder
from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.subscription_mover import Mover
from antiphon.messaging.subscription_options import Mode, SubscriptionOptions, SubscriptionStats
from antiphon.messaging.subscription_pace import HOLD_SHARE, Pace
from antiphon.messaging.subscription_runner import Runner
from antiphon.messaging.subscription_tending import Tending
from antiphon.messaging.subscription_timetable import Timetable
from antiphon.messaging.topology import Binding, QueueSpec, Topology
from antiphon.messaging.transport import Arrival, Message, Transport

logger = logging.getLogger(__name__)

#: Seconds that ``close`` gives a listener at work, unless told otherwise.
CLOSE_TIMEOUT_S = 5.0

#: Seconds that messages of a group may wait in one of its processes: another may have time.
GROUP_HOLD_S = 5.0

#: Seconds after which what is left of a message with several events is shared with the group.
SHARE_AFTER_S = 2.0

#: Part of what a message may be in hand that one call of a listener of batches may take until
#: all goes back to the queue: before any of it is moved singly.
LEND_SHARE = 1 / 2

#: What RabbitMQ calls the first difference that it finds, and what that may be here: each mode
#: has an expiry of its own, unless told otherwise.
_DIFFERENCES = {
    "x-single-active-consumer": ("mode",),
    "x-expires": ("mode", "expires_s"),
    "x-max-length": ("max_messages",),
}


@dataclass(frozen=True, slots=True)
class Means:
    """What the subscriptions of a bus share.

    Attributes:
        transport, topology, timetable: of the bus.
        system: of the bus.
        decode: returns the events of a message; raises ``CorruptMessage``.
        wait_connected: see ``BrokerEventManager``.
        ended: called with a subscription that was closed.
        queue_made: called with a subscription whose queue was made, and whether
            it is the first time in this process.
    """

    transport: Transport
    topology: Topology
    timetable: Timetable
    system: str
    decode: Callable[[Message], list[BaseEvent]]
    wait_connected: Callable[[float], bool]
    ended: Callable[[Subscription], None]
    queue_made: Callable[[Subscription, bool], None]


class Subscription:
    """A durable subscription; made by ``bus.subscribe``.

    Its queue at the broker, and what is in it, outlives this object.  It can be
    used in a ``with`` statement, which closes it.

    Attributes:
        name: unique in its system.
        mode: who of those that use the name gets an event.
        queue: name of its queue at the broker.
        options: as they were given.
    """

    def __init__(
        self,
        name: str,
        mode: Mode,
        queue: str,
        options: SubscriptionOptions,
        means: Means,
        call: Callable[[Any], bool] | Batching,
    ) -> None:
        self.name = name
        self.mode = mode
        self.queue = queue
        self.retry_queue = retry_queue(means.system, queue)
        self.options = options
        self._means = means
        self._bindings: tuple[Binding, ...] = ()
        self._generations: tuple[int, ...] = ()
        self._made: set[str] = set()
        self._has_stood = False
        self._is_closed = self._is_deleted = False
        self._closing = threading.Lock()
        transport = means.transport
        self._hand = Hand(transport.settle, transport.is_stale)
        self._dead_spec = dead_queue_spec(means.system)
        self._mover = Mover(
            name,
            queue,
            self.retry_queue,
            queue if mode == "group" else self.retry_queue,
            self._dead_spec.name,
            self._hand,
            Forwarder(transport, means.timetable),
            self._revive_dead_queue,
            transport.hurry,
        )
        patient_s = hold_s = share_s = options.broker_patience_s * HOLD_SHARE
        if mode == "group":
            hold_s = min(hold_s, GROUP_HOLD_S)
            share_s = min(hold_s, SHARE_AFTER_S)
        self._pace = Pace(options.prefetch, options.workers, hold_s)
        self._runner = self._make_runner(call)
        self._tending = Tending(
            name,
            self._hand,
            self._mover,
            means.timetable,
            hold_s=hold_s,
            share_s=share_s,
            lend_s=patient_s * LEND_SHARE,
            began_at=lambda: self._runner.began_at,
            give_back=self._give_back,
            take_back=self._declare,
        )

    def _make_runner(self, call: Callable[[Any], bool] | Batching) -> Runner:
        args = (
            self.name,
            self.options,
            self.mode != "group",
            self._hand,
            self._mover,
            self._pace,
            self._means.decode,
        )
        if isinstance(call, Batching):
            return BatchRunner(*args, call, self._change_prefetch, self._returned)
        return Runner(*args, call, self._change_prefetch)

    # -- For users -------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, by itself or with its bus."""
        return self._is_closed

    def is_alive(self) -> bool:
        """Return False if a thread of it has ended that was not to."""
        return self._runner.is_alive()

    def stats(self) -> SubscriptionStats:
        """Return the counters of this process."""
        hand = self._hand
        with hand.moved:
            hand.prune()
            stats = hand.stats.copy()
            stats.in_hand = len(hand.arrivals) + len(hand.isolated) + len(hand.batches)
        return stats

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait at most *timeout_s* seconds until queue and bindings stand; return whether they do.

        Raises:
            SubscriptionConflict: the broker has a queue of that name with other options.
            BrokerRefused: the broker does not allow it.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            if self._wait_declared(left_s):
                return True
            if not left_s or not self._means.wait_connected(left_s):
                return False
            time.sleep(min(0.01, left_s))  # connected, and not declared yet

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop listening; the queue stays at the broker and goes on collecting.  Twice is fine.

        Args:
            timeout_s: seconds that a listener at work gets to return, and the
                broker to take back what was begun with and not handled.

        Events that were not handled are kept for whoever subscribes next.  An
        event whose listener did not return in time comes again, and so does the
        one whose listener calls this.
        """
        self._end(timeout_s, delete=False)

    def delete(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Stop listening, and delete the queue with all that is in it.  Twice is fine.

        Raises:
            SubscriptionClosed: it was closed before; the queue stays.
        """
        self._end(timeout_s, delete=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<Subscription {self.name!r} ({self.mode}): {state}>"

    # -- For the bus -----------------------------------------------------------------------

    def start(self, bindings: Iterable[Binding], timeout_s: float) -> None:
        """Declare everything and begin; see ``wait_ready`` for what is raised."""
        self._runner.start()
        self._means.topology.put_queue(self._dead_spec)
        self._bindings = tuple(bindings)
        self._declare()
        try:
            self._wait_declared(timeout_s)
        except BrokerRefused:
            self._end(1, delete=False)
            raise
        self._tending.begin()

    def stop_working(self) -> None:
        """Begin with no further event; ``close`` does the rest."""
        self._runner.stop()

    def connection_changed(self) -> None:
        """Take note that the connection was lost, or is back."""
        self._runner.connection_changed()

    def deliver(self, arrival: Arrival) -> None:
        """Take *arrival*, on a thread of the transport."""
        self._hand.put(arrival, is_isolated=arrival.queue == self.retry_queue)

    def queue_made(self, queue: str) -> None:
        """Take note that *queue* was made, on a thread of the transport."""
        is_first = queue not in self._made
        self._made.add(queue)
        # The isolation queue of a new subscription is new, too; that says nothing.
        if queue == self.queue or not is_first:
            self._means.queue_made(self, is_first and not self._has_stood)

    def _wait_declared(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        topology = self._means.topology
        if not self._generations:
            return False  # another thread is about to declare it
        generations = (*self._generations, topology.generation_of(self._bindings))
        try:
            for generation in generations:
                if not topology.wait(generation, max(0.0, deadline - time.monotonic())):
                    return False
            self._has_stood = True
            return True
        except BrokerRefused as exc:
            text = str(exc)
            if not ("inequivalent" in text or "declared otherwise" in text):
                raise
            asked = {
                "mode": self.mode,
                "expires_s": self.options.expiry_s(self.mode),
                "max_messages": self.options.max_messages,
            }
            what = next((ours for theirs, ours in _DIFFERENCES.items() if theirs in text), asked)
            raise SubscriptionConflict(
                f"the broker has subscription {self.name!r} with another {' or '.join(what)} than "
                f"{', '.join(f'{name}={asked[name]!r}' for name in what)}: subscribe with what "
                "the others use, or under another name, or delete() it first, with all that "
                f"waits in it ({text})"
            ) from exc

    def _spec(self, name: str, prefetch: int) -> QueueSpec:
        is_main = name == self.queue
        return QueueSpec(
            name,
            name,
            is_exclusive=False,
            prefetch=prefetch,
            is_single_active=self.mode != "group",
            expires_s=self.options.expiry_s(self.mode),
            max_messages=self.options.max_messages if is_main else None,
            # Also without a bound: an operator's policy may give one, or a limit of deliveries.
            dead_letters_to=self._dead_spec.name,
            consume_own=True,
        )

    # -- While it runs ---------------------------------------------------------------------

    def _declare(self) -> None:
        """Wish for queues and bindings, and thereby consume."""
        topology = self._means.topology
        # This one first: what is in it comes before everything else.
        first = topology.put_queue(self._spec(self.retry_queue, 1))
        last = topology.put_queue(self._spec(self.queue, self._pace.prefetch))
        topology.bind(self._bindings)
        self._generations = (first, last)
        self._means.transport.reconcile()

    def _returned(self, elapsed_s: float) -> None:
        self._tending.returned(elapsed_s)

    def _give_back(self) -> None:
        """Stop consuming: what is in hand goes back to the queue, and is stale."""
        for queue in (self.retry_queue, self.queue):
            self._means.topology.drop_queue(queue, delete=False)
        self._means.transport.reconcile()

    def _change_prefetch(self) -> None:
        if self.mode == "single":
            return  # consuming anew would let another process take over in the midst of it
        logger.info("subscription %r: prefetch is %d now", self.name, self._pace.prefetch)
        with self._closing:
            if not self._is_closed:
                self._means.topology.put_queue(self._spec(self.queue, self._pace.prefetch))
                self._means.transport.reconcile()

    def _revive_dead_queue(self) -> None:
        transport, topology = self._means.transport, self._means.topology
        if transport.is_connected:
            topology.drop_queue(self._dead_spec.label, delete=False)
            topology.put_queue(self._dead_spec)
            transport.reconcile()

    # -- Ending ----------------------------------------------------------------------------

    def _end(self, timeout_s: float, *, delete: bool) -> None:
        with self._closing:
            if self._is_closed:
                if delete and not self._is_deleted:
                    raise SubscriptionClosed(
                        f"subscription {self.name!r} was closed, so its queue stays; subscribe "
                        "again under that name, and delete() what that returns"
                    )
                return
            self._is_closed, self._is_deleted = True, delete
        if self._tending.end() and delete:
            self._declare()  # what is not there cannot be dropped
        deadline = time.monotonic() + timeout_s
        self._runner.stop()
        if not self._runner.join(deadline):
            logger.warning("subscription %r is closed, but a listener is still at work", self.name)
        if not delete:
            transport = self._means.transport
            hand_back(self._hand, self._mover, lambda: transport.is_connected, deadline)
        topology, transport = self._means.topology, self._means.transport
        generations = [
            topology.drop_queue(one, delete=delete) for one in (self.retry_queue, self.queue)
        ]
        transport.reconcile()
        for generation in generations:
            topology.wait(generation, max(0.5, deadline - time.monotonic()))
        self._means.ended(self)


def retry_queue(system: str, queue: str) -> str:
    """Return the name of the isolation queue of *queue*."""
    own = f"{system}.sub."
    # A queue that somebody else has named gets a sign that no subscription's name has.
    return f"{system}.retry." + (queue.removeprefix(own) if queue.startswith(own) else f"!{queue}")
