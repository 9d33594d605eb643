"""Queues of a broker in memory, which keep and hand out messages as RabbitMQ's do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from antiphon.messaging.arrivals import restored
from antiphon.messaging.declarations import QueueSpec
from antiphon.messaging.transport import Arrival, Incoming, Message


@dataclass(slots=True)
class Kept:
    """A message in a queue.

    Attributes:
        message: what was published.
        number: its place in the queue.
        returns: how often it was handed out and came back.
    """

    message: Message
    number: int
    returns: int = 0


class Connection(Protocol):
    """What a queue needs of a transport that consumes from it."""

    publisher: str
    incoming: Incoming


class MemoryConsumer:
    """One that takes from a queue; used under the broker's lock."""

    def __init__(self, queue: MemoryQueue, spec: QueueSpec, connection: Connection) -> None:
        self.queue = queue
        self.spec = spec
        self.connection = connection
        self.unsettled: dict[int, Kept] = {}
        self._tag = 0

    @property
    def has_room(self) -> bool:
        """Whether one more may be under way."""
        return len(self.unsettled) < self.spec.prefetch

    def take(self, kept: Kept) -> None:
        """Hand *kept* on, unless it is an echo."""
        message, connection = kept.message, self.connection
        is_own = bool(message.publisher) and message.publisher == connection.publisher
        if is_own and not self.spec.consume_own:
            connection.incoming.echo()
            return
        self._tag += 1
        self.unsettled[self._tag] = kept
        key, headers = restored(message.routing_key, message.headers)
        arrived = Message(key, message.body, headers, message.publisher)
        connection.incoming.deliver(
            Arrival(arrived, self.spec.label, (self, self._tag), kept.returns > 0, kept.returns)
        )

    def settle(self, tag: int) -> None:
        """Take note that delivery *tag* was handled; one that was given back is no error."""
        if self.unsettled.pop(tag, None) is not None:
            self.queue.pump()


class MemoryQueue:
    """A queue; used under the broker's lock.

    Args:
        name: in the broker.
        spec: how it was declared.
        owner: connection that it belongs to, and goes with; None for a durable one.
        give_up: gets what is too much for the queue.
    """

    def __init__(
        self,
        name: str,
        spec: QueueSpec,
        owner: Connection | None,
        give_up: Callable[[MemoryQueue, Message], None],
    ) -> None:
        self.name = name
        self.spec = spec
        self.owner = owner
        self.consumers: deque[MemoryConsumer] = deque()
        self.leaving: list[MemoryConsumer] = []  # get nothing more, and have something under way
        self.unused_since: float | None = None
        self._waiting: deque[Kept] = deque()
        self._count = 0
        self._give_up = give_up
        self._is_pumping = False

    def is_like(self, spec: QueueSpec) -> bool:
        """Return whether *spec* declares the queue as it is."""
        return _arguments(spec) == _arguments(self.spec)

    @property
    def depth(self) -> int:
        """How many messages are in it, those under way included."""
        under_way = sum(len(one.unsettled) for one in (*self.consumers, *self.leaving))
        return len(self._waiting) + under_way

    @property
    def waiting(self) -> list[Message]:
        """The messages that are not under way, the oldest first."""
        return [kept.message for kept in self._waiting]

    def take_first(self) -> Kept | None:
        """Take the first one out, for someone who looks into the queue and may give it back."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, kept: Kept) -> None:
        """Undo ``take_first``, and count that."""
        self._take_back([kept])

    def remove(self, message: Message) -> bool:
        """Take *message*, one of ``waiting``, out; False if it is no longer there."""
        for kept in self._waiting:
            if kept.message is message:
                self._waiting.remove(kept)
                return True
        return False

    def offer(self, message: Message) -> None:
        """Put *message* at the end, and deliver what can be."""
        self._count += 1
        self._waiting.append(Kept(message, self._count))
        self.pump()
        limit = self.spec.max_messages
        while limit is not None and len(self._waiting) > limit:
            self._give_up(self, self._waiting.popleft().message)

    def withdraw(self, connection: Connection) -> bool:
        """Let *connection* take nothing more, and take back what it has under way.

        Returns:
            Whether it has taken from this queue at all.
        """
        gone = [one for one in (*self.consumers, *self.leaving) if one.connection is connection]
        self.consumers = deque(one for one in self.consumers if one not in gone)
        returned = [kept for one in gone for kept in one.unsettled.values()]
        for one in gone:
            one.unsettled.clear()
        self._take_back(returned)
        return bool(gone)

    def pump(self) -> None:
        """Deliver as long as a consumer has room."""
        if self._is_pumping:  # whoever takes may settle at once
            return
        self._is_pumping = True
        try:
            while self._waiting and (consumer := self._next()) is not None:
                consumer.take(self._waiting.popleft())
        finally:
            self._is_pumping = False

    def _take_back(self, returned: Sequence[Kept]) -> None:
        for kept in returned:
            kept.returns += 1
        if returned:
            both = sorted((*returned, *self._waiting), key=lambda kept: kept.number)
            self._waiting = deque(both)
        self.leaving = [one for one in self.leaving if one.unsettled]
        self.pump()

    def _next(self) -> MemoryConsumer | None:
        if self.spec.is_single_active:
            first = self.consumers[0] if self.consumers else None
            return first if first is not None and first.has_room else None
        for _ in range(len(self.consumers)):
            self.consumers.rotate(-1)
            if self.consumers[-1].has_room:
                return self.consumers[-1]
        return None


def _arguments(spec: QueueSpec) -> tuple[object, ...]:
    if spec.is_exclusive:
        return (True,)
    return (
        False,
        spec.is_single_active,
        spec.expires_s,
        spec.max_messages,
        spec.dead_letters_to,
    )
