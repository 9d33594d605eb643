"""The checker of caches finds what is wrong in a fabricated history, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.caches.checker import HEAL_S, check, summary
from tests.chaos.caches.parts import Part
from tests.chaos.caches.records import (
    Demand,
    Healing,
    History,
    Own,
    Player,
    Read,
    Restore,
    Write,
    keep,
    read,
)
from tests.chaos.history import Recorder, Trouble

KEY = "p/0"


def history(*reads: Read, writes: tuple[Write, ...] = (), mode: str = "bounded(1)") -> History:
    """Return a history in which KEY was 1 from second 1 to 10, and 2 from then on."""
    writes = writes or (Write(KEY, 1, 1.0, 1.1), Write(KEY, 2, 10.0, 10.1))
    writer = Player(Part("writer", "writer"), writes=list(writes))
    reader = Player(Part("reader", "reader", mode=mode), reads=list(reads))
    return History([writer, reader])


def seen(count: int, began: float, ended: float | None = None, state: str = "fresh") -> Read:
    return Read(KEY, count, began, ended if ended is not None else began, state)


def kinds(of: History) -> list[str]:
    return [violation.kind for violation in check(of).violations]


@pytest.mark.parametrize(
    "read",
    [
        seen(0, 0.5),
        seen(0, 0.5, 1.05),
        seen(1, 1.05),
        seen(1, 5.0),
        seen(1, 10.9),
        seen(1, 10.05, 99.0),
        seen(2, 10.05),
        seen(2, 99.0),
        seen(1, 99.0, state="unsure"),
    ],
)
def test_what_was_so_within_the_bound_is_right(read: Read) -> None:
    """Anything that the key was between the bound before the read's begin and its end."""
    assert [] == kinds(history(read))


@pytest.mark.parametrize("read", [seen(1, 11.3), seen(0, 2.3), seen(1, 99.0)])
def test_what_is_older_than_the_bound_is_stale(read: Read) -> None:
    """It was called fresh, and was replaced more than the bound before the read began."""
    assert ["stale"] == kinds(history(read))


@pytest.mark.parametrize("read", [seen(2, 5.0), seen(7, 20.0), seen(7, 20.0, state="unsure")])
def test_what_never_was_so_by_then_is_invented(read: Read) -> None:
    """Nobody had begun to write it when the read ended."""
    assert ["invented"] == kinds(history(read))


def test_strict_knows_no_bound() -> None:
    """What was replaced before the read began is stale; what was replaced during it is not."""
    assert ["stale"] == kinds(history(seen(1, 10.3), mode="strict"))
    assert [] == kinds(history(seen(1, 10.05), mode="strict"))


def test_a_write_that_was_not_seen_to_end_may_be_there_or_not() -> None:
    """Its process was killed: what was before may still be there, until the next write."""
    writes = (Write(KEY, 1, 1.0, 1.1), Write(KEY, 2, 10.0, None), Write(KEY, 3, 20.0, 20.1))

    assert [] == kinds(history(seen(1, 19.0), seen(2, 19.0), seen(2, 30.0), writes=writes))
    assert ["stale"] == kinds(history(seen(1, 22.0), writes=writes))


def test_a_restored_value_is_right_again() -> None:
    """After a backup was put back the old value is right, and the new one stale."""
    history_ = history(seen(1, 30.0), seen(2, 30.0))
    history_.restores.append(Restore("sqlite", 20.0, 20.5, {KEY: 1}))

    assert ["stale"] == kinds(history_)


def test_a_source_that_lags_may_give_what_was_lost() -> None:
    """No cache was told of a change that was lost; without a lag there is no excuse."""
    history_ = history(seen(1, 30.0))
    history_.troubles.append(Trouble("restore", "sqlite", 9.0, 11.0))
    assert ["stale"] == kinds(history_)
    history_.players[1].part = Part("reader", "reader", lag_s=0.3)
    assert [] == kinds(history_)
    history_.troubles[0] = Trouble("restore", "sqlite", 19.0, 21.0)

    assert ["stale"] == kinds(history_)


def test_an_own_key_that_was_changed_is_lost() -> None:
    """What the user reads of his own key is what he wrote last."""
    history_ = history()
    own = history_.players[1].owns
    own += [Own("own", "p/o", 1, 1.0, 0), Own("owned", "p/o", 1, 1.1, 0)]
    own += [Own("own-read", "p/o", 1, 2.0, 0), Own("own-read", "p/o", 9, 3.0, 0)]

    assert ["lost"] == kinds(history_)


def test_a_cache_in_memory_ends_with_its_process() -> None:
    """The next process has nothing of its own; one with a cache on disk does."""
    history_ = history()
    history_.players[1].owns += [
        Own("own", "p/o", 5, 1.0, 0),
        Own("owned", "p/o", 5, 1.1, 0),
        Own("own", "p/o", 1, 2.0, 1),
        Own("own-read", "p/o", 1, 2.1, 1),
    ]
    assert [] == kinds(history_)
    shared = Part("reader", "reader", cache="sqlite:shared")
    history_.players[1].part = shared

    assert ["lost"] == kinds(history_)


@pytest.mark.parametrize("seconds", [None, HEAL_S + 1])
def test_a_cache_that_does_not_come_right_is_told(seconds: float | None) -> None:
    """Everything is well, and it is still wrong, or was for too long."""
    history_ = history()
    history_.healings.append(Healing("reader", seconds, "p/0 is 1 and should be 2"))

    assert ["unhealed"] == kinds(history_)


def test_a_process_that_died_by_itself_is_told() -> None:
    """Nobody killed it."""
    history_ = history()
    history_.players[0].deaths.append("RuntimeError()")

    assert ["died"] == kinds(history_)


def test_a_play_is_kept_and_judged_again(tmp_path: Path) -> None:
    """What players and conductor wrote down is read back as it was."""
    log = Recorder(tmp_path / "reader.0.log")
    log.note("read", KEY, 3, "5.000000", "fresh", 17)
    log.note("own", "p/o", 1)
    log.note("owned", "p/o", 1)
    log.note("failed", KEY, "StoreUnavailable")
    log.close()
    writer = Recorder(tmp_path / "writer.0.log")
    writer.note("write", KEY, 3)
    writer.note("wrote", KEY, 3)
    writer.note("write", KEY, 4)
    writer.close()
    told = History()
    told.troubles.append(Trouble("kill", "reader", 1.0, 2.0))
    told.healings.append(Healing("reader", 0.5))
    keep(tmp_path, [Part("writer", "writer"), Part("reader", "reader")], told)
    again = read(tmp_path)

    assert [3, 4] == [write.count for write in again.players[0].writes]
    assert [True, False] == [write.ended is not None for write in again.players[0].writes]
    assert [(3, 5.0, "fresh")] == [(r.count, r.began, r.state) for r in again.players[1].reads]
    assert (17, 1) == (again.players[1].hits, again.players[1].failures)
    assert told.troubles == again.troubles
    assert "1 of 2 writes done" in summary(again, check(again))


def authored(*owns: Own, demands: tuple[Demand, ...] = (), restored: bool = False) -> History:
    """Return a history of an author, who wrote 3 to the store itself at second 1."""
    author = Player(
        Part("author", "reader", cache="sqlite:author", is_author=True),
        writes=[Write(KEY, 3, 1.0, 1.1)],
        owns=list(owns),
        demands=list(demands),
    )
    restores = [Restore("sqlite", 5.0, 5.1, {})] if restored else []
    return History([author], restores)


def test_a_read_must_see_the_write_that_it_asks_for() -> None:
    """With the version of its own write as ``at_least`` a process reads that, or later ones."""
    seen, missed = Demand(KEY, 3, 3, 1.2, 1.3), Demand(KEY, 2, 3, 6.0, 6.1)

    assert [] == kinds(authored(demands=(seen,)))
    assert ["unread"] == kinds(authored(demands=(seen, missed)))
    assert [] == kinds(authored(demands=(missed,), restored=True))


def test_what_is_pushed_is_no_longer_ones_own() -> None:
    """Until then it is there, whoever was killed; afterwards the store has it."""
    own, owned = Own("own", KEY, 7, 1.0, 0), Own("owned", KEY, 7, 1.1, 0)
    gone = Own("own-read", KEY, 0, 9.0, 1)

    assert ["lost"] == kinds(authored(own, owned, gone))
    assert [] == kinds(authored(own, owned, gone, restored=True))
    assert [] == kinds(authored(own, owned, Own("disowned", KEY, 7, 2.0, 0), gone))


def test_each_event_is_heard_once_and_each_change_has_one() -> None:
    """By a process; whoever follows it may hear of it again, by the same id."""
    part = Part("listener", "listener")

    def of(*heard: tuple[str, str, int]) -> History:
        return History([Player(part, heard=list(heard))])

    assert [] == kinds(of(("aa", "1", 0), ("bb", "2", 0), ("aa", "1", 1)))
    assert ["repeated"] == kinds(of(("aa", "1", 0), ("aa", "1", 0)))
    assert ["renamed"] == kinds(of(("aa", "1", 0), ("aa", "2", 0)))


def test_a_change_that_no_event_told_of_is_told() -> None:
    """What is in a journal in the end was published by somebody."""
    assert ["untold"] == kinds(History(untold=["files: 1-7-aa"]))
