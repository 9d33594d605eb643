"""Judges how long things took in a history."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.history import History, PublisherRun, SubscriberRun
from tests.chaos.partings import MAX_BACK_S, concerns
from tests.chaos.verdict import Verdict, Violation

#: Seconds that emit may take; it costs microseconds, but machines under test are busy.
MAX_EMIT_S = 5.0


def check_emit_times(history: History, verdict: Verdict) -> None:
    """Find calls of ``emit`` that took much longer than a local append."""
    for run in history.publishers:
        began = {one.number: one.began for one in run.emissions}
        frozen = [
            one for one in history.troubles if one.fault == "freeze" and one.target == run.name
        ]
        for number, took_s in run.slow:
            at = began.get(number, 0.0)
            if any(one.began <= at + took_s and at <= one.ended for one in frozen):
                continue
            if took_s > MAX_EMIT_S:
                text = f"{run.title} emitted {number} in {took_s:.1f} s"
                verdict.violations.append(Violation("slow", run.name, text))


def check_returns(history: History, verdict: Verdict) -> None:
    """Find connections that came back too late after a trouble of theirs ended."""
    runs: list[PublisherRun | SubscriberRun] = [*history.publishers, *history.subscribers]
    for run in runs:
        own = [one for one in history.troubles if concerns(one, run)]
        end = min(x for x in (run.killed, run.closed, history.ended) if x)
        for lost, back in _absences(run.states, end):
            over = [one for one in own if one.began < back and one.ended > lost]
            if any(one.began > lost and one.began < back < one.ended for one in over):
                continue  # hit again
            since = max((one.ended for one in over), default=lost)
            took_s = back - max(since, lost)
            if took_s <= 0:
                continue
            verdict.back_s.append(took_s)
            if took_s > MAX_BACK_S:
                text = f"{run.title} lost at {lost:.3f} was back {took_s:.1f} s too late"
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
