"""Judges what is missing in a history, and whether its subscriber was told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.chaos.events import matches
from tests.chaos.history import Emission, Gap, History, SubscriberRun, Trouble
from tests.chaos.partings import BLUR_S, SETTLED_S, concerns, quiet_s
from tests.chaos.verdict import Key, Verdict, Violation

#: Seconds before the trouble that a broadcast listener's news of a gap may reach back: the
#: canary's interval, and its way through a queue on a busy machine.
MAX_REACH_S = 8.0


class LossJudge:
    """The rules about what one subscription has not heard.

    Args:
        history: everything.
        emitted: what was emitted.
        name: of the subscription.
        runs: its processes.
        verdict: where violations go.
    """

    def __init__(
        self,
        history: History,
        emitted: dict[Key, Emission],
        name: str,
        runs: list[SubscriberRun],
        verdict: Verdict,
    ) -> None:
        self._history = history
        self._emitted = emitted
        self._name = name
        self._runs = runs
        self._verdict = verdict
        self._is_durable = runs[0].mode != "connect"
        self._spooled = {one.name for one in history.publishers if one.is_spooled}
        self._deletions = [
            one
            for one in history.troubles
            if self._is_durable and one.fault == "delete-queue" and one.target == name
        ]

    def _accuse(self, kind: str, text: str, *events: Key) -> None:
        self._verdict.violations.append(Violation(kind, self._name, text, events))

    def check_losses(self) -> None:
        """Find events that were to be handled, were not, and nobody was told."""
        runs = self._runs
        ready = min((run.ready for run in runs if run.ready is not None), default=None)
        if ready is None:
            return
        heard = {(one.publisher, one.number) for run in runs for one in run.heard}
        newest: dict[str, int] = defaultdict(int)
        for publisher, number in heard:
            newest[publisher] = max(newest[publisher], number)
        is_over = not self._is_durable and runs[0].killed is not None
        lost = []
        for key, emission in self._emitted.items():
            if key in heard or not matches(runs[0].wanted, emission.cls):
                continue
            if emission.began <= ready or not self._is_promised(emission):
                continue
            if is_over and emission.number > newest[emission.publisher]:
                continue  # it died before this came
            if not self._was_told(emission):
                lost.append(emission)
        self._accuse_of(lost)

    def _accuse_of(self, lost: list[Emission]) -> None:
        gaps = [(gap.since, gap.at) for run in self._runs for gap in run.gaps]
        for piece in _pieces(lost):
            first, last = piece[0], piece[-1]
            self._accuse(
                "lost" if self._is_durable else "untold",
                f"{self._name} never heard {first.publisher} {first.number} to {last.number} "
                f"({len(piece)} events), emitted at {first.began:.3f} to {last.began:.3f}, "
                f"confirmed at {first.confirmed or 0:.3f} to {last.confirmed or 0:.3f}; "
                f"gaps told: {gaps}",
                *((one.publisher, one.number) for one in piece),
            )

    def _is_promised(self, emission: Emission) -> bool:
        if emission.publisher in self._spooled:
            return emission.returned and not emission.refused
        return emission.confirmed is not None

    def _was_told(self, emission: Emission) -> bool:
        gaps = [gap for run in self._runs for gap in run.gaps]
        if not self._is_durable:
            return any(_covers(gap, emission) for gap in gaps)
        # The first news of all is of a time before it was ready, and excuses nothing.
        return any(
            any(one.began <= gap.at and emission.began <= gap.at for gap in gaps)
            and not self._had_passed(emission, one)
            for one in self._deletions
        )

    def _had_passed(self, emission: Emission, deletion: Trouble) -> bool:
        """Whether a later event was handled, and acknowledged, before the queue was deleted."""
        return any(
            one.number > emission.number
            and one.publisher == emission.publisher
            and quiet_s(self._history, run, one.at, deletion.began) > SETTLED_S
            for run in self._runs
            for one in run.heard
            if one.at < deletion.began - SETTLED_S
        )

    def check_alarms(self) -> None:
        """Find news of missing events that had no cause: they would excuse every loss."""
        for run in self._runs:
            if self._is_durable:
                # The first is told, too, since a new queue may be an expired one; members of
                # a group that come at the same time may all find that it was not there.
                causes = (run.run == 0) + len(self._deletions)
                if len(run.gaps) > causes:
                    self._accuse(
                        "false alarm",
                        f"{run.title} was told {len(run.gaps)} times that events are missing, "
                        f"for {causes} causes",
                    )
            else:
                self._check_gaps_of(run)

    def _check_gaps_of(self, run: SubscriberRun) -> None:
        # Told among the events, so that a slow listener may hear of one cut after the next.
        for count, gap in enumerate(run.gaps, 1):
            cuts = [at for at in run.cuts if at <= gap.at]
            since = float("-inf") if gap.since is None else gap.since
            cut = next((at for at in cuts if at >= since - BLUR_S), None)
            if len(cuts) < count or cut is None:
                self._accuse(
                    "false alarm",
                    f"{run.title} was told at {gap.at:.3f} of a gap since {gap.since}, which is "
                    f"number {count}; until then it was cut off at {cuts}",
                )
            elif since < self._trouble_before(cut, run) - MAX_REACH_S:
                self._accuse(
                    "false alarm",
                    f"{run.title} was cut off at {cut:.3f}, and told at {gap.at:.3f} of a gap "
                    f"since {gap.since}, long before there was trouble",
                )

    def _trouble_before(self, cut: float, run: SubscriberRun) -> float:
        """Return when what led to *cut* began; one trouble may follow another at once."""
        began = cut
        for one in sorted(self._history.troubles, key=lambda one: one.ended, reverse=True):
            is_alarm = one.fault.endswith("-alarm")  # no canary goes out meanwhile
            if (is_alarm or concerns(one, run)) and one.began < began <= one.ended + MAX_REACH_S:
                began = one.began
        return began


def _covers(gap: Gap, emission: Emission) -> bool:
    # The broker routed it at some moment between its emit and its confirm.
    confirmed = float("inf") if emission.confirmed is None else emission.confirmed
    return emission.began <= gap.at and (gap.since is None or confirmed >= gap.since)


def _pieces(lost: list[Emission]) -> Iterator[list[Emission]]:
    """Yield *lost* in pieces that were emitted within a second of each other, per publisher."""
    piece: list[Emission] = []
    for one in lost:
        if piece and (piece[-1].publisher != one.publisher or one.began - piece[-1].began > 1.0):
            yield piece
            piece = []
        piece.append(one)
    if piece:
        yield piece
