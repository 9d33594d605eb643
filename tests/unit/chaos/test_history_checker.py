"""The checker finds each kind of broken promise in a history, and excuses what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import Violation, check
from tests.chaos.events import class_of, origin_of
from tests.chaos.history import (
    Emission,
    Gap,
    Hearing,
    History,
    PublisherRun,
    Recorder,
    SubscriberRun,
    Trouble,
    read_publisher,
    read_subscriber,
)


def published(count: int, *, is_spooled: bool = False, is_flushed: bool = True) -> PublisherRun:
    """Return a publisher p that emitted events 1 to *count*, at seconds 1 to *count*."""
    run = PublisherRun("p", 0, is_spooled)
    for number in range(1, count + 1):
        run.emissions.append(
            Emission(
                *("p", number, 0, class_of(number), origin_of(number), float(number), True),
                confirmed=number + 0.5 if is_flushed else None,
            )
        )
    return run


def hearing(number: int, at: float | None = None) -> Hearing:
    when = number + 0.2 if at is None else at
    return Hearing(when, "p", number, class_of(number), origin_of(number))


def listening(
    *heard: Hearing, mode: str = "broadcast", name: str = "s", run: int = 0
) -> SubscriberRun:
    """Return a subscriber that was ready from the beginning, and heard *heard*."""
    subscription = "" if mode == "connect" else "sub"
    return SubscriberRun(name, run, mode, subscription, ready=0.0, heard=list(heard))


def judged(
    publisher: PublisherRun, *subscribers: SubscriberRun, troubles: tuple[Trouble, ...] = ()
) -> list[Violation]:
    return check(History([publisher], list(subscribers), list(troubles), ended=1000.0)).violations


def kinds(
    publisher: PublisherRun, *subscribers: SubscriberRun, troubles: tuple[Trouble, ...] = ()
) -> list[str]:
    return [one.kind for one in judged(publisher, *subscribers, troubles=troubles)]


MODES = pytest.mark.parametrize("mode", ["connect", "broadcast", "group", "single"])


@MODES
def test_all_is_well(mode: str) -> None:
    """Everything once, in order: nothing to say."""
    subscriber = listening(*map(hearing, range(1, 31)), mode=mode)

    assert [] == kinds(published(30), subscriber)


@MODES
def test_lost(mode: str) -> None:
    """An event that was confirmed and never heard is found, and named."""
    subscriber = listening(*(hearing(n) for n in (1, 2, 4, 5)), mode=mode)

    (violation,) = judged(published(5), subscriber)

    assert ("untold" if mode == "connect" else "lost") == violation.kind
    assert (("p", 3),) == violation.events


@MODES
def test_lost_at_the_end(mode: str) -> None:
    """The last event counts as well."""
    assert 1 == len(kinds(published(3), listening(hearing(1), hearing(2), mode=mode)))


def test_unflushed_may_be_lost() -> None:
    """What no flush returned for may vanish with its publisher."""
    assert [] == kinds(published(3, is_flushed=False), listening(hearing(1)))


def test_spooled_may_not_be_lost() -> None:
    """What emit returned for arrives if it was spooled."""
    publisher = published(3, is_flushed=False, is_spooled=True)

    assert ["lost"] == kinds(publisher, listening(hearing(1), hearing(3)))


def test_before_it_was_ready() -> None:
    """What was emitted before the subscription stood is not promised to it."""
    subscriber = listening(hearing(4), hearing(5))
    subscriber.ready = 3.7

    assert [] == kinds(published(5), subscriber)


def test_other_classes_are_not_wanted() -> None:
    """A subscriber of one class need not hear the others, and must not."""
    numbers = [n for n in range(1, 60) if class_of(n) in ("Left", "Both")]
    subscriber = listening(*map(hearing, numbers))
    subscriber.wanted = "Left"
    assert [] == kinds(published(59), subscriber)

    subscriber.heard.insert(0, hearing(1))

    assert ["invented"] == kinds(published(59), subscriber)


@pytest.mark.parametrize(("since", "is_covered"), [(None, True), (3.2, True), (3.8, False)])
def test_gap_that_was_told(since: float | None, is_covered: bool) -> None:
    """A loss is excused by a gap that covers the time in which the broker routed the event."""
    subscriber = listening(*(hearing(n) for n in (1, 2, 6)), mode="connect")
    subscriber.gaps.append(Gap(6.0, since))
    subscriber.states += [(3.0, False), (6.0, True)]

    assert ([] if is_covered else ["untold"]) == kinds(published(6), subscriber)


def test_gap_that_was_told_too_early() -> None:
    """A gap covers nothing that was emitted after it was told."""
    subscriber = listening(hearing(1), hearing(2), mode="connect")
    subscriber.gaps.append(Gap(2.5, None))
    subscriber.states += [(2.1, False), (2.4, True)]

    assert ["untold"] == kinds(published(3), subscriber)


def test_gap_without_a_cause() -> None:
    """News of missing events for which there was no reason would excuse everything."""
    subscriber = listening(hearing(1), mode="connect")
    subscriber.gaps.append(Gap(5.0, None))

    assert ["false alarm"] == kinds(published(1), subscriber)


def test_durable_gap_needs_a_deleted_queue() -> None:
    """A durable subscription is told at its first time, and when its queue was deleted."""
    subscriber = listening(hearing(1))
    subscriber.gaps += [Gap(0.5, None), Gap(5.0, None)]
    deleted = Trouble("delete-queue", "sub", 4.0, 4.1)
    assert ["false alarm"] == kinds(published(1), subscriber)

    assert [] == kinds(published(1), subscriber, troubles=(deleted,))


@MODES
def test_repeated_in_one_process(mode: str) -> None:
    """A process that hears an event twice forgot it."""
    subscriber = listening(*map(hearing, (1, 2)), hearing(1, at=3.0), mode=mode)

    assert ["repeated"] == kinds(published(2), subscriber)


def test_repeated_after_a_kill() -> None:
    """What was in hand when a subscriber was killed may come again."""
    first, second = listening(hearing(1), hearing(2)), listening(hearing(2, at=4.0), run=1)
    first.killed = 3.0

    assert [] == kinds(published(2), first, second)


def test_repeated_long_after_it_was_acknowledged() -> None:
    """A kill excuses nothing that was handled long before."""
    first, second = listening(hearing(1), hearing(2)), listening(hearing(1, at=31.0), run=1)
    first.killed = 30.0
    assert ["repeated"] == kinds(published(2), first, second)

    silence = Trouble("network-silence", "0", 1.0, 29.0)  # nothing could be acknowledged

    assert [] == kinds(published(2), first, second, troubles=(silence,))


def test_repeated_without_a_kill() -> None:
    """A second process gets nothing again that a first one ended cleanly with."""
    first, second = listening(hearing(1)), listening(hearing(1, at=4.0), run=1)
    first.closed = 3.0

    assert ["repeated"] == kinds(published(1), first, second)


@pytest.mark.parametrize("mode", ["group", "single"])
def test_repeated_after_a_cut(mode: str) -> None:
    """A member that lost its connection could not acknowledge; another one hears it again."""
    first = listening(hearing(1), mode=mode)
    second = listening(hearing(1, at=4.0), name="t", mode=mode)
    assert ["repeated"] == kinds(published(1), first, second)

    first.states += [(2.0, False), (5.0, True)]

    assert [] == kinds(published(1), first, second)


def test_repeated_after_a_cut_that_no_state_shows() -> None:
    """A kill of the broker cuts everybody off, also one that was not quite back."""
    first = listening(hearing(1), mode="single")
    second = listening(hearing(1, at=4.0), name="t", mode="single")
    kill = Trouble("broker-kill", "", 2.0, 3.0)
    alarm = Trouble("memory-alarm", "", 2.0, 3.0)

    assert ["repeated"] == kinds(published(1), first, second, troubles=(alarm,))
    assert [] == kinds(published(1), first, second, troubles=(kill,))


@pytest.mark.parametrize(("mode", "expected"), [("group", []), ("single", ["repeated"])])
def test_repeated_since_it_was_sent_again(mode: str, expected: list[str]) -> None:
    """Two copies of a publisher that lost its connection may come to two members of a group."""
    publisher = published(1)
    first = listening(hearing(1), mode=mode)
    second = listening(hearing(1, at=4.0), name="t", mode=mode)
    assert ["repeated"] == kinds(publisher, first, second)

    publisher.states += [(1.1, False), (2.0, True)]

    assert expected == kinds(publisher, first, second)


@MODES
def test_reordered(mode: str) -> None:
    """An event that comes after a later one of its publisher is found."""
    subscriber = listening(hearing(2, at=2.1), hearing(1, at=2.2), hearing(3), mode=mode)

    assert ["reordered"] == kinds(published(3), subscriber)


def test_reordered_between_processes() -> None:
    """A single active consumer that takes over goes on where the first has ended."""
    first = listening(hearing(1), hearing(3, at=3.1), mode="single")
    second = listening(hearing(2, at=5.0), name="t", mode="single")
    first.killed = 4.0

    assert ["reordered"] == kinds(published(3), first, second)


def test_late_after_two_crashes() -> None:
    """An event under suspicion comes out of order; one crash is not enough for that."""
    runs = [listening(hearing(1), run=0), listening(run=1), listening(run=2)]
    runs[2].heard += [hearing(3, at=7.0), hearing(2, at=7.5)]
    runs[0].killed = 4.0
    assert ["reordered"] == kinds(published(3), *runs)

    runs[1].killed = 5.0

    assert [] == kinds(published(3), *runs)


def test_late_after_a_failure() -> None:
    """An event whose listener raised is tried again later."""
    subscriber = listening(hearing(1), hearing(3), hearing(2, at=4.0))
    subscriber.failed.add(("p", 2))

    assert [] == kinds(published(3), subscriber)


def test_late_in_a_group() -> None:
    """A member may get old events that another member gave back."""
    one = listening(hearing(1), mode="group")
    other = listening(hearing(3), hearing(2, at=5.0), name="t", mode="group")
    assert ["reordered"] == kinds(published(3), one, other)

    one.killed = 4.0

    assert [] == kinds(published(3), one, other)


def test_invented() -> None:
    """An event that nobody emitted is found, and one that emit refused."""
    publisher = published(3, is_flushed=False)
    publisher.emissions[1].refused = True
    invented = Hearing(4.0, "nobody", 9, "Note", "north")
    subscriber = listening(hearing(1), hearing(2), invented)

    assert ["invented", "invented"] == kinds(publisher, subscriber)


@pytest.mark.parametrize(("cls", "origin"), [("Both", "north"), ("Note", "south")])
def test_altered(cls: str, origin: str) -> None:
    """An event of another class or origin than it was emitted with is found."""
    assert ["altered"] == kinds(published(1), listening(Hearing(1.2, "p", 1, cls, origin)))


def test_dead_letters() -> None:
    """Events that nothing was wrong with do not become dead letters."""
    history = History([published(1)], [listening(hearing(1))], dead=3, ended=1000.0)

    assert ["dead"] == [one.kind for one in check(history).violations]


def test_slow_emit() -> None:
    """An emit that took much longer than a local append is found."""
    publisher = published(1)
    publisher.slow.append((1, 7.0))

    assert ["slow"] == kinds(publisher, listening(hearing(1)))


@pytest.mark.parametrize(("back", "expected"), [(25.0, []), (31.0, ["slow"]), (None, ["slow"])])
def test_slow_return(back: float | None, expected: list[str]) -> None:
    """A connection is back ten seconds after the trouble's end."""
    subscriber = listening(hearing(1))
    subscriber.states.append((6.0, False))
    if back is not None:
        subscriber.states.append((back, True))
    silence = Trouble("network-silence", "0", 5.0, 20.0)

    assert expected == kinds(published(1), subscriber, troubles=(silence,))


def test_killed_broadcast_listener() -> None:
    """A broadcast listener that was killed owes everything up to the last that it heard."""
    subscriber = listening(hearing(1), hearing(2), mode="connect")
    subscriber.killed = 3.0
    assert [] == kinds(published(5), subscriber)

    subscriber.heard.append(hearing(4))

    assert ["untold"] == kinds(published(5), subscriber)


def test_files(tmp_path: Path) -> None:
    """What recorders wrote is what readers read, but for a line that a kill cut off."""
    one, two = tmp_path / "p.0.log", tmp_path / "s.0.log"
    recorder = Recorder(one)
    recorder.note("emit", 1, "Left", "süd.# x")
    recorder.note("emitted", 1)
    recorder.note("emit", 2, "Left", "north")
    recorder.note("refused", 2)
    recorder.note("flushed", 1)
    recorder.close()
    recorder = Recorder(two)
    recorder.note("ready")
    recorder.note("heard", "p", 1, "Left", "süd.# x")
    recorder.note("missing", "broadcast", "-")
    recorder.note("missing", "other", "-")
    recorder.close()
    with two.open("a") as file:
        file.write("12.5 heard p 17 Le")

    publisher = read_publisher(one, PublisherRun("p", 0))
    subscriber = read_subscriber(two, SubscriberRun("s", 0, "connect"))

    first, second = publisher.emissions
    assert (True, False, "süd.# x") == (first.returned, first.refused, first.origin)
    assert first.confirmed is not None
    assert (True, None) == (second.refused, second.confirmed)
    assert [("p", 1, "süd.# x")] == [(h.publisher, h.number, h.origin) for h in subscriber.heard]
    assert [None] == [gap.since for gap in subscriber.gaps]
