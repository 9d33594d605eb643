"""What may come twice, or late: each excuse is one mechanism, and asks for its traces.

The names of the excuses stand in the summary of a play, with how often each was
needed; what each is about is told for people in docs/explanation/delivery.md.
"""

from __future__ import annotations

from collections import defaultdict

from tests.chaos.history import Emission, Hearing, History, PublisherRun, SubscriberRun
from tests.chaos.partings import (
    BLUR_S,
    NOTICE_S,
    SETTLED_S,
    Parting,
    partings_of,
    quiet_s,
)
from tests.chaos.verdict import Key

#: Seconds that the slowest listener takes.
MAX_LISTENER_S = 1.0

#: Returns of a message to the broker after which it goes to the isolation queue, out of order.
SUSPECT_AFTER = 2


class Excuses:
    """What explains the repeats and the disorder of one subscription.

    Args:
        history: everything.
        emitted: what was emitted.
        mode: of the subscription.
        runs: its processes.
    """

    def __init__(
        self,
        history: History,
        emitted: dict[Key, Emission],
        mode: str,
        runs: list[SubscriberRun],
    ) -> None:
        self._history = history
        self._emitted = emitted
        self._mode = mode
        self._runs = runs
        self._failed = {key for run in runs if not run.is_ordered for key in run.failed}
        self._partings = sorted(
            (one for run in runs for one in partings_of(history, run)), key=lambda one: one.at
        )
        self._publishers: dict[str, list[PublisherRun]] = defaultdict(list)
        for run in history.publishers:
            self._publishers[run.name].append(run)

    # -- Twice -------------------------------------------------------------------------

    def of_repeat(
        self, first: Hearing, first_run: SubscriberRun, again: Hearing, again_run: SubscriberRun
    ) -> str | None:
        """Return why the same event came to two processes; None if it must not have.

        That one process knows it again needs no excuse, and has none.
        """
        if first_run is again_run:
            return None
        key = first.publisher, first.number
        resent_at = [at for at in self._sent_again(key) if at <= again.at]
        if (parting := self._unsettled_at(first, first_run, again.at)) is not None:
            return "killed" if parting.is_kill else "cut off"
        if resent_at:
            for one in self._partings_of(first_run):
                if not one.is_within(first.at, again.at):
                    continue
                if one.is_kill:
                    return "sent again after a kill"
                if self._mode == "single":
                    return "sent again after a cut"
        if self._mode == "broadcast":
            return None
        if self._mode == "group" and resent_at:
            return "sent again"  # two copies, and each member knows only its own
        if self._was_given_back_unnoticed(again_run, first.at, again.at):
            return "cut off unnoticed"
        if self._was_moved_twice(key, again.at):
            return "moved twice"
        return None

    def _unsettled_at(self, first: Hearing, run: SubscriberRun, until: float) -> Parting | None:
        """Return the parting by which *run* could not acknowledge what it had handled."""
        since = first.at
        for one in self._partings_of(run):
            if one.at < first.at - MAX_LISTENER_S:
                continue
            if one.earliest > until:
                return None
            if quiet_s(self._history, run, since, one.earliest) > SETTLED_S:
                return None
            if one.is_kill or self._mode != "broadcast":
                return one
            # It is alone: the event came again, was known, and was to be acknowledged again.
            since = max(since, one.at)
        return None

    def _partings_of(self, run: SubscriberRun) -> list[Parting]:
        return [one for one in self._partings if one.run is run]

    def _was_given_back_unnoticed(self, run: SubscriberRun, first: float, again: float) -> bool:
        """Whether *run* handled what it had in hand after the broker gave it to another."""
        return any(
            one.is_half_open and one.earliest <= first and one.at >= again - MAX_LISTENER_S
            for one in self._partings_of(run)
        )

    def _was_moved_twice(self, key: Key, until: float) -> bool:
        """Whether who moved it may have lost the acknowledgement, or the confirm."""
        return any(
            moved_at - BLUR_S <= at <= min(until, moved_at + NOTICE_S)
            for run in self._runs
            if (moved_at := run.moved.get(key)) is not None
            for at in (*run.cuts, *run.losses, *([run.killed] if run.killed else []))
        )

    def _sent_again(self, key: Key) -> list[float]:
        """Return when its publisher may have lost the confirm, and sent it another time."""
        emission = self._emitted.get(key)
        if emission is None:
            return []
        runs = [one for one in self._publishers[emission.publisher] if one.run == emission.run]
        confirmed = emission.confirmed
        if runs and runs[0].is_spooled:
            runs = [r for r in self._publishers[emission.publisher] if r.run >= emission.run]
            later = [at for run in runs[1:] for at in run.flushed]
            confirmed = min(later, default=None) if confirmed is None else confirmed
        times = [at for run in runs for at in run.losses]
        times += [run.killed for run in runs if run.is_spooled and run.killed is not None]
        until = float("inf") if confirmed is None else confirmed
        return [at for at in times if emission.began <= at <= until + BLUR_S]

    # -- Late --------------------------------------------------------------------------

    def of_delay(self, emission: Emission, hearing: Hearing, run: SubscriberRun) -> str | None:
        """Return why *run* heard it after a later one of its publisher; None if it must not."""
        key = emission.publisher, emission.number
        if self._mode == "connect":
            return None
        if key in self._failed:
            return "failed"
        since, until = emission.began, hearing.at
        was_moved = any(one.moved.get(key, until + 1) <= until for one in self._runs)
        between = [one for one in self._partings if one.is_within(since, until)]
        if self._mode != "group":
            return "isolated" if was_moved and len(between) >= SUSPECT_AFTER else None
        if was_moved:
            return "moved"
        if run.returned.get(key, until + 1) <= until:
            if any(one.run is not run for one in between):
                return "given back by another"
            if any(one.is_half_open for one in between):
                return "given back over an old connection"
            if any(since <= at <= until for one in self._runs for at in one.probes):
                return "given back by a probe"
        if any(at <= until for at in self._sent_again(key)):
            return "sent again"
        return None
