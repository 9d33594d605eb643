"""The suite's part on deleting: single events, what is too old, and what is too many."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import math
from typing import Any

import pytest

from antiphon.archive import ArchiveStats, EventNotFound, EventStore, InvalidSearch
from antiphon.testing.archive_tests.base import (
    ArchiveParts,
    event,
    everything_since,
    ids,
    purge_all,
)


class Purging(ArchiveParts):
    """What goes away, and what stays."""

    def test_a_deleted_event_is_nowhere(self, archive: EventStore, other: EventStore) -> None:
        """Neither by its id, nor in a search, nor for those who follow."""
        archive.save_many(event(n, n, "A") for n in range(3))
        other.delete("e1")

        with pytest.raises(EventNotFound, match="e1"):
            archive.get("e1")
        assert ["e0", "e2"] == ids(archive.search(0))
        assert ["e0", "e2"] == ids(archive.search(0, flags=["A"]))
        assert ["e0", "e2"] == ids(everything_since(archive))

    def test_deleting_what_is_not_there_is_an_error(self, archive: EventStore) -> None:
        """It tells the id, and changes nothing."""
        archive.save(event(1))
        for unknown in ("e2", "", "E1", "\ud800", None):
            with pytest.raises(EventNotFound):
                archive.delete(unknown)  # type: ignore[arg-type]

        assert ["e1"] == ids(archive.search(0))

    def test_a_deleted_event_may_come_again(self, archive: EventStore) -> None:
        """As a new one, which says what it says now."""
        archive.save(event(1, 1, "A"))
        archive.delete("e1")
        archive.save(event(1, 2, "B"))

        assert event(1, 2, "B") == archive.get("e1")
        assert [] == ids(archive.search(0, flags=["A"]))

    def test_what_is_too_old_goes(self, archive: EventStore) -> None:
        """An event of the very time given stays."""
        archive.save_many(event(n, n) for n in range(10))

        assert 4 == archive.purge(before=4.0)
        assert 0 == archive.purge(before=4.0)
        assert [f"e{n}" for n in range(4, 10)] == ids(archive.search(0))

    def test_what_is_too_many_goes_the_oldest_first(self, archive: EventStore) -> None:
        """By time, and within one time in the order of saving."""
        archive.save_many([event(1, 9), event(2, 1), event(3, 5), event(4, 5), event(5, 5)])

        assert 3 == archive.purge(keep=2)
        assert ["e5", "e1"] == ids(archive.search(0))
        assert 0 == archive.purge(keep=2)
        assert 2 == archive.purge(keep=0)

    def test_what_is_too_old_or_too_many_goes(self, archive: EventStore) -> None:
        """Either rule is enough."""
        archive.save_many(event(n, n) for n in range(10))
        assert 7 == purge_all(archive, before=2.0, keep=3)
        archive.save_many(event(n, n) for n in range(10, 14))
        assert 4 == purge_all(archive, before=11.0, keep=8)

        assert ["e11", "e12", "e13"] == ids(archive.search(0))

    @pytest.mark.parametrize("flags", [["A"], ["A", "B"]])
    def test_flags_say_what_is_deleted_and_counted(
        self, archive: EventStore, flags: list[str]
    ) -> None:
        """Others stay, however old and many they are."""
        archive.save_many(event(n, n, *(["A", "B"] if n % 2 else ["B", "C"])) for n in range(20))

        assert 2 == purge_all(archive, before=4.0, flags=flags)
        assert 5 == purge_all(archive, keep=3, flags=flags)
        assert 0 == archive.purge(keep=3, flags=flags)
        assert ["e15", "e17", "e19"] == ids(archive.search(0, flags=flags))
        assert 10 == len(ids(archive.search(0, flags=["C"])))
        assert 0 == archive.purge(keep=0, flags=["nobody has it"])
        assert 0 == archive.purge(keep=0, flags=["A", "C"])

    @pytest.mark.parametrize("flags", [[], ["A"], ["A", "B"]])
    def test_exceptions_are_neither_deleted_nor_counted(
        self, archive: EventStore, flags: list[str]
    ) -> None:
        """Events that have one of these flags stay, however old and many they are."""
        spared = {0: ["Audit"], 1: ["Legal", "Audit"], 2: ["Legal"]}
        archive.save_many(event(n, n, "A", "B", *spared.get(n % 4, [])) for n in range(40))
        rule: dict[str, Any] = {"flags": flags, "unless": ["Audit", "Legal", "nobody has it"]}

        assert 3 == purge_all(archive, before=12.0, **rule)
        assert 2 == purge_all(archive, keep=5, **rule)
        assert ["e23", "e27", "e31", "e35", "e39"] == [
            e.id for e in archive.search(0) if {"Audit", "Legal"}.isdisjoint(e.tags)
        ]
        assert 35 == archive.stats().events

    def test_an_old_event_that_comes_late_is_too_old(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """Also where an earlier purge has seen nothing but exceptions."""
        rule: dict[str, Any] = {"before": 50.0, "unless": ["Audit"]}
        archive.save_many(event(n, n, "Audit") for n in range(20))
        assert 0 == archive.purge(**rule)
        other.save_many([event(20, 3), event(21, 60), event(22, 4, "Audit"), event(23, 30)])
        assert 1 == archive.purge(before=10.0, unless=["Audit"])
        assert 1 == archive.purge(**rule)
        other.save_many(event(n, 7) for n in range(24, 29))

        assert [2, 2, 1, 0] == [archive.purge(**rule, limit=2) for _ in range(4)]
        assert ["e21"] == [e.id for e in archive.search(0) if e.tags == []]

    @pytest.mark.parametrize("unless", [["Audit"], ["Audit", "Legal"]])
    def test_exceptions_are_never_too_many(self, archive: EventStore, unless: list[str]) -> None:
        """The oldest of the others go, a limit at a time, also those that came late."""
        archive.save_many(event(n, n // 2, *(["Audit"] if n % 3 else [])) for n in range(30))

        assert [3, 3, 1, 0] == [archive.purge(keep=3, unless=unless, limit=3) for _ in range(4)]
        archive.save_many(event(n, 11) for n in range(30, 34))
        assert [3, 1, 0] == [archive.purge(keep=3, unless=unless, limit=3) for _ in range(3)]
        assert 2 == purge_all(archive, before=13.0, keep=1, unless=unless)
        assert 0 == archive.purge(keep=1, unless=unless)
        assert 21 == archive.stats().events

    @pytest.mark.parametrize("flags", [[], ["A"], ["A", "B"]])
    def test_of_one_time_so_many_stay_as_were_to_be_kept(
        self, archive: EventStore, flags: list[str]
    ) -> None:
        """Those that were saved last."""
        archive.save_many(event(n, 5, "A", "B") for n in range(7))

        assert 4 == archive.purge(keep=3, flags=flags)
        assert ["e4", "e5", "e6"] == ids(archive.search(0))

    def test_one_call_deletes_at_most_the_limit(self, archive: EventStore) -> None:
        """So that others can write in between; the oldest go first."""
        archive.save_many(event(n, n, "A") for n in range(30))

        assert 7 == archive.purge(before=20.0, limit=7)
        assert [f"e{n}" for n in range(7, 30)] == ids(archive.search(0))
        assert 5 == archive.purge(keep=10, flags=["A"], limit=5)
        assert 6 == archive.purge(before=14.0, keep=8, limit=6)
        assert ["e18"] == ids(archive.search(0))[:1]

    def test_a_limit_holds_for_both_rules_together(self, archive: EventStore) -> None:
        """What is too old goes first, and what is too many with the next call."""
        archive.save_many(event(n, n, "A", "B") for n in range(10))

        assert 5 == archive.purge(before=3.0, keep=2, flags=["A", "B"], limit=5)
        assert 3 == archive.purge(before=3.0, keep=2, flags=["A", "B"], limit=5)
        assert ["e8", "e9"] == ids(archive.search(0))

    @pytest.mark.parametrize(
        "rule",
        [
            {},
            {"flags": ["A"]},
            {"before": math.nan},
            {"before": "yesterday"},
            {"keep": -1},
            {"keep": 1.5},
            {"keep": True},
            {"keep": 1, "limit": 0},
            {"keep": 1, "flags": "A"},
            {"keep": 1, "unless": "A"},
            {"unless": ["A"]},
        ],
    )
    def test_a_rule_that_makes_no_sense_deletes_nothing(
        self, archive: EventStore, rule: dict[str, Any]
    ) -> None:
        """Above all, no rule at all does not."""
        archive.save_many(event(n, n, "A") for n in range(5))

        with pytest.raises(InvalidSearch):
            archive.purge(**rule)
        assert 5 == len(ids(archive.search(0)))

    def test_a_purge_before_the_end_of_time_deletes_all(self, archive: EventStore) -> None:
        """An infinite time is a time."""
        archive.save_many(event(n, n) for n in range(5))

        assert 0 == archive.purge(before=-math.inf)
        assert 5 == archive.purge(before=math.inf)

    def test_statistics_tell_what_is_there(self, archive: EventStore, other: EventStore) -> None:
        """Also after something was deleted, and for flags that an event has twice."""
        assert (0, None, None, {}) == _counts(archive.stats())
        archive.save_many(event(n, n + 0.5, "A", "A", *["B"] * (n % 2)) for n in range(10))
        archive.save_many(event(n, n, "C") for n in range(10))
        assert (10, 0.5, 9.5, {"A": 10, "B": 5}) == _counts(other.stats())
        assert archive.stats().bytes > 0

        archive.delete("e9")
        archive.purge(before=2.0)

        assert (7, 2.5, 8.5, {"A": 7, "B": 3}) == _counts(other.stats())
        archive.purge(keep=0)
        assert (0, None, None, {}) == _counts(other.stats())


def _counts(stats: ArchiveStats) -> tuple[int, float | None, float | None, dict[str, int]]:
    return stats.events, stats.oldest, stats.newest, stats.flags
