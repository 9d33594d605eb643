"""The checker of archives finds what is wrong in a fabricated play, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.archive import records
from tests.chaos.archive.checker import check, summary
from tests.chaos.archive.records import Entry, Following, Records, Replay, Rule, Told
from tests.chaos.events import class_of, origin_of
from tests.chaos.history import Emission, History, PublisherRun, Recorder
from tests.chaos.keeping import Part, keep, log_path

COUNT = 44  # eleven of each class: Note, Left, Right, Both, from 1 on


def published(count: int = COUNT) -> PublisherRun:
    """Return a publisher p that emitted events 1 to *count*, at seconds 1 to *count*."""
    run = PublisherRun("p", 0)
    for number in range(1, count + 1):
        names = class_of(number), origin_of(number)
        run.emissions.append(
            Emission("p", number, 0, *names, float(number), True, confirmed=number + 0.5)
        )
    return run


def came(number: int, place: int | None = None, at: float | None = None) -> Entry:
    """Return that event *number* was archived, at the place of that number."""
    when = number + 0.2 if at is None else at
    place = number if place is None else place
    return Entry(False, place, f"id{number}", float(number), when, "p", number, class_of(number))


def went(number: int, place: int | None = None, at: float = 99.0) -> Entry:
    return Entry(True, number if place is None else place, f"id{number}", float(number), at)


def told(*entries: Entry, rules: tuple[Rule, ...] = ()) -> Told:
    """Return what the conductor tells when a search finds just what is there."""
    gone = {one.place for one in entries if one.is_gone}
    rest = sorted(
        (one for one in entries if not one.is_gone and one.place not in gone),
        key=lambda one: (one.timestamp, one.place),
    )
    found = [one.id for one in rest]
    notes = [one.id for one in rest if not one.told]
    return Told(list(entries), list(rules), 0.0, 100.0, found, {"Note": notes}, len(found))


def play(*entries: Entry, rules: tuple[Rule, ...] = ()) -> Records:
    """Return a play without readers."""
    entries = entries or tuple(map(came, range(1, COUNT + 1)))
    return Records(History([published()], ended=1000.0), told(*entries, rules=rules))


def kinds(of: Records) -> set[str]:
    return {violation.kind for violation in check(of).violations}


ALL = [came(number) for number in range(1, COUNT + 1)]
LEFT = [number for number in range(1, COUNT + 1) if class_of(number) == "Left"]


def test_all_is_well() -> None:
    """All that was confirmed is there, in order."""
    assert set() == kinds(play())


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        (ALL[:-1], "lost"),
        ([*ALL, came(45)], "invented"),
        ([*ALL, Entry(False, 50, "another", 7.0, 50.0, "p", 7, class_of(7))], "repeated"),
        ([*ALL[:5], Entry(False, 6, "id6", 6.0, 6.2, "p", 6, "Left"), *ALL[6:]], "altered"),
        ([came(2, 1), came(1, 2), *ALL[2:]], "reordered"),
        ([came(1, 2), came(2, 1), *ALL[2:]], "reordered"),
    ],
)
def test_what_is_in_it_is_what_was_emitted(entries: list[Entry], kind: str) -> None:
    """Each once, and in order of their places and numbers."""
    assert {kind} == kinds(play(*entries))


def test_what_was_put_aside_may_come_late() -> None:
    """A recorder says so; then nothing is out of order."""
    late = play(came(2, 1), came(1, 2), *ALL[2:])
    late.moved["p", 1] = 0.5

    assert set() == kinds(late)


def test_what_was_deleted_may_come_again() -> None:
    """Nobody was told that it was archived, and the archive does not know it any more."""
    rule = Rule("Left", "Right", max_age_s=1.0)
    again = play(*ALL, went(LEFT[0], at=60.0), came(LEFT[0], 60, 61.0), went(LEFT[0], 60, 90.0))
    again.told.rules.append(rule)
    for number in LEFT[1:]:
        again.told.entries.append(went(number))
    again.told = told(*again.told.entries, rules=(rule,))

    assert set() == kinds(again)


def test_retention_by_count() -> None:
    """The oldest go, as far as there are more than so many newer ones, and all of these."""
    rules = (Rule("Left", "Right", max_events=4),)
    gone = [went(number) for number in LEFT]

    assert set() == kinds(play(*ALL, *gone[:-4], rules=rules))
    assert {"deleted"} == kinds(play(*ALL, *gone[:-3], rules=rules))
    assert {"deleted"} == kinds(play(*ALL, *gone[1:-4], gone[-1], rules=rules))
    assert {"kept"} == kinds(play(*ALL, *gone[:-5], rules=rules))


def test_retention_by_age() -> None:
    """What is too old goes, and nothing that is not, or that no rule is for."""
    rules = (Rule("Left", "Right", max_age_s=50.0),)
    gone = [went(number) for number in LEFT]

    assert set() == kinds(play(*ALL, *gone, rules=rules))
    assert {"kept"} == kinds(play(*ALL, *gone[1:], rules=rules))
    too_early = [went(number, at=number + 49.0) for number in LEFT]
    assert {"deleted"} == kinds(play(*ALL, *too_early, rules=rules))
    assert {"deleted"} == kinds(play(*ALL, *gone, went(1), rules=rules))


def test_what_a_search_finds_is_what_is_there() -> None:
    """In the order of time; and the archive can count."""
    for change in ("found", "flagged", "counted"):
        wrong = play()
        if change == "counted":
            wrong.told.counted += 1
        else:
            wrong.told.found = wrong.told.found[:-1] if change == "found" else wrong.told.found
            if change == "flagged":
                wrong.told.flagged = {"Left": []}

        assert 1 == len(check(wrong).violations)


def following(*seen: int, place: int = 20, marks: tuple[int, ...] = (20,)) -> Records:
    """Return a play with a tail from the beginning on that was at *place* then."""
    of = play()
    times = [(200.0 + n, f"id{number}") for n, number in enumerate(seen)]
    of.followings = [Following("t/0/1", "Note", place, 0.0, list(marks), times, marked_at=250.0)]
    return of


SEEN = tuple(range(1, 45))


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (following(*SEEN), set()),
        (following(*SEEN[:-5]), set()),
        (following(*SEEN[:20]), set()),
        (following(*SEEN, marks=(20, 44)), {"repeated"}),
        (following(*SEEN[:9], *SEEN[10:], marks=(19,)), {"lost"}),
        (following(*SEEN[:19], marks=(19,)), {"lost"}),
        (following(*SEEN[:25], *SEEN[26:]), {"lost"}),
        (following(*SEEN, 44), {"repeated", "reordered"}),
        (following(2, 1, *SEEN[2:]), {"lost", "reordered"}),
        (following(*SEEN[:20], 22, 21, *SEEN[22:]), {"lost", "reordered"}),
        (following(*SEEN[:22], *SEEN[24:], marks=(22,)), {"reordered", "lost"}),
        (following(*SEEN, 99), {"invented"}),
    ],
)
def test_a_tail_sees_what_is_there(tail: Records, found: set[str]) -> None:
    """History in the order of time, one mark, then all else in the order of places."""
    assert found == kinds(tail)


def test_a_tail_may_miss_what_was_deleted_before() -> None:
    """But nothing that was deleted after it had come past."""
    rules = (Rule("Left", "Right", max_events=10),)
    for deleted_at, found in ((150.0, set()), (300.0, {"lost"})):
        tail = following(*(n for n in SEEN if n != LEFT[0]), marks=(19,))
        tail.told = told(*ALL, went(LEFT[0], at=deleted_at), rules=rules)

        assert found == kinds(tail)


def test_a_tail_that_the_last_event_never_reached() -> None:
    """It hangs: the conductor says so."""
    tail = following(*SEEN[:30])
    tail.told.missing_tails = ["t/0"]

    assert {"lost"} == kinds(tail)


def replayed(
    found: list[int], called: list[tuple[str, int, bool]], returned: tuple[int, ...]
) -> Records:
    of = play()
    names = [f"id{number}" for number in found]
    of.replays = [Replay("r/0/1", False, 44, "Note", 1.0, 3.0, names, called, returned)]
    return of


GOOD = [("p", number, True) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("replay", "found"),
    [
        (replayed([1, 2, 3], GOOD, (3, 0, 0)), set()),
        (replayed([1, 2], GOOD[:2], (2, 0, 0)), {"lost"}),
        (replayed([1, 2, 3], GOOD[:2], (3, 0, 0)), {"lost"}),
        (replayed([1, 2, 3], GOOD, (2, 1, 0)), {"lost"}),
        (replayed([1, 2, 3], [GOOD[1], GOOD[0], GOOD[2]], (3, 0, 0)), {"reordered"}),
        (replayed([1, 2, 3], [*GOOD[:2], ("p", 3, False)], (3, 0, 0)), {"unmarked"}),
        (replayed([1, 2, 3, 3], [*GOOD, GOOD[2]], (4, 0, 0)), {"repeated"}),
    ],
)
def test_a_replay_calls_with_what_was_there(replay: Records, found: set[str]) -> None:
    """All of it, in order, once, and marked."""
    assert found == kinds(replay)


@pytest.mark.parametrize(
    ("again", "found"),
    [
        ({"a/0": [1, 2, 3]}, set()),
        ({"a/0": [1, 2], "a/1": [2, 3]}, set()),
        ({"a/0": [1, 2]}, {"lost"}),
        ({"a/0": [1, 2, 3, 3]}, {"repeated"}),
        ({"a/0": [1, 2, 3, 4]}, {"repeated"}),
    ],
)
def test_a_replay_to_a_subscription_comes_once(
    again: dict[str, list[int]], found: set[str]
) -> None:
    """To each process of it; another one may get what the first has not acknowledged."""
    of = replayed([1, 2, 3], [], (3, 0, 0))
    of.replays[0].is_sent = True
    of.again = {title: [("p", number) for number in numbers] for title, numbers in again.items()}

    assert found == kinds(of)


def test_nobody_is_told_of_gaps_that_there_are_not() -> None:
    """But when it subscribes for the first time, a recorder cannot know."""
    before, later = (
        Entry(False, place, "x", at, at, told="{}") for place, at in ((0, 0.5), (45, 9.0))
    )

    assert set() == kinds(play(before, *ALL))
    assert {"false alarm"} == kinds(play(*ALL, later))


def test_what_the_conductor_and_readers_have_met() -> None:
    """A recorder that ended by itself, a broken file, a reader whose thread failed."""
    of = play()
    of.told.problems, of.failures = ["rec-1 ended with 1"], ["tail-1/0: ValueError()"]

    assert ["failed", "failed"] == [violation.kind for violation in check(of).violations]


def test_a_play_that_was_kept(tmp_path: Path) -> None:
    """It can be judged again: what players wrote down is read."""
    parts = [
        Part("p", "publisher"),
        Part("t", "tail"),
        Part("r", "replayer"),
        Part("c", "recorder"),
    ]
    lines: dict[str, list[tuple[object, ...]]] = {
        "t": [
            ("tail", 1, 2, "-"),
            ("mark", 1),
            ("saw", 1, "id3"),
            ("tail", 2, 3, 0.5),
            ("ended", "x"),
        ],
        "r": [
            ("replay", 1, "called", 3, "Note", 1.0, 2.0),
            ("found", 1, "id1"),
            ("called", 1, "p", 1, True),
            ("replayed", 1, 1, 0, 0),
        ],
        "c": [("ready",), ("moved", "p", 2)],
        "p": [("again", "p", 3)],
    }
    for name, facts in lines.items():
        notes = Recorder(log_path(tmp_path, name, 0))
        for words in facts:
            notes.note(*words)
        notes.close()
    kept = told(*ALL, rules=(Rule("Left", "Right", max_events=20),))
    keep(tmp_path, [(part, 0, {}) for part in parts], [], 0, 1000.0)
    records.keep_told(tmp_path, kept)

    found = records.read(tmp_path)

    assert kept == found.told
    assert [(2, None, [0], ["id3"]), (3, 0.5, [], [])] == [
        (one.place, one.since, one.marks, [name for _, name in one.seen])
        for one in found.followings
    ]
    assert [Replay("r/0/1", False, 3, "Note", 1.0, 2.0, ["id1"], [("p", 1, True)], (1, 0, 0))] == (
        found.replays
    )
    assert (["t/0: x"], {"p/0": [("p", 3)]}) == (found.failures, found.again)
    assert [("p", 2)] == list(found.moved)
    assert "44 archived" in summary(found, check(found))
