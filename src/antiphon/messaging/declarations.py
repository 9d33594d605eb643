"""What can be declared at a broker, in words that know nothing of AMQP."""

from __future__ import annotations

from dataclasses import dataclass

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
    """One step from an earlier state of the topology to the next.

    Attributes:
        what: what is wished for from now on, or no longer.
        is_wanted: False takes it away.
        generation: number of the change.
        deletes: the queue that is taken away is deleted at the broker, too.
    """

    what: Binding | QueueSpec | ExchangeSpec
    is_wanted: bool
    generation: int
    deletes: bool = False

    @property
    def queue(self) -> str | None:
        """Label of the queue that it concerns; None for an exchange."""
        if isinstance(self.what, Binding):
            return self.what.queue
        return self.what.label if isinstance(self.what, QueueSpec) else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is to be declared, as of *generation*.

    Attributes:
        exchange: name of the topology's own exchange.
        queues: to be declared.
        bindings: of all queues.
        generation: number of the newest change that is in it.
        exchanges: beside the topology's own; they come before the queues.
        deletions: durable queues that are to be deleted first.
    """

    exchange: str
    queues: tuple[QueueSpec, ...]
    bindings: tuple[Binding, ...]
    generation: int
    exchanges: tuple[ExchangeSpec, ...] = ()
    deletions: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What concerns one queue, as of *generation*.

    Attributes:
        queue: the queue.
        bindings: that it is to have.
        unbindings: that it may still have at the broker, and is not to.
        generation: number of the newest change that is in it.
    """

    queue: QueueSpec
    bindings: tuple[Binding, ...]
    unbindings: tuple[Binding, ...]
    generation: int
