"""What a store commits and has not told its bus of yet.

Between a commit and its event lies a moment in which a process may die.  The
outbox (``antiphon.outbox``) must be able to say up to where all events of this
process are with the bus, and must not count one that is in that moment.  So a
writer takes a turn before it commits and ends it when the bus has the events: a
turn that is over when it is looked for was over with its event told, and every
commit up to a known one had its turn before that one was known.

Nothing here waits: a turn costs an object and two entries of a set.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeVar

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.events.api import BaseEvent, BaseEventManager
from antiphon.events.event_id import EventId, EventIds
from antiphon.storage.changes import Change, Committed
from antiphon.storage.journal import Version
from antiphon.storage.outbox_ledger import OutboxLedger

_T = TypeVar("_T")

#: Commits of which the newest is looked for: of more threads than this that commit at once, one
#: may be found newest only at the next commit.
_REMEMBERED = 1024

#: Events in doubt that are remembered: more are not tried to be told before a broker is back.
MAX_DOUBTS = 100_000


#: Seconds after which a retired one is forgotten: whoever was about to begin a turn has begun.
RETIRED_S = 60.0


class Turn:
    """One commit, from before it until its events are told.

    Attributes:
        version: of the commit, once it is made.
        event: the last one of the commit, while it is emitted after all others were
            taken.  The bus marks it when it has it, and listeners that take long are not
            waited for.
    """

    __slots__ = ("__weakref__", "_tellings", "event", "version")

    def __init__(self, tellings: Tellings) -> None:
        self.version: Version | None = None
        self.event: BaseEvent | None = None
        self._tellings = tellings

    @property
    def told(self) -> Version | None:
        """The version of the commit if the bus has all its events; the turn need not be over."""
        event = self.event
        return self.version if event is not None and "_sent" in event.__dict__ else None

    def failed(self, changes: Sequence[Change], why: BaseException) -> None:
        """End it: the commit raised *why*, which may mean that it happened all the same."""
        is_unknown = isinstance(why, StoreUnavailable) or not isinstance(why, StoreError)
        doubts = [change.event_id for change in changes] if is_unknown else []
        self._tellings.end(self, None, doubts)

    def ended(
        self,
        committed: Sequence[Committed],
        untold: Sequence[Committed],
        manager: BaseEventManager,
    ) -> None:
        """End it: *manager* was told of *committed*, but for those that are also in *untold*."""
        if manager is not self._tellings.manager:  # another was assigned in the middle
            untold = committed
        doubts = [done.entry.event_id for done in untold if done.entry.event_id is not None]
        self._tellings.end(self, self.version, doubts)


class Tellings:
    """Which commits of one store object are told; for its writers, and for the outbox.

    Args:
        ids: makes the ids of the store's events; their publisher owns its entries.
        manager: takes the events; what another one took in its place counts as untold.
    """

    def __init__(self, ids: EventIds, manager: BaseEventManager) -> None:
        self.new_event_id = ids.next
        self.manager = manager
        self._open: set[Turn] = set()
        self._ended: deque[Version] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._doubts: dict[EventId, None] = {}
        self._retired_at: float | None = None

    # -- For writers ---------------------------------------------------------

    def begin(self) -> Turn:
        """Return the turn of a commit; before the commit, and before its event ids."""
        turn = Turn(self)
        self._open.add(turn)
        return turn

    def end(self, turn: Turn, newest: Version | None, doubts: Sequence[EventId]) -> None:
        """End *turn*; see ``Turn``, which calls this."""
        if doubts:
            with self._lock:
                self._doubts.update(dict.fromkeys(doubts))
                while len(self._doubts) > MAX_DOUBTS:
                    del self._doubts[next(iter(self._doubts))]
        if newest is not None:
            self._ended.append(newest)
        # Last: whoever finds it gone finds the rest.
        self._open.discard(turn)

    def retire(self) -> None:
        """Take note that no turn will begin any more, but for those just about to."""
        self._retired_at = time.monotonic()

    # -- For the outbox ------------------------------------------------------

    def newest(self) -> Version | None:
        """Return the newest version of the latest commits that are told; None without any."""
        told = [turn.told for turn in _copied(self._open)]
        return max((*_copied(self._ended), *filter(None, told)), default=None)

    def forget_told(self) -> None:
        """Forget which commits are told: their versions are of a history that is no more."""
        self._ended.clear()

    def open_turns(self) -> list[Turn]:
        """Return the turns that are not over and not told."""
        return [turn for turn in _copied(self._open) if turn.told is None]

    def is_open(self, turn: Turn) -> bool:
        """Return whether *turn*, which was open, still is."""
        return turn in self._open and turn.told is None

    @property
    def is_over(self) -> bool:
        """Whether it was retired, and is long done with."""
        retired_at = self._retired_at
        return (
            retired_at is not None
            and time.monotonic() - retired_at > RETIRED_S
            and not self._open
            and not self._doubts
        )

    def take_doubts(self) -> list[EventId]:
        """Return the ids of events that may be committed and are not told, and forget them."""
        if not self._doubts:
            return []
        with self._lock:
            taken = list(self._doubts)
            self._doubts.clear()
        return taken


class StoreOutbox(Protocol):
    """What vouches for the events of stores; ``antiphon.outbox`` makes one for each bus."""

    def add(self, store: Any, ledger: OutboxLedger, manager: BaseEventManager) -> Tellings:
        """Look after *store*, which is open and gets *manager*, that of this outbox."""

    def remove(self, store: object) -> None:
        """Look after *store* no more: its medium is being closed."""


def outbox_of(manager: BaseEventManager) -> StoreOutbox | None:
    """Return the outbox of the bus that *manager* is; None if it is none, or has none."""
    # Asked of the class: what only passes on to a bus what it lacks, as users'
    # wrappers do, may keep events back, and nobody may vouch for those.
    if not hasattr(type(manager), "outbox"):
        return None
    found: StoreOutbox | None = getattr(manager, "outbox", None)
    return found


def _copied(items: Iterable[_T]) -> list[_T]:
    while True:
        try:
            return list(items)
        except RuntimeError:  # another thread came between
            continue
