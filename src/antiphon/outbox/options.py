"""How quick an outbox is, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How quick an outbox is; the processes on one store had better agree.

    Attributes:
        lease_s: seconds for which a process is waited for after its last sign of life.
        renew_s: seconds between two such signs, while it commits.
        tick_s: seconds between two looks at a store.
        patience_s: seconds for which a sweeper may rest, about, before another takes its place.
        batch: entries that are swept between two notes of the position.
    """

    lease_s: float = 10.0
    renew_s: float = 2.0
    tick_s: float = 1.0
    patience_s: float = 3.0
    batch: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxStats:
    """What an outbox has done since its bus was opened.

    Attributes:
        stores: media that it looks after now.
        swept: journal entries that it has found to be published.
        orphaned: events that it has published in place of those who did not.
        waiting: entries that were not swept, by anybody, when it last looked.
        lag_s: seconds since the oldest of these was committed; 0 without any.
        position_lost: how often a journal did not go on from where it was swept to, so
            that entries in between may never have been published.
        unpublishable: entries whose events no bus can carry, and which were left out.
        renewals: leases written.
    """

    stores: int
    swept: int
    orphaned: int
    waiting: int
    lag_s: float
    position_lost: int
    unpublishable: int
    renewals: int


class Counts:
    """The counters behind the stats; written by the thread of the outbox only."""

    def __init__(self) -> None:
        self.swept = self.orphaned = self.position_lost = self.unpublishable = self.renewals = 0
