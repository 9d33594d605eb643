"""Queues that may be without a leader: which to make anew, and which to keep apart.

RabbitMQ answers nobody who consumes from a quorum queue without a leader, and
after some seconds closes the connection that tried (INTERNAL_ERROR), with
all other queues on it.  After a crash 3.10 may leave a queue so for ever, which
also holds up the confirms of everything that is routed to it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from pika.channel import Channel
from pika.frame import Method

from antiphon.errors import AntiphonError
from antiphon.messaging.amqp_address import AmqpAddress
from antiphon.messaging.amqp_link import Link


class Probe:
    """Tries to consume from a queue over a connection of its own; the user of a ``Link``.

    Args:
        address: the broker.
        queue: name of the queue.
        healed: called, on the link's thread, when the broker let it consume.
    """

    def __init__(self, address: AmqpAddress, queue: str, healed: Callable[[], None]) -> None:
        self.link = Link(address, f"probe of {queue}", self)
        self._queue = queue
        self._healed = healed

    def opened(self, channel: Channel) -> None:
        """Consume, but take nothing: no acknowledgement, and the connection ends at once."""
        channel.basic_qos(prefetch_count=1)
        channel.basic_consume(self._queue, lambda *_: None, callback=self._on_consuming)

    def _on_consuming(self, _frame: Method) -> None:
        self._healed()

    def woken(self) -> None:
        """Nothing."""

    def ticked(self) -> None:
        """Nothing."""

    def leaving(self) -> None:
        """Nothing."""

    def lost(self, error: AntiphonError) -> None:
        """Nothing: the link tries again.  A queue that is gone is no longer in doubt."""
        if "no queue" in str(error):
            self._healed()

    def blocked(self, reason: str | None) -> None:
        """Nothing."""


class Doubts:
    """What is known of queues across connections; used on the consuming link's thread."""

    def __init__(self) -> None:
        self._made: dict[str, float] = {}  # queues that do not stand since then: amqp_birth
        self._untold: set[str] = set()  # those that were not there, of which nobody was told
        self._lost_at = 0.0
        self._to_revive: set[str] = set()
        self._probes: dict[str, Probe] = {}
        self._well: set[str] = set()

    def making(self, name: str) -> None:
        """Take note that queue *name* is not there, and is about to be made."""
        self._made[name] = time.monotonic()
        self._untold.add(name)
        self._to_revive.discard(name)

    def settled(self, name: str) -> None:
        """Take note that the broker will not forget queue *name*, which may hold events now."""
        self._made.pop(name, None)

    def stood(self, name: str) -> bool:
        """Take note that queue *name* stands; return, once, whether it was not there before."""
        self.settled(name)
        is_new = name in self._untold
        self._untold.discard(name)
        return is_new

    def is_suspect(self, name: str) -> bool:
        """Return whether the broker was lost while we made it: it may be dead, and is empty."""
        return self._made.get(name, math.inf) < self._lost_at

    def revive(self, name: str) -> None:
        """Take note that queue *name* is to be deleted and made anew."""
        self._to_revive.add(name)

    def is_to_revive(self, name: str) -> bool:
        """Return whether queue *name* is to be deleted and made anew."""
        return name in self._to_revive

    def is_apart(self, name: str) -> bool:
        """Return whether queue *name* must not be consumed beside others now."""
        return name in self._probes and name not in self._well

    def lost(self) -> None:
        """Take note that the connection is lost."""
        self._lost_at = time.monotonic()

    def keep_apart(self, name: str, address: AmqpAddress) -> None:
        """Try queue *name* over a connection of its own until it can be had."""
        if self.is_apart(name):
            return
        self.release(name)
        self._probes[name] = probe = Probe(address, name, lambda: self._well.add(name))
        probe.link.start()

    def ticked(self) -> None:
        """End the attempts that have succeeded."""
        for name in tuple(self._well):
            self.release(name)

    def release(self, name: str) -> None:
        """End the attempts for queue *name*."""
        self._well.discard(name)
        if (probe := self._probes.pop(name, None)) is not None:
            probe.link.stop(0)

    def stop(self, timeout_s: float) -> None:
        """End all attempts; on any thread, when the consuming link has ended."""
        probes = list(self._probes.values())
        for probe in probes:
            probe.link.stop(0)
        for probe in probes:
            probe.link.stop(timeout_s)

    def abandon(self) -> None:
        """See ``Link.abandon``."""
        for probe in self._probes.values():
            probe.link.abandon()
