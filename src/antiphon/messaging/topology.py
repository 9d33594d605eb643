"""What is to be declared at the broker, as a set that transports replay.

Callers change the wish (``bind``, ``unbind``) and may wait until it stands;
the transport asks for everything after a connect (``snapshot``), for what
changed since (``changes``), and tells what it has carried out (``applied``).
Generations tie the two together: each change gets the next number.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from antiphon.errors import AntiphonError

#: Label of the queue that every bus has for itself.
BROADCAST = "broadcast"

#: Stands in place of a generation while there is no connection.
NOT_CONNECTED = -1

#: Messages that a broadcast queue may have under way and unacknowledged.
BROADCAST_PREFETCH = 1000


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue to declare and to consume from.

    Attributes:
        label: what the queue is called in this process.
        name: its name at the broker; ``""`` lets the broker choose one.
        is_exclusive: it belongs to one connection, and goes with it.  That makes
            a queue that is not durable legal on RabbitMQ 4.x, too.  Others are
            durable quorum queues.
        prefetch: how many messages may be under way and unacknowledged.
        is_consumed: False only declares it.
        is_single_active: of all its consumers one gets messages at a time.
        expires_s: seconds without a consumer after which the broker deletes it;
            None keeps it for ever.  For durable queues.
        max_messages: the oldest beyond so many go to *dead_letters_to*; None for no bound.
        dead_letters_to: name of the queue that gets what the broker itself gives up.
        consume_own: whether messages of this very bus are delivered too, instead
            of being dropped as echoes.
    """

    label: str
    name: str = ""
    is_exclusive: bool = True
    prefetch: int = BROADCAST_PREFETCH
    is_consumed: bool = True
    is_single_active: bool = False
    expires_s: float | None = None
    max_messages: int | None = None
    dead_letters_to: str | None = None
    consume_own: bool = False


@dataclass(frozen=True, slots=True)
class ExchangeSpec:
    """A durable topic exchange beside the topology's own, which it feeds.

    Attributes:
        name: at the broker.
        feeds_main: whether everything that it gets goes on to the topology's own.
    """

    name: str
    feeds_main: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A wish that messages whose routing keys match *pattern* come to queue *queue*.

    Attributes:
        queue: label of the queue.
        pattern: topic pattern.
        exchange: name of the exchange; None for the topology's own.
    """

    queue: str
    pattern: str
    exchange: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One step from an earlier state of the topology to the next."""

    binding: Binding
    is_bound: bool
    generation: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is to be declared, as of *generation*."""

    exchange: str
    queues: tuple[QueueSpec, ...]
    bindings: tuple[Binding, ...]
    generation: int


class Topology:
    """The declared set of one bus; safe to use from any thread.

    Args:
        exchange: name of the durable topic exchange that everything is bound to.
        queues: what to consume from.
    """

    def __init__(self, exchange: str, queues: Iterable[QueueSpec] = ()) -> None:
        self.exchange = exchange
        self._queues = {queue.label: queue for queue in queues}
        self._bindings: dict[Binding, int] = {}
        self._changes: list[Change] = []
        self._generation = 0
        self._applied = NOT_CONNECTED
        self._refused: dict[int, AntiphonError] = {}
        self._moved = threading.Condition()

    def bind(self, bindings: Iterable[Binding]) -> None:
        """Wish for *bindings*."""
        self._change(bindings, is_bound=True)

    def unbind(self, bindings: Iterable[Binding]) -> None:
        """Wish that *bindings* be gone."""
        self._change(bindings, is_bound=False)

    def _change(self, bindings: Iterable[Binding], *, is_bound: bool) -> None:
        with self._moved:
            for binding in bindings:
                if (binding in self._bindings) == is_bound:
                    continue
                self._generation += 1
                if is_bound:
                    self._bindings[binding] = self._generation
                else:
                    del self._bindings[binding]
                self._changes.append(Change(binding, is_bound, self._generation))

    def generation_of(self, bindings: Iterable[Binding]) -> int:
        """Return the generation to wait for until all of *bindings* stand."""
        with self._moved:
            return max((self._bindings.get(binding, 0) for binding in bindings), default=0)

    def wait(self, generation: int, timeout_s: float) -> bool:
        """Wait until everything up to *generation* stands at the broker.

        Returns:
            True if it stands; False if *timeout_s* passed, or the connection was
            lost: it will be declared with the rest when that is back.

        Raises:
            BrokerRefused: the broker refused this change; it was taken back.
        """
        deadline = time.monotonic() + timeout_s
        with self._moved:
            while True:
                if (error := self._refused.pop(generation, None)) is not None:
                    raise error
                if self._applied >= generation:
                    return True
                left = deadline - time.monotonic()
                if self._applied == NOT_CONNECTED or left <= 0:
                    return False
                self._moved.wait(left)

    # -- For transports --------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return everything that is to be declared on a new connection."""
        with self._moved:
            self._changes.clear()
            return Snapshot(
                self.exchange,
                tuple(self._queues.values()),
                tuple(self._bindings),
                self._generation,
            )

    def changes(self) -> list[Change]:
        """Return, once, what changed since the last call or snapshot."""
        if not self._changes:  # an idle transport asks often, and needs no lock for this
            return []
        with self._moved:
            changes, self._changes = self._changes, []
            return changes

    def applied(self, generation: int) -> None:
        """Take note that everything up to *generation* stands."""
        with self._moved:
            self._applied = max(self._applied, generation)
            self._moved.notify_all()

    def lost(self) -> None:
        """Take note that nothing stands any more; whoever waits is let go."""
        with self._moved:
            self._applied = NOT_CONNECTED
            self._moved.notify_all()

    def refuse(self, changes: Iterable[Change], error: AntiphonError) -> None:
        """Take *changes* back, which the broker refused; whoever waits for them gets *error*."""
        with self._moved:
            for change in changes:
                if change.is_bound:
                    self._bindings.pop(change.binding, None)
                self._refused[change.generation] = error
            self._moved.notify_all()
