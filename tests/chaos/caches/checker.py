"""Judges a play about caches: a pure function of what was written down.

What is promised is told for people in docs/explanation/freshness.md: I2 (fresh
means fresh), I6 (own keys are untouched), I9 (unsure is said) and I11 (it heals).
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.caches.parts import Part
from tests.chaos.caches.records import History, Own, Player, Restore, Write
from tests.chaos.history import Trouble

#: Seconds by which a moment may have been written down too early or too late.
SLACK_S = 0.05

#: Seconds within which each cache must be right after everything has healed:
#: the broker's connection comes back within ten, and then the journal is read.
HEAL_S = 15.0


#: Seconds around a loss in which changes may be lost to all journals: between two
#: looks of an invalidator, on a busy machine.
LOOK_S = 2.0


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    kind: str
    who: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind} [{self.who}] {self.text}"


@dataclass(slots=True)
class Verdict:
    """What the checker found."""

    violations: list[Violation] = field(default_factory=list)
    #: Ages in seconds of what was served as fresh, by reader: the oldest.
    oldest_s: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Span:
    """When a key may have had a value."""

    count: int
    begin: float
    end: float


class Values:
    """What each key of one store was, and when.

    Args:
        writes: to the store.
        restores: of the store.
    """

    def __init__(self, writes: list[Write], restores: list[Restore]) -> None:
        self._spans: dict[str, dict[int, list[_Span]]] = {}
        by_key: dict[str, list[Write]] = defaultdict(list)
        for write in writes:
            by_key[write.key].append(write)
        for key, ours in by_key.items():
            self._spans[key] = self._of_key(key, ours, restores)

    @staticmethod
    def _of_key(key: str, writes: list[Write], restores: list[Restore]) -> dict[int, list[_Span]]:
        # A restore is a write of what was there before.
        again = [Write(key, one.values.get(key, 0), one.began, one.ended) for one in restores]
        ordered = sorted([Write(key, 0, -math.inf, -math.inf), *writes, *again],
                         key=lambda write: write.began)  # fmt: skip
        spans: dict[int, list[_Span]] = defaultdict(list)
        ends = [(write.began, write.ended) for write in ordered if write.ended is not None]
        begins = [began for began, _ in ends]
        for write in ordered:
            end = math.inf
            if write.ended is not None:
                # What was not seen to end may come whenever its command is carried out.
                following = bisect.bisect_right(begins, write.began)
                if following < len(ends):
                    end = ends[following][1]
            spans[write.count].append(_Span(write.count, write.began, end))
        return spans

    def age_s(self, key: str, count: int, began: float, ended: float) -> float | None:
        """Return by how much a read's value was too old when it began; None: it never was so."""
        found = [
            max(0.0, began - span.end)
            for span in self._spans.get(key, {}).get(count, ())
            if span.begin <= ended
        ]
        if not found and count == 0 and key not in self._spans:
            return 0.0
        return min(found, default=None)


def values_of(history: History) -> dict[str, Values]:
    """Return the values of each store, by the name that readers have for it."""
    writes: dict[str, list[Write]] = defaultdict(list)
    for player in history.players:
        writes[player.part.store] += player.writes
    values = {
        store: Values(ours, [one for one in history.restores if one.store == store])
        for store, ours in writes.items()
    }
    if "sqlite" in values:
        values["http"] = values["joined"] = values["sqlite"]
    return values


def check(history: History) -> Verdict:
    """Return every promise that was broken."""
    verdict = Verdict()
    values = values_of(history)
    for player in history.players:
        for death in player.deaths:
            verdict.violations.append(Violation("died", player.part.name, death))
        if player.part.role == "reader":
            _check_reads(player, values[player.part.store], history, verdict)
            _check_demands(player, history, verdict)
            _check_owns(player, history, verdict)
        _check_heard(player, verdict)
    for healing in history.healings:
        if healing.seconds is None or healing.seconds > HEAL_S:
            text = f"not right {HEAL_S:.0f} s after everything had healed: {healing.wrong}"
            verdict.violations.append(Violation("unhealed", healing.name, text))
    for change in history.untold:
        verdict.violations.append(Violation("untold", "listener", change))
    return verdict


def _check_reads(player: Player, values: Values, history: History, verdict: Verdict) -> None:
    name, bound_s = player.part.name, player.part.bound_s
    oldest = 0.0
    for read in player.reads:
        age_s = values.age_s(read.key, read.count, read.began, read.ended)
        if age_s is None:
            verdict.violations.append(Violation("invented", name, f"{read}"))
        elif read.state == "fresh":
            oldest = max(oldest, age_s)
            if age_s > bound_s + SLACK_S and not _is_excused(
                player.part, read.began - age_s, history.troubles
            ):
                text = f"{read} is {age_s:.3f} s too old; its bound is {bound_s:g} s"
                verdict.violations.append(Violation("stale", name, text))
    verdict.oldest_s[name] = oldest


def _is_excused(part: Part, replaced: float, troubles: Sequence[Trouble]) -> bool:
    """Return whether nobody could know that what was *replaced* then was old.

    A source that lags may give what a store has lost, or what a journal has
    forgotten: of that no cache was told, so nothing is noted against it.
    """
    return part.lag_s > 0 and any(
        trouble.fault in ("restore", "truncate")
        and trouble.began - LOOK_S <= replaced <= trouble.ended + LOOK_S
        for trouble in troubles
    )


def _check_demands(player: Player, history: History, verdict: Verdict) -> None:
    wrote = {(one.key, one.count): one.began for one in player.writes}
    for one in player.demands:
        since = wrote[one.key, one.least]
        if one.count < one.least and not _was_restored(history, player.part, since):
            verdict.violations.append(Violation("unread", player.part.name, f"{one}"))


def _check_heard(player: Player, verdict: Verdict) -> None:
    """Each process hears each event once, and each change has one event."""
    heard = Counter(player.heard)
    of_entry: dict[str, str] = {}
    for (entry, event, run), times in heard.items():
        if times > 1:
            text = f"process {run} heard {times} times of {entry} by {event}"
            verdict.violations.append(Violation("repeated", player.part.name, text))
        if of_entry.setdefault(entry, event) != event:
            text = f"{entry} was told by {of_entry[entry]} and {event}"
            verdict.violations.append(Violation("renamed", player.part.name, text))


def _was_restored(history: History, part: Part, since: float) -> bool:
    """Return whether a backup of the part's store was put back since then."""
    return any(one.store == part.store and one.ended >= since for one in history.restores)


def _check_owns(player: Player, history: History, verdict: Verdict) -> None:
    least: dict[str, int] = {}
    most: dict[str, int] = {}
    owned_at: dict[str, float] = {}
    run = 0
    for own in player.owns:
        if own.run != run and player.part.cache == "memory":
            least, most = {}, {}  # they died with their process
        run = own.run
        if own.kind == "own":
            most[own.key] = own.count
        elif own.kind == "owned":
            least[own.key], owned_at[own.key] = own.count, own.at
        elif own.kind == "disowned":
            least.pop(own.key, None)
        elif player.part.is_author and _was_restored(history, player.part, owned_at[own.key]):
            pass  # it was pushed, perhaps, before its process was killed
        elif not least.get(own.key, 0) <= own.count <= most.get(own.key, 0):
            verdict.violations.append(Violation("lost", player.part.name, _lost(own, least)))


def _lost(own: Own, least: dict[str, int]) -> str:
    return f"{own.key} was {own.count} at {own.at:.3f}, and {least.get(own.key)} was written"


def summary(history: History, verdict: Verdict) -> str:
    """Return what happened, for people."""
    lines = []
    for player in history.players:
        part = player.part
        if part.role == "reader":
            fresh = sum(read.state == "fresh" for read in player.reads)
            lines.append(
                f"{part.name} ({part.store}, {part.cache}, {part.mode}): {len(player.reads)} reads,"
                f" {fresh} fresh, {player.hits} hits, {player.failures} failed, the oldest"
                f" {verdict.oldest_s.get(part.name, 0.0):.3f} s"
            )
        elif player.writes:
            done = sum(write.ended is not None for write in player.writes)
            lines.append(f"{part.name} ({part.store}): {done} of {len(player.writes)} writes done")
    healed = [one.seconds for one in history.healings if one.seconds is not None]
    lines.append(f"{len(healed)} caches healed, within {max(healed, default=0.0):.2f} s")
    faults = Counter(one.fault for one in history.troubles)
    counts = ", ".join(f"{count} {name}" for name, count in sorted(faults.items()))
    lines.append(f"{len(history.troubles)} faults: {counts or 'none'}")
    lines.append(f"{len(verdict.violations)} promises broken")
    return "\n".join(lines)
