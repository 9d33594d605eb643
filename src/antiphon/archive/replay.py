"""Events of an archive, sent once more: to a listener, or to one queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.archive.recorded import recorded_message
from antiphon.errors import CorruptMessage, InvalidSearch
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.dead_letters import Rationing
from antiphon.messaging.events import refuse_forged
from antiphon.messaging.replaying import ReplayQueue
from antiphon.messaging.transport import Message
from antiphon.wire.codec import Codec
from antiphon.wire.routing import CLASSES_HEADER, ORIGIN_HEADER, is_exact

logger = logging.getLogger(__name__)

#: Called with each event of the past.
Listener: TypeAlias = Callable[[Any], object]

#: Events, and bytes of them, that are handed to the broker at once.
_PORTION, _PORTION_BYTES = 1000, 1_000_000

#: What completes a routing key.
_HEADERS = (CLASSES_HEADER, ORIGIN_HEADER)

#: Seconds of which a replay with a speed may be late or early, so that it need not send singly.
_SLACK_S = 0.01


@dataclass(slots=True)
class Replayed:
    """What a replay has done.

    Attributes:
        sent: events that the listener returned from, or the broker has confirmed.
        skipped: those that did not come from a bus, so that there is nothing to send.
        unreadable: those whose message is none, so that nobody could read it.
        latest: timestamp of the last one that was sent or passed over, seconds since
            the epoch: a replay that was ended goes on there.
    """

    sent: int = 0
    skipped: int = 0
    unreadable: int = 0
    latest: float | None = None


def replay(
    store: EventStore,
    ts_start: float,
    ts_end: float | None = None,
    flags: Iterable[str] | None = None,
    match: str | None = None,
    *,
    to: Listener | ReplayQueue,
    speed: float | None = None,
    progress: Callable[[Replayed], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> Replayed:
    """Send events of an archive once more, in the order of time; return what was done.

    Args:
        store: what is committed there at the time of this call.
        ts_start, ts_end, flags, match: which events, as for ``EventStore.search``.
        to: ``bus.replay_to("audit")``, which sends to the queue of that subscription:
            its listener is called, also with what it has handled before, and it alone.
            Or a function, which is called with each event, on this thread.
        speed: 1 keeps the times between events, 60 makes an hour a minute; None is as
            fast as it goes.
        progress: called with the counts so far after each portion (of the events that
            a function is called with, after each).
        stop: ends the replay when it is set, after what is under way.

    The events are those that were recorded, with their ids and times, and say that
    they are replayed: ``delivery_of(event).replayed``.

    Raises:
        InvalidSearch: the arguments make no sense, or the pattern is broken.
        ArchiveBusy, MatchTooSlow: reading failed.
        QueueMissing, BrokerUnavailable, BusClosed: see ``ReplayQueue.send``.
        Exception: what the function raises.

    After an error *progress* has been told of all that was sent for certain; what was
    under way may have been sent as well.
    """
    if not (isinstance(to, ReplayQueue) or callable(to)):
        raise InvalidSearch(f"replay sends to a function or to bus.replay_to(…), not to {to!r:.80}")
    if speed is not None and not (isinstance(speed, int | float) and speed > 0):
        raise InvalidSearch(f"speed is a number above 0, or None, not {speed!r:.80}")
    sender = _Sender(to, progress)
    stop = stop or threading.Event()
    pace = None if speed is None else _Pace(speed)
    for event in store.search(ts_start, ts_end, flags, match):
        if pace is not None and (delay_s := pace.delay_s(event.timestamp)) > _SLACK_S:
            sender.flush()
            stop.wait(min(delay_s, threading.TIMEOUT_MAX))
        if stop.is_set():
            break
        sender.put(event)
    sender.flush()
    return sender.done


class _Sender:
    """Hands events on, a portion at a time, and counts them."""

    def __init__(self, to: Listener | ReplayQueue, progress: Callable[[Replayed], None]) -> None:
        self.done = Replayed()
        self._to = to
        self._progress = progress
        self._max_events = _PORTION if isinstance(to, ReplayQueue) else 1
        self._looked_at: list[Event] = []
        self._portion: list[tuple[Message, BaseEvent]] = []
        self._bytes = 0
        self._codec = Codec()
        self._rationing = Rationing()

    def put(self, event: Event) -> None:
        """Take *event* into the portion; hand that on when it is full."""
        self._looked_at.append(event)
        found = self._read(event)
        if found is not None:
            self._portion.append(found)
            self._bytes += len(found[0].body)
        if len(self._looked_at) >= self._max_events or self._bytes >= _PORTION_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand the portion on."""
        if not self._looked_at:
            return
        if isinstance(self._to, ReplayQueue):
            self._to.send([message for message, _ in self._portion])
        else:
            for _, event in self._portion:
                self._to(event)
        self.done.sent += len(self._portion)
        self.done.latest = self._looked_at[-1].timestamp
        self._looked_at.clear()
        self._portion.clear()
        self._bytes = 0
        self._progress(self.done)

    def _read(self, event: Event) -> tuple[Message, BaseEvent] | None:
        if event.message is None:
            self.done.skipped += 1
            return None
        try:
            return self._readable(recorded_message(event))
        except CorruptMessage as exc:
            self.done.unreadable += 1
            if self._rationing.passes():
                logger.warning("event %s cannot be replayed: %s", event.id, exc)
            return None

    def _readable(self, message: Message) -> tuple[Message, BaseEvent]:
        """Return *message* with the mark that it is replayed, and the event in it."""
        envelopes = self._codec.split(message.body)
        if len(envelopes) != 1:
            raise CorruptMessage(f"its message holds {len(envelopes)} events")
        body = self._codec.join([self._codec.replayed(envelopes[0])])
        headers = None if is_exact(message.routing_key) else message.headers
        (found,) = events = self._codec.decode(message.routing_key, headers, body)
        refuse_forged(events)
        # Of the headers only what was looked at: an archive may have been filled by anybody.
        kept = {name: headers[name] for name in _HEADERS if name in headers} if headers else None
        return Message(message.routing_key, body, kept), found


class _Pace:
    """Keeps the times between events, sped up."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first: float | None = None
        self._began = 0.0

    def delay_s(self, timestamp: float) -> float:
        """Return the seconds until an event of *timestamp* is due."""
        if self._first is None:
            self._first, self._began = timestamp, time.monotonic()
        return (timestamp - self._first) / self._speed - (time.monotonic() - self._began)
