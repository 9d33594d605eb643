"""Who commits on behalf of others learns what exactly was committed.

A server that writes for its clients has to answer with the version, the event
id and the position of each change, and the store it writes to may lie below
any number of wrappers.  So the innermost store, which alone commits, notes its
commits for whoever asked on this thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from antiphon.storage.changes import Committed
from antiphon.storage.journal import Position


class NotedCommit(NamedTuple):
    """One committed change of one key.

    Attributes:
        store_id: of the store that committed it.
        committed: its journal entry, and the metadata of its event.
    """

    store_id: UUID | None
    committed: Committed

    @property
    def position(self) -> Position | None:
        """Where the change stands in the journal of its store."""
        if self.store_id is None:
            return None
        return Position(self.store_id, *self.committed.entry.version)


class _Notes(threading.local):
    wanted: tuple[list[NotedCommit], ...] = ()


_notes = _Notes()


@contextlib.contextmanager
def noted_commits() -> Iterator[list[NotedCommit]]:
    """Collect what stores commit on this thread inside the block, in order.

    A change is in the list once it is committed, before its event is emitted:
    also if a listener fails.
    """
    notes: list[NotedCommit] = []
    _notes.wanted = (*_notes.wanted, notes)
    try:
        yield notes
    finally:
        _notes.wanted = tuple(each for each in _notes.wanted if each is not notes)


def note_commits(store_id: UUID | None, committed: Sequence[Committed]) -> None:
    """Tell whoever asked on this thread; called by stores that commit."""
    for notes in _notes.wanted:
        notes.extend(NotedCommit(store_id, each) for each in committed)
