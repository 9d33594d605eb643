"""The consuming half of the memory transport: queues declared, changed, given up."""

from __future__ import annotations

import logging
from collections import deque
from typing import Protocol

from antiphon.errors import BrokerRefused
from antiphon.messaging.declarations import Binding, Change, ExchangeSpec, QueueSpec
from antiphon.messaging.memory_broker import Attached, MemoryBroker
from antiphon.messaging.memory_queue import MemoryConsumer, MemoryQueue
from antiphon.messaging.topology import Topology

logger = logging.getLogger(__name__)

#: Seconds after which a queue that was refused is tried again.
RETRY_S = 0.5


class Owner(Attached, Protocol):
    """The transport."""

    broker: MemoryBroker


class Consuming:
    """Keeps the queues of a transport as its topology wishes; used on its thread."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._topology = Topology("")
        self._queues: dict[str, MemoryQueue] = {}
        self._consumers: dict[str, MemoryConsumer] = {}
        self._refused: set[str] = set()
        #: Labels of queues that were deleted under us; appended to by any thread.
        self.gone: deque[str] = deque()

    def begin(self, topology: Topology) -> None:
        """Declare all of *topology* on a new connection.

        Raises:
            BrokerRefused: a private queue is refused.
        """
        self._topology = topology
        for kept in (self._queues, self._consumers, self._refused, self.gone):
            kept.clear()
        snapshot = topology.snapshot()
        broker = self._owner.broker
        broker.declare_exchange(ExchangeSpec(snapshot.exchange), snapshot.exchange)
        for exchange in snapshot.exchanges:
            broker.declare_exchange(exchange, snapshot.exchange)
        topology.stands(None, snapshot.generation)
        for deletion in snapshot.deletions:
            self._carry_out(deletion)
        for queue in snapshot.queues:
            self._open(queue.label)

    def catch_up(self) -> float | None:
        """Carry out what changed; return after how many seconds to look again, None for never."""
        with self._owner.broker.lock:
            if not self._owner.broker.is_attached(self._owner):
                return None
            for change in self._topology.changes():
                self._carry_out(change)
            labels = set(self._refused)
            while self.gone:
                label = self.gone.popleft()
                self._queues.pop(label, None)
                self._consumers.pop(label, None)
                labels.add(label)
            for label in labels:
                self._open(label)
        return RETRY_S if self._refused else None

    def _carry_out(self, change: Change) -> None:
        broker, main = self._owner.broker, self._topology.exchange
        what = change.what
        if isinstance(what, ExchangeSpec):
            broker.declare_exchange(what, main)
        elif isinstance(what, QueueSpec) and change.is_wanted:
            if (consumer := self._consumers.pop(what.label, None)) is not None:
                broker.cancel(consumer)  # what it has under way may still be settled
            self._open(what.label)
            return
        elif isinstance(what, QueueSpec):
            self._drop(what, deletes=change.deletes)
        elif isinstance(what, Binding):
            queue = self._queues.get(what.queue)
            if queue is None:
                return  # refused, or dropped: whoever waits is told by that
            step = broker.bind if change.is_wanted else broker.unbind
            step(what.exchange or main, what.pattern, queue)
        self._topology.stands(change.queue, change.generation)

    def _open(self, label: str) -> None:
        part = self._topology.part(label)
        self._refused.discard(label)
        if part is None:
            return
        broker, main = self._owner.broker, self._topology.exchange
        try:
            queue, is_new = broker.declare(part.queue, self._owner)
        except BrokerRefused as exc:
            if part.queue.is_exclusive:
                raise
            self._refused.add(label)
            self._topology.trouble(label, exc, is_refusal=True)
            return
        self._queues[label] = queue
        for binding in part.bindings:
            broker.bind(binding.exchange or main, binding.pattern, queue)
        for binding in part.unbindings:
            broker.unbind(binding.exchange or main, binding.pattern, queue)
        if is_new and not part.queue.is_exclusive:
            self._owner.incoming.queue_made(label)
        self._topology.stands(label, part.generation)
        if part.queue.is_consumed and label not in self._consumers:
            self._consumers[label] = broker.consume(queue, part.queue, self._owner)

    def _drop(self, spec: QueueSpec, *, deletes: bool) -> None:
        broker = self._owner.broker
        self._refused.discard(spec.label)
        self._consumers.pop(spec.label, None)
        queue = self._queues.pop(spec.label, None)
        if queue is not None:
            broker.withdraw(queue, self._owner)
        if deletes or (queue is not None and spec.is_exclusive):
            broker.delete(spec.name if queue is None else queue.name)
            self._topology.deleted(spec.name)
