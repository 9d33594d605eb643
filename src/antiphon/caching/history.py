"""What is known of the history of one store: pure bookkeeping, nothing is read or written."""

from __future__ import annotations

from antiphon.errors import PositionLost
from antiphon.storage.journal import Journal, JournalEntry, Position

#: Entry ids remembered, so that a second history under the same numbers is
#: recognised from a single event, and what came before is not applied again.
REMEMBERED = 4096

#: Changes remembered that came before one that precedes them.
_MAX_AHEAD = 100_000


class History:
    """How far the journal of one store was followed.  Not thread-safe.

    Args:
        journal: of the store, which is connected.

    Attributes:
        journal: that journal.
        position: up to where all changes are applied; None before the first.
        verified: the newest position that was seen in the journal itself.
        noted: what of it the ledger has been told.
        gaps: times a change was heard of before one that precedes it.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.position: Position | None = None
        self.verified: Position | None = None
        self.noted: Position | None = None
        self.gaps = 0
        #: Changes that are applied, but not all that precede them; with their links.
        self._ahead: dict[int, tuple[bytes, bytes]] = {}
        self._recent: dict[int, bytes] = {}
        #: Changes that redacted events told of, not yet found in the journal.
        self._announced: dict[int, bytes] = {}

    @property
    def has_gap(self) -> bool:
        """Whether a change was heard of before one that precedes it."""
        return bool(self._ahead)

    @property
    def unverified(self) -> int:
        """How many changes only events told of."""
        if self.position is None or self.verified is None:
            return 0
        return self.position.sequence - self.verified.sequence

    # -- What events tell ----------------------------------------------------

    def is_known(self, position: Position) -> bool:
        """Return whether that very change is applied, and all that precede it."""
        present = self.position
        return (
            present is not None
            and position.epoch == present.epoch
            and position.sequence <= present.sequence
            and self._recent.get(position.sequence) == position.entry_id
        )

    def hear(self, position: Position, link: bytes = b"") -> bool:
        """Take note that the change at *position* is applied.

        Args:
            position: of the change.
            link: beginning of the id of the entry before it; b"" if its event does not say.

        Returns:
            False if it is of another history: the journal has to be read.
        """
        present = self.position
        if present is None:
            return True
        if position.epoch != present.epoch:
            return False
        if position.sequence == present.sequence:
            return position.entry_id == present.entry_id
        if position.sequence < present.sequence:
            known = self._recent.get(position.sequence, position.entry_id)
            return known == position.entry_id
        if position.sequence > present.sequence + 1 and not self._ahead:
            self.gaps += 1
        if len(self._ahead) >= _MAX_AHEAD:
            self._ahead.clear()  # the journal has them, too
        self._ahead[position.sequence] = position.entry_id, link
        return self._pass_over_known()

    def announce(self, position: Position) -> bool:
        """Take note of a change whose key only the journal knows; whether that is news."""
        if self._recent.get(position.sequence) == position.entry_id:
            return False
        self._announced[position.sequence] = position.entry_id
        _shorten(self._announced)
        return True

    def _pass_over_known(self) -> bool:
        """Go on over what is known to follow; False if something shows that it does not."""
        reached = self.position
        if reached is None:
            return True
        is_linked = True
        while (known := self._ahead.pop(reached.sequence + 1, None)) is not None:
            entry_id, link = known
            is_linked = not link or link == reached.entry_id[: len(link)]
            if not is_linked:
                break
            reached = reached._replace(sequence=reached.sequence + 1, entry_id=entry_id)
            self._remember(reached)
        self.position = reached
        return is_linked

    def _remember(self, position: Position) -> None:
        self._recent[position.sequence] = position.entry_id
        _shorten(self._recent)

    # -- What the journal tells ----------------------------------------------

    def resume(self, position: Position) -> Position:
        """Go on at the *position* that the ledger has; return from where to read the journal.

        That is what the journal itself showed last.  An event with the next
        number does not show that it is of the same history: a store that lost
        its last changes counts the same numbers again.
        """
        if self.position is None or self.position[:2] != position[:2]:
            self._forget()
        self.position = position
        known = self.verified
        if known is None or known[:2] != position[:2]:
            return position
        return known if known.sequence <= position.sequence else position

    def begin_anew(self, head: Position) -> None:
        """Forget what was, and go on at *head*."""
        self._forget()
        self._remember(head)
        self.position = self.verified = head

    def _forget(self) -> None:
        for known in (self._ahead, self._recent, self._announced):
            known.clear()

    def meet(self, entry: JournalEntry) -> tuple[bool, bool]:
        """Compare *entry*, which the journal has, with what was heard.

        Returns:
            Whether it is to be applied, and whether no event told of it.

        Raises:
            PositionLost: an event told of another entry under that number.
        """
        sequence, entry_id = entry.version[1:]
        known = self._recent.get(sequence)
        if known is not None and known != entry_id:
            raise PositionLost(f"{entry.version} had another id when its event came")
        if self.position is not None and sequence <= self.position.sequence:
            return known is None, False
        announced = self._announced.pop(sequence, None) == entry_id
        return True, not (announced or sequence in self._ahead)

    def reach(self, position: Position) -> None:
        """Take note that the journal was read, and everything applied, up to *position*."""
        self.verified = position
        if self.position is None or position.sequence > self.position.sequence:
            self.position = position
            self._remember(position)
        at = self.position.sequence
        self._ahead = {n: known for n, known in self._ahead.items() if n > at}
        self._pass_over_known()


def _shorten(known: dict[int, bytes]) -> None:
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
