"""The suite's part on searches by time, flags and content."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import math
import time
from typing import Any

import pytest

from antiphon.archive import Event, EventStore, InvalidSearch, MatchTooSlow
from antiphon.testing.archive_tests.base import ArchiveParts, event, ids


class Searching(ArchiveParts):
    """What is found, and in which order."""

    def test_both_ends_of_the_range_are_inclusive(self, archive: EventStore) -> None:
        """An event at the very start or end is found, one beside them is not."""
        archive.save_many(event(n, n / 4) for n in range(20))

        assert ["e4", "e5", "e6"] == ids(archive.search(1.0, 1.5))
        assert ["e4"] == ids(archive.search(1, 1))
        assert ["e19"] == ids(archive.search(4.75))
        assert [] == ids(archive.search(4.76))

    def test_without_limits_everything_is_found(self, archive: EventStore) -> None:
        """Infinite times, and times before the epoch, are times like others."""
        archive.save_many([event(1, -5e9), event(2, 0.0), event(3, 5e9)])

        assert ["e1", "e2", "e3"] == ids(archive.search(-math.inf, math.inf))
        assert ["e3", "e2", "e1"] == ids(archive.search(-math.inf, order="desc"))
        assert [] == ids(archive.search(math.inf))

    def test_results_come_in_the_order_of_time(self, archive: EventStore) -> None:
        """Whatever the order of saving: a clock may go back."""
        archive.save_many([event(1, 30.0), event(2, 10.0)])
        archive.save(event(3, 20.0))

        assert ["e2", "e3", "e1"] == ids(archive.search(0))
        assert ["e1", "e3", "e2"] == ids(archive.search(0, order="desc"))

    def test_events_of_one_time_come_in_the_order_of_saving(self, archive: EventStore) -> None:
        """The order is the same each time, and reversed when asked for."""
        archive.save_many(event(n, 5.0, "A") for n in (3, 1, 2))
        archive.save(event(0, 5.0, "A"))

        assert ["e3", "e1", "e2", "e0"] == ids(archive.search(5, 5))
        assert ["e0", "e2", "e1", "e3"] == ids(archive.search(5, 5, ["A"], order="desc"))

    @pytest.mark.parametrize("order", ["asc", "desc"])
    @pytest.mark.parametrize("flags", [None, ["A"], ["A", "B"]])
    def test_many_results_are_found_each_once(
        self, archive: EventStore, flags: list[str] | None, order: str
    ) -> None:
        """Over any number of steps, and with many events at one time."""
        archive.save_many(event(n, n // 700, "A", "B") for n in range(2000))

        expected = [f"e{n}" for n in range(2000)]
        found = ids(archive.search(0, None, flags, order=order))
        assert (expected if order == "asc" else expected[::-1]) == found

    def test_all_flags_must_be_there(self, archive: EventStore) -> None:
        """In any order and however often they are said; none at all is no condition."""
        archive.save_many([event(1, 1, "A"), event(2, 2, "A", "B"), event(3, 3, "B", "C", "A")])

        assert ["e2", "e3"] == ids(archive.search(0, flags=["B", "A", "B"]))
        assert ["e3"] == ids(archive.search(0, flags=("C", "B", "A")))
        assert ["e1", "e2", "e3"] == ids(archive.search(0, flags=[]))
        assert [] == ids(archive.search(0, flags=["A", "nobody has it"]))
        assert [] == ids(archive.search(0, flags=["a"]))
        many = [f"flag {n}" for n in range(100)]
        archive.save(event(4, 4, *many))
        assert ["e4"] == ids(archive.search(0, flags=many))

    def test_flags_that_hardly_meet_are_found_together(self, archive: EventStore) -> None:
        """Long stretches in which events have one of two flags hide none that has both."""
        together = {0, 999, 1000, 1234, 2999}
        archive.save_many(
            event(n, n, *(["A", "B"] if n in together else ["A" if n % 1000 < 500 else "B"]))
            for n in range(3000)
        )

        expected = [f"e{n}" for n in sorted(together)]
        assert expected == ids(archive.search(0, flags=["A", "B"]))
        assert expected[::-1] == ids(archive.search(0, flags=["B", "A"], order="desc"))
        assert ["e1000"] == ids(archive.search(1000, 1200, ["A", "B"]))

    def test_a_pattern_is_looked_for_anywhere_in_the_content(self, archive: EventStore) -> None:
        """It is a search and no full match, and stands beside time and flags."""
        for number, content in enumerate(["price 31 eur", "price: 4", "", "PRICE\n31"]):
            archive.save(event(number, number, "A" if number else "B", content=content))

        assert ["e0", "e3"] == ids(archive.search(0, match="31"))
        assert ["e1", "e3"] == ids(archive.search(0, flags=["A"], match=r"(?i)price\W"))
        assert ["e3"] == ids(archive.search(0, match="^31$|(?m)^31$"))
        assert ["e0", "e1", "e2", "e3"] == ids(archive.search(0, match=""))
        assert [] == ids(archive.search(0, 2, match="PRICE"))

    def test_what_is_saved_later_is_not_in_a_search(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """A search is of the moment at which it was called, not of that of its first result."""
        archive.save_many(event(n, n, "A") for n in range(1500))
        found = archive.search(0, flags=["A"])
        other.save_many(event(n, n - 2000.5, "A") for n in range(1500, 4000))

        seen = []
        for each in found:
            seen.append(each.id)
            if len(seen) == 700:
                archive.save_many(event(n, 3000, "A") for n in range(4000, 4100))

        assert [f"e{n}" for n in range(1500)] == seen

    def test_deleting_during_a_search_repeats_and_skips_no_other(self, archive: EventStore) -> None:
        """What is left of what the search was called for comes once each."""
        archive.save_many(event(n, n) for n in range(1500))
        found = archive.search(0)
        first = next(found)
        for number in range(0, 1500, 20):
            archive.delete(f"e{number}")

        rest = ids(found)
        assert "e0" == first.id
        assert [f"e{n}" for n in range(1500) if n % 20] == [i for i in rest if int(i[1:]) % 20]
        assert len(rest) == len(set(rest))

    def test_a_search_that_is_dropped_holds_nothing(self, archive: EventStore) -> None:
        """Not even while many of them are still there."""
        archive.save_many(event(n, n) for n in range(200))
        begun = [archive.search(0) for _ in range(50)]
        for each in begun:
            next(each)

        archive.save(event(1000, 1000))
        archive.delete("e5")

        assert 200 == len(ids(archive.search(0)))

    @pytest.mark.parametrize(
        "arguments",
        [
            {"ts_start": 2, "ts_end": 1},
            {"ts_start": math.nan},
            {"ts_start": 0, "ts_end": math.nan},
            {"ts_start": "yesterday"},
            {"ts_start": True},
            {"ts_start": 0, "flags": "A"},
            {"ts_start": 0, "flags": [1]},
            {"ts_start": 0, "flags": ["\ud800"]},
            {"ts_start": 0, "flags": 7},
            {"ts_start": 0, "flags": [f"flag {n}" for n in range(101)]},
            {"ts_start": 0, "match": "(a"},
            {"ts_start": 0, "match": "*"},
            {"ts_start": 0, "match": b"a"},
            {"ts_start": 0, "match": "a" * 20_000},
            {"ts_start": 0, "order": "up"},
            {"ts_start": 0, "order": None},
        ],
    )
    def test_what_makes_no_sense_is_refused_at_once(
        self, archive: EventStore, arguments: dict[str, Any]
    ) -> None:
        """The call raises, not the first step over the results."""
        with pytest.raises(InvalidSearch):
            archive.search(**arguments)

    def test_a_broken_pattern_is_told_with_its_place(self, archive: EventStore) -> None:
        """Whoever wrote it can mend it."""
        with pytest.raises(InvalidSearch, match="at position 4"):
            archive.search(0, match="ab[c")

    def test_a_pattern_that_would_never_end_is_given_up(self, archive: EventStore) -> None:
        """It is an error within seconds, while a search for something else goes on."""
        archive.save(event(1, 1, content="a" * 5000 + "!"))
        began = time.monotonic()

        with pytest.raises(MatchTooSlow):
            list(archive.search(0, match="(a|aa)+$"))
        with pytest.raises(MatchTooSlow):
            archive.since(0, match="(a+)+b")
        assert time.monotonic() - began < 60
        assert ["e1"] == ids(archive.search(0, match="a!$"))

    def test_the_end_of_a_pattern_is_the_end_of_no_other_search(self, archive: EventStore) -> None:
        """Each search has a time of its own."""
        archive.save_many(event(n, n, content=f"line {n}") for n in range(600))

        assert all(600 == len(ids(archive.search(0, match="line [0-9]+$"))) for _ in range(5))

    def test_a_result_is_what_was_saved(self, archive: EventStore, other: EventStore) -> None:
        """All fields come back, in a search as in a get."""
        saved = Event("x", "s", 1.25, ["b", "a"], "text", received=2.5, message=b"\x00\xff")
        archive.save(saved)

        assert [saved] == list(other.search(0, flags=["a"]))
