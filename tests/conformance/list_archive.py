"""The least that an archive can be: a list. It shows that the suite asks for no more."""

from __future__ import annotations

import copy
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter

from antiphon.archive import (
    ArchiveClosed,
    ArchiveStats,
    Event,
    EventNotFound,
    EventStore,
    Portion,
)
from antiphon.archive.searching import Key, Query, Step


class ListArchive(EventStore):
    """Events in a list, each with its place; a lock around everything."""

    def __init__(self) -> None:
        self._saved: list[tuple[Key, Event]] = []
        self._head = 0
        self._changed = threading.Condition()
        self._is_closed = False

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def head(self) -> int:
        with self._changed:
            self._check_open()
            return self._head

    def wait(self, place: int, timeout_s: float) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._head != place, timeout_s)
            return self.head()

    def stats(self) -> ArchiveStats:
        with self._changed:
            self._check_open()
            times = [key.timestamp for key, _ in self._saved]
            flags = Counter(flag for _, event in self._saved for flag in set(event.tags))
            size = sum(sys.getsizeof(event.content) for _, event in self._saved)
            oldest, newest = min(times, default=None), max(times, default=None)
            return ArchiveStats(len(times), oldest, newest, size, dict(flags))

    def _save(self, events: list[Event]) -> int:
        with self._changed:
            self._check_open()
            ids = {event.id for _, event in self._saved}
            before = len(self._saved)
            for event in events:
                if event.id not in ids:
                    ids.add(event.id)
                    self._head += 1
                    self._saved.append((Key(event.timestamp, self._head), copy.deepcopy(event)))
            self._changed.notify_all()
            return len(self._saved) - before

    def _delete(self, event_id: str) -> None:
        with self._changed:
            event = self._get(event_id)
            self._saved = [each for each in self._saved if each[1] != event]

    def _purge(
        self,
        before: float | None,
        keep: int | None,
        flags: tuple[str, ...],
        unless: tuple[str, ...],
        limit: int,
    ) -> int:
        with self._changed:
            self._check_open()
            keys = sorted(self._keys(flags, unless), key=attrgetter("timestamp", "place"))
            too_many = 0 if keep is None else max(0, len(keys) - keep)
            doomed = [
                key
                for number, key in enumerate(keys)
                if number < too_many or (before is not None and key.timestamp < before)
            ][:limit]
            self._saved = [each for each in self._saved if each[0] not in doomed]
            return len(doomed)

    def _get(self, event_id: str) -> Event:
        with self._changed:
            self._check_open()
            for _, event in self._saved:
                if event.id == event_id:
                    return copy.deepcopy(event)
        raise EventNotFound(f"no event has the id {event_id!r}")

    def _settled_head(self) -> int:
        return self.head()

    def _step(self, query: Query, after: Key, head: int, size: int) -> Step:
        with self._changed:
            self._check_open()
            found = [
                key
                for key in self._keys(query.flags)
                if query.start <= key.timestamp <= query.end
                and key.place <= head
                and (key.is_before(after) if query.descending else after.is_before(key))
            ]
            found.sort(key=attrgetter("timestamp", "place"), reverse=query.descending)
            events = dict(self._saved)
            part = found[:size]
            return Step(
                [copy.deepcopy(events[key]) for key in part],
                part[-1] if len(found) > size else None,
            )

    def _since(self, place: int, flags: tuple[str, ...], limit: int) -> Portion:
        with self._changed:
            self._check_open()
            events = {key.place: event for key, event in self._saved}
            found = [key.place for key in self._keys(flags) if key.place > place]
            end = found[limit - 1] if len(found) > limit else max(place, self._head)
            return Portion([copy.deepcopy(events[n]) for n in found[:limit]], end)

    def _keys(self, flags: Iterable[str], unless: Iterable[str] = ()) -> list[Key]:
        return [
            key
            for key, event in self._saved
            if set(flags) <= set(event.tags) and set(unless).isdisjoint(event.tags)
        ]

    def _check_open(self) -> None:
        if self._is_closed:
            raise ArchiveClosed("the list was closed")
