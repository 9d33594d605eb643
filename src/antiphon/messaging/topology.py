"""What is to be declared at the broker, as a set that transports replay.

Callers change the wish (``bind``, ``put_queue``, …) and may wait until it stands;
the transport asks for everything after a connect (``snapshot``, ``part``), for what
changed since (``changes``), and tells what it has carried out (``stands``).
Generations tie the two together: each change gets the next number.  Changes of
one queue are carried out in their order; different queues do not wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable

from antiphon.errors import AntiphonError
from antiphon.messaging.declarations import Binding as Binding
from antiphon.messaging.declarations import Change as Change
from antiphon.messaging.declarations import ExchangeSpec as ExchangeSpec
from antiphon.messaging.declarations import Part as Part
from antiphon.messaging.declarations import QueueSpec as QueueSpec
from antiphon.messaging.declarations import Snapshot as Snapshot

#: Label of the queue that every bus has for itself.
BROADCAST = "broadcast"

#: Refused changes that are kept for whoever comes to wait for them.
MAX_REFUSALS = 1000


class Topology:
    """The declared set of one bus; safe to use from any thread.

    Args:
        exchange: name of the durable topic exchange that everything is bound to.
        queues: what to consume from.
    """

    def __init__(self, exchange: str, queues: Iterable[QueueSpec] = ()) -> None:
        self.exchange = exchange
        self._queues = {queue.label: queue for queue in queues}
        self._exchanges: dict[str, ExchangeSpec] = {}
        self._bindings: dict[str, dict[Binding, int]] = {}
        self._unbindings: dict[str, dict[Binding, int]] = {}  # of durable queues: they outlive us
        self._deletions: dict[str, Change] = {}
        self._put_at: dict[str | ExchangeSpec, int] = {}
        self._changes: list[Change] = []
        self._generation = 0
        self._open: dict[int, str | None] = {}  # generations that do not stand yet
        self._is_connected = False
        self._refused: dict[int, AntiphonError] = {}
        self._troubles: dict[str, AntiphonError] = {}
        self._moved = threading.Condition()

    # -- Wishes ------------------------------------------------------------------

    def bind(self, bindings: Iterable[Binding]) -> None:
        """Wish for *bindings*."""
        with self._moved:
            for binding in bindings:
                own = self._bindings.setdefault(binding.queue, {})
                if binding not in own:
                    own[binding] = self._changed(binding, is_wanted=True)
                    self._unbindings.get(binding.queue, {}).pop(binding, None)

    def unbind(self, bindings: Iterable[Binding]) -> None:
        """Wish that *bindings* be gone."""
        with self._moved:
            for binding in bindings:
                if self._bindings.get(binding.queue, {}).pop(binding, None) is None:
                    continue
                generation = self._changed(binding, is_wanted=False)
                queue = self._queues.get(binding.queue)
                if queue is not None and not queue.is_exclusive:
                    self._unbindings.setdefault(queue.label, {})[binding] = generation

    def put_queue(self, queue: QueueSpec) -> int:
        """Wish for *queue*, in place of one of that label, and return the generation to wait for.

        Another prefetch than before only consumes anew; what is under way stays so.
        A queue that the broker refuses is tried again with pauses until it is
        dropped; the other queues do not mind.
        """
        with self._moved:
            if self._queues.get(queue.label) != queue:
                self._queues[queue.label] = queue
                self._put_at[queue.label] = self._changed(queue, is_wanted=True)
            return self._put_at.get(queue.label, 0)

    def drop_queue(self, label: str, *, delete: bool) -> int:
        """No longer consume the queue called *label*, and return the generation to wait for.

        Args:
            label: one that is not there is no error.
            delete: whether the queue goes at the broker, too, with all that is
                in it; else a durable queue and its bindings stay there.

        Once it stands, no more arrives from the queue.  What has arrived and was
        not settled before goes back to it, and is stale (``Transport.is_stale``).
        """
        with self._moved:
            queue = self._queues.pop(label, None)
            if queue is None:
                return 0
            for gone in (self._bindings, self._unbindings, self._put_at, self._troubles):
                gone.pop(label, None)
            self._open = {n: lane for n, lane in self._open.items() if lane != label}
            generation = self._changed(queue, is_wanted=False, deletes=delete)
            if delete and not queue.is_exclusive:
                self._deletions[queue.name] = Change(queue, False, generation, True)
            return generation

    def put_exchange(self, exchange: ExchangeSpec) -> int:
        """Wish for *exchange*, and return the generation to wait for."""
        with self._moved:
            if self._exchanges.get(exchange.name) != exchange:
                self._exchanges[exchange.name] = exchange
                self._put_at[exchange] = self._changed(exchange, is_wanted=True)
            return self._put_at[exchange]

    def exchange_named(self, name: str) -> ExchangeSpec | None:
        """Return the wish for the exchange *name*; None if there is none."""
        return self._exchanges.get(name)

    def _changed(
        self, what: Binding | QueueSpec | ExchangeSpec, *, is_wanted: bool, deletes: bool = False
    ) -> int:
        self._generation += 1
        change = Change(what, is_wanted, self._generation, deletes)
        self._changes.append(change)
        self._open[self._generation] = change.queue
        return self._generation

    def generation_of(self, bindings: Iterable[Binding]) -> int:
        """Return the generation to wait for until all of *bindings*, of one queue, stand."""
        with self._moved:
            return max(
                (self._bindings.get(one.queue, {}).get(one, 0) for one in bindings), default=0
            )

    def wait(self, generation: int, timeout_s: float) -> bool:
        """Wait until *generation*, and what came before it on the same queue, stands.

        Returns:
            True if it stands; False if *timeout_s* passed, or the connection was
            lost: it will be declared with the rest when that is back.

        Raises:
            BrokerRefused: the broker refused this change.  A binding was taken
                back; a queue is tried again until ``drop_queue``.
        """
        deadline = time.monotonic() + timeout_s
        with self._moved:
            while True:
                if (error := self._refused.pop(generation, None)) is not None:
                    raise error
                if not self._is_connected:
                    return False
                if generation not in self._open:
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._moved.wait(left)

    @property
    def troubles(self) -> dict[str, AntiphonError]:
        """Label of each queue that does not stand although the connection does, and why."""
        with self._moved:
            return dict(self._troubles)

    @property
    def consumed(self) -> tuple[str, ...]:
        """Labels of the queues that are consumed at the broker right now."""
        with self._moved:
            if not self._is_connected:
                return ()
            opening = {lane for n, lane in self._open.items() if self._put_at.get(lane or "") == n}
            return tuple(
                label
                for label, queue in self._queues.items()
                if queue.is_consumed and label not in self._troubles and label not in opening
            )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """All that is to be bound."""
        with self._moved:
            return tuple(binding for own in self._bindings.values() for binding in own)

    # -- For transports --------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return everything that is to be declared on a new connection."""
        with self._moved:
            self._changes.clear()
            return Snapshot(
                self.exchange,
                tuple(self._queues.values()),
                tuple(binding for own in self._bindings.values() for binding in own),
                self._generation,
                tuple(self._exchanges.values()),
                tuple(self._deletions.values()),
            )

    def part(self, label: str) -> Part | None:
        """Return what concerns the queue called *label*; None if it is not wished for."""
        with self._moved:
            queue = self._queues.get(label)
            if queue is None:
                return None
            return Part(
                queue,
                tuple(self._bindings.get(label, ())),
                tuple(self._unbindings.get(label, ())),
                self._generation,
            )

    def changes(self) -> list[Change]:
        """Return, once, what changed since the last call or snapshot."""
        if not self._changes:  # an idle transport asks often, and needs no lock for this
            return []
        with self._moved:
            changes, self._changes = self._changes, []
            return changes

    def stands(self, queue: str | None, generation: int) -> None:
        """Take note that everything of *queue* up to *generation* stands.

        Args:
            queue: label of the queue; None for the exchanges.
            generation: number of a change.
        """
        with self._moved:
            done = [n for n, lane in self._open.items() if lane == queue and n <= generation]
            for number in done:
                del self._open[number]
            unbindings = self._unbindings.get(queue or "", {})
            for binding in [one for one, at in unbindings.items() if at <= generation]:
                del unbindings[binding]
            if queue is not None:
                self._troubles.pop(queue, None)
            self._moved.notify_all()

    def deleted(self, name: str) -> None:
        """Take note that the durable queue *name* was deleted, as wished."""
        with self._moved:
            change = self._deletions.pop(name, None)
            if change is not None:
                self._open.pop(change.generation, None)
            self._moved.notify_all()

    def connected(self) -> None:
        """Take note that the connection is there: from now on waiting makes sense."""
        with self._moved:
            self._is_connected = True
            self._moved.notify_all()

    def lost(self) -> None:
        """Take note that nothing stands any more; whoever waits is let go."""
        with self._moved:
            self._is_connected = False
            self._troubles.clear()
            self._open = {one.generation: one.queue for one in self._deletions.values()}
            for wishes in (*self._bindings.values(), *self._unbindings.values()):
                self._open.update((number, one.queue) for one, number in wishes.items())
            for key, number in self._put_at.items():
                self._open[number] = key if isinstance(key, str) else None
            self._moved.notify_all()

    def refuse(self, changes: Iterable[Change], error: AntiphonError) -> None:
        """Take note that the broker refused *changes*; whoever waits for them gets *error*.

        Bindings and exchanges are taken back.  Queues are not: see ``trouble``.
        """
        with self._moved:
            for change in changes:
                if change.is_wanted and isinstance(change.what, Binding):
                    self._bindings.get(change.what.queue, {}).pop(change.what, None)
                elif change.is_wanted and isinstance(change.what, ExchangeSpec):
                    self._exchanges.pop(change.what.name, None)
                    self._put_at.pop(change.what, None)
                self._fail(change.generation, error)
            self._moved.notify_all()

    def refuse_exchange(self, exchange: ExchangeSpec, error: AntiphonError) -> None:
        """Take note that the broker refused *exchange*, whenever it was wished for."""
        with self._moved:
            self.refuse([Change(exchange, True, self._put_at.get(exchange, 0))], error)

    def trouble(self, label: str, error: AntiphonError, *, is_refusal: bool) -> None:
        """Take note that the queue called *label* does not stand, because of *error*.

        Args:
            label: the queue.
            error: why.
            is_refusal: whoever waits for the queue, or its bindings, gets *error* now;
                else they go on waiting, for it may come.
        """
        with self._moved:
            if label not in self._queues:
                return
            self._troubles[label] = error
            if is_refusal:
                for number in [n for n, lane in self._open.items() if lane == label]:
                    self._fail(number, error)
            self._moved.notify_all()

    def _fail(self, generation: int, error: AntiphonError) -> None:
        self._open.pop(generation, None)
        self._refused[generation] = error
        while len(self._refused) > MAX_REFUSALS:  # nobody may ever ask for them
            del self._refused[next(iter(self._refused))]
