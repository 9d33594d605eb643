"""A message to oneself that goes round the broker: the proof that what is sent comes in.

A connection can stand, with heartbeats both ways, while nothing arrives: a
binding was taken away, the exchange was deleted and made anew, a consumer is
registered nowhere.  So every few seconds a bus publishes a canary to its
exchange, bound to its own queue.  It is taken out where it comes in, before any
listener.  One that does not come back has the connection made anew.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import Protocol

from antiphon.errors import BrokerUnavailable
from antiphon.messaging.topology import BROADCAST, Binding, Topology
from antiphon.messaging.transport import Arrival, Message, Transport

logger = logging.getLogger(__name__)

#: First word of a canary's routing key; no class has a word that begins so.
WORD = "!canary"

#: Seconds between looks at whether it came back, and how many there are before it is missed.
#: Looks are counted, not seconds: a process that was stopped has not listened meanwhile.
LOOK_S = 1.0
LOOKS = 5

#: Seconds beyond the interval after which the last one that came back was too long ago.
LATE_S = LOOK_S * LOOKS

#: Canaries that may be under way: on a very slow broker each is overtaken by the next.
MAX_UNDER_WAY = 20


class Traffic(Protocol):
    """What else arrives."""

    @property
    def arrivals(self) -> int:
        """How many messages have come from the queue that canaries come from."""

    @property
    def backlog(self) -> int:
        """How many of them are not handled yet."""


class Canary:
    """Sends canaries, on a thread of its own, and tells how they fare.

    Args:
        publisher_id: of the bus, which no other has.
        interval_s: seconds between two; 0 sends none.
        transport: carries them.
        traffic: a canary that waits behind a long backlog is none that is lost.
    """

    def __init__(
        self, publisher_id: str, interval_s: float, transport: Transport, traffic: Traffic
    ) -> None:
        self.interval_s = interval_s
        self.binding = Binding(BROADCAST, f"{WORD}.{publisher_id}")
        #: How many were sent, came back, and had the connection made anew.
        self.sent = self.returned = self.renewals = 0
        self._transport = transport
        self._traffic = traffic
        self._moved = threading.Condition()
        self._thread = threading.Thread(
            target=self._run, name=f"antiphon canary {publisher_id}", daemon=True
        )
        self._is_stopping = False
        self._is_connected = False
        self._is_blocked = False
        self._connections = 0
        self._next_at = 0.0
        self._under_way: dict[bytes, float] = {}  # body -> when it was sent
        #: When the newest was sent that ever came back, seconds since the Unix epoch: what
        #: reached the bus's own queue before has been delivered.  None without canaries.
        self.good_at: float | None = None
        self._back_at: float | None = None
        self._round_trip_s: float | None = None
        self._is_taken: bool | None = None  # by a queue; None while the broker has not said

    # -- For the bus -----------------------------------------------------------------

    def start(self, topology: Topology) -> None:
        """Begin to send, once there is a connection; what it needs there goes into *topology*."""
        if self.interval_s:
            topology.bind([self.binding])
            self._thread.start()

    def stop(self) -> None:
        """Send no more; twice is fine."""
        with self._moved:
            self._is_stopping = True
            self._moved.notify_all()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(LOOK_S)

    @property
    def age_s(self) -> float | None:
        """Seconds since one came back over this connection; None if none has."""
        back_at = self._back_at
        return None if back_at is None else time.monotonic() - back_at

    @property
    def round_trip_s(self) -> float | None:
        """Seconds that the newest took; None if none has come back over this connection."""
        return self._round_trip_s

    def problem(self) -> str | None:
        """Return, for a bus that is connected, why it may be deaf all the same; None if not."""
        if not self.interval_s:
            return None
        age_s = self.age_s
        if age_s is not None and age_s <= self.interval_s + LATE_S:
            return None
        behind = self._traffic.backlog
        if behind:
            return f"listeners are slow: {behind} messages wait for them, and so does the canary"
        if age_s is None:
            return "no canary has come back from the broker since it was connected"
        return f"the last canary came back from the broker {age_s:.0f} s ago"

    def is_alive(self) -> bool:
        """Return whether its thread runs, if it is to."""
        return not self.interval_s or self._is_stopping or self._thread.is_alive()

    # -- For the inbox, on the transport's threads: nothing here may block ------------------

    def took(self, arrival: Arrival) -> bool:
        """Return whether *arrival* is a canary, of whomever; it is not to be handled further."""
        key = arrival.message.routing_key
        if not key.startswith(WORD):
            return False
        if key == self.binding.pattern:
            with self._moved:
                sent_at = self._under_way.pop(arrival.message.body, None)
                if sent_at is not None:
                    self._back_at = now = time.monotonic()
                    self._round_trip_s = now - sent_at
                    self.good_at = time.time() - self._round_trip_s
                    self.returned = int(arrival.message.body)
                    self._moved.notify_all()
        return True

    def changed(self, is_connected: bool) -> None:
        """Take note that the connection is there, or lost."""
        with self._moved:
            self._is_connected = is_connected
            self._connections += is_connected
            self._under_way.clear()
            if is_connected and self.good_at is None and self.interval_s:
                self.good_at = time.time()  # nothing has reached the queue before
            self._back_at = self._round_trip_s = None
            self._next_at = 0.0
            self._moved.notify_all()

    def blocked(self, is_blocked: bool) -> None:
        """Take note that the broker takes nothing, or does again."""
        with self._moved:
            self._is_blocked = is_blocked
            self._next_at = 0.0
            self._moved.notify_all()

    # -- On its thread -----------------------------------------------------------------

    def _run(self) -> None:
        while self._wait_for_turn():
            try:
                self._go_round()
            except Exception:
                # Nobody else would hear of it, and a bus would go deaf unnoticed.
                logger.exception("the canary failed")

    def _wait_for_turn(self) -> bool:
        with self._moved:
            while not self._is_stopping:
                left = self._next_at - time.monotonic()
                is_free = self._is_connected and not self._is_blocked
                if is_free and left <= 0:
                    return True
                self._moved.wait(left if is_free else None)
            return False

    def _go_round(self) -> None:
        with self._moved:
            connection = self._connections
            self.sent += 1
            self._is_taken = None
            body = b"%d" % self.sent
            if len(self._under_way) >= MAX_UNDER_WAY:
                del self._under_way[next(iter(self._under_way))]
            self._under_way[body] = now = time.monotonic()
            self._next_at = now + self.interval_s
        arrivals = self._traffic.arrivals
        message = Message(self.binding.pattern, body, count=0)
        self._transport.forward([message], partial(self._forwarded, self.sent))
        if self._is_missed(connection):
            self._judge(is_quiet=self._traffic.arrivals == arrivals)

    def _forwarded(self, number: int, is_taken: bool) -> None:
        with self._moved:
            if number == self.sent:
                self._is_taken = is_taken

    def _is_missed(self, connection: int) -> bool:
        def is_settled() -> bool:
            is_same = self._is_connected and self._connections == connection
            return (
                self.returned == self.sent or not is_same or self._is_blocked or self._is_stopping
            )

        with self._moved:
            for _ in range(LOOKS):
                if self._moved.wait_for(is_settled, LOOK_S):
                    return False
                if self._is_taken is False:
                    return True  # also told when the connection is lost: hence not at once
            return True

    def _judge(self, *, is_quiet: bool) -> None:
        if self._is_taken is None:
            return  # the publishing half has it still; it has a limit of its own for that
        if self._is_taken:
            if self._traffic.backlog or not is_quiet:
                return  # it waits behind others, in this process or at the broker
            why = "a queue has taken it, and gives it to nobody"
        else:
            why = "no queue is bound to get it"
        self.renewals += 1
        self._transport.renew(
            BrokerUnavailable(
                f"the broker is connected, but a message of this bus to itself is lost ({why}): a "
                "binding, the exchange or the consumer is gone; everything is declared anew"
            )
        )
