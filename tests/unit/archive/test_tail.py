"""Following an archive without a seam between what was and what is being saved."""

from __future__ import annotations

import importlib
import itertools
import math
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tail_helpers import Followed, Locked, names

from antiphon.archive import (
    CAUGHT_UP,
    ArchiveClosed,
    ArchiveUnusable,
    Event,
    EventStore,
    InvalidSearch,
    Tail,
    open_archive,
    tail,
)
from patience import wait_until


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a locked archive again at once."""
    monkeypatch.setattr(importlib.import_module("antiphon.archive.tail"), "_BUSY_S", 0.0)


def event(name: str, timestamp: float = 0.0, *tags: str, content: str = "") -> Event:
    return Event(name, "test", timestamp, list(tags), content)


def save(store: EventStore, *events: Event) -> None:
    for one in events:
        store.save(one)


def take(tail: Tail, count: int) -> list[str]:
    return names(list(itertools.islice(tail, count)))


def locked(store: EventStore) -> Any:
    return cast(Any, Locked(store))


def test_history_then_a_mark_then_what_is_saved(archive: EventStore) -> None:
    """History is in the order of time, the rest in that of saving."""
    save(archive, event("b", 2), event("a", 1), event("c", 3))
    following = tail(archive, since=0)
    save(archive, event("e", 5), event("d", 4))

    assert ["a", "b", "c", "|", "e", "d"] == take(following, 6)


def test_history_begins_where_it_was_asked_for(archive: EventStore) -> None:
    """At that time, inclusively; what is saved later comes whatever its time."""
    save(archive, event("a", 1), event("b", 2), event("c", 3))
    following = tail(archive, since=2)
    save(archive, event("late", 1))

    assert ["b", "c", "|", "late"] == take(following, 4)


def test_without_history_it_begins_with_the_mark(archive: EventStore) -> None:
    """What was saved before is not told."""
    save(archive, event("a", 1))
    following = tail(archive)
    save(archive, event("b", 1))

    assert ["|", "b"] == take(following, 2)


def test_what_is_saved_while_history_is_read_comes_after_it(archive: EventStore) -> None:
    """Once, although it belongs into the midst of history by its time."""
    archive.save_many(event(f"{number:04}", number) for number in range(1000))
    following = tail(archive, since=0)
    first = take(following, 500)
    save(archive, event("late", 700))
    rest = take(following, 502)

    assert [f"{number:04}" for number in range(1000)] + ["|", "late"] == first + rest


def test_events_of_one_time_come_in_the_order_of_saving(archive: EventStore) -> None:
    """In history as well as afterwards."""
    save(archive, *(event(name, 7) for name in "dbca"))
    following = tail(archive, since=7)
    save(archive, *(event(name, 7) for name in "hf"))

    assert [*"dbca|hf"] == take(following, 7)


def test_flags_and_pattern_hold_for_both(archive: EventStore) -> None:
    """All flags, and the pattern, before and after the mark."""
    wanted, other = ("x", "y"), ("x",)
    for name, tags, content in (("a", wanted, "yes"), ("b", other, "yes"), ("c", wanted, "no")):
        save(archive, event(name, 1, *tags, content=content))
    following = tail(archive, since=0, flags=iter(["x", "y"]), match="^y")
    for name, tags, content in (("d", other, "yes"), ("e", wanted, "no"), ("f", wanted, "yes")):
        save(archive, event(name, 1, *tags, content=content))

    assert ["a", "|", "f"] == take(following, 3)


def test_a_slow_reader_loses_nothing(archive: EventStore) -> None:
    """However far it is behind."""
    following = tail(archive)
    archive.save_many(event(f"{number:04}") for number in range(2500))

    assert ["|"] + [f"{number:04}" for number in range(2500)] == take(following, 2501)


def test_the_mark_is_one_object(archive: EventStore) -> None:
    """So that ``is`` tells it."""
    assert CAUGHT_UP is next(tail(archive))


def test_it_waits_for_what_is_to_come(archive: EventStore) -> None:
    """Also if another object saves it."""
    with Followed(tail(archive)) as followed:
        followed.wait(1)
        with open_archive(f"sqlite:///{cast(Any, archive).location}") as other:
            save(other, event("a"))

        assert ["|", "a"] == followed.wait(2)


def test_stop_ends_it_from_another_thread(archive: EventStore) -> None:
    """Also while it waits; the archive may be closed at once."""
    following = tail(archive)
    with Followed(following) as followed:
        followed.wait(1)
        following.stop()
        archive.close()

    assert followed.error is None


def test_a_stopped_tail_yields_nothing_more(archive: EventStore) -> None:
    """Not even what it has read already."""
    with tail(archive) as following:
        save(archive, event("a"), event("b"))
        before = take(following, 2)

    assert ["|", "a"] == before
    assert [] == take(following, 1)


def test_a_closed_archive_is_told(archive: EventStore) -> None:
    """To who has not stopped it."""
    following = tail(archive)
    take(following, 1)
    archive.close()

    with pytest.raises(ArchiveClosed):
        next(following)


@pytest.mark.parametrize(
    "asked",
    [{"match": "("}, {"flags": "x"}, {"flags": [7]}, {"since": math.nan}, {"since": "yesterday"}],
)
def test_what_makes_no_sense_is_told_at_the_call(
    archive: EventStore, asked: dict[str, Any]
) -> None:
    """Not when the first event is asked for."""
    with pytest.raises(InvalidSearch):
        tail(archive, **asked)


def test_what_is_deleted_before_it_is_read_is_missing(archive: EventStore) -> None:
    """In history and afterwards."""
    save(archive, event("a"), event("b"), event("c"))
    following = tail(archive, since=0)
    archive.delete("b")
    first = take(following, 3)
    save(archive, event("d"), event("e"))
    archive.delete("d")

    assert [*"ac|e"] == first + take(following, 1)


def test_all_that_came_deleted_is_no_reason_to_run_in_circles(archive: EventStore) -> None:
    """The tail goes on to the head although there is nothing between."""
    store = locked(archive)
    following = tail(store)
    take(following, 1)
    save(archive, event("a"), event("b"))
    archive.delete("a")
    archive.delete("b")
    head = archive.head()
    with Followed(following) as followed:
        wait_until(lambda: head in store.waits, "the tail waits at the end")
        save(archive, event("c"))

        assert ["c"] == followed.wait(1)
        assert store.waits.count(0) == 1


@pytest.mark.parametrize("at", range(7))
def test_a_locked_archive_is_waited_for(archive: EventStore, at: int) -> None:
    """Wherever it happens, nothing is missing and nothing comes twice."""
    save(archive, event("a", 1), event("c", 2), event("b", 2), event("d", 2))
    store = locked(archive)
    following = tail(store, since=1)
    save(archive, event("late", 2), event("later", 1))
    before = take(following, at)
    store.busy = 3

    assert ["a", "c", "b", "d", "|", "late", "later"] == before + take(following, 7 - at)


def test_a_locked_archive_does_not_keep_it_from_stopping(archive: EventStore) -> None:
    """However long it is locked."""
    save(archive, event("a"))
    store = locked(archive)
    following = tail(store, since=0)
    store.busy = 10**9
    with Followed(following) as followed:
        wait_until(lambda: store.busy < 10**9 - 2, "the tail has met the lock")

    assert [] == followed.items
    assert followed.error is None


def test_another_archive_in_its_place_is_told(archive: EventStore, tmp_path: Path) -> None:
    """A backup that was restored would leave a gap that nobody hears of."""
    save(archive, event("a"), event("b"))
    store = locked(archive)
    following = tail(store)
    take(following, 1)
    with open_archive(f"sqlite:///{tmp_path / 'backup.db'}") as backup:
        save(backup, event("a"))
        store._store = backup

        with pytest.raises(ArchiveUnusable, match="place 1"):
            next(following)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("save"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("read"), st.integers(1, 5), st.integers(0, 1)),
    ),
    max_size=25,
)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=10), st.integers(0, 3), _STEPS
)
@settings(max_examples=50, deadline=None)
def test_nothing_is_missing_and_nothing_comes_twice(
    before: list[tuple[int, bool]], since: int, steps: list[tuple[str, int, Any]]
) -> None:
    """Whatever is saved, read and locked in whatever order, with one flag asked for."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_archive(f"sqlite:///{folder}/archive.db") as archive,
    ):
        saved = [event(f"old-{i}", at, *["x"] * has) for i, (at, has) in enumerate(before)]
        archive.save_many(saved)
        history = [one for one in saved if one.tags and one.timestamp >= since]
        expected = [*names(sorted(history, key=lambda one: one.timestamp)), "|"]
        store = locked(archive)
        following = tail(store, since=since, flags=["x"])
        found: list[str] = []
        for number, (step, count, detail) in enumerate(steps):
            if step == "save":
                save(archive, event(f"new-{number}", count, *["x"] * detail))
                expected += [f"new-{number}"] * detail
            else:
                store.busy = detail
                found += take(following, min(count, len(expected) - len(found)))
        found += take(following, len(expected) - len(found))

    assert expected == found
