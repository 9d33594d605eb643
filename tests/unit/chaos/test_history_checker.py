"""The checker finds each kind of broken promise in a history, and excuses what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.checker import check
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
from tests.chaos.keeping import Part, keep, log_path, read
from tests.chaos.verdict import Violation


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
    subscriber.cuts.append(4.0)
    if since is None:  # a broadcast listener is told since when
        subscriber.gaps[0].since = 0.0

    assert ([] if is_covered else ["untold"]) == kinds(published(6), subscriber)


def test_gap_that_was_told_too_early() -> None:
    """A gap covers nothing that was emitted after it was told."""
    subscriber = listening(hearing(1), hearing(2), mode="connect")
    subscriber.gaps.append(Gap(2.5, 0.0))
    subscriber.cuts.append(2.1)

    assert ["untold"] == kinds(published(3), subscriber)


def test_gap_without_a_cause() -> None:
    """News of missing events for which there was no reason would excuse everything."""
    subscriber = listening(hearing(1), mode="connect")
    subscriber.gaps.append(Gap(5.0, None))

    assert ["false alarm"] == kinds(published(1), subscriber)


@pytest.mark.parametrize(
    ("since", "expected"), [(21.0, []), (2.0, ["false alarm"]), (None, ["false alarm"])]
)
def test_gap_that_reaches_back_too_far(since: float | None, expected: list[str]) -> None:
    """News of missing events is about the trouble, and a canary's interval before it."""
    subscriber = listening(hearing(1), mode="connect")
    subscriber.cuts.append(28.0)
    subscriber.gaps.append(Gap(30.0, since))

    assert expected == kinds(published(1), subscriber)


def test_gap_told_twice_for_one_cut() -> None:
    """One cut is one gap."""
    subscriber = listening(hearing(1), mode="connect")
    subscriber.cuts.append(4.0)
    subscriber.gaps += [Gap(5.0, 3.0), Gap(8.0, 3.0)]

    assert ["false alarm"] == kinds(published(1), subscriber)


def test_lost_long_before_the_queue_was_deleted() -> None:
    """The deletion of a queue excuses nothing that was handled past before."""
    subscriber = listening(*(hearing(n) for n in (1, 2, *range(4, 31))))
    subscriber.gaps += [Gap(31.0, None)]
    deleted = Trouble("delete-queue", "sub", 30.8, 30.9)
    assert ["lost"] == kinds(published(30), subscriber, troubles=(deleted,))

    subscriber.heard = subscriber.heard[:2]

    assert [] == kinds(published(30), subscriber, troubles=(deleted,))


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

    first.cuts.append(2.0)

    assert [] == kinds(published(1), first, second)


def test_repeated_long_before_a_cut() -> None:
    """A cut excuses nothing that was acknowledged before, nor what had come again already."""
    first = listening(hearing(1), mode="group")
    first.cuts.append(20.0)

    assert ["repeated"] == kinds(
        published(1), first, listening(hearing(1, at=24.0), name="t", mode="group")
    )
    assert ["repeated"] == kinds(
        published(1), first, listening(hearing(1, at=4.0), name="t", mode="group")
    )


def test_repeated_by_a_member_that_was_frozen() -> None:
    """A member that was frozen with an event handles it when another has done so."""
    other = listening(hearing(1, at=8.0), mode="group")
    frozen = listening(hearing(1, at=11.0), name="t", mode="group")
    frozen.cuts.append(11.1)
    assert ["repeated"] == kinds(published(1), other, frozen)

    freeze = Trouble("freeze", "t", 1.1, 10.9)

    assert [] == kinds(published(1), other, frozen, troubles=(freeze,))
    assert ["repeated"] == kinds(
        published(1), other, frozen, troubles=(Trouble("freeze", "s", 1.1, 10.9),)
    )


def test_repeated_since_it_was_moved_twice() -> None:
    """An event that a member sends on, while it is cut off, is in the queue twice."""
    runs = [
        listening(hearing(1, at=at), name=name, mode="group") for at, name in ((3, "s"), (4, "t"))
    ]
    mover = listening(mode="group", name="u")
    mover.moved["p", 1] = 2.0
    assert ["repeated"] == kinds(published(1), *runs, mover)

    mover.cuts.append(2.2)

    assert [] == kinds(published(1), *runs, mover)


@pytest.mark.parametrize(("mode", "expected"), [("group", []), ("single", ["repeated"])])
def test_repeated_since_it_was_sent_again(mode: str, expected: list[str]) -> None:
    """Two copies of a publisher that lost its connection may come to two members of a group."""
    publisher = published(1)
    first = listening(hearing(1), mode=mode)
    second = listening(hearing(1, at=4.0), name="t", mode=mode)
    assert ["repeated"] == kinds(publisher, first, second)

    publisher.losses.append(1.1)

    assert expected == kinds(publisher, first, second)


@pytest.mark.parametrize("end", ["killed", "cut off"])
def test_repeated_since_another_took_over(end: str) -> None:
    """The second copy may come late, to a process that does not know the first was handled."""
    publisher = published(1)
    first = listening(hearing(1), mode="single")
    second = listening(hearing(1, at=22.0), name="t", mode="single")
    publisher.losses.append(1.1)
    assert ["repeated"] == kinds(publisher, first, second)

    if end == "killed":
        first.killed = 20.0
    else:
        first.cuts.append(20.0)
    assert [] == kinds(publisher, first, second)

    publisher.losses.clear()

    assert ["repeated"] == kinds(publisher, first, second)


@pytest.mark.parametrize("lost_at", [0.5, 3.0])
def test_repeated_though_it_was_confirmed(lost_at: float) -> None:
    """A publisher that loses its connection earlier, or later, repeats nothing."""
    publisher = published(1)  # at 1.0, confirmed at 1.5
    publisher.losses.append(lost_at)
    first = listening(hearing(1), mode="group")

    assert ["repeated"] == kinds(
        publisher, first, listening(hearing(1, at=4.0), name="t", mode="group")
    )


@pytest.mark.parametrize(("is_spooled", "expected"), [(True, []), (False, ["repeated"])])
def test_repeated_by_the_next_process(is_spooled: bool, expected: list[str]) -> None:
    """What a killed publisher had not confirmed is sent again by the next, out of the spool."""
    publisher = published(1, is_spooled=is_spooled, is_flushed=False)
    publisher.killed = 1.3
    first = listening(hearing(1), mode="group")

    assert expected == kinds(
        publisher, first, listening(hearing(1, at=4.0), name="t", mode="group")
    )


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
    assert ["reordered"] == kinds(published(3), *runs)

    runs[2].moved["p", 2] = 6.0

    assert [] == kinds(published(3), *runs)


def test_moved_after_one_crash() -> None:
    """One that went to the isolation queue for less than two returns is found."""
    runs = [listening(hearing(1), run=0), listening(run=1)]
    runs[1].heard += [hearing(3, at=7.0), hearing(2, at=7.5)]
    runs[0].killed, runs[1].moved["p", 2] = 4.0, 6.0

    assert ["reordered"] == kinds(published(3), *runs)


def test_late_after_a_failure() -> None:
    """An event whose listener raised is tried again later."""
    subscriber = listening(hearing(1), hearing(3), hearing(2, at=4.0))
    subscriber.failed.add(("p", 2))
    assert [] == kinds(published(3), subscriber)

    subscriber.is_ordered = True

    assert ["reordered"] == kinds(published(3), subscriber)


def test_late_in_a_group() -> None:
    """A member may get old events that another member gave back."""
    one = listening(hearing(1), mode="group")
    other = listening(hearing(3), hearing(2, at=5.0), name="t", mode="group")
    assert ["reordered"] == kinds(published(3), one, other)

    one.killed = 4.0
    assert ["reordered"] == kinds(published(3), one, other)

    other.returned["p", 2] = 4.9
    assert [] == kinds(published(3), one, other)

    one.killed = 0.5  # before it was emitted

    assert ["reordered"] == kinds(published(3), one, other)


def test_late_in_a_group_for_its_own_cut() -> None:
    """What a member gets again itself is in order, unless its old connection was half open."""
    member = listening(hearing(1), hearing(3), hearing(2, at=5.0), mode="group")
    member.cuts.append(4.0)
    member.returned["p", 2] = 4.9
    assert ["reordered"] == kinds(published(3), member)

    assert [] == kinds(published(3), member, troubles=(Trouble("network-silence", "0", 3.5, 4.5),))


@pytest.mark.parametrize(("restarted_at", "expected"), [(1.5, []), (-8.0, ["reordered"])])
def test_late_in_a_group_after_a_restart(restarted_at: float, expected: list[str]) -> None:
    """A queue that is back may give new events to the consumers of before the kill, at first."""
    member = listening(hearing(1), hearing(3), hearing(2, at=5.0), mode="group")
    member.cuts.append(restarted_at - 5.0)
    member.returned["p", 2] = 4.9
    kill = Trouble("broker-kill", "", restarted_at - 5.2, restarted_at)

    assert expected == kinds(published(3), member, troubles=(kill,))


@pytest.mark.parametrize(("lost_at", "expected"), [(1.0, []), (-4.0, ["reordered"])])
def test_late_in_a_group_after_two_restarts(lost_at: float, expected: list[str]) -> None:
    """The second kill may hit before a member heard that it consumes; what it publishes over went.

    The broker may know it as a consumer all the same.
    """
    member = listening(hearing(1), hearing(3), hearing(2, at=5.0), mode="group")
    member.cuts.append(-8.0)
    member.losses += [-8.0, lost_at]
    member.returned["p", 2] = 4.9
    kills = tuple(Trouble("broker-kill", "", at, at + 0.9) for at in (-8.2, 0.9))

    assert expected == kinds(published(3), member, troubles=kills)


def test_repeated_after_an_earlier_cut() -> None:
    """What was handled over a new connection is acknowledged there: the old one is no excuse."""
    first = listening(hearing(1, at=4.0), mode="group")
    first.cuts.append(0.5)
    second = listening(hearing(1, at=5.0), name="t", mode="group")
    kill = Trouble("broker-kill", "", 0.4, 2.0)

    assert ["repeated"] == kinds(published(1), first, second, troubles=(kill,))


@pytest.mark.parametrize("trace", ["moved", "probed", "sent again"])
def test_late_in_a_group_for_other_reasons(trace: str) -> None:
    """What waited too long, was tried by a probe, or was sent again may be late in a group."""
    publisher, member = published(3), listening(hearing(3), hearing(2, at=5.0), mode="group")
    other = listening(hearing(1), name="t", mode="group")
    assert ["reordered"] == kinds(publisher, member, other)

    if trace == "moved":
        other.moved["p", 2] = 4.0
    elif trace == "probed":
        other.probes.append(4.0)
        member.returned["p", 2] = 4.9
    else:
        publisher.losses.append(2.1)

    assert [] == kinds(publisher, member, other)


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
    for name, expected in (("other", ["slow"]), ("p", [])):
        frozen = (Trouble("freeze", name, 3.0, 8.5),)
        assert expected == kinds(publisher, listening(hearing(1)), troubles=frozen)


@pytest.mark.parametrize(("back", "expected"), [(25.0, []), (31.0, ["slow"]), (None, ["slow"])])
def test_slow_return(back: float | None, expected: list[str]) -> None:
    """A connection is back ten seconds after the trouble's end."""
    subscriber = listening(hearing(1))
    subscriber.states.append((6.0, False))
    if back is not None:
        subscriber.states.append((back, True))
    silence = Trouble("network-silence", "0", 5.0, 20.0)

    assert expected == kinds(published(1), subscriber, troubles=(silence,))


def test_slow_return_beside_a_trouble_of_others() -> None:
    """What fails on another network is no reason to be late."""
    subscriber = listening(hearing(1))
    subscriber.states += [(6.0, False), (25.0, True)]
    silences = (
        Trouble("network-silence", "0", 5.0, 7.0),
        Trouble("network-silence", "1", 7.0, 24.0),
    )

    assert ["slow"] == kinds(published(1), subscriber, troubles=silences)


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
    recorder.note("cut")
    recorder.note("moved", "p", 1)
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
    assert (1, [("p", 1)]) == (len(subscriber.cuts), list(subscriber.moved))


def test_kept_play(tmp_path: Path) -> None:
    """A play that was kept is read as it was."""
    recorder = Recorder(log_path(tmp_path, "p", 0))
    recorder.note("emit", 1, "Left", "north")
    recorder.close()
    recorder = Recorder(log_path(tmp_path, "s", 1))
    recorder.note("heard", "p", 1, "Left", "north")
    recorder.close()
    parts = [Part("p", "publisher"), Part("s", "subscriber", 1, "group", "sub", is_ordered=True)]
    troubles = [Trouble("broker-kill", "", 2.0, 3.0)]
    keep(tmp_path, [(parts[0], 0, {}), (parts[1], 1, {0: 2.5})], troubles, 3, 9.0)

    history = read(tmp_path)

    assert (troubles, 3, 9.0) == (history.troubles, history.dead, history.ended)
    assert [("p", 1)] == [(run.name, len(run.emissions)) for run in history.publishers]
    found = [(one.title, one.killed, len(one.heard), one.network) for one in history.subscribers]
    assert [("s/0", 2.5, 0, 1), ("s/1", None, 1, 1)] == found
    assert all(one.is_ordered and one.mode == "group" for one in history.subscribers)
