"""Transactions of a backend store, and what is committed in portions instead."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from antiphon.errors import StoreError, StoreUnavailable
from antiphon.events.event_id import next_event_id
from antiphon.storage.backend_telling import BackendTelling
from antiphon.storage.changes import Committed, Staged
from antiphon.storage.events import (
    StoreTransactionEndEvent,
    StoreTransactionStartEvent,
)
from antiphon.storage.overlay import Overlay, Pending
from antiphon.storage.portions import Bulk, InOne, InPortions, Portion, portions
from antiphon.storage.tellings import Turn
from antiphon.storage.transaction_block import TransactionBlock

logger = logging.getLogger(__name__)

#: One commit, and its turn.
_Made = tuple[Turn | None, list[Committed]]


class BackendTransactions(BackendTelling):
    """The transactions of ``BackendStore``, which is the one to derive from."""

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is inside a transaction of this store."""
        return self._overlay is not None

    def transaction(self, notes: str = "") -> contextlib.AbstractContextManager[Any]:
        self._check_connected()
        return TransactionBlock(self)

    def _bulk(self, notes: str) -> Bulk:
        # A subclass with transactions of its own means these.
        is_own = type(self).transaction is BackendTransactions.transaction
        if self._portion is None or not is_own or self.in_transaction:
            return InOne(self.transaction(notes))
        self._check_connected()
        return InPortions(self, self._portion)

    def _begin(self, most: Portion | None = None) -> None:
        """Begin a transaction, or go into the one that is open.

        Args:
            most: what is committed at once; None: all of it.
        """
        overlay = self._overlay
        if overlay is None:
            # Begun only once it is told: an error here must leave no transaction open.
            self._event_manager.emit(StoreTransactionStartEvent(self))
            overlay = self._open.overlay = Overlay(most)
        overlay.depth += 1

    def _end(self, failed: BaseException | None) -> None:
        overlay = self._overlay
        assert overlay is not None  # noqa: S101 - begun, so there is one
        overlay.depth -= 1
        if overlay.depth > 0:
            return
        self._open.overlay = None
        if failed is not None:
            self._drop_staged(overlay.staged(), None)  # nothing was tried to commit
            self._event_manager.emit(StoreTransactionEndEvent(self, state="failed"))
            return
        try:
            made = self._commit_pending(overlay)
        except BaseException:
            self._event_manager.emit(StoreTransactionEndEvent(self, state="failed"))
            raise
        try:
            self._event_manager.emit(StoreTransactionEndEvent(self, state="done"))
        finally:
            # It is committed: whoever asked hears of it, whatever the other event met.
            self._tell_all(made)

    def _commit_lot(self) -> Exception | None:
        """Commit what the open bulk has changed so far, and tell; return what an event met."""
        overlay = self._overlay
        assert overlay is not None  # noqa: S101 - begun, so there is one
        emptied = self._open.overlay = Overlay(overlay.most)
        emptied.depth = overlay.depth
        made = self._commit_pending(overlay)
        try:
            self._tell_all(made)
        except Exception as exc:  # raised at the end of the bulk
            return exc
        return None

    def _commit_pending(self, overlay: Overlay) -> list[_Made]:
        """Commit the changes of *overlay*; of its portions, those before one that fails."""
        pending = overlay.changes
        some = [pending] if overlay.most is None else portions(pending, overlay.most)
        made: list[_Made] = []
        count = 0
        try:
            self._check_connected()
            for portion in some:
                if portion:
                    made.append(self._commit_some(portion))
                    count += len(portion)
        except BaseException as exc:
            self._drop_staged(overlay.staged(count), exc)
            self._tell_all(made)
            raise
        return made

    def _commit_some(self, pending: Sequence[Pending]) -> _Made:
        tellings = self._tellings
        turn = None if tellings is None else tellings.begin()
        new_id = next_event_id if tellings is None else tellings.new_event_id
        changes = [change.as_change(new_id()) for change in pending]
        return turn, self._commit_in_turn(turn, changes)

    def _tell_all(self, made: Sequence[_Made]) -> None:
        """Emit the events of several commits as those of one are emitted, and end their turns."""
        if not made:
            return
        try:
            self._tell([done for _, committed in made for done in committed], made[-1][0])
        finally:
            for turn, _ in made[:-1]:
                if turn is not None:
                    turn.ended([], [], self._event_manager)

    def _drop_staged(self, staged: Iterable[Staged], why: BaseException | None) -> None:
        if isinstance(why, StoreUnavailable):
            return  # It may be committed after all; if not, it is collected later.
        for each in staged:
            try:
                self._discard(each)
            except StoreError as exc:
                logger.warning("cannot discard a staged value now, it is collected later: %s", exc)
