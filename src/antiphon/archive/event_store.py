"""The archive of what happened: Theia's event store, and what grew around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType

from antiphon.archive.event import Event
from antiphon.archive.matching import Matcher
from antiphon.archive.searching import (
    ArchiveStats,
    Key,
    Portion,
    Query,
    Step,
    checked_count,
    checked_flags,
    checked_query,
    checked_time,
    is_unicode,
)
from antiphon.errors import EventNotFound, InvalidEvent, InvalidSearch

#: Events of the first step of a search, so that the first result comes soon, and of later ones.
FIRST_STEP = 32
STEP = 512

#: Events that ``since`` returns at most, if nothing is said, and that ``purge`` deletes at once.
PORTION = 1000
PURGED_AT_ONCE = 10_000


class EventStore(ABC):
    """Keeps events, and finds them by time, by flags, by content and by id.

    All methods may be called from any thread.  A write is done entirely or not
    at all, and is on the medium when it returns.  Reading is strictly
    consistent: ``get`` and ``search`` wait for writes that were begun before
    them and are under way.

    A backend fills the methods whose names begin with an underscore; their
    arguments are checked.  ``antiphon.testing.archive_suite`` is what it has to
    pass.
    """

    # -- Writing -------------------------------------------------------------

    def save(self, event: Event) -> None:
        """Save one event; an id that is there already keeps what was saved first.

        Raises:
            InvalidEvent: the event has a field that cannot be archived.
            ArchiveBusy: others held the archive locked for too long.
            ArchiveFull: there is no room.

        After each of them nothing was saved.
        """
        self.save_many((event,))

    def save_many(self, events: Iterable[Event]) -> int:
        """Save events, all or none, in their order; return how many were new.

        Args:
            events: is read to its end before anything is saved.

        Raises:
            InvalidEvent: one has a field that cannot be archived.
            ArchiveBusy: others held the archive locked for too long.
            ArchiveFull: there is no room.

        After each of them nothing was saved.
        """
        checked = list(events)
        for event in checked:
            if not isinstance(event, Event):
                raise InvalidEvent(f"only events can be saved, not {event!r:.80}")
            event.check()
        return self._save(checked) if checked else 0

    def delete(self, event_id: str) -> None:
        """Delete the event with this id.

        Raises:
            EventNotFound: there is none.
            ArchiveBusy: others held the archive locked for too long.
        """
        self._delete(_checked_id(event_id))

    def purge(
        self,
        *,
        before: float | None = None,
        keep: int | None = None,
        flags: Iterable[str] | None = None,
        unless: Iterable[str] | None = None,
        limit: int = PURGED_AT_ONCE,
    ) -> int:
        """Delete the oldest events in one short transaction; return how many.

        Call it again until it returns 0; it may delete fewer than there are, and than
        *limit*: a call ends after half a second, so that others can write in between.

        Args:
            before: deletes what is older than this, in seconds since the epoch.
            keep: deletes what is beyond so many of the newest.
            flags: only events that have all of them are deleted, or counted.
            unless: events that have one of them are neither deleted nor counted.
            limit: deletes so many at most.

        Raises:
            InvalidSearch: neither *before* nor *keep* is given, or one makes no sense.
            ArchiveBusy: others held the archive locked for too long.
        """
        if before is None and keep is None:
            raise InvalidSearch("purge needs before= or keep=; without them it would delete all")
        end = None if before is None else checked_time("before", before)
        most = None if keep is None else checked_count("keep", keep, 0)
        spared = checked_flags(unless)
        return self._purge(end, most, checked_flags(flags), spared, checked_count("limit", limit))

    # -- Reading -------------------------------------------------------------

    def get(self, event_id: str) -> Event:
        """Return the event with this id.

        Raises:
            EventNotFound: there is none.
        """
        return self._get(_checked_id(event_id))

    def search(
        self,
        ts_start: float,
        ts_end: float | None = None,
        flags: Iterable[str] | None = None,
        match: str | None = None,
        order: str = "asc",
        *,
        up_to: int | None = None,
    ) -> Iterator[Event]:
        """Return an iterator over the events of a time, in the order of time.

        Args:
            ts_start: first second of the range, since the epoch, inclusive.
            ts_end: last second of it, inclusive; None is the end of time.
            flags: all of them must be among an event's tags.
            match: a regular expression (as in the library ``regex``) that must
                be found somewhere in the content.
            order: ``asc`` for the earliest first, ``desc`` for the latest.
                Events of one time come in the order of saving, or in its reverse.
            up_to: a place that ``head`` had: only what was saved by then, so that
                ``since`` goes on where this ends.

        Returns:
            An iterator over what was committed at the time of this call, each
            event once.  What is deleted meanwhile may be missing.  It reads a
            portion at a time, and holds nothing open in between, so that it may
            be dropped at any point.

        Raises:
            InvalidSearch: the arguments make no sense, or the pattern is broken.
            MatchTooSlow: while iterating: the pattern takes too long.
        """
        query = checked_query(ts_start, ts_end, flags, order)
        matcher = None if match is None else Matcher(match)
        # At the call, not when the first event is asked for.
        head = self._settled_head() if up_to is None else checked_count("up_to", up_to, 0)
        return self._walk_through(query, matcher, head)

    def _walk_through(self, query: Query, matcher: Matcher | None, head: int) -> Iterator[Event]:
        after: Key | None = query.begin()
        size = FIRST_STEP
        while after is not None:
            step = self._step(query, after, head, size)
            for event in step.events:
                if matcher is None or matcher.matches(event.content):
                    yield event
            after, size = step.after, STEP

    def since(
        self,
        place: int,
        *,
        flags: Iterable[str] | None = None,
        match: str | None = None,
        limit: int = PORTION,
    ) -> Portion:
        """Return what was saved after *place*, in the order of saving.

        Args:
            place: 0, or a place that ``head`` or an earlier portion had.
            flags: all of them must be among an event's tags.
            match: a regular expression that must be found in the content.
            limit: events to return, at most.

        Returns:
            Some of the events that were asked for, perhaps none, and the place
            up to which everything was looked at: go on there.  At the end it is
            the head.

        Raises:
            InvalidSearch: the arguments make no sense, or the pattern is broken.
            MatchTooSlow: the pattern takes too long.
        """
        place = checked_count("place", place, 0)
        matcher = None if match is None else Matcher(match)
        found = self._since(place, checked_flags(flags), checked_count("limit", limit))
        if matcher is None:
            return found
        return Portion([e for e in found.events if matcher.matches(e.content)], found.place)

    @abstractmethod
    def head(self) -> int:
        """Return the place of what was saved last; 0 if nothing ever was.

        Places grow with each new event, in the order of the commits, and none
        is given twice.
        """

    @abstractmethod
    def wait(self, place: int, timeout_s: float) -> int:
        """Wait until the head is another than *place*, and return it.

        It returns the head after *timeout_s* seconds in any case.
        """

    @abstractmethod
    def stats(self) -> ArchiveStats:
        """Return what is in the archive; quick, however much that is."""

    # -- The end -------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """Close what is open; twice is fine.  Other methods raise ``ArchiveClosed`` afterwards."""

    def __enter__(self) -> EventStore:
        """Return this store; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- What a backend fills ------------------------------------------------

    @abstractmethod
    def _save(self, events: list[Event]) -> int:
        """Save checked events in one transaction; return how many ids were new."""

    @abstractmethod
    def _delete(self, event_id: str) -> None:
        """Delete one event; raise ``EventNotFound``."""

    @abstractmethod
    def _purge(
        self,
        before: float | None,
        keep: int | None,
        flags: tuple[str, ...],
        unless: tuple[str, ...],
        limit: int,
    ) -> int:
        """Delete the oldest of what is too old or too many; return how many, at most *limit*.

        Those are events with all *flags* and none of *unless*; 0 says that there are no more.
        """

    @abstractmethod
    def _get(self, event_id: str) -> Event:
        """Return one event, strictly consistent; raise ``EventNotFound``."""

    @abstractmethod
    def _settled_head(self) -> int:
        """Wait for the writes that are under way, then return the head."""

    @abstractmethod
    def _step(self, query: Query, after: Key, head: int, size: int) -> Step:
        """Return the next events of a walk behind *after*: at most *size*, up to place *head*."""

    @abstractmethod
    def _since(self, place: int, flags: tuple[str, ...], limit: int) -> Portion:
        """Return at most *limit* events behind *place* with all flags; at the end, the head."""


def _checked_id(event_id: object) -> str:
    # Such an id cannot have been saved.
    if not isinstance(event_id, str) or not is_unicode(event_id):
        raise EventNotFound(f"no event has the id {event_id!r:.200}; an id is text")
    return event_id
