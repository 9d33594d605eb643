"""A message in hand: the events in it, and which of them are done with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.recent_ids import Id
from antiphon.messaging.replay_mark import mark_of
from antiphon.messaging.transport import Arrival, Message
from antiphon.wire.codec import Codec


class GivenBack(Exception):
    """Raised by a listener that will not handle the event: its subscription is being closed.

    That is no failure; the event is kept for whoever subscribes next.
    """


class Batch:
    """The events of one arrival.

    Attributes:
        arrival: what is settled when all events are done with.
        since: from when on its time is counted, seconds of the monotonic clock.
        events: all of them.
        rest: those that nobody has begun with.  Who handles takes from the left,
            who moves them away from the right; each takes what the other left.
        left: how many are not done with; changed under the owner's lock.
        is_own: whether it holds one event from the isolation queue.
        current: the event that the only worker is at work with.
        mark: of the replay that sent it; empty for what happens for the first time.
    """

    __slots__ = (
        "_envelopes",
        "arrival",
        "current",
        "events",
        "is_own",
        "left",
        "mark",
        "rest",
        "since",
    )

    def __init__(
        self, arrival: Arrival, since: float, events: list[BaseEvent], *, is_own: bool
    ) -> None:
        self.arrival = arrival
        self.since = since
        self.events = events
        self.rest = deque(events)
        self.left = len(events)
        self.is_own = is_own
        self.current: BaseEvent | None = None
        self.mark = mark_of(arrival.message.headers)
        self._envelopes: dict[Id, bytes] | None = None

    def key_of(self, event: Any) -> Id:
        """Return what *event*, which came in this batch, is known by once it was handled.

        That is its id; in a replay it is one that only this replay gives it.
        """
        came = event._came
        return (self.mark + came[0], came[1]) if self.mark else came[:2]

    def message_of(self, event: BaseEvent) -> Message:
        """Return *event*, which came in this batch (or another with that id), as a message."""
        if self._envelopes is None:
            pairs = zip(self.events, Codec.split(self.arrival.message.body), strict=True)
            self._envelopes = {_id_of(one): envelope for one, envelope in pairs}
        return single(self.arrival.message, self._envelopes[_id_of(event)])


@dataclass(slots=True, eq=False)
class Item:
    """An event that takes longer: at work beside others, tried again later, or being buried.

    Attributes:
        event: the event.
        batch: where it came from.
        attempts: how often the listener failed.
        error: what it raised last.
        is_at_work: whether a listener is being called with it just now.
        twins: other batches that it came in, too; they wait for it.
    """

    event: BaseEvent
    batch: Batch
    attempts: int = 0
    error: BaseException | None = None
    is_at_work: bool = False
    twins: list[Batch] = field(default_factory=list)

    @property
    def key(self) -> Id:
        """What the event is known by, see ``Batch.key_of``."""
        return self.batch.key_of(self.event)


def _id_of(event: Any) -> Id:
    found: Id = event._came[:2]
    return found


def single(message: Message, envelope: bytes) -> Message:
    """Return the message that carries *envelope*, one of those of *message*, alone."""
    return Message(
        message.routing_key,
        Codec.join((envelope,)),
        message.headers,
        message.publisher,
        persistent=True,
    )


def singles(message: Message) -> list[Message]:
    """Return a message for each event of *message*, in order.

    Raises:
        CorruptMessage: it cannot be split.
    """
    return [single(message, envelope) for envelope in Codec.split(message.body)]
