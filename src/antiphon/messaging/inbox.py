"""What comes in: decoded and handed to listeners, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from antiphon.errors import AntiphonError, CorruptMessage
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.event_id import EventId
from antiphon.messaging.canary import Canary
from antiphon.messaging.events import refuse_forged
from antiphon.messaging.recent_ids import RecentIds
from antiphon.messaging.topology import BROADCAST
from antiphon.messaging.transport import Arrival
from antiphon.messaging.worker import Worker
from antiphon.wire.codec import Codec, ResolveSource

logger = logging.getLogger(__name__)

#: What state callbacks are called with.
CONNECTED, DISCONNECTED = "connected", "disconnected"

#: Events whose ids are remembered at least (more if many publishers are busy): what is sent
#: again after a lost connection, or arrives between the observation of an event and its copy
#: from the broker, is less.
MAX_REMEMBERED = 32_768

#: Bytes of broadcast messages that may wait for slow listeners.
MAX_WAITING_BYTES = 256 * 1024 * 1024

#: Bytes of a message up to which it may be read on the connection's thread, for those who hear
#: early: some twenty events, which take as long as a heartbeat does not notice.
MAX_EARLY_BYTES = 4096

#: Seconds between two lines about corrupt messages; a broken sender makes thousands.
CORRUPT_LOG_INTERVAL_S = 5.0


#: Is called with all events of a message.
EarlyListener: TypeAlias = Callable[[Sequence[BaseEvent]], None]

#: Attribute of an event: those who have heard of it early.
HEARD_EARLY = "_heard_early"


class Taker(Protocol):
    """What takes the arrivals of a queue other than the broadcast one; nothing may block."""

    def deliver(self, arrival: Arrival) -> None:
        """Take over *arrival*."""

    def queue_made(self, queue: str) -> None:
        """Take note that the queue labelled *queue* was not there, and was made now."""


class OwnTaker(Protocol):
    """What takes messages that are no events out of what arrives; nothing may block."""

    def took(self, arrival: Arrival) -> bool:
        """Return whether *arrival* was for it, and is not to be handled further."""


class Inbox:
    """Takes what a transport hands over, in order; see ``transport.Incoming``.

    Events are handled one after the other on one thread, state callbacks on
    another: a cache must learn that the connection is gone at once, also
    while a slow listener is at work.

    Args:
        codec: decodes bodies.
        resolve_source: see ``Codec.decode``.
        handle: called with each event.
        settle: called with each arrival after its last event was handled.
        name: for threads.
    """

    def __init__(
        self,
        codec: Codec,
        resolve_source: ResolveSource,
        handle: Callable[[BaseEvent], None],
        settle: Callable[[Arrival], None],
        name: str,
    ) -> None:
        self._codec = codec
        self._resolve_source = resolve_source
        self._handle = handle
        self._settle = settle
        self._events = Worker(f"{name} events")
        self._states = Worker(f"{name} states")
        self._recent = RecentIds(MAX_REMEMBERED)
        #: Notes that listeners hear of the event with an id; False if they have heard.
        self.remember: Callable[[EventId], bool] = self._recent.add
        #: Whether listeners have heard the event with an id, lately.
        self.has_heard: Callable[[EventId], bool] = self._recent.__contains__
        #: Notes a publisher whose events listeners hear when they are emitted; others that
        #: publish them once more bring nothing new.
        self.knows: Callable[[bytes], None] = self._recent.know
        #: Called with each message that cannot be read, on the thread of the events.
        self.when_corrupt: Callable[[Arrival, CorruptMessage], None] = _do_nothing
        #: Called with each change of the connection, on a thread of the transport.
        self.when_changed: Callable[[bool], None] = _do_nothing
        #: Called when the broadcast queue has gone; returns since when events may be missing,
        #: and is called with that before the first event that comes afterwards.
        self.when_interrupted: Callable[[], float] = time.time
        self.when_resumed: Callable[[float], None] = _do_nothing
        self._missing_since: float | None = None
        self._early: tuple[EarlyListener, ...] = ()
        self._takers: dict[str, Taker] = {}
        self._callbacks: tuple[Callable[[str], None], ...] = ()
        self._moved = threading.Condition()
        self._corrupt_logged_at = float("-inf")
        self.is_connected = False
        self.blocked_because: str | None = None
        #: Counters; each is written by one thread only.
        self.received = self.corrupt = self.echoes = self.connects = 0
        self.arrivals = self._delivered = self._handled = self.skipped = 0
        self._delivered_bytes = self._handled_bytes = 0
        self._is_full = False  # more came than may wait, and not half of it is handled yet
        #: Takes what is its own out of what arrives.
        self.canary: Canary | None = None
        self.roll_call: OwnTaker | None = None

    def start(self) -> None:
        """Begin to handle."""
        self._events.start()
        self._states.start()

    def stop(self, timeout_s: float) -> bool:
        """End the threads when all that came is handled; return whether that happened in time."""
        deadline = time.monotonic() + timeout_s
        self._events.stop()
        self._states.stop()
        with self._moved:
            self._moved.notify_all()
        is_done = self._events.join(max(0.0, deadline - time.monotonic()))
        return self._states.join(max(0.0, deadline - time.monotonic())) and is_done

    @property
    def duplicates(self) -> int:
        """How many events had come before, and were handed to nobody."""
        return self._recent.repeated

    @property
    def backlog(self) -> int:
        """How many broadcast messages have arrived and are not handled yet."""
        return self._delivered - self._handled

    def dead_threads(self) -> list[str]:
        """Return which threads have ended that were not to."""
        workers = {"events": self._events, "states": self._states}
        return [name for name, worker in workers.items() if not worker.is_alive()]

    def on_state(self, callback: Callable[[str], None]) -> None:
        """Call *callback* with each new state, in order; a second time is as once."""
        with self._moved:
            if callback not in self._callbacks:
                self._callbacks = (*self._callbacks, callback)

    def off_state(self, callback: Callable[[str], None]) -> None:
        """Undo ``on_state``; a callback that is not there is no error."""
        with self._moved:
            self._callbacks = tuple(one for one in self._callbacks if one != callback)

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the connection is up; return whether it is."""
        with self._moved:
            return self._moved.wait_for(lambda: self.is_connected, timeout_s)

    def route(self, labels: Iterable[str], taker: Taker | None) -> None:
        """Let *taker* get what comes from the queues with *labels*; None: nobody."""
        with self._moved:
            takers = dict(self._takers)  # a new one: deliver() reads without the lock
            for label in labels:
                takers.pop(label, None)
                if taker is not None:
                    takers[label] = taker
            self._takers = takers

    def hear_early(self, listener: EarlyListener) -> None:
        """Call *listener* with all events of a message before anybody else hears of them.

        That is on the connection's thread if nothing waits before the message, so it
        must neither block nor take long.
        """
        with self._moved:
            self._early = (*self._early, listener)

    def hear_early_no_more(self, listener: EarlyListener) -> None:
        """Undo ``hear_early``; a listener that is not there is no error."""
        with self._moved:
            self._early = tuple(one for one in self._early if one != listener)

    def tell(self, call: Callable[[Any], None], argument: Any) -> None:
        """Have *call* called with *argument* among the events, in order."""
        self._events.submit(call, argument)

    # -- For the transport: nothing here may block -----------------------------------

    def deliver(self, arrival: Arrival) -> None:
        self.arrivals += arrival.queue == BROADCAST
        if arrival.message.routing_key.startswith("!") and self._took(arrival):
            self._settle(arrival)
        elif arrival.queue == BROADCAST:
            if not self._has_room(arrival):
                return
            if self._missing_since is not None:
                self._resume()
            self._delivered += 1
            self._delivered_bytes += len(arrival.message.body)
            if self._early and self._is_next(arrival):
                self._open_early(arrival)
            else:
                self._events.submit(self._open, arrival)
        elif (taker := self._takers.get(arrival.queue)) is not None:
            taker.deliver(arrival)
        # Else its subscription was closed just now: not settled, it goes back.

    def _is_next(self, arrival: Arrival) -> bool:
        is_first = self._delivered - self._handled == 1
        return is_first and len(arrival.message.body) <= MAX_EARLY_BYTES

    def _open_early(self, arrival: Arrival) -> None:
        """Let those who hear early have the events of *arrival* before it is handed on."""
        try:
            events = self._decoded(arrival)
        except CorruptMessage:
            self._events.submit(self._open, arrival)  # which tells of it
            return
        self._tell_early(events)
        self._events.submit(self._open, (arrival, events))

    def _tell_early(self, events: Sequence[BaseEvent]) -> None:
        early = self._early
        for event in events:
            event.__dict__[HEARD_EARLY] = early
        for listener in early:
            try:
                listener(events)
            except Exception:
                logger.exception("a listener failed that hears early: %r", listener)

    def _has_room(self, arrival: Arrival) -> bool:
        """Return whether *arrival* may wait for the listeners; else it is settled unread.

        The broker counts messages that are under way, not their bytes: a thousand
        of the longest would be 16 GiB before a slow listener.
        """
        waiting = self._delivered_bytes - self._handled_bytes
        limit = MAX_WAITING_BYTES // 2 if self._is_full else MAX_WAITING_BYTES
        is_full = waiting > 0 and waiting + len(arrival.message.body) > limit
        if is_full and not self._is_full:
            logger.warning(
                "%d MiB of messages wait for slow listeners: those that come now are dropped "
                "unread, and EventsMayBeMissing will be told",
                waiting // 2**20,
            )
        self._is_full = is_full
        if is_full:
            self.skipped += 1
            with self._moved:
                if self._missing_since is None:
                    self._missing_since = time.time()
            self._settle(arrival)
        return not is_full

    def _took(self, arrival: Arrival) -> bool:
        return any(one is not None and one.took(arrival) for one in (self.canary, self.roll_call))

    def echo(self) -> None:
        self.arrivals += 1
        self.echoes += 1

    def changed(self, is_connected: bool, error: AntiphonError | None) -> None:
        with self._moved:
            self.is_connected = is_connected
            self.connects += is_connected
            self._moved.notify_all()
        if self.canary is not None:
            self.canary.changed(is_connected)
        if is_connected and self.connects > 1:
            logger.warning("connected to the broker again")
        elif not is_connected:
            logger.warning("connection to the broker lost, trying again: %s", error)
        # Those that are there now: one that comes later did not ask for this change.
        news = (CONNECTED if is_connected else DISCONNECTED, self._callbacks)
        self._states.submit(self._tell_state, news)
        if is_connected:
            self._resume()
        self.when_changed(is_connected)

    def interrupted(self) -> None:
        with self._moved:
            if self._missing_since is None:
                self._missing_since = self.when_interrupted()

    def _resume(self) -> None:
        with self._moved:
            since, self._missing_since = self._missing_since, None
            if since is not None:
                self.when_resumed(since)

    def blocked(self, reason: str | None) -> None:
        self.blocked_because = reason
        if self.canary is not None:
            self.canary.blocked(reason is not None)
        if reason is not None:
            logger.warning("the broker takes no messages for now: %s", reason)
        else:
            logger.warning("the broker takes messages again")

    def queue_made(self, queue: str) -> None:
        if (taker := self._takers.get(queue)) is not None:
            taker.queue_made(queue)

    # -- On our threads ----------------------------------------------------------------

    def _tell_state(self, news: tuple[str, tuple[Callable[[str], None], ...]]) -> None:
        state, callbacks = news
        for callback in callbacks:
            if callback not in self._callbacks:
                continue
            try:
                callback(state)
            except Exception:
                logger.exception("a state callback failed: %r", callback)

    def _decoded(self, arrival: Arrival) -> Sequence[BaseEvent]:
        message = arrival.message
        events = self._codec.decode(
            message.routing_key, message.headers, message.body, self._resolve_source
        )
        refuse_forged(events)
        return events

    def _open(self, what: Arrival | tuple[Arrival, Sequence[BaseEvent]]) -> None:
        arrival, events = what if isinstance(what, tuple) else (what, None)
        message = arrival.message
        try:
            if events is None:
                events = self._decoded(arrival)
                if self._early:
                    self._tell_early(events)
        except CorruptMessage as exc:
            self.corrupt += 1
            self._log_corrupt(message.publisher, exc)
            self.when_corrupt(arrival, exc)
        else:
            self._receive(events)
        finally:
            self._handled += 1
            self._handled_bytes += len(message.body)
            self._settle(arrival)

    def _receive(self, events: Sequence[BaseEvent]) -> None:
        self.received += len(events)
        handle = self._handle
        # Not those that came before: their sender lost the connection before it learnt that the
        # broker had them, or somebody in this process observed the change and told of it already.
        for event in self._recent.new_of(events):
            try:
                handle(event)
            except BaseException:  # as in Worker: a listener's sys.exit() ends nothing here
                logger.exception("event %s could not be handled", event._event_id)

    def _log_corrupt(self, publisher: str, exc: CorruptMessage) -> None:
        now = time.monotonic()
        if now - self._corrupt_logged_at >= CORRUPT_LOG_INTERVAL_S:
            self._corrupt_logged_at = now
            logger.warning(
                "dropped a message of publisher %.80r that cannot be read: %s "
                "(%d so far; logged at most every %.0f s)",
                publisher,
                exc,
                self.corrupt,
                CORRUPT_LOG_INTERVAL_S,
            )


def _do_nothing(*_: object) -> None:
    return None
