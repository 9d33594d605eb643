"""A journal without a store, for tests of what follows journals."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from antiphon.errors import PositionLost
from antiphon.storage.journal import JournalEntry, Position, Version, new_entry_id


class FakeJournal:
    """The history of a store that is not there."""

    def __init__(self) -> None:
        self.store_id: UUID | None = uuid4()
        self.epoch = 1
        self.first = 0
        self.entries: list[JournalEntry] = []
        self.heads_asked = 0
        self.start = new_entry_id()

    def change(self, *keys: str) -> list[JournalEntry]:
        """Commit one change a key, all in one commit."""
        made = []
        for key in keys:
            sequence = self.first + len(self.entries) + 1
            version = Version(self.epoch, sequence, new_entry_id())
            made.append(
                JournalEntry(version, key, "update", None, b"", key is keys[-1], 0),
            )
            self.entries.append(made[-1])
        return made

    def rewind(self, count: int) -> None:
        """Lose the last *count* changes, as a restored backup does."""
        del self.entries[len(self.entries) - count :]

    def truncate(self) -> None:
        """Forget all entries but keep counting."""
        self.first += len(self.entries)
        self.start = self.entries[-1].version.entry_id
        self.entries.clear()

    def position_of(self, entry: JournalEntry) -> Position:
        assert self.store_id is not None
        return Position(self.store_id, *entry.version)

    def head(self) -> Position:
        self.heads_asked += 1
        assert self.store_id is not None
        if self.entries:
            return self.position_of(self.entries[-1])
        return Position(self.store_id, self.epoch, self.first, self.start)

    def since(self, position: Position) -> Iterable[JournalEntry]:
        index = position.sequence - self.first
        if (position.store_id, position.epoch) != (self.store_id, self.epoch):
            raise PositionLost(f"no such history: {position}")
        if not 0 <= index <= len(self.entries):
            raise PositionLost(f"not reached: {position}")
        known = self.entries[index - 1].version.entry_id if index else self.start
        if known != position.entry_id:
            raise PositionLost(f"another history: {position}")
        return list(self.entries[index:])
