"""What a medium keeps so that no committed event is lost with its process (``antiphon.outbox``).

Who commits publishes at once.  So that others can tell what it did not live to
publish, it says here, in a lease, up to where the broker has confirmed its
events; and here stands how far all events are known to be out.  Each method is
one transaction of the medium, and holds between processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from antiphon.storage.journal import Position


@dataclass(frozen=True, slots=True)
class Lease:
    """What a process says of the events of its own commits.

    Attributes:
        owner: the process, as its journal entries name it.
        until_ns: until when it is to be waited for: wall clock, nanoseconds
            since the Unix epoch.
        confirmed: all its own entries up to this sequence are published, and
            confirmed by the broker; this stays true after ``until_ns``.
        epoch: the epoch of the journal in which ``confirmed`` counts.
    """

    owner: bytes
    until_ns: int
    confirmed: int
    epoch: int


@runtime_checkable
class OutboxLedger(Protocol):
    """Leases, and how far the journal was swept.

    A method raises ``StoreError`` where the medium cannot be reached, and
    ``ReadOnlyStore`` where it cannot be written.
    """

    def renew(self, lease: Lease) -> None:
        """Put *lease* in place of the one of its owner.

        Need not survive a power cut: an older lease costs a second copy of an
        event, with the same id.
        """

    def leases(self) -> Sequence[Lease]:
        """Return the leases of all owners, ended ones too."""

    def release(self, lease: Lease) -> None:
        """Forget *lease*, unless its owner has renewed it meanwhile."""

    def swept(self) -> Position | None:
        """Return up to where every event is known to be out; None before the first time."""

    def sweep_to(self, expected: Position | None, position: Position) -> bool:
        """Put *position* in place of *expected*; return False, changing nothing, if it is not that.

        So of two sweepers one wins.  Need not survive a power cut either.  A
        position may also be one of another epoch, or an earlier one.
        """

    def shield(self) -> None:
        """Note, for good, that the keys of this store are nobody's to publish in clear."""

    def is_shielded(self) -> bool:
        """Return whether that was noted: then only a store behind a shield publishes its entries.

        Else a process that opens the medium itself, past the authorizing store
        that redacts its events, would publish what that one did not live to.
        """


@runtime_checkable
class SkippingLedger(Protocol):
    """An outbox ledger that passes over a process's own entries more quickly than by reading them.

    Most entries are of who sweeps, and confirmed.
    """

    def skip(self, after: Position, owner: bytes, upto: int) -> Position:
        """Return the end of the commits after *after* that are all of *owner*.

        Args:
            after: where they begin.
            owner: of the entries to pass over.
            upto: sequence of the last of them, at most.

        *after* itself, if it is no position of the journal any more, or if there are none.
        """
