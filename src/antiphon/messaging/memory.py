"""A transport within one process: ``memory:`` or ``memory://name``.

Everyone in the process who opens the same name talks to the same broker, which
matches topics and keeps queues as RabbitMQ does.  It is for tests and for
programs that want the bus's ways without a server; it passes the same suite as
RabbitMQ.  ``MemoryBroker`` also lets tests break connections, delete queues and
hold confirms back.
"""

from __future__ import annotations

import logging
import threading
import urllib.parse
from collections import deque
from collections.abc import Callable, Sequence

from antiphon.errors import AntiphonError, BrokerRefused, BrokerUnavailable, InvalidURL
from antiphon.messaging.backoff import Backoff
from antiphon.messaging.memory_broker import MemoryBroker as MemoryBroker
from antiphon.messaging.memory_consuming import Consuming
from antiphon.messaging.room import doing_io
from antiphon.messaging.topology import Topology
from antiphon.messaging.transport import Arrival, Incoming, Message, Outgoing, Transport

logger = logging.getLogger(__name__)

#: Messages that are taken from the buffer at once.
BATCH = 100


class MemoryTransport(Transport):
    """A connection to a broker in this process, with a thread that publishes."""

    outgoing: Outgoing
    incoming: Incoming

    def __init__(self, broker: MemoryBroker, *, name: str = "antiphon") -> None:
        self.broker = broker
        self.publisher = ""
        self._topology = Topology("")
        self._consuming = Consuming(self)
        self._unconfirmed = 0
        self._forwards: deque[tuple[Sequence[Message], Callable[[bool], None]]] = deque()
        self._held: list[tuple[bool, Callable[[bool], None]]] = []  # until confirms are given
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
        consumer, tag = arrival.token
        with self.broker.lock:
            consumer.settle(tag)

    def is_stale(self, arrival: Arrival) -> bool:
        consumer, tag = arrival.token
        return tag not in consumer.unsettled

    def forward(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        self._forwards.append((messages, done))
        self._woken.set()
        if self._is_over:
            self._fail_forwards()

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
        if self._is_connected:
            return next(iter(self._topology.troubles.values()), None)
        return self._last_error

    @property
    def _is_over(self) -> bool:
        return self._is_stopping and not self._thread.is_alive()

    # -- For the broker --------------------------------------------------------------

    def cancelled(self, label: str) -> None:
        """Take note that the queue called *label* was deleted under its consumer."""
        self._consuming.gone.append(label)
        self._woken.set()

    # -- On the thread -------------------------------------------------------------

    def _run(self) -> None:
        with doing_io():
            self._keep_up()

    def _keep_up(self) -> None:
        backoff = Backoff()
        while not self._is_stopping:
            try:
                self._connect()
            except (BrokerUnavailable, BrokerRefused) as exc:
                self.broker.detach(self)
                self._last_error = exc
                self._settled_down.set()
            else:
                backoff.connected()
                self._serve_until_lost()
            self._fail_forwards()
            if not self._is_stopping:
                self._woken.wait(backoff.next_delay_s())
                self._woken.clear()
        self.broker.detach(self)
        self._fail_forwards()

    def _connect(self) -> None:
        self.broker.attach(self)
        with self.broker.lock:  # what is under way already is delivered after the news
            self._consuming.begin(self._topology)
            self.outgoing.rewind()
            self._unconfirmed = 0
            self._last_error = None
            self._is_connected = True
            self._topology.connected()
            self.incoming.changed(True, None)
            self._settled_down.set()

    def _serve_until_lost(self) -> None:
        while not self._is_stopping and self.broker.is_attached(self):
            self._woken.clear()
            pause_s = self._consuming.catch_up()
            if not self._publish_forwards() + self._publish_batch():
                self._woken.wait(pause_s)
        self._is_connected = False
        self._topology.lost()
        if self._is_stopping:
            return
        self._last_error = self._renew_because or BrokerUnavailable(
            f"the connection to the memory broker '{self.broker.name}' was broken"
        )
        self._renew_because = None
        self.incoming.interrupted()
        self.incoming.changed(False, self._last_error)

    def _publish_forwards(self) -> int:
        count = 0
        while self._forwards:
            messages, done = self._forwards[0]
            with self.broker.lock:
                if not self.broker.is_attached(self):
                    return 0  # they fail with the rest
                taken = [self.broker.publish(self._topology.exchange, one) for one in messages]
            self._forwards.popleft()
            self._held.append((all(taken), done))
            count += 1
        if self.broker.is_confirming:
            held, self._held = self._held, []
            for is_taken, done in held:
                done(is_taken)
        return count

    def _fail_forwards(self) -> None:
        held, self._held = self._held, []
        for _, done in held:
            done(False)
        while self._forwards:
            try:
                _, done = self._forwards.popleft()
            except IndexError:  # another thread was quicker
                return
            done(False)

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
