"""The seam between the bus and whatever carries its messages.

A transport moves opaque messages: it pulls them from an ``Outgoing`` in order,
reports which the broker has confirmed, and hands arrivals to an ``Incoming``.
What is to be declared stands in a ``Topology``, which the transport replays
after each reconnect.  It knows nothing of events, and the bus nothing of AMQP.

A transport keeps its own connection: once started it comes back for ever,
until ``stop()``.  ``antiphon.testing.transport_suite`` checks an implementation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from antiphon.errors import AntiphonError
from antiphon.messaging.topology import Topology
from antiphon.schemes import SchemeRegistry

#: URL scheme -> ``from_url(url, *, name)``, which returns a ``Transport`` that is not started.
transports = SchemeRegistry(
    "transport",
    "antiphon.transports",
    {
        "amqp": "antiphon.messaging.amqp:from_url",
        "amqps": "antiphon.messaging.amqp:from_url",
        "memory": "antiphon.messaging.memory:from_url",
    },
)

#: Header with the key that tells of the events, where another key routed the message.
KEY_HEADER = "antiphon-key"


# Not frozen, since that takes five times as long to make; nobody changes one.
@dataclass(slots=True)
class Message:
    """What travels: opaque bytes and what the broker needs to route them.

    Attributes:
        routing_key: at most 255 bytes of UTF-8.
        body: a sequence of envelopes (``antiphon.wire``).
        headers: what the routing key could not hold; None for nothing.
        publisher: id of the bus that sent it, so that it knows its own again
            without decoding; ``""`` if unknown.
        persistent: whether the broker writes it to disk for durable queues.
        count: events in the body, for counters at the sender; it does not travel.
        exchange: where it is published; None is the topology's own exchange.
        queue: publish it straight to this queue instead; its routing key then
            travels in a header, and arrives as if it had been routed.
    """

    routing_key: str
    body: bytes
    headers: Mapping[str, Any] | None = None
    publisher: str = ""
    persistent: bool = False
    count: int = 1
    exchange: str | None = None
    queue: str | None = None


@dataclass(slots=True)
class Arrival:
    """A message that came from a queue, and what is needed to settle it.

    Attributes:
        message: what came.
        queue: the label of the queue in the topology.
        token: the transport's own mark; passed back to ``Transport.settle``.
        redelivered: True if the broker gave it to a consumer before.
        delivery_count: how often it was handed out and came back unacknowledged,
            as far as the broker counts (quorum queues); else 1 if redelivered.
    """

    message: Message
    queue: str
    token: Any = None
    redelivered: bool = False
    delivery_count: int = 0


class Outgoing(Protocol):
    """What a transport publishes, in order.

    ``take`` and ``rewind`` never overlap, but need not come from one thread: AMQP
    lets the thread that emits take and write a message itself when nothing is
    under way.  The transport's own thread may call ``settle`` meanwhile.
    """

    def take(self, max_messages: int) -> Sequence[Message]:
        """Return the next messages to publish; empty if there are none now."""

    def settle(self, count: int) -> None:
        """Take note that the *count* oldest messages that were taken are confirmed."""

    def rewind(self) -> None:
        """Give all messages that were taken and are not confirmed out again, in order."""

    def returned(self, message: Message) -> None:
        """Take note that no queue took *message*; its confirm follows."""


class Incoming(Protocol):
    """Where a transport hands what comes in; nothing here may block."""

    def deliver(self, arrival: Arrival) -> None:
        """Take over *arrival*; ``Transport.settle`` is called when it was handled."""

    def echo(self) -> None:
        """Take note that a message of this very bus came back, and was dropped."""

    def changed(self, is_connected: bool, error: AntiphonError | None) -> None:
        """Take note that the connection is up, with everything declared, or was lost."""

    def interrupted(self) -> None:
        """Take note that the queue which goes with the connection has gone, and all in it.

        Told before ``changed``, and before anything that a new such queue brings.
        """

    def blocked(self, reason: str | None) -> None:
        """Take note that the broker takes nothing for *reason*, or (None) takes it again."""

    def queue_made(self, queue: str) -> None:
        """Take note that the durable queue labelled *queue* was not there, and was made now."""


class Transport(ABC):
    """One party's connection to a broker: publishes, consumes, and keeps itself up."""

    @abstractmethod
    def start(
        self,
        outgoing: Outgoing,
        incoming: Incoming,
        topology: Topology,
        publisher: str,
        timeout_s: float | None,
    ) -> None:
        """Connect, declare *topology* and begin to publish and to consume.

        Args:
            outgoing: what to publish.
            incoming: gets what arrives, on a thread of the transport.
            topology: what to declare, now and after each reconnect.
            publisher: messages with this publisher id are dropped as echoes.
            timeout_s: seconds to wait until all stands; None returns at once
                and connects in the background.

        Raises:
            BrokerUnavailable: the broker did not answer; the transport is stopped.
            BrokerRefused: it answered, and refused; the transport is stopped.
        """

    @abstractmethod
    def wake(self) -> None:
        """Tell, from any thread, that there is something to publish."""

    @abstractmethod
    def reconcile(self) -> None:
        """Tell, from any thread, that the topology changed."""

    @abstractmethod
    def settle(self, arrival: Arrival) -> None:
        """Take note, from any thread and in any order, that *arrival* was handled."""

    def hurry(self, done: Callable[[], None]) -> None:
        """Tell the broker at once, from any thread, of all that was settled so far.

        Args:
            done: called when it has been sent, or the connection is lost.

        Else that may be put off for up to about a second, so that many go together.
        """
        done()

    def is_stale(self, arrival: Arrival) -> bool:
        """Return whether *arrival* can no longer be settled: the broker gives it out again.

        Asked from any thread, for each event: it must be quick.
        """
        return False

    @abstractmethod
    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        """Publish *messages*, from any thread, past what waits in the ``Outgoing``.

        Args:
            messages: published in order.
            done: called once, on a thread of the transport: True when the broker
                has confirmed all of them and each was taken by a queue; False if
                one was not, or the connection was lost or is not there: then any
                number of them may have been published.
        """

    @abstractmethod
    def renew(self, error: AntiphonError) -> None:
        """Give the connection up because of *error*, and make it anew; from any thread.

        For a caller who has seen that nothing arrives although it stands.
        """

    @abstractmethod
    def is_alive(self) -> bool:
        """Return False if a thread of the transport has ended that was not to."""

    @abstractmethod
    def stop(self, timeout_s: float) -> None:
        """Close the connection and end the threads, within about *timeout_s*; twice is fine."""

    @abstractmethod
    def abandon(self) -> None:
        """Let go of inherited sockets in a child process that was forked; never blocks."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether everything is declared, publishing and consuming right now."""

    def has_arrivals(self) -> bool:
        """Return whether something came from the broker that nobody has read yet.

        A hint, which any thread may ask for thousands of times a second.
        """
        return False

    @property
    def last_heard_at(self) -> float | None:
        """When the broker last said anything to a consumer, seconds since the Unix epoch.

        A moment too early does no harm.  None if nobody knows.
        """
        return None

    @property
    @abstractmethod
    def last_error(self) -> AntiphonError | None:
        """Why the connection was last lost or could not be made.

        While it is up: why one of the queues does not stand (``Topology.troubles``);
        None if all do.
        """
