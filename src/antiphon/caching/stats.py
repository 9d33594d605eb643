"""What an invalidator did so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InvalidatorStats:
    """What an invalidator did so far.

    Attributes:
        applied: changes applied to the cache.
        dropped: entries that these changes dropped.
        gaps: times a change was heard of before one that precedes it.
        repairs: times the journal had changes that no event had told of.
        rebuilds: times all entries became unchecked, history being unknown.
        foreign: events of other stores under the same origin, ignored.
        conflicts: changes of keys that the user wrote here and has not pushed.
        doubts: times the cache stopped being vouched for.
        coalesced: applied changes that cost nothing, as others of the same key
            were applied with them.
        prefixes: times all below a prefix was dropped, for many changes at once.
        staleness_s: seconds since which changes may be missing here: the age of
            the newest reading of the journal that succeeded; None before the first.
    """

    applied: int
    dropped: int
    gaps: int
    repairs: int
    rebuilds: int
    foreign: int
    conflicts: int
    doubts: int
    coalesced: int = 0
    prefixes: int = 0
    staleness_s: float | None = None
