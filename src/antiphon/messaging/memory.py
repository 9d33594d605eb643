"""A transport within one process: ``memory:`` or ``memory://name``.

Everyone in the process who opens the same name talks to the same broker, which
matches topics as RabbitMQ does.  It is for tests and for programs that want
the bus's ways without a server; it passes the same suite as RabbitMQ.
``MemoryBroker`` also lets tests break connections and hold confirms back.
"""

from __future__ import annotations

import logging
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from antiphon.errors import AntiphonError, BrokerUnavailable, InvalidURL
from antiphon.messaging.backoff import Backoff
from antiphon.messaging.topics import TopicTable
from antiphon.messaging.topology import Binding, QueueSpec, Topology
from antiphon.messaging.transport import Arrival, Incoming, Message, Outgoing, Transport

logger = logging.getLogger(__name__)

#: Messages that are taken from the buffer at once.
BATCH = 100


class MemoryQueue:
    """A queue that belongs to one connection; used under the broker's lock."""

    def __init__(self, spec: QueueSpec, owner: MemoryTransport) -> None:
        self.spec = spec
        self.owner = owner
        self._waiting: deque[Message] = deque()
        self._unsettled = 0

    def offer(self, message: Message) -> None:
        """Deliver *message*, or keep it until earlier ones are settled."""
        if message.publisher and message.publisher == self.owner.publisher:
            self.owner.incoming.echo()
        elif self._unsettled >= self.spec.prefetch:
            self._waiting.append(message)
        else:
            self._deliver(message)

    def settle(self) -> None:
        """Make room for one more."""
        self._unsettled -= 1
        if self._waiting:
            self._deliver(self._waiting.popleft())

    def _deliver(self, message: Message) -> None:
        self._unsettled += 1
        self.owner.incoming.deliver(Arrival(message, self.spec.label, token=self))


class MemoryBroker:
    """The broker behind ``memory://name``; one for each name in a process."""

    _named: ClassVar[dict[str, MemoryBroker]] = {}
    _naming: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.RLock()
        self._exchanges: dict[str, TopicTable[MemoryQueue]] = {}
        self._attached: set[MemoryTransport] = set()
        self._is_running = True
        self._is_confirming = True

    @classmethod
    def named(cls, name: str) -> MemoryBroker:
        """Return this process's broker of that name, which is made when first asked for."""
        with cls._naming:
            return cls._named.setdefault(name, cls(name))

    # -- For tests ---------------------------------------------------------------

    def disconnect_all(self) -> None:
        """Break every connection; what was not delivered is lost, as with RabbitMQ."""
        with self.lock:
            for transport in tuple(self._attached):
                self.detach(transport)
                transport.wake()

    def stop(self) -> None:
        """Break every connection and refuse new ones until ``start()``."""
        with self.lock:
            self._is_running = False
            self.disconnect_all()

    def start(self) -> None:
        """Accept connections again."""
        self._is_running = True

    def hold_confirms(self) -> None:
        """Go on delivering, but confirm nothing until ``release_confirms()``."""
        self._is_confirming = False

    def release_confirms(self) -> None:
        """Confirm what was held back, and everything that follows."""
        self._is_confirming = True
        with self.lock:
            for transport in self._attached:
                transport.wake()

    # -- For the transport ---------------------------------------------------------

    @property
    def is_confirming(self) -> bool:
        """Whether messages are confirmed at present."""
        return self._is_confirming

    def is_attached(self, transport: MemoryTransport) -> bool:
        """Return whether the connection of *transport* stands."""
        return transport in self._attached

    def attach(self, transport: MemoryTransport) -> None:
        """Connect *transport*; raise ``BrokerUnavailable`` while stopped."""
        with self.lock:
            if not self._is_running:
                raise BrokerUnavailable(
                    f"the memory broker '{self.name}' is stopped; start() lets it answer again"
                )
            self._attached.add(transport)

    def detach(self, transport: MemoryTransport) -> None:
        """Disconnect *transport*; its queues go with their bindings."""
        with self.lock:
            self._attached.discard(transport)
            for table in self._exchanges.values():
                for binding, queue in transport.bound:
                    table.unbind(binding, queue)
            transport.bound.clear()

    def bind(self, exchange: str, pattern: str, queue: MemoryQueue) -> None:
        """Let *queue* get what matches *pattern*."""
        with self.lock:
            self._exchanges.setdefault(exchange, TopicTable()).bind(pattern, queue)
            queue.owner.bound.add((pattern, queue))

    def unbind(self, exchange: str, pattern: str, queue: MemoryQueue) -> None:
        """Undo ``bind``."""
        with self.lock:
            self._exchanges.setdefault(exchange, TopicTable()).unbind(pattern, queue)
            queue.owner.bound.discard((pattern, queue))

    def publish(self, exchange: str, message: Message) -> int:
        """Give *message* to each queue that it matches; return how many there are."""
        with self.lock:
            table = self._exchanges.get(exchange)
            queues = table.match(message.routing_key) if table is not None else ()
            for queue in queues:
                queue.offer(message)
            return len(queues)


class MemoryTransport(Transport):
    """A connection to a broker in this process, with a thread that publishes."""

    outgoing: Outgoing
    incoming: Incoming

    def __init__(self, broker: MemoryBroker, *, name: str = "antiphon") -> None:
        self.broker = broker
        self.publisher = ""
        self.bound: set[tuple[str, MemoryQueue]] = set()
        self._topology = Topology("")
        self._queues: dict[str, MemoryQueue] = {}
        self._unconfirmed = 0
        self._woken = threading.Event()
        self._settled_down = threading.Event()  # the first attempt is over
        self._is_connected = False
        self._is_stopping = False
        self._last_error: AntiphonError | None = None
        self._renew_because: AntiphonError | None = None
        self._thread = threading.Thread(
            target=self._run, name=f"antiphon-memory-{name}", daemon=True
        )

    def start(
        self,
        outgoing: Outgoing,
        incoming: Incoming,
        topology: Topology,
        publisher: str,
        timeout_s: float | None,
    ) -> None:
        self.outgoing, self.incoming, self.publisher = outgoing, incoming, publisher
        self._topology = topology
        self._thread.start()
        if timeout_s is None:
            return
        self._settled_down.wait(timeout_s)
        if not self._is_connected:
            self.stop(timeout_s)
            raise self._last_error or BrokerUnavailable(
                f"the memory broker '{self.broker.name}' did not answer within {timeout_s} s"
            )

    def wake(self) -> None:
        self._woken.set()

    def reconcile(self) -> None:
        self._woken.set()

    def settle(self, arrival: Arrival) -> None:
        with self.broker.lock:
            if self.broker.is_attached(self):
                arrival.token.settle()

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        with self.broker.lock:
            is_there = self.broker.is_attached(self)
            taken = [self.broker.publish(self._topology.exchange, one) for one in messages]
        done(is_there and all(taken))

    def renew(self, error: AntiphonError) -> None:
        self._renew_because = error
        self.broker.detach(self)
        self._woken.set()

    def is_alive(self) -> bool:
        return self._thread.ident is None or self._is_stopping or self._thread.is_alive()

    def stop(self, timeout_s: float) -> None:
        self._is_stopping = True
        self._woken.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def abandon(self) -> None:
        self._is_stopping = True
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    @property
    def last_error(self) -> AntiphonError | None:
        return self._last_error

    # -- On the thread -------------------------------------------------------------

    def _run(self) -> None:
        backoff = Backoff()
        while not self._is_stopping:
            try:
                self._connect()
            except BrokerUnavailable as exc:
                self._last_error = exc
                self._settled_down.set()
            else:
                backoff.connected()
                self._publish_until_lost()
            if not self._is_stopping:
                self._woken.wait(backoff.next_delay_s())
                self._woken.clear()
        self.broker.detach(self)

    def _connect(self) -> None:
        self.broker.attach(self)
        snapshot = self._topology.snapshot()
        self._queues = {spec.label: MemoryQueue(spec, self) for spec in snapshot.queues}
        for binding in snapshot.bindings:
            self.broker.bind(snapshot.exchange, binding.pattern, self._queues[binding.queue])
        self.outgoing.rewind()
        self._unconfirmed = 0
        self._last_error = None
        self._is_connected = True
        self._stands(snapshot.generation)
        self._topology.connected()
        self.incoming.changed(True, None)
        self._settled_down.set()

    def _publish_until_lost(self) -> None:
        while not self._is_stopping and self.broker.is_attached(self):
            self._woken.clear()
            self._apply_changes()
            if not self._publish_batch():
                self._woken.wait()
        self._is_connected = False
        self._topology.lost()
        if self._is_stopping:
            return
        self._last_error = self._renew_because or BrokerUnavailable(
            f"the connection to the memory broker '{self.broker.name}' was broken"
        )
        self._renew_because = None
        self.incoming.changed(False, self._last_error)

    def _apply_changes(self) -> None:
        changes = self._topology.changes()
        exchange = self._topology.exchange
        for change in changes:
            if not isinstance(change.what, Binding):
                continue
            queue = self._queues[change.what.queue]
            step = self.broker.bind if change.is_wanted else self.broker.unbind
            step(exchange, change.what.pattern, queue)
        if changes:
            self._stands(changes[-1].generation)

    def _stands(self, generation: int) -> None:
        for label in self._queues:
            self._topology.stands(label, generation)

    def _publish_batch(self) -> int:
        batch = self.outgoing.take(BATCH)
        for message in batch:
            with self.broker.lock:
                if not self.broker.is_attached(self):
                    return 0  # what was taken is rewound and published again
                if not self.broker.publish(self._topology.exchange, message):
                    self.outgoing.returned(message)
            self._unconfirmed += 1
        settled = 0
        if self._unconfirmed and self.broker.is_confirming:
            settled, self._unconfirmed = self._unconfirmed, 0
            self.outgoing.settle(settled)
        return len(batch) + settled  # a confirm, too, may let something out


def from_url(url: str, *, name: str = "antiphon") -> MemoryTransport:
    """Return a transport for ``memory:`` or ``memory://name``; it is not started.

    Raises:
        InvalidURL: the URL has options; there are none.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.query or parts.fragment:
        raise InvalidURL(f"'{url}' has options; a memory broker has none: memory: or memory://name")
    return MemoryTransport(MemoryBroker.named(parts.netloc + parts.path), name=name)
