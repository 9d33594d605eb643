"""A broker within one process, which routes as RabbitMQ does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from antiphon.errors import BrokerRefused, BrokerUnavailable
from antiphon.messaging.arrivals import DEATHS_HEADER
from antiphon.messaging.declarations import ExchangeSpec, QueueSpec
from antiphon.messaging.memory_queue import Connection, MemoryConsumer, MemoryQueue
from antiphon.messaging.topics import TopicTable
from antiphon.messaging.transport import KEY_HEADER, Message

#: Headers with more routing keys; RabbitMQ takes the second out of the message.
MORE_KEYS, MORE_KEYS_HIDDEN = "CC", "BCC"

#: Name of the exchange that brings each message to the queue that its routing key names.
DEFAULT_EXCHANGE = ""


class Attached(Connection, Protocol):
    """What a broker needs of a transport."""

    def wake(self) -> None:
        """Look at what has changed."""

    def cancelled(self, label: str) -> None:
        """Take note that the queue called *label* was deleted under its consumer."""


class MemoryBroker:
    """The broker behind ``memory://name``; one for each name in a process.

    Args:
        name: for messages.
        clock: seconds; queues without consumers expire by it.
    """

    _named: ClassVar[dict[str, MemoryBroker]] = {}
    _naming: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.clock = clock
        self._exchanges: dict[str, TopicTable[MemoryQueue | str]] = {}
        self._queues: dict[str, MemoryQueue] = {}
        self._bound: dict[MemoryQueue, set[tuple[str, str]]] = {}
        self._attached: set[Attached] = set()
        self._unnamed = 0
        self._is_running = True
        self._is_confirming = True

    @classmethod
    def named(cls, name: str) -> MemoryBroker:
        """Return this process's broker of that name, which is made when first asked for."""
        with cls._naming:
            return cls._named.setdefault(name, cls(name))

    # -- For tests ---------------------------------------------------------------

    def disconnect_all(self) -> None:
        """Break every connection; durable queues stay, and get back what was under way."""
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

    def queue_names(self) -> list[str]:
        """Return the names of all queues."""
        with self.lock:
            self._expire()
            return list(self._queues)

    def depth(self, name: str) -> int:
        """Return how many messages are in queue *name*, those under way included.

        Raises:
            KeyError: there is none of that name.
        """
        with self.lock:
            self._expire()
            return self._queues[name].depth

    def delete_queue(self, name: str) -> None:
        """Delete queue *name* with all that is in it; its consumers are told.

        Raises:
            KeyError: there is none of that name.
        """
        with self.lock:
            self._remove(self._queues[name])

    # -- Connections -----------------------------------------------------------------

    @property
    def is_confirming(self) -> bool:
        """Whether messages are confirmed at present."""
        return self._is_confirming

    def is_attached(self, transport: Attached) -> bool:
        """Return whether the connection of *transport* stands."""
        return transport in self._attached

    def attach(self, transport: Attached) -> None:
        """Connect *transport*; raise ``BrokerUnavailable`` while stopped."""
        with self.lock:
            if not self._is_running:
                raise BrokerUnavailable(
                    f"the memory broker '{self.name}' is stopped; start() lets it answer again"
                )
            self._attached.add(transport)

    def detach(self, transport: Attached) -> None:
        """Disconnect *transport*; its own queues go, others get back what it has under way."""
        with self.lock:
            self._attached.discard(transport)
            for queue in tuple(self._queues.values()):
                if queue.owner is transport:
                    self._remove(queue)
                    continue
                self.withdraw(queue, transport)

    # -- Declarations ------------------------------------------------------------------

    def declare_exchange(self, exchange: ExchangeSpec, main: str) -> None:
        """Make *exchange* if it is not there, and let it feed *main* if it is to."""
        with self.lock:
            table = self._exchanges.setdefault(exchange.name, TopicTable())
            self._exchanges.setdefault(main, TopicTable())
            if exchange.feeds_main:
                table.bind("#", main)

    def declare(self, spec: QueueSpec, owner: Attached) -> tuple[MemoryQueue, bool]:
        """Make a queue if it is not there; return it, and whether it was made.

        Raises:
            BrokerRefused: one of that name was declared otherwise.
        """
        with self.lock:
            self._expire()
            queue = self._queues.get(spec.name) if spec.name else None
            if queue is not None:
                if not queue.is_like(spec) or (queue.owner not in (None, owner)):
                    raise BrokerRefused(
                        f"the memory broker '{self.name}' has a queue '{spec.name}' that was "
                        f"declared otherwise: {queue.spec}, not {spec}; delete it, or use another "
                        "name"
                    )
                self._note_use(queue)
                return queue, False
            self._unnamed += not spec.name
            name = spec.name or f"memory.gen-{self._unnamed}"
            queue = MemoryQueue(name, spec, owner if spec.is_exclusive else None, self._give_up)
            self._queues[name] = queue
            self._bound[queue] = set()
            self._note_use(queue)
            return queue, True

    def consume(self, queue: MemoryQueue, spec: QueueSpec, connection: Attached) -> MemoryConsumer:
        """Let *connection* take from *queue* with the prefetch of *spec*."""
        with self.lock:
            consumer = MemoryConsumer(queue, spec, connection)
            queue.consumers.append(consumer)
            self._note_use(queue)
            queue.pump()
            return consumer

    def cancel(self, consumer: MemoryConsumer) -> None:
        """Give *consumer* nothing more; what it has under way may still be settled."""
        with self.lock:
            queue = consumer.queue
            if consumer in queue.consumers:
                queue.consumers.remove(consumer)
                if consumer.unsettled:
                    queue.leaving.append(consumer)
                self._note_use(queue)
                queue.pump()

    def withdraw(self, queue: MemoryQueue, connection: Attached) -> None:
        """Let *connection* take nothing more from *queue*, and put back what it has under way."""
        with self.lock:
            if queue.withdraw(connection):
                self._note_use(queue)

    def bind(self, exchange: str, pattern: str, queue: MemoryQueue) -> None:
        """Let *queue* get what matches *pattern*."""
        with self.lock:
            self._exchanges.setdefault(exchange, TopicTable()).bind(pattern, queue)
            self._bound[queue].add((exchange, pattern))

    def unbind(self, exchange: str, pattern: str, queue: MemoryQueue) -> None:
        """Undo ``bind``."""
        with self.lock:
            self._exchanges.setdefault(exchange, TopicTable()).unbind(pattern, queue)
            self._bound[queue].discard((exchange, pattern))

    def find(self, name: str) -> MemoryQueue | None:
        """Return the queue called *name*; None if there is none."""
        with self.lock:
            self._expire()
            return self._queues.get(name)

    def delete(self, name: str) -> None:
        """Delete queue *name*; none of that name is no error."""
        with self.lock:
            if (queue := self._queues.get(name)) is not None:
                self._remove(queue)

    def _remove(self, queue: MemoryQueue) -> None:
        del self._queues[queue.name]
        for exchange, pattern in self._bound.pop(queue):
            self._exchanges[exchange].unbind(pattern, queue)
        consumers = (*queue.consumers,)
        queue.consumers.clear()
        for consumer in consumers:
            if consumer.connection in self._attached:
                consumer.connection.cancelled(consumer.spec.label)

    def _note_use(self, queue: MemoryQueue) -> None:
        queue.unused_since = None if queue.consumers else self.clock()

    def _expire(self) -> None:
        now = self.clock()
        for queue in tuple(self._queues.values()):
            expires_s, since = queue.spec.expires_s, queue.unused_since
            if expires_s is not None and since is not None and now - since >= expires_s:
                self._remove(queue)

    # -- Messages ----------------------------------------------------------------------

    def publish(self, exchange: str, message: Message) -> int:
        """Give *message* to each queue that it matches, once; return how many there are."""
        headers = message.headers or {}
        if message.queue is not None:
            headers = {**headers, KEY_HEADER: message.routing_key}
            message = replace(message, routing_key=message.queue, headers=headers)
            exchange = DEFAULT_EXCHANGE
        elif message.exchange is not None:
            exchange = message.exchange
        keys = [message.routing_key, *_more_keys(headers)]
        if MORE_KEYS_HIDDEN in headers:
            rest = {name: value for name, value in headers.items() if name != MORE_KEYS_HIDDEN}
            message = replace(message, headers=rest or None)
        with self.lock:
            self._expire()
            queues = tuple(dict.fromkeys(self._route(exchange, keys, set())))
            for queue in queues:
                queue.offer(message)
            return len(queues)

    def _route(self, exchange: str, keys: list[str], seen: set[str]) -> Iterator[MemoryQueue]:
        if exchange == DEFAULT_EXCHANGE:
            yield from (self._queues[key] for key in keys if key in self._queues)
            return
        table = self._exchanges.get(exchange)
        if table is None or exchange in seen:
            return
        seen.add(exchange)
        for key in keys:
            for target in table.match(key):
                if isinstance(target, str):
                    yield from self._route(target, keys, seen)
                else:
                    yield target

    def _give_up(self, queue: MemoryQueue, message: Message) -> None:
        target = self._queues.get(queue.spec.dead_letters_to or "")
        if target is None:
            return
        death = {"queue": queue.name, "reason": "maxlen", "routing-keys": [message.routing_key]}
        headers = message.headers or {}
        deaths = [death, *headers.get(DEATHS_HEADER, ())]
        target.offer(
            replace(message, routing_key=target.name, headers={**headers, DEATHS_HEADER: deaths})
        )


def _more_keys(headers: Mapping[str, Any]) -> Iterable[str]:
    for name in (MORE_KEYS, MORE_KEYS_HIDDEN):
        value = headers.get(name)
        if isinstance(value, list | tuple):
            yield from (key for key in value if isinstance(key, str))
