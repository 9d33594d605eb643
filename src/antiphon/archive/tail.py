"""Following an archive: what was saved, then what is being saved, without a seam."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Literal, Self

from antiphon.archive.event import Event
from antiphon.archive.event_store import EventStore
from antiphon.errors import ArchiveBusy, ArchiveClosed, ArchiveUnusable

logger = logging.getLogger(__name__)

#: Seconds for which the archive is asked at a time; a tail ends within so many after ``stop``.
_LOOK_S = 0.5

#: Seconds before a locked archive is asked again.
_BUSY_S = 0.5


class Mark(enum.Enum):
    """What a tail yields beside events."""

    CAUGHT_UP = "caught up"


#: Stands between history and what is saved from then on.
CAUGHT_UP: Final = Mark.CAUGHT_UP


def tail(
    store: EventStore,
    *,
    since: float | None = None,
    flags: Iterable[str] | None = None,
    match: str | None = None,
) -> Tail:
    """Return an iterator over what was saved since then and, without end, what is being saved.

    Args:
        store: may be written by other processes, too.
        since: history begins with events of this time, in seconds since the
            epoch, inclusive; None is no history.
        flags: all of them must be among an event's tags.
        match: a regular expression that must be found in the content.

    First come the events of *since* or later that were saved before this call, in
    the order of time; then ``CAUGHT_UP``, once; then all that is saved after this
    call, whatever its time, in the order of saving.  Nothing is missing and nothing
    comes twice.  (What is deleted before it is read is missing.)

    Raises:
        InvalidSearch: the arguments make no sense, or the pattern is broken.
        ArchiveBusy: others held the archive locked for too long.
    """
    return Tail(store, since, flags, match)


class Tail(Iterator["Event | Literal[Mark.CAUGHT_UP]"]):
    """What ``tail`` returns; for one thread, but for ``stop``.

    While it iterates, an archive that is locked is waited for.  Other errors of
    ``EventStore.search`` and ``since`` are raised, and end it; ``ArchiveUnusable``
    also if another archive is in its place, which does not reach as far.

    Leaving a ``with`` statement stops it.
    """

    def __init__(
        self,
        store: EventStore,
        since: float | None,
        flags: Iterable[str] | None,
        match: str | None,
    ) -> None:
        self._store = store
        self._flags = None if flags is None or isinstance(flags, str) else list(flags)
        self._match = match
        self._stopped = threading.Event()
        # History is what is saved by now, and the rest is not: that is all there is to the seam.
        self._place = store.head()
        store.since(self._place, flags=flags, match=match, limit=1)  # raises what is to be raised
        history = None if since is None else self._search(since)
        self._items = self._all(since, history)

    def stop(self) -> None:
        """End the iteration, from any thread, within about half a second.  Twice is fine."""
        self._stopped.set()

    def __next__(self) -> Event | Literal[Mark.CAUGHT_UP]:
        if self._stopped.is_set():
            raise StopIteration
        try:
            return next(self._items)
        except ArchiveClosed:
            if self._stopped.is_set():  # whoever stops it may close the archive right away
                raise StopIteration from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _all(
        self, since: float | None, history: Iterator[Event] | None
    ) -> Iterator[Event | Literal[Mark.CAUGHT_UP]]:
        if since is not None and history is not None:
            yield from self._history(since, history)
        if not self._stopped.is_set():
            yield CAUGHT_UP
        yield from self._live(self._place)

    def _search(self, since: float) -> Iterator[Event]:
        return self._store.search(since, None, self._flags, self._match, up_to=self._place)

    def _history(self, since: float, events: Iterator[Event] | None) -> Iterator[Event]:
        latest = since
        given: set[str] = set()  # ids of the events of that time
        while not self._stopped.is_set():
            try:
                if events is None:
                    events = self._search(latest)
                event = next(events, None)
            except ArchiveBusy as exc:
                self._pause(exc)
                events = None  # it ended with the error: begin anew with the time it had come to
                continue
            if event is None:
                return
            if event.timestamp != latest:
                latest, given = event.timestamp, set()
            if event.id not in given:
                given.add(event.id)
                yield event

    def _live(self, place: int) -> Iterator[Event]:
        while not self._stopped.is_set():
            try:
                head = self._store.wait(place, _LOOK_S)
                if head == place:
                    continue
                if head < place:
                    raise ArchiveUnusable(
                        f"the archive ends at place {head}, and was followed up to {place}: "
                        "another one stands there now (a backup was restored?); begin again"
                    )
                found = self._store.since(place, flags=self._flags, match=self._match)
            except ArchiveBusy as exc:
                self._pause(exc)
                continue
            # If it has not moved, all up to that head was deleted.
            place = found.place if found.place > place else head
            yield from found.events

    def _pause(self, error: ArchiveBusy) -> None:
        logger.warning("a tail waits for the archive: %s", error)
        self._stopped.wait(_BUSY_S)
