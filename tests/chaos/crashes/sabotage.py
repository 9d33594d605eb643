"""Ways to break the promise that a commit and its event are one: the harness has to find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from antiphon.outbox.sweeper import Sweeper, _Fates
from antiphon.storage.backend_store import BackendStore
from antiphon.storage.changes import Committed
from antiphon.storage.journal import JournalEntry, Version
from antiphon.storage.sqlite_commit import Committer


def _journal_outside() -> None:
    """Have sqlite commit each entry of the journal before the data."""
    write_entry = Committer._write_entry

    def write_and_commit(self: Any, connection: Any, *args: Any) -> Any:
        entry = write_entry(self, connection, *args)
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        return entry

    Committer._write_entry = write_and_commit  # type: ignore[method-assign]


def _one_by_one() -> None:
    """Commit each change by itself."""
    commit = BackendStore._commit_in_turn

    def commit_all(self: Any, turn: Any, changes: Sequence[Any]) -> Any:
        return [done for change in changes for done in commit(self, turn, [change])]

    BackendStore._commit_in_turn = commit_all  # type: ignore[method-assign]


def _no_sweeping() -> None:
    """Take whatever another process has committed for published."""
    is_due = _Fates.is_due

    def is_mine_due(self: Any, entry: Any) -> Any:
        return is_due(self, entry) if entry.owner == self._owner else False

    _Fates.is_due = is_mine_due  # type: ignore[method-assign]


def _marked_first() -> None:
    """Note that events are out before the broker has them."""
    Sweeper._is_confirmed = lambda self, dropped, is_ending: True  # type: ignore[method-assign]


def _events_first() -> None:
    """Publish before the commit what is to be committed."""
    commit, tell = BackendStore._commit_in_turn, BackendStore._tell

    def commit_late(self: Any, turn: Any, changes: Sequence[Any]) -> Any:
        head = self.head()
        for number, change in enumerate(changes, start=1):
            version = Version(head.epoch, head.sequence + number, change.entry_id)
            action = "delete" if change.delete else "set"
            entry = JournalEntry(version, change.key, action, change.event_id, b"", True, 0)
            tell(self, [Committed(entry, {})], None)
        return commit(self, turn, changes)

    BackendStore._commit_in_turn = commit_late  # type: ignore[method-assign]


#: What each way is called.
SABOTAGE: dict[str, Callable[[], None]] = {
    "journal outside": _journal_outside,
    "one by one": _one_by_one,
    "no sweeping": _no_sweeping,
    "marked first": _marked_first,
    "events first": _events_first,
}
