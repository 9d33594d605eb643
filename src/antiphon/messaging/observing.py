"""The part of a bus that hears of changes which others have published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antiphon.events.abstract_event_manager import BaseEvent
from antiphon.messaging.bus_part import BusPart
from antiphon.messaging.inbox import HEARD_EARLY, EarlyListener, Inbox
from antiphon.messaging.room import may_wait
from antiphon.messaging.sources import Sources


class ObservingManager(BusPart):
    """Base of ``BrokerEventManager``."""

    _inbox: Inbox

    def __init__(self) -> None:
        super().__init__()
        self._sources = Sources()
        #: Whether the ids of what this bus emits itself are remembered too.
        self._notes_own = False

    def emit_observed(self, event: BaseEvent) -> None:
        """Call this process's listeners with *event*, which another process has published.

        For those who watch a store that others commit to: the client of a
        server learns of its own write from the answer, and from the broker.

        Args:
            event: with the ``_event_id`` that the committer gave it, if that is
                known; listeners then hear of it once, from here or from the
                broker, whichever comes first.

        It is never sent.  With a known id it counts as one of another process,
        also for listeners with ``scope="local"``: which of the two came first
        must make no difference.

        Raises:
            BusClosed: nothing happened.
        """
        self._check_open()
        trace = self._trace_func
        if trace is not None and trace("emit", self.emit_observed, (event,)):
            return
        if self._disabled and not self.is_enabled(type(event)):
            return
        event_id = event._event_id
        if event_id is not None:
            if not self._inbox.remember(event_id):
                return
            event.__dict__["_arrived_at"] = self.publisher_id
        event.pre_emit()
        self._finish(event)

    def hear_early(self, listener: EarlyListener) -> None:
        """Call *listener* with events of other processes before any other hears of them.

        For caches in memory.  It gets all events of a message at once: on the thread of
        the connection, if nothing waits before them, so it must neither block nor take
        long, nor call listeners (``call_with_listeners``).  Only events for which a
        listener is connected come at all, and each comes a second time, to that one;
        ``has_heard_early`` tells it so.
        """
        self._check_open()
        self._inbox.hear_early(listener)

    def hear_early_no_more(self, listener: EarlyListener) -> None:
        """Undo ``hear_early``; a listener that is not there is no error."""
        self._inbox.hear_early_no_more(listener)

    def has_arrivals(self) -> bool:
        """Return whether something came from the broker that nobody has read yet; a quick hint."""
        return self._transport.has_arrivals()

    def call_with_listeners(self, call: Callable[[Any], None], argument: Any) -> None:
        """Call *call* here, or, on a thread where listeners may not run, soon where they do."""
        if may_wait():
            call(argument)
        else:
            self._inbox.tell(call, argument)

    def add_source(self, source: object) -> None:
        """Let events of the store *source*, of any process, have it as their source here.

        A source with a true attribute ``observes`` uses ``emit_observed``, and
        may observe what this very bus emits, if its server is in this process.
        """
        self._notes_own = self._notes_own or bool(getattr(source, "observes", False))
        self._sources.add(source)

    def remove_source(self, source: object) -> None:
        """Undo ``add_source``; a source that was never added is no error."""
        self._sources.remove(source)

    def _finish(self, event: BaseEvent) -> None:
        raise NotImplementedError


def has_heard_early(listener: EarlyListener, event: BaseEvent) -> bool:
    """Return whether *listener*, one that hears early, was called with *event* before."""
    return listener in event.__dict__.get(HEARD_EARLY, ())
