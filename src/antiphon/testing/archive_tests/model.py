"""An archive against a plain list: random histories, made and checked by Hypothesis."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from antiphon.archive import Event, EventNotFound, EventStore
from antiphon.testing.archive_tests.base import everything_since

#: Steps of each history.
STEPS = 30

_ids = st.sampled_from(["", "a", "b", "B", "ü\n\x00", "%_*", "\U0001f600"]).map(lambda t: "id" + t)
_times = st.sampled_from([-1.5, 0.0, 1.0, 1.0000000000000002, 2.0, 1e9])
_flags = st.lists(st.sampled_from(["A", "B", "C", "ü\x00", ""]), max_size=3)
_patterns = st.sampled_from([None, "x", "^$", "[xy]{2}", "\x00"])
_contents = st.sampled_from(["", "x", "yx", "ü\x00"])

_events = st.builds(
    Event,
    _ids,
    st.sampled_from(["", "here"]),
    _times,
    _flags,
    _contents,
    received=st.none() | _times,
    message=st.none() | st.binary(max_size=3),
)


@dataclass
class PlainArchive:
    """The rules of ``EventStore``, as plainly as they can be written."""

    saved: list[Event] = field(default_factory=list)

    def save(self, events: list[Event]) -> int:
        """Append what is new; return how many."""
        before = len(self.saved)
        for event in events:
            if event.id not in {other.id for other in self.saved}:
                self.saved.append(event)
        return len(self.saved) - before

    def find(
        self, start: float, end: float | None, flags: list[str], match: str | None
    ) -> list[Event]:
        """Return what a search in ascending order finds."""
        return sorted(
            (
                event
                for event in self.saved
                if start <= event.timestamp
                and (end is None or event.timestamp <= end)
                and set(flags) <= set(event.tags)
                and (match is None or re.search(match, event.content))
            ),
            key=lambda event: event.timestamp,
        )

    def purge(
        self,
        before: float | None,
        keep: int | None,
        flags: list[str],
        unless: list[str],
        limit: int,
    ) -> int:
        """Delete the oldest; return how many."""
        concerned = [
            event
            for event in self.find(float("-inf"), None, flags, None)
            if set(unless).isdisjoint(event.tags)
        ]
        doomed = [
            event
            for number, event in enumerate(concerned)
            if (before is not None and event.timestamp < before)
            or (keep is not None and number < len(concerned) - keep)
        ][:limit]
        self.saved = [event for event in self.saved if event not in doomed]
        return len(doomed)


class ArchiveMachine(RuleBasedStateMachine):
    """One random history on an archive that two handles share."""

    handles: tuple[EventStore, EventStore]

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.model = PlainArchive()
        while self.handles[0].purge(keep=0):
            pass
        self.begun_at = self.handles[0].head()

    @property
    def archive(self) -> EventStore:
        """One handle after the other."""
        self.turn += 1
        return self.handles[self.turn % 2]

    @rule(event=_events)
    def save(self, event: Event) -> None:
        """Save one event."""
        self.archive.save(event)
        self.model.save([event])

    @rule(events=st.lists(_events, max_size=5))
    def save_many(self, events: list[Event]) -> None:
        """Save several, some of them twice."""
        assert self.model.save(events) == self.archive.save_many(events)

    @rule(event_id=_ids)
    def delete(self, event_id: str) -> None:
        """Delete one, if it is there."""
        rest = [event for event in self.model.saved if event.id != event_id]
        try:
            self.archive.delete(event_id)
        except EventNotFound:
            assert rest == self.model.saved
        else:
            assert len(rest) == len(self.model.saved) - 1
        self.model.saved = rest

    @rule(
        before=st.none() | _times,
        keep=st.none() | st.integers(0, 4),
        flags=_flags,
        unless=st.just([]) | _flags,
        limit=st.sampled_from([1, 3, 1000]),
    )
    def purge(
        self,
        before: float | None,
        keep: int | None,
        flags: list[str],
        unless: list[str],
        limit: int,
    ) -> None:
        """Delete what is too old or too many."""
        if before is None and keep is None:
            return
        found = self.archive.purge(
            before=before, keep=keep, flags=flags, unless=unless, limit=limit
        )
        assert self.model.purge(before, keep, flags, unless, limit) == found

    @rule(event_id=_ids)
    def get(self, event_id: str) -> None:
        """Get one, if it is there."""
        expected = [event for event in self.model.saved if event.id == event_id]
        try:
            found = [self.archive.get(event_id)]
        except EventNotFound:
            found = []
        assert expected == found

    @rule(start=_times, end=st.none() | _times, flags=_flags, match=_patterns, back=st.booleans())
    def search(
        self, start: float, end: float | None, flags: list[str], match: str | None, back: bool
    ) -> None:
        """Search by anything."""
        if end is not None and end < start:
            return
        expected = self.model.find(start, end, flags, match)
        if back:
            expected.reverse()
        found = self.archive.search(start, end, flags, match, "desc" if back else "asc")
        assert expected == list(found)

    @invariant()
    def everything_is_there_in_the_order_of_saving(self) -> None:
        """For whoever follows from the beginning."""
        assert self.model.saved == everything_since(self.archive, self.begun_at, limit=3)

    @invariant()
    def statistics_are_right(self) -> None:
        """At any time."""
        stats = self.archive.stats()
        times = [event.timestamp for event in self.model.saved]
        flags = Counter(flag for event in self.model.saved for flag in set(event.tags))
        assert len(times) == stats.events
        assert (min(times, default=None), max(times, default=None)) == (stats.oldest, stats.newest)
        assert dict(flags) == stats.flags


def check_against_model(archive: EventStore, other: EventStore, *, histories: int) -> None:
    """Try random histories on one archive; ``AssertionError`` with the shortest wrong one."""

    class Machine(ArchiveMachine):
        handles = (archive, other)

    checks: Any = settings(
        max_examples=histories,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_machine(Machine, settings=checks)
