"""The part of a bus that sends events of the past to one queue, as replayed ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from antiphon.errors import BrokerUnavailable, InvalidBusOption, QueueMissing
from antiphon.messaging.batching import BufferPolicy, joined
from antiphon.messaging.bus_part import BusPart
from antiphon.messaging.replay_mark import REPLAY_HEADER, new_mark
from antiphon.messaging.transport import Message, Transport
from antiphon.wire.codec import Codec

#: Events, and bytes of them, that one message of a replay holds at most.
_BATCH_EVENTS, _BATCH_BYTES = 200, 65536

#: Messages that are under way at a time.  The next are sent when the broker has confirmed
#: all of these: else, were one lost, those behind it would come before it.
_PORTION = 100

#: Seconds before each further attempt on a connection that stands; then there is no such queue.
_DELAYS_S = (0.1, 0.4, 1.0)

#: Seconds between looks at whether the bus was closed, or the time is up.
_LOOK_S = 0.2

#: Seconds that the broker may take, unless told otherwise.
REPLAY_TIMEOUT_S = 60.0


class ReplayQueue:
    """Sends events of the past to one queue; made by ``bus.replay_to``, for one thread.

    All that one object sends is one replay: whoever subscribes to the queue is
    called with what it has handled before, and with nothing of this replay twice.

    Attributes:
        queue: name of the queue at the broker.
        mark: tells this replay from others.
    """

    def __init__(
        self,
        queue: str,
        transport: Transport,
        publisher_id: str,
        check_open: Callable[[], None],
        timeout_s: float,
    ) -> None:
        self.queue = queue
        self.mark = new_mark()
        self._transport = transport
        self._check_open = check_open
        self._timeout_s = timeout_s
        self._policy = BufferPolicy(
            publisher=publisher_id,
            persistent=True,
            batch_events=_BATCH_EVENTS,
            batch_bytes=_BATCH_BYTES,
        )

    def send(self, messages: Sequence[Message]) -> None:
        """Send the events of *messages*, in order; return when the broker has confirmed them all.

        Args:
            messages: as they came, without what the broker added; only routing key,
                headers and body are looked at.

        Raises:
            CorruptMessage: one of them holds no events; nothing was sent.
            QueueMissing: there is no such queue.
            BrokerUnavailable: the broker has not confirmed them in time.
            BusClosed: the bus was closed.

        After the last three any number of them may have been sent, and may still be.
        """
        marked = self._marked(messages)
        for start in range(0, len(marked), _PORTION):
            self._send(marked[start : start + _PORTION])

    def _marked(self, messages: Sequence[Message]) -> list[Message]:
        items = list(self._envelopes(messages))
        if not items:
            return []
        return [replace(one, queue=self.queue) for one in joined(items, self._policy)]

    def _envelopes(self, messages: Sequence[Message]) -> Iterator[tuple[Any, bytes]]:
        for message in messages:
            headers = {**(message.headers or {}), REPLAY_HEADER: self.mark}
            for envelope in Codec.split(message.body):
                yield (message.routing_key, headers), Codec.replayed(envelope)

    def _send(self, messages: Sequence[Message]) -> None:
        deadline = time.monotonic() + self._timeout_s
        delays_s = iter(_DELAYS_S)
        while not self._try(messages, deadline):
            delay_s: float | None = _LOOK_S
            if self._transport.is_connected:
                delay_s = next(delays_s, None)
            if delay_s is None:
                raise QueueMissing(
                    f"the broker has no queue {self.queue!r}, or it takes no messages: replay to a "
                    "subscription that exists ('antiphon topology' lists them)"
                )
            time.sleep(delay_s)

    def _try(self, messages: Sequence[Message], deadline: float) -> bool:
        """Return whether the broker has confirmed *messages*; False if it cannot any more."""
        told = threading.Event()
        answers: list[bool] = []

        def done(is_confirmed: bool) -> None:
            answers.append(is_confirmed)
            told.set()

        self._check_open()
        if time.monotonic() < deadline:
            self._transport.forward(messages, done)
        while not told.wait(_LOOK_S):
            self._check_open()
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    f"the broker has not confirmed {len(messages)} messages to the queue "
                    f"{self.queue!r} within {self._timeout_s:g} s: "
                    f"{self._transport.last_error or 'it is slow, or takes nothing for now'}"
                )
        return answers[0]


class ReplayingManager(BusPart):
    """Base of ``BrokerEventManager``."""

    def replay_to(
        self,
        subscription: str | None = None,
        *,
        queue: str | None = None,
        timeout_s: float = REPLAY_TIMEOUT_S,
    ) -> ReplayQueue:
        """Return what sends events of the past to one queue; see ``antiphon.archive.replay``.

        Args:
            subscription: the name of a subscription of this system: its queue.
            queue: instead, the name of any queue at the broker.
            timeout_s: seconds that the broker may take to confirm what is under way, an
                outage included.

        Raises:
            InvalidBusOption: neither or both are given.
            BusClosed: the bus is closed.

        Each call begins another replay: subscribers are called with its events,
        ``delivery_of(event).replayed`` being True, whatever they have handled before.
        """
        self._check_open()
        if not (subscription or queue) or (subscription and queue):
            raise InvalidBusOption(
                "replay_to takes the name of a subscription, or queue= with the name of a queue; "
                f"not {subscription!r} and queue={queue!r}"
            )
        name = queue or f"{self.system}.sub.{subscription}"
        return ReplayQueue(name, self._transport, self.publisher_id, self._check_open, timeout_s)
