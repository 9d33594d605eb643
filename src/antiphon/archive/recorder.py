"""Archives what goes over a bus."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from antiphon.archive.event import Event
from antiphon.archive.recorded import INDEXED, class_tags, recorded
from antiphon.errors import EventStoreException, InvalidEvent
from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.events.origin import OriginSpec
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.messaging.events import EventsMayBeMissing
from antiphon.messaging.subscription import Subscription
from antiphon.messaging.subscription_batch import GivenBack
from antiphon.messaging.subscription_batches import Received
from antiphon.messaging.subscription_options import SubscriptionOptions
from antiphon.wire.describing import attributes_of, to_json
from antiphon.wire.registry import default_registry

logger = logging.getLogger(__name__)

#: Seconds that ``stop`` gives a commit under way.
STOP_TIMEOUT_S = 5.0

#: Seconds before the archive is tried again, doubled up to the second one.
FIRST_PAUSE_S, MAX_PAUSE_S = 0.1, 2.0

#: How often a recorder may be killed, or fail, over one event until that goes to the dead
#: letters: more than others, since while the archive is away each restart counts.
DELIVERY_LIMIT = 20

#: Seconds after which the lag of a commit says nothing any more.
_LAG_FADES_S = 30.0

#: Notes of missing events that wait for the archive at most; the oldest go first.
_MAX_NOTES = 1000


class Archive(Protocol):
    """What a recorder needs of an ``EventStore``."""

    def save_many(self, events: Iterable[Event]) -> int:
        """Save events, all or none, and return how many were new."""


@dataclass(slots=True)
class RecorderStats:
    """What a recorder has done so far.

    Attributes:
        recorded: events that came into the archive.
        known: events that had been there before: they came a second time.
        commits: transactions that succeeded.
        commit_s: seconds that these took together.
        failures: transactions that failed, and were tried again.
        lag_s: from the emitting of the newest event to its commit, by the clocks of
            both machines; None if nothing was committed lately, so that nothing lags.
        waiting_s: for how many seconds the archive has refused what is in hand; 0 if
            it does not.
    """

    recorded: int = 0
    known: int = 0
    commits: int = 0
    commit_s: float = 0.0
    failures: int = 0
    lag_s: float | None = None
    waiting_s: float = 0.0


class Recorder:
    """Writes the events of a bus into an archive, in batches, each acknowledged after its commit.

    It subscribes by name: what is emitted while it is away waits at the broker.
    While the archive is locked or full it waits and tries again, and so do the
    events, at the broker.  An event that comes twice is archived once.  Where events
    may be missing, ``EventsMayBeMissing`` is archived in their place.

    Args:
        bus: whose events are recorded; it stays open.
        archive: gets them; it stays open.
        name: of the subscription.  Of several recorders with one name, one works
            and the others stand by; for another archive take another name.
        classes: of the events, or their names on the wire (``myapp:Saved``), which
            need not be known here; subclasses are included.
        origin: of the events, as for ``connect``; None for all.
        indexed: names of attributes to search by, see ``recorded``.
        max_events, max_wait_s: of a batch, as for ``subscribe_batches``.
        options: of the subscription.

    Raises:
        InvalidBusOption: from ``start``: an argument makes no sense.
    """

    def __init__(
        self,
        bus: BrokerEventManager,
        archive: Archive,
        *,
        name: str = "recorder",
        classes: Iterable[type[BaseEvent] | str] = (BaseEvent,),
        origin: OriginSpec = None,
        indexed: Iterable[str] = INDEXED,
        max_events: int = 500,
        max_wait_s: float = 0.05,
        options: SubscriptionOptions | None = None,
    ) -> None:
        self.name = name
        self._bus = bus
        self._archive = archive
        self._classes = tuple(classes)
        self._origin = origin
        self._indexed = tuple(indexed)
        self._max_events = max_events
        self._max_wait_s = max_wait_s
        self._options = options or SubscriptionOptions(
            prefetch=min(max_events, 200),
            delivery_limit=DELIVERY_LIMIT,
            retry_max_delay_s=5.0,
        )
        self._subscription: Subscription | None = None
        self._stopping = threading.Event()
        self._stats = RecorderStats()
        self._problem: str | None = None
        self._waiting_since: float | None = None
        self._committed_at = float("-inf")
        self._notes: deque[Event] = deque(maxlen=_MAX_NOTES)

    # -- For users -------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin to record, and return the recorder.

        Raises:
            InvalidBusOption, SubscriptionConflict, BrokerRefused, BusClosed: as for
                ``subscribe``; nothing was begun.
        """
        if self._subscription is not None:
            return self
        self._stopping.clear()
        self._bus.connect(EventsMayBeMissing, self._note_missing, scope="local")
        try:
            self._subscription = self._bus.subscribe_batches(
                self.name,
                self._classes,
                self._record,
                max_events=self._max_events,
                max_wait_s=self._max_wait_s,
                mode="single",
                origin=self._origin,
                options=self._options,
            )
        except BaseException:
            self._bus.disconnect(EventsMayBeMissing, self._note_missing)
            raise
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Record no more; twice is fine.

        Args:
            timeout_s: seconds for a commit under way.

        What is not committed by then waits at the broker for the next start.
        """
        self._stopping.set()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close(timeout_s)
            if not self._bus.is_closed:
                self._bus.disconnect(EventsMayBeMissing, self._note_missing)
            self._save_notes()

    def problem(self) -> str | None:
        """Return why nothing is recorded at this moment, as far as the archive is to blame.

        None if all is well.
        """
        return self._problem

    def is_subscribed(self) -> bool:
        """Return whether the broker keeps for it what is emitted from now on.

        Until its queue stands, which begins with the bus's first connection, nothing does.

        Raises:
            SubscriptionConflict, BrokerRefused: as for ``start``.
        """
        subscription = self._subscription
        return subscription is not None and subscription.wait_ready(0)

    def is_alive(self) -> bool:
        """Return False if a thread of it has ended that was not to."""
        subscription = self._subscription
        return subscription is None or subscription.is_alive()

    def stats(self) -> RecorderStats:
        """Return the counters."""
        since, now = self._waiting_since, time.monotonic()
        stats = replace(self._stats, waiting_s=0.0 if since is None else now - since)
        if now - self._committed_at > _LAG_FADES_S:
            stats.lag_s = None
        return stats

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- On the subscription's thread ------------------------------------------------------

    def _record(self, received: Sequence[Received[Any]]) -> None:
        """Archive what came, however long that takes.

        Raises:
            InvalidEvent: one of it cannot be archived; nothing was.
            GivenBack: the recorder was stopped; nothing was archived.
        """
        now = time.time()
        events = [one.event for one in received]  # by this name, logs find what is in hand
        notes = list(self._notes)
        archived = [
            recorded(event, one.message, received=now, indexed=self._indexed)
            for event, one in zip(events, received, strict=True)
        ]
        new = self._save(notes + archived) - len(notes)
        self._forget(notes)
        stats = self._stats
        stats.recorded += new
        stats.known += len(archived) - new
        stats.lag_s = time.time() - archived[-1].timestamp
        self._committed_at = time.monotonic()

    def _save(self, archived: list[Event]) -> int:
        """Save *archived*, trying again until it is done; return how many were new."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                new = self._archive.save_many(archived)
            except InvalidEvent:
                raise  # trying again is no use: it is found out which one, and that is put away
            except EventStoreException as exc:
                self._failed(exc, len(archived))
            else:
                self._stats.commits += 1
                self._stats.commit_s += time.monotonic() - began
                self._succeeded()
                return new
            if self._stopping.wait(pause_s) or self._is_closed():
                raise GivenBack
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    def _is_closed(self) -> bool:
        subscription = self._subscription
        return self._bus.is_closed or (subscription is not None and subscription.is_closed)

    def _failed(self, error: EventStoreException, count: int) -> None:
        self._stats.failures += 1
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        problem = str(error)
        if problem != self._problem:
            logger.warning("cannot archive %d events, trying again: %s", count, problem)
        self._problem = problem

    def _succeeded(self) -> None:
        since, self._waiting_since = self._waiting_since, None
        if since is not None:
            logger.info("the archive takes events again, after %.0f s", time.monotonic() - since)
        self._problem = None

    # -- What is missing -------------------------------------------------------------------

    def _note_missing(self, event: EventsMayBeMissing) -> None:
        """Keep for the archive that it may lack events; saved with those that come next."""
        if event.subscription == self.name:
            logger.warning("events may be missing in the archive: %s", event.reason)
            self._notes.append(note_of(event))

    def _forget(self, notes: list[Event]) -> None:
        """Drop what was saved; ``stop`` may have saved it, too, beside a long commit."""
        for note in notes:
            with contextlib.suppress(ValueError):
                self._notes.remove(note)

    def _save_notes(self) -> None:
        try:
            if notes := list(self._notes):
                self._archive.save_many(notes)
                self._forget(notes)
        except EventStoreException as exc:
            logger.warning("could not archive that events may be missing: %s", exc)


def note_of(event: BaseEvent) -> Event:
    """Return what an archive keeps of *event*, which only this process was told."""
    name = default_registry.name_of(type(event))
    names = default_registry.names_of(type(event))
    content = to_json({"class": name, "attributes": attributes_of(event)}, ascii_only=False)
    now = time.time()
    return Event(str(uuid.uuid4()), "", now, list(class_tags(names)), content, received=now)
