"""How a backend store tells of what it committed, and who vouches for that."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from antiphon.errors import ReadOnlyStore
from antiphon.events.api import BaseEventManager
from antiphon.storage.backend_reading import BackendReading
from antiphon.storage.bulk_telling import Gathering, gathering, in_runs
from antiphon.storage.changes import Change, Committed
from antiphon.storage.commits import note_commits
from antiphon.storage.events import (
    StoreDeleteEvent,
    StoreModificationEvent,
    StoreSetEvent,
    StoreUpdateEvent,
)
from antiphon.storage.journal import place_of
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.tellings import StoreOutbox, Tellings, Turn, outbox_of

#: The event that tells of each action of the journal.
EVENT_OF_ACTION: dict[str, type[StoreModificationEvent]] = {
    "set": StoreSetEvent,
    "update": StoreUpdateEvent,
    "delete": StoreDeleteEvent,
}


class BackendTelling(BackendReading):
    """The telling half of ``BackendStore``, which is the one to derive from."""

    _event_manager: BaseEventManager
    store_id: UUID | None

    def __init__(self) -> None:
        #: What vouches for the events of this object; None: whoever sweeps the medium later.
        self._outbox: StoreOutbox | None = None
        self._tellings: Tellings | None = None
        super().__init__()

    def _join_outbox(self, manager: BaseEventManager) -> None:
        """Let the outbox of *manager*, if it has one, vouch for events; before any is made."""
        outbox = outbox_of(manager)
        if outbox is not self._outbox:
            self._leave_outbox()
        elif self._tellings is not None:
            self._tellings.retire()
        ledger = None if outbox is None else self._begun_ledger()
        if outbox is None or ledger is None:
            return
        self._outbox = outbox
        self._tellings = outbox.add(self, ledger, manager)

    def _begun_ledger(self) -> OutboxLedger | None:
        """Return the ledger, with a position in it: of old history nothing is published."""
        ledger = self.outbox_ledger()
        try:
            # Now, not by a thread in a while: a process may commit and die before that.
            if ledger is not None and ledger.swept() is None:
                ledger.sweep_to(None, self._head())
        except ReadOnlyStore:
            return None
        return ledger

    def _leave_outbox(self) -> None:
        outbox, tellings = self._outbox, self._tellings
        self._outbox = self._tellings = None
        if tellings is not None:
            tellings.retire()
        if outbox is not None:
            outbox.remove(self)

    def _commit_in_turn(self, turn: Turn | None, changes: Sequence[Change]) -> list[Committed]:
        if turn is None:
            return self._commit(changes)
        try:
            return self._commit(changes)
        except BaseException as exc:
            turn.failed(changes, exc)
            raise

    def _tell(self, committed: Sequence[Committed], turn: Turn | None = None) -> None:
        """Emit the events of what was committed, and end the *turn* of the commit."""
        self._watch.tell()
        note_commits(self.store_id, committed)
        manager = self._event_manager
        untold: list[Committed] = []
        if turn is not None and committed:
            turn.version = committed[-1].entry.version
        try:
            with gathering(manager, committed) as block:
                self._emit_all(in_runs(committed), manager, turn, untold, block)
        finally:
            if turn is not None:
                turn.ended(committed, untold, manager)

    def _emit_all(
        self,
        committed: Sequence[Committed],
        manager: BaseEventManager,
        turn: Turn | None,
        untold: list[Committed],
        block: Gathering,
    ) -> None:
        """Emit the events of *committed*; note in *untold* what *manager* did not take."""
        # Asked of the class: what only passes on to another manager what it
        # lacks, as users' wrappers do, must not pass on this.
        hears = getattr(type(manager), "hears", None)
        failure: BaseException | None = None
        for number, done in enumerate(committed, start=1):
            entry = done.entry
            kind = EVENT_OF_ACTION[entry.action]
            if hears is not None and not hears(manager, kind):
                continue
            event = kind(self, key=entry.key, metadata=done.metadata)
            event._event_id = entry.event_id
            if self.store_id is not None:
                event._position = place_of(self.store_id, entry.version, done.before)
            if turn is not None and number == len(committed) and not untold:
                turn.event = event
            try:
                manager.emit(event)
                block.emitted()
            except Exception as exc:  # the others are due all the same; raised below
                exc.add_note(f"the change of {entry.key!r:.80} is committed; only its event failed")
                failure = failure or exc
                untold.append(done)
            except BaseException:
                untold.extend(committed[number - 1 :])
                raise
        if failure is not None:
            raise failure
