"""Which deliveries of a queue may be acknowledged, and when."""

from __future__ import annotations

import time
from collections import deque

from pika.channel import Channel

from antiphon.messaging.topology import QueueSpec

#: Seconds after which messages of a queue that goes with its connection are
#: acknowledged although a slow listener still has them before it: RabbitMQ closes
#: a channel with deliveries unacknowledged for 30 minutes, and giving such a
#: message back would help nobody.
MAX_UNACKNOWLEDGED_S = 60.0


class Consumption:
    """One queue being consumed on a channel of its own, and its acknowledgements.

    Whoever settles only leaves a note; the link's thread reads them.  Most
    deliveries are settled in their order, so that one acknowledgement covers
    many; those that overtook a slow one are acknowledged singly.
    """

    def __init__(self, spec: QueueSpec, channel: Channel) -> None:
        self.channel = channel
        #: Whether the channel is gone, and the broker gives out again what was under way.
        self.is_over = False
        self.spec = spec
        self._settled: deque[int] = deque()  # notes; appended to by any thread
        self._received = 0  # tag of the newest delivery
        self._upto = 0  # all up to this tag are settled
        self._early: set[int] = set()  # settled although an older one is not
        self._single: set[int] = set()  # and acknowledged so
        self._ackable = 0  # the newest up to _upto that was not acknowledged singly
        self._acknowledged = 0
        self._oldest_at: float | None = None

    @property
    def spec(self) -> QueueSpec:
        """The queue; another prefetch may be set."""
        return self._spec

    @spec.setter
    def spec(self, spec: QueueSpec) -> None:
        self._spec = spec
        self._batch = max(1, spec.prefetch // 4)
        self._is_exclusive = spec.is_exclusive

    def settle(self, tag: int) -> bool:
        """Take note, on any thread, that delivery *tag* was handled; True: wake the link now."""
        settled = self._settled
        settled.append(tag)
        if len(settled) >= self._batch:
            return True
        # What another process may get next should not be there longer than needed.
        return not self._is_exclusive and self._count_settled() >= self._received

    def _count_settled(self) -> int:
        return self._upto + len(self._early) + len(self._settled)

    def received(self, tag: int, *, is_echo: bool) -> None:
        """Take note of a delivery."""
        self._received = tag
        if is_echo:
            self._settled.append(tag)
        if self._oldest_at is None:
            self._oldest_at = time.monotonic()

    @property
    def is_idle(self) -> bool:
        """Whether all that came is settled."""
        return self._count_settled() >= self._received

    def acknowledge(self, *, now: bool) -> None:
        """Acknowledge what was handled: a good deal of it, or (*now*) any."""
        if self.is_over:
            return
        if (
            not now
            and len(self._settled) < self._batch
            and (self._is_exclusive or not self.is_idle)
        ):
            return
        if not self.channel.is_open:
            return  # it is closing, and the broker gives out again what was under way
        self._read_notes()
        upto = self._ackable
        if self._is_exclusive:
            if self._is_old():
                upto, now = self._received, True
        elif self._upto == self._received or len(self._early) >= self._batch:
            now = True
        if upto - self._acknowledged >= (1 if now else self._batch):
            self.channel.basic_ack(upto, multiple=True)
            self._acknowledged = upto
            self._oldest_at = None if upto == self._received else time.monotonic()
        if now and self._early and not self._is_exclusive:
            self._acknowledge_singly()

    def _read_notes(self) -> None:
        settled, early = self._settled, self._early
        while settled:
            tag = settled.popleft()
            if tag != self._upto + 1:
                if tag > self._upto:
                    early.add(tag)
                continue
            self._advance(tag)
            while early and self._upto + 1 in early:
                early.discard(self._upto + 1)
                self._advance(self._upto + 1)

    def _advance(self, tag: int) -> None:
        self._upto = tag
        if tag in self._single:
            # RabbitMQ closes the channel if a cumulative acknowledgement ends in a
            # tag that was acknowledged before.
            self._single.discard(tag)
        else:
            self._ackable = tag

    def _acknowledge_singly(self) -> None:
        for tag in sorted(self._early - self._single):
            self.channel.basic_ack(tag, multiple=False)
            self._single.add(tag)

    def _is_old(self) -> bool:
        oldest_at = self._oldest_at
        return oldest_at is not None and time.monotonic() - oldest_at > MAX_UNACKNOWLEDGED_S
