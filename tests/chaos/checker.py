"""Judges a history: which promises of delivery were broken.

Pure functions: no process, no broker, no clock.  What is allowed when is told
for people in docs/explanation/delivery.md; each rule stands in one function.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.events import matches
from tests.chaos.history import (
    Emission,
    Gap,
    Hearing,
    History,
    PublisherRun,
    SubscriberRun,
)

#: Seconds that emit may take; it costs microseconds, but machines under test are busy.
MAX_EMIT_S = 5.0

#: Seconds from the network's return to the connection's.
MAX_BACK_S = 10.0

#: Seconds that the slowest listener takes.
MAX_LISTENER_S = 1.0

#: Seconds without trouble after which everything that was handled is acknowledged.
SETTLED_S = 3.0

#: Seconds that a broker and its client may differ in when they notice that they are parted.
NOTICE_S = 10.0

#: Faults that cut everybody off.
CUTTING = frozenset({"broker-kill", "broker-stop", "close-connections"})

#: Returns of a message to the broker after which it goes to the isolation queue, out of order.
SUSPECT_AFTER = 2

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise.

    Attributes:
        kind: lost, repeated, reordered, invented, altered, untold, false alarm, dead, slow.
        subscription: whose.
        text: what happened.
        events: the (publisher, number) concerned.
    """

    kind: str
    subscription: str
    text: str
    events: tuple[Key, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} [{self.subscription}] {self.text}"


@dataclass(slots=True)
class Verdict:
    """What ``check`` found.

    Attributes:
        violations: broken promises.
        repeats, disorders: how often what is allowed has happened to which subscription.
        back_s: seconds from each end of a trouble to each reconnect that it caused.
    """

    violations: list[Violation] = field(default_factory=list)
    repeats: Counter[str] = field(default_factory=Counter)
    disorders: Counter[str] = field(default_factory=Counter)
    back_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Subscription:
    """All processes that share a queue: one for a broadcast listener, else as many as there were.

    Attributes:
        name: for people.
        mode: connect, broadcast, group or single.
        runs: its processes, in the order of their start.
        heard: everything they heard with who, by time.
    """

    name: str
    mode: str
    runs: list[SubscriberRun]
    heard: list[tuple[Hearing, SubscriberRun]]

    @property
    def is_durable(self) -> bool:
        """Whether its queue outlives its processes."""
        return self.mode != "connect"


def check(history: History) -> Verdict:
    """Return what is wrong in *history*, which must be complete: everything drained."""
    verdict = Verdict()
    emitted: dict[Key, Emission] = {}
    for publisher in history.publishers:
        emitted.update(((one.publisher, one.number), one) for one in publisher.emissions)
    for subscription in subscriptions_of(history):
        judge = _Judge(history, emitted, subscription, verdict)
        judge.check_contents()
        judge.check_repeats()
        judge.check_order()
        judge.check_alarms()
        judge.check_losses()
    if history.dead:
        # No listener fails five times in a row, and none ends its process.
        text = f"{history.dead} events became dead letters, and deserved to be handled"
        verdict.violations.append(Violation("dead", "", text))
    _check_emit_times(history, verdict)
    _check_returns(history, verdict)
    return verdict


def subscriptions_of(history: History) -> list[Subscription]:
    """Return the subscriptions: the runs that share a queue, together."""
    shared: dict[str, list[SubscriberRun]] = defaultdict(list)
    for run in history.subscribers:
        shared[run.subscription or run.title].append(run)
    found = []
    for name, runs in shared.items():
        heard = [(hearing, run) for run in runs for hearing in run.heard]
        heard.sort(key=lambda pair: pair[0].at)
        found.append(Subscription(name, runs[0].mode, runs, heard))
    return found


class _Judge:
    """The rules for one subscription."""

    def __init__(
        self,
        history: History,
        emitted: dict[Key, Emission],
        subscription: Subscription,
        verdict: Verdict,
    ) -> None:
        self._history = history
        self._emitted = emitted
        self._subscription = subscription
        self._verdict = verdict
        self._spooled = {one.name for one in history.publishers if one.is_spooled}
        self._failed = {key for run in subscription.runs for key in run.failed}
        self._partings = sorted(self._all_partings(), key=lambda parting: parting[0])

    def _accuse(self, kind: str, text: str, *events: Key) -> None:
        violation = Violation(kind, self._subscription.name, text, events)
        self._verdict.violations.append(violation)

    # -- What was heard is what was emitted --------------------------------------------

    def check_contents(self) -> None:
        """Find events that nobody emitted, that were not asked for, and that changed on the way."""
        for hearing, run in self._subscription.heard:
            key = hearing.publisher, hearing.number
            emission = self._emitted.get(key)
            if emission is None or emission.refused:
                what = "was never emitted" if emission is None else "was refused at emit"
                self._accuse("invented", f"{run.title} heard {key}, which {what}", key)
            elif (hearing.cls, hearing.origin) != (emission.cls, emission.origin):
                self._accuse(
                    "altered",
                    f"{run.title} heard {key} as {hearing.cls} of {hearing.origin}; it was "
                    f"emitted as {emission.cls} of {emission.origin}",
                    key,
                )
            elif not matches(run.wanted, emission.cls):
                self._accuse(
                    "invented",
                    f"{run.title} listens to {run.wanted} and heard {key}, a {emission.cls}",
                    key,
                )

    # -- Once --------------------------------------------------------------------------

    def check_repeats(self) -> None:
        """Find events handled twice without an excuse."""
        last: dict[Key, tuple[Hearing, SubscriberRun]] = {}
        for hearing, run in self._subscription.heard:
            key = hearing.publisher, hearing.number
            before = last.get(key)
            last[key] = hearing, run
            if before is None:
                continue
            if why := self._why_no_repeat(*before, hearing, run):
                self._accuse(
                    "repeated",
                    f"{key} was heard by {before[1].title} at {before[0].at:.3f} and again by "
                    f"{run.title} at {hearing.at:.3f}: {why}",
                    key,
                )
            else:
                self._verdict.repeats[self._subscription.name] += 1

    def _why_no_repeat(
        self, first: Hearing, first_run: SubscriberRun, again: Hearing, again_run: SubscriberRun
    ) -> str | None:
        if first_run is again_run:
            return "the same process must know it again"
        if first_run.killed is not None:
            if first.at < (settled := self._settled_before(first_run.killed)):
                return f"it was handled, and acknowledged, long before the kill ({settled:.3f})"
            return None
        if self._subscription.mode == "broadcast":
            return "the first was not killed"
        if self._subscription.mode == "group" and self._was_sent_again(again):
            return None  # two copies, and each member knows only its own
        # Several processes share the queue.  One that loses its connection cannot
        # acknowledge what it has handled, and another one gets it.
        since = first.at - MAX_LISTENER_S  # it was at work when it lost it
        if any(since <= at <= again.at + NOTICE_S for at in self._cuts(first_run)):
            return None
        return "the first was neither killed nor cut off"

    def _was_sent_again(self, hearing: Hearing) -> bool:
        """Whether its publisher may have sent it twice, for want of a confirm."""
        emission = self._emitted.get((hearing.publisher, hearing.number))
        if emission is None:
            return False
        return any(
            run.name == emission.publisher
            and run.run == emission.run
            and any(
                emission.began - NOTICE_S <= at <= hearing.at
                for at in (*_losses(run), *([run.killed] if run.killed is not None else []))
            )
            for run in self._history.publishers
        )

    def _settled_before(self, at: float) -> float:
        """Return a time before *at*; what was handled until then was acknowledged by *at*."""
        moment = at - SETTLED_S
        for trouble in sorted(self._history.troubles, key=lambda one: one.ended, reverse=True):
            over = trouble.ended + MAX_BACK_S
            if trouble.began < moment + SETTLED_S and over > moment:
                moment = min(moment, trouble.began - SETTLED_S)
        return moment

    # -- In order ----------------------------------------------------------------------

    def check_order(self) -> None:
        """Find events of one publisher whose first handling came after that of a later one."""
        if self._subscription.mode == "group":
            for run in self._subscription.runs:
                self._check_order_of(((hearing, run) for hearing in run.heard), run.title)
        else:
            self._check_order_of(self._subscription.heard, self._subscription.name)

    def _check_order_of(self, heard: Iterable[tuple[Hearing, SubscriberRun]], title: str) -> None:
        newest: dict[tuple[str, int], Hearing] = {}
        seen: set[Key] = set()
        for hearing, run in heard:
            key = hearing.publisher, hearing.number
            emission = self._emitted.get(key)
            if emission is None or key in seen:
                continue
            seen.add(key)
            # Without a spool nothing orders a publisher's processes among themselves.
            series = key[0], 0 if key[0] in self._spooled else emission.run
            before = newest.get(series)
            if before is None or before.number < hearing.number:
                newest[series] = hearing
            elif self._may_be_late(emission, hearing, run):
                self._verdict.disorders[self._subscription.name] += 1
            else:
                self._accuse(
                    "reordered",
                    f"{title} heard {key} at {hearing.at:.3f}, after {before.number} "
                    f"at {before.at:.3f}",
                    key,
                    (before.publisher, before.number),
                )

    def _may_be_late(self, emission: Emission, hearing: Hearing, run: SubscriberRun) -> bool:
        if not self._subscription.is_durable:
            return False
        if (emission.publisher, emission.number) in self._failed:
            return True
        # Each side notices for itself: the broker may hand out to a connection that its
        # client has given up already, and takes that back later.
        since, until = emission.began - NOTICE_S, hearing.at + NOTICE_S
        if self._subscription.mode == "broadcast":
            until = hearing.at + 1.0  # the same process, or one that came after the kill
        between = [one for at, one in self._partings if since <= at <= until]
        if self._subscription.mode == "group":
            # Given back by another member, or by the probe of a queue that did not answer.
            return any(one is not run for one in between) or any(
                one.began <= until and one.ended >= since for one in self._history.troubles
            )
        return len(between) >= SUSPECT_AFTER

    # -- Everything --------------------------------------------------------------------

    def check_losses(self) -> None:
        """Find events that were to be handled, were not, and nobody was told."""
        if self._subscription.is_durable:
            self._check_losses_of(self._subscription.runs, self._subscription.name)
        else:
            (run,) = self._subscription.runs
            self._check_losses_of([run], run.title)

    def _check_losses_of(self, runs: list[SubscriberRun], title: str) -> None:
        ready = min((run.ready for run in runs if run.ready is not None), default=None)
        if ready is None:
            return
        heard = {(one.publisher, one.number) for run in runs for one in run.heard}
        newest: dict[str, int] = defaultdict(int)
        for publisher, number in heard:
            newest[publisher] = max(newest[publisher], number)
        is_over = not self._subscription.is_durable and runs[0].killed is not None
        gaps = [gap for run in runs for gap in run.gaps]
        lost = []
        for key, emission in self._emitted.items():
            if key in heard or not matches(runs[0].wanted, emission.cls):
                continue
            if emission.began <= ready or not self._is_promised(emission):
                continue
            if is_over and emission.number > newest[emission.publisher]:
                continue  # it died before this came
            if not any(_covers(gap, emission) for gap in gaps):
                lost.append(emission)
        for run_of_lost in _runs(lost):
            first, last = run_of_lost[0], run_of_lost[-1]
            self._accuse(
                "lost" if self._subscription.is_durable else "untold",
                f"{title} never heard {first.publisher} {first.number} to {last.number} "
                f"({len(run_of_lost)} events), emitted at {first.began:.3f} to {last.began:.3f}, "
                f"confirmed at {first.confirmed or 0:.3f} to {last.confirmed or 0:.3f}; "
                f"gaps told: {[(gap.since, gap.at) for gap in gaps]}",
                *((one.publisher, one.number) for one in run_of_lost),
            )

    def _is_promised(self, emission: Emission) -> bool:
        if emission.publisher in self._spooled:
            return emission.returned and not emission.refused
        return emission.confirmed is not None

    def check_alarms(self) -> None:
        """Find news of missing events that had no cause: they would excuse every loss."""
        deletions = [
            one
            for one in self._history.troubles
            if one.fault == "delete-queue" and one.target == self._subscription.name
        ]
        for run in self._subscription.runs:
            if self._subscription.is_durable:
                # The first is told, too, since a new queue may be an expired one; members of
                # a group that come at the same time may all find that it was not there.
                causes = (run.run == 0) + len(deletions)
            else:
                # The half that consumes may break twice before the other half is back, which
                # is one loss to those who ask for the state.
                causes = len(_losses(run)) + len(
                    [gap for gap in run.gaps if self._is_in_trouble(gap.at)]
                )
            if len(run.gaps) > causes:
                self._accuse(
                    "false alarm",
                    f"{run.title} was told {len(run.gaps)} times that events are missing, for "
                    f"{causes} causes",
                )

    def _all_partings(self) -> Iterator[tuple[float, SubscriberRun]]:
        """Yield when and from whom the broker may have taken back what was in hand."""
        for run in self._subscription.runs:
            if run.killed is not None:
                yield run.killed, run
            for at in self._cuts(run):
                yield at, run

    def _cuts(self, run: SubscriberRun) -> list[float]:
        """Return when *run* was cut off, also where its state does not show it.

        The half that consumes may come back, and break again, before the other half is back.
        """
        losses = _losses(run)
        hidden = [
            one.began
            for one in self._history.troubles
            if one.fault in CUTTING
            and not any(one.began - 1.0 <= at <= one.ended + 1.0 for at in losses)
        ]
        return sorted(losses + hidden)

    def _is_in_trouble(self, at: float) -> bool:
        troubles = self._history.troubles
        return any(one.began <= at <= one.ended + MAX_BACK_S for one in troubles)


def _losses(run: PublisherRun | SubscriberRun) -> list[float]:
    return [at for at, is_connected in run.states if not is_connected]


def _covers(gap: Gap, emission: Emission) -> bool:
    # The broker routed it at some moment between its emit and its confirm.
    confirmed = float("inf") if emission.confirmed is None else emission.confirmed
    return emission.began <= gap.at and (gap.since is None or confirmed >= gap.since)


def _runs(lost: list[Emission]) -> Iterator[list[Emission]]:
    """Yield *lost* in pieces that were emitted within a second of each other, per publisher."""
    piece: list[Emission] = []
    for one in lost:
        if piece and (piece[-1].publisher != one.publisher or one.began - piece[-1].began > 1.0):
            yield piece
            piece = []
        piece.append(one)
    if piece:
        yield piece


def _check_emit_times(history: History, verdict: Verdict) -> None:
    for run in history.publishers:
        for number, took_s in run.slow:
            if took_s > MAX_EMIT_S:
                text = f"{run.name}/{run.run} emitted {number} in {took_s:.1f} s"
                verdict.violations.append(Violation("slow", run.name, text))


def _check_returns(history: History, verdict: Verdict) -> None:
    """Find connections that came back too late after a trouble ended."""
    runs: list[PublisherRun | SubscriberRun] = [*history.publishers, *history.subscribers]
    for run in runs:
        end = min(x for x in (run.killed, run.closed, history.ended) if x)
        for lost, back in _absences(run.states, end):
            over = [one for one in history.troubles if one.began < back and one.ended > lost]
            if any(one.began > lost and one.began < back < one.ended for one in over):
                continue  # hit again
            since = max((one.ended for one in over), default=lost)
            took_s = back - max(since, lost)
            if took_s <= 0:
                continue
            verdict.back_s.append(took_s)
            if took_s > MAX_BACK_S:
                text = f"{run.name}/{run.run} lost at {lost:.3f} was back {took_s:.1f} s too late"
                verdict.violations.append(Violation("slow", run.name, text))


def _absences(states: list[tuple[float, bool]], end: float) -> Iterator[tuple[float, float]]:
    lost: float | None = None
    for at, is_connected in states:
        if is_connected and lost is not None:
            yield lost, at
            lost = None
        elif not is_connected and lost is None:
            lost = at
    if lost is not None:
        yield lost, end
