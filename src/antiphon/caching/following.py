"""Hears that a journal grew from the journal itself, where no broker tells."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from antiphon.caching.asking import JournalThread
from antiphon.storage.freshness import boot_clock
from antiphon.storage.journal import Journal, Position, WaitingJournal

#: Seconds that one wait takes at most: an answer that does not come is noticed then.
WAIT_S = 5.0

#: Seconds beyond that until a journal counts as silent.
GRACE_S = 3.0


class JournalFollower(JournalThread):
    """Waits on one journal, on a thread of its own.

    Args:
        journal: says when it grew.
        positions: returns up to where changes are applied, by store.
        catch_up: is called when the journal is elsewhere; returns when it was read.
        wait_s: seconds that one wait takes at most.
    """

    def __init__(
        self,
        journal: WaitingJournal,
        positions: Callable[[], dict[UUID, Position]],
        catch_up: Callable[[], None],
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        super().__init__(journal, "antiphon-cache-follower")
        self._journal = journal
        self._positions = positions
        self._catch_up = catch_up
        self._wait_s = wait_s
        #: When an answer came last, and when a question was sent that found nothing new.
        self._answered_at = boot_clock()
        self.confirmed_at = float("-inf")

    def start(self) -> None:
        """Begin to wait."""
        self._answered_at = boot_clock()
        super().start()

    @property
    def is_answered(self) -> bool:
        """Whether the journal has answered in time."""
        return boot_clock() - self._answered_at <= self._wait_s + GRACE_S

    def _ask_once(self) -> bool:
        """Wait for the journal; whether to wait again at once."""
        store_id = self._journal.store_id
        position = None if store_id is None else self._positions().get(store_id)
        if position is None:
            return False  # the cache was not checked yet
        sent_at = boot_clock()
        head = self._journal.wait(position, self._wait_s)
        self._answered_at = boot_clock()
        if head == position:
            self.confirmed_at = sent_at
            return True
        if self._stopped.is_set():
            return True
        self._catch_up()
        # A head that cannot be reached must not be asked for without a pause.
        return store_id is not None and self._positions().get(store_id) != position


def followers_of(
    journals: tuple[Journal, ...] | None,
    positions: Callable[[], dict[UUID, Position]],
    catch_up: Callable[[], None],
    *,
    wait_s: float,
) -> list[JournalFollower]:
    """Return a follower for each of *journals*; none if one of them cannot be waited for."""
    found = [journal for journal in journals or () if isinstance(journal, WaitingJournal)]
    if journals is None or len(found) < len(journals):
        return []
    return [JournalFollower(journal, positions, catch_up, wait_s=wait_s) for journal in found]
