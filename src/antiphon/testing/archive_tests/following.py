"""The suite's part on places: what was saved since, and waiting for it."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
import threading
import time
from typing import Any

import pytest

from antiphon.archive import Event, EventStore, InvalidSearch, Portion
from antiphon.testing.archive_tests.base import (
    TIMEOUT_S,
    ArchiveParts,
    at_once,
    event,
    everything_since,
    ids,
)


class Following(ArchiveParts):
    """The order of saving."""

    def test_a_new_archive_has_the_place_0(self, archive: EventStore) -> None:
        """From there on everything can be followed."""
        assert 0 == archive.head()
        assert Portion([], 0) == archive.since(0)

    def test_places_grow_with_each_new_event_only(self, archive: EventStore) -> None:
        """What was there already, and what is deleted, moves nothing."""
        archive.save(event(1))
        first = archive.head()
        archive.save(event(1))
        assert first == archive.head()

        archive.save(event(2))
        second = archive.head()
        archive.delete("e2")

        assert 0 < first < second == archive.head()

    def test_no_place_is_given_twice(self, archive: EventStore, other: EventStore) -> None:
        """An event that is saved after the newest was deleted is found behind its place."""
        archive.save_many(event(n) for n in range(5))
        place = archive.head()
        assert 5 == archive.purge(keep=0)
        other.save(event(4))

        assert archive.head() > place
        assert ["e4"] == ids(other.since(place).events)

    def test_since_returns_what_was_saved_in_the_order_of_saving(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """Whatever the times of the events say."""
        archive.save_many([event(1, 30.0), event(2, 10.0)])
        place = archive.head()
        other.save(event(3, 20.0))
        archive.save_many([event(2, 99.0), event(4, 5.0)])

        assert ["e1", "e2", "e3", "e4"] == ids(archive.since(0).events)
        assert Portion([event(3, 20.0), event(4, 5.0)], archive.head()) == archive.since(place)

    def test_a_portion_has_at_most_the_limit_and_the_next_goes_on(
        self, archive: EventStore
    ) -> None:
        """Portions of any size put together are everything, once each."""
        archive.save_many(event(n, 0, "A") for n in range(50))

        assert 7 == len(archive.since(0, limit=7).events)
        assert 7 == len(archive.since(0, limit=7, flags=["A"]).events)
        assert [f"e{n}" for n in range(50)] == ids(everything_since(archive, limit=7))

    def test_a_search_up_to_a_place_ends_where_since_goes_on(self, archive: EventStore) -> None:
        """Both together have each event once, whatever the times of the events say."""
        archive.save_many(event(n, 100.0 + n) for n in range(100))
        place = archive.head()
        archive.save_many([event(n, 100.0 + n / 2) for n in range(100, 150)])

        before = ids(archive.search(0, up_to=place))
        assert before == ids(event(n) for n in range(100))
        assert before[::-1] == ids(archive.search(0, order="desc", up_to=place))
        assert ids(event(n) for n in range(100, 150)) == ids(archive.since(place).events)
        assert [] == ids(archive.search(0, up_to=0))

    def test_since_finds_flags_and_contents(self, archive: EventStore) -> None:
        """As a search does; all flags, and the pattern anywhere."""
        archive.save_many(
            event(n, n, *(["A", "B"] if n % 2 else ["A"]), content=f"n={n}") for n in range(20)
        )

        found = archive.since(0, flags=["B", "A"], match="=1")
        assert ["e1", "e11", "e13", "e15", "e17", "e19"] == ids(found.events)
        assert archive.head() == found.place

    def test_since_goes_on_where_nothing_is_found(self, archive: EventStore) -> None:
        """A rare flag is reached in a number of steps, each further than the last."""
        archive.save_many(event(n) for n in range(3000))
        archive.save(event(3000, 0, "rare"))
        found: list[Event] = []
        place = steps = 0
        while place < archive.head():
            portion = archive.since(place, flags=["rare"], limit=10)
            assert portion.place > place
            found, place, steps = found + portion.events, portion.place, steps + 1

        assert ["e3000"] == ids(found)
        assert steps <= 302
        assert Portion([], place) == archive.since(place, flags=["nobody has it"])

    def test_what_was_deleted_leaves_no_gap_that_stops_anyone(self, archive: EventStore) -> None:
        """Whoever follows passes over it."""
        archive.save_many(event(n, n) for n in range(100))
        archive.purge(before=90.0)

        assert [f"e{n}" for n in range(90, 100)] == ids(everything_since(archive, limit=3))

    def test_who_follows_comes_to_the_head_although_the_last_were_deleted(
        self, archive: EventStore
    ) -> None:
        """Else the next look would seem worth while for ever."""
        archive.save_many(event(n, -n, "A") for n in range(5))
        place = archive.since(0, limit=2).place
        archive.purge(keep=2)

        assert [] == archive.since(place, flags=["A"]).events
        assert archive.head() == archive.since(place).place == archive.since(0).place

    @pytest.mark.parametrize("arguments", [{"place": -1}, {"place": 0.5}, {"place": None}])
    def test_a_place_that_is_none_is_refused(
        self, archive: EventStore, arguments: dict[str, Any]
    ) -> None:
        """As every other argument that makes no sense."""
        with pytest.raises(InvalidSearch):
            archive.since(**arguments)
        with pytest.raises(InvalidSearch):
            archive.since(0, limit=0)
        with pytest.raises(InvalidSearch):
            archive.since(0, match="(")

    def test_numbers_beyond_all_counting_are_fine(self, archive: EventStore) -> None:
        """They mean the largest there is."""
        archive.save_many(event(n, n, "A") for n in range(3))
        most = 10**30

        assert [] == archive.since(most).events
        assert 3 == len(archive.since(0, limit=most).events)
        assert 3 == len(ids(archive.search(0, up_to=most)))
        assert 0 == archive.purge(keep=most, limit=most)
        assert 3 == archive.purge(before=5, limit=most)

    def test_wait_returns_at_once_when_there_is_something(self, archive: EventStore) -> None:
        """Also when the place lies behind by more than one."""
        archive.save_many(event(n) for n in range(3))
        began = time.monotonic()

        assert archive.head() == archive.wait(0, 30)
        assert time.monotonic() - began < 10

    def test_wait_ends_after_its_time(self, archive: EventStore) -> None:
        """With the place that it was given."""
        archive.save(event(1))
        place = archive.head()
        began = time.monotonic()

        assert place == archive.wait(place, 0)
        assert place == archive.wait(place, 0.05)
        assert place == archive.wait(place, -1)
        assert time.monotonic() - began >= 0.05

    def test_wait_hears_of_what_another_saves(self, archive: EventStore, other: EventStore) -> None:
        """Soon, and of deletions it hears nothing."""
        other.save(event(1))
        place = archive.head()
        heard: list[int] = []
        waiter = threading.Thread(target=lambda: heard.append(archive.wait(place, TIMEOUT_S)))
        waiter.start()
        other.delete("e1")
        other.save(event(2))
        waiter.join(TIMEOUT_S)

        assert [other.head()] == heard

    def test_who_follows_meets_everything_once(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """While several write at once: no event comes to stand behind a place already read."""
        writers, each = 3, 40
        found: list[Event] = []

        def work(worker: int) -> None:
            if worker < writers:
                handle = (archive, other)[worker % 2]
                for number in range(0, each, 4):
                    first = worker * each + number
                    handle.save_many(event(first + n, -n, "A") for n in range(4))
                return
            place = 0
            while len(found) < writers * each:
                head = archive.wait(place, TIMEOUT_S)
                portion = archive.since(place, limit=3)
                assert place < portion.place <= archive.head()
                assert head > place
                found.extend(portion.events)
                place = portion.place

        at_once(work, writers + 1)

        numbers = [int(each.id[1:]) for each in found]
        assert list(range(writers * each)) == sorted(numbers)
        for worker in range(writers):
            own = [n for n in numbers if n // each == worker]
            assert sorted(own) == own
