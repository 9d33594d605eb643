"""Conformance suite for archives: subclass it and supply two fixtures.

A backend's test class overrides ``archive`` with a fresh, empty one, and
``other`` with a second handle on the same medium (another connection) where
the medium can have one::

    class TestMyArchive(ArchiveSuite):
        @pytest.fixture
        def archive(self, tmp_path):
            with open_archive(f"mine:///{tmp_path}/a") as archive:
                yield archive

The suite needs pytest, and Hypothesis for random histories.
"""

from __future__ import annotations

import math
import time
from typing import Any, ClassVar

import pytest

# Before they are imported: so a failing assert tells what it compared.
pytest.register_assert_rewrite(
    *(
        f"antiphon.testing.archive_tests.{part}"
        for part in ("base", "following", "model", "purging", "searching")
    )
)

from antiphon.archive import (  # noqa: E402
    ArchiveClosed,
    Event,
    EventNotFound,
    EventStore,
    InvalidEvent,
)
from antiphon.testing.archive_tests.base import (  # noqa: E402
    ArchiveParts,
    at_once,
    event,
    everything_since,
    ids,
    purge_all,
)
from antiphon.testing.archive_tests.following import Following  # noqa: E402
from antiphon.testing.archive_tests.model import check_against_model  # noqa: E402
from antiphon.testing.archive_tests.purging import Purging  # noqa: E402
from antiphon.testing.archive_tests.searching import Searching  # noqa: E402

__all__ = [
    "ArchiveParts",
    "ArchiveSuite",
    "Following",
    "Purging",
    "Searching",
    "at_once",
    "event",
    "everything_since",
    "ids",
    "purge_all",
]


class ArchiveSuite(Searching, Following, Purging):
    """What every archive must do; see ``antiphon.archive.EventStore`` for the rules.

    Class attributes:
        histories: random histories that are tried.
    """

    histories: ClassVar[int] = 25

    def test_a_saved_event_comes_back_as_it_was(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """All fields, whatever text they have, for every handle."""
        saved = Event(
            "ü\n\x00%'\U0001f600",
            "",
            1763712000.1234567,
            ["b", "a", "b", "", "key:ü\x00", "e\u0301", "é"],
            "line\r\n\x00\u2028" + "'\"; --",
            received=-0.5,
            message=b"\x00\xff",
        )
        archive.save(saved)

        assert saved == other.get(saved.id)

    def test_what_was_left_out_comes_back_as_its_default(self, archive: EventStore) -> None:
        """The time is now; there are no tags, no content and no message."""
        before = time.time()
        archive.save(Event("x", "here"))
        found = archive.get("x")

        assert before <= found.timestamp <= time.time()
        assert ([], "", None, None) == (found.tags, found.content, found.received, found.message)

    def test_large_events_are_kept(self, archive: EventStore) -> None:
        """Contents of megabytes, messages too, and hundreds of tags."""
        large = [
            Event(f"x{n}", "s", n, [f"t{n}-{t}" for t in range(300)], "ü" * 3_000_000)
            for n in range(4)
        ]
        large[0].message = bytes(5_000_000)
        archive.save_many(large)

        assert large[0] == archive.get("x0")
        assert large == list(archive.search(0))
        assert large == everything_since(archive)

    def test_an_unknown_id_is_an_error(self, archive: EventStore) -> None:
        """It tells the id; an id that nobody can have is unknown, too."""
        archive.save(event(1))

        with pytest.raises(EventNotFound, match="E1"):
            archive.get("E1")
        for unknown in ("", "e1 ", "e1\x00", "\ud800", 1, None):
            with pytest.raises(EventNotFound):
                archive.get(unknown)  # type: ignore[arg-type]

    def test_saving_an_id_again_keeps_the_first(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """In one call and in several, also if it says something else."""
        archive.save(event(1, 1, "A"))
        other.save(event(1, 2, "B"))
        count = archive.save_many([event(2, 3), event(1, 4, "C"), event(2, 5, "D"), event(3, 6)])

        assert 2 == count
        assert [event(1, 1, "A"), event(2, 3), event(3, 6)] == everything_since(other)
        assert [] == [e for flag in "BCD" for e in other.search(0, flags=[flag])]

    def test_save_many_takes_any_iterable_and_tells_how_many_were_new(
        self, archive: EventStore
    ) -> None:
        """None at all is fine."""
        assert 0 == archive.save_many([])
        assert 3 == archive.save_many(event(n) for n in range(3))
        assert 1 == archive.save_many((event(2), event(3)))
        assert 0 == archive.save_many([event(3)])

    def test_all_are_saved_or_none(self, archive: EventStore) -> None:
        """One that cannot be, or an iterable that breaks off, leaves nothing of the others."""
        broken = event(2)
        broken.timestamp = math.nan

        def breaks_off() -> Any:
            yield event(1)
            raise KeyError("broken off")

        with pytest.raises(InvalidEvent):
            archive.save_many([event(1), broken])
        with pytest.raises(InvalidEvent):
            archive.save_many([event(1), "no event"])  # type: ignore[list-item]
        with pytest.raises(KeyError):
            archive.save_many(breaks_off())
        assert 0 == archive.head()
        assert [] == ids(archive.search(-math.inf))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("id", "\ud800"),
            ("id", ""),
            ("id", None),
            ("source", b"here"),
            ("timestamp", math.inf),
            ("timestamp", 10**400),
            ("timestamp", "now"),
            ("tags", "A"),
            ("tags", ["\udfff"]),
            ("tags", [None]),
            ("content", "x\ud83d"),
            ("content", b"x"),
            ("received", math.nan),
            ("message", "text"),
        ],
    )
    def test_an_event_that_was_spoilt_is_not_saved(
        self, archive: EventStore, field: str, value: object
    ) -> None:
        """Fields may be set after construction, and are looked at again."""
        spoilt = event(1)
        setattr(spoilt, field, value)

        with pytest.raises(InvalidEvent):
            archive.save(spoilt)
        assert 0 == archive.stats().events

    def test_many_writers_lose_nothing(self, archive: EventStore, other: EventStore) -> None:
        """Some of their events are the same, and those are there once."""

        def work(worker: int) -> None:
            handle = (archive, other)[worker % 2]
            for number in range(10):
                handle.save_many([event(number, number), event(100 * worker + 100 + number, 50)])

        at_once(work, 4)

        assert 50 == len(set(ids(archive.search(0)))) == len(ids(everything_since(archive)))

    def test_what_one_has_saved_every_other_finds_at_once(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """Reading is strictly consistent, by id, by search and by place."""

        def work(worker: int) -> None:
            mine, theirs = (archive, other) if worker % 2 else (other, archive)
            for number in range(15):
                saved = event(100 * worker + number, 0, f"of {worker}")
                mine.save(saved)
                assert saved == theirs.get(saved.id)
                assert saved.id == ids(theirs.search(0, flags=saved.tags))[-1]
                assert theirs.head() > 0

        at_once(work, 4)

    def test_readers_meet_batches_as_a_whole(self, archive: EventStore, other: EventStore) -> None:
        """Never a part of what was saved in one call, or purged in one."""

        def work(worker: int) -> None:
            if worker == 0:
                for number in range(15):
                    archive.save_many(event(10 * number + n, number, "A") for n in range(10))
                    if number % 3 == 2:
                        archive.purge(keep=10)
                return
            for _ in range(40):
                assert 0 == other.stats().events % 10
                assert 0 == len(other.since(0).events) % 10

        at_once(work, 3)

    def test_a_closed_archive_says_so(self, archive: EventStore) -> None:
        """Closing twice is fine; every other call is an error."""
        archive.save(event(1))
        begun = archive.search(0)
        archive.close()
        archive.close()

        for call in (
            lambda: archive.save(event(2)),
            lambda: archive.get("e1"),
            lambda: archive.delete("e1"),
            lambda: archive.search(0),
            lambda: archive.since(0),
            lambda: archive.wait(0, 1),
            lambda: archive.purge(keep=0),
            lambda: next(begun),
            archive.head,
            archive.stats,
        ):
            with pytest.raises(ArchiveClosed):
                call()

    def test_random_histories_are_those_of_a_plain_list(
        self, archive: EventStore, other: EventStore
    ) -> None:
        """Whatever is saved, deleted, purged and searched, in any order, by two handles."""
        check_against_model(archive, other, histories=self.histories)
