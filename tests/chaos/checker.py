"""Judges a history: which promises of delivery were broken.

Pure functions: no process, no broker, no clock.  What is allowed when is told
for people in docs/explanation/delivery.md; each rule stands in one function.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tests.chaos.events import matches
from tests.chaos.excuses import Excuses
from tests.chaos.history import Emission, Hearing, History, SubscriberRun
from tests.chaos.losses import LossJudge
from tests.chaos.timing import check_emit_times, check_returns
from tests.chaos.verdict import Key, Verdict, Violation


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
        losses = LossJudge(history, emitted, subscription.name, subscription.runs, verdict)
        losses.check_alarms()
        losses.check_losses()
    if history.dead:
        # No listener fails five times in a row, and none ends its process.
        text = f"{history.dead} events became dead letters, and deserved to be handled"
        verdict.violations.append(Violation("dead", "", text))
    check_emit_times(history, verdict)
    check_returns(history, verdict)
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
    """The rules about what one subscription has heard."""

    def __init__(
        self,
        history: History,
        emitted: dict[Key, Emission],
        subscription: Subscription,
        verdict: Verdict,
    ) -> None:
        self._emitted = emitted
        self._subscription = subscription
        self._verdict = verdict
        self._spooled = {one.name for one in history.publishers if one.is_spooled}
        self._excuses = Excuses(history, emitted, subscription.mode, subscription.runs)

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
            why = self._excuses.of_repeat(*before, hearing, run)
            if why is not None:
                self._verdict.repeats[self._subscription.name, why] += 1
            else:
                self._accuse(
                    "repeated",
                    f"{key} was heard by {before[1].title} at {before[0].at:.3f} and again by "
                    f"{run.title} at {hearing.at:.3f}, and nothing explains that",
                    key,
                )

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
            elif (why := self._excuses.of_delay(emission, hearing, run)) is not None:
                self._verdict.disorders[self._subscription.name, why] += 1
            else:
                self._accuse(
                    "reordered",
                    f"{title} heard {key} at {hearing.at:.3f}, after {before.number} "
                    f"at {before.at:.3f}",
                    key,
                    (before.publisher, before.number),
                )


def summary(history: History, verdict: Verdict) -> str:
    """Return what happened, for people."""
    emissions = [one for run in history.publishers for one in run.emissions]
    confirmed = sum(one.confirmed is not None for one in emissions)
    refused = sum(one.refused for one in emissions)
    flushes = sum(len(run.flushed) for run in history.publishers)
    lines = [
        f"{len(emissions)} events emitted, {confirmed} of them confirmed in {flushes} flushes, "
        f"{refused} refused by a full spool",
        *(line for one in subscriptions_of(history) for line in _lines_about(one, verdict)),
    ]
    faults = [one.fault for one in history.troubles]
    counts = ", ".join(f"{faults.count(name)} {name}" for name in sorted(set(faults)))
    lines.append(f"{len(faults)} faults: {counts}")
    if back := sorted(verdict.back_s):
        lines.append(
            f"{len(back)} reconnects, p50 {back[len(back) // 2]:.2f} s and at most "
            f"{back[-1]:.2f} s after the trouble's end"
        )
    lines.append(f"{len(verdict.violations)} promises broken")
    return "\n".join(lines)


def _lines_about(subscription: Subscription, verdict: Verdict) -> list[str]:
    gaps = sum(len(run.gaps) for run in subscription.runs)
    name, heard = subscription.name, len(subscription.heard)
    lines = [f"{name} ({subscription.mode}): {heard} heard, {gaps} gaps told"]
    for what, counts in (("twice", verdict.repeats), ("late", verdict.disorders)):
        causes = [f"{count} {why}" for (of, why), count in sorted(counts.items()) if of == name]
        if causes:
            lines.append(f"    allowed {what}: {', '.join(causes)}")
    return lines
