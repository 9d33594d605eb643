"""A backing store, its journal and its clock, every call of which is a step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from uuid import UUID

from stepping import Stage

from antiphon.errors import KeyNotFound, PositionLost, VersionConflict
from antiphon.storage.abstract_store import AbstractStore
from antiphon.storage.journal import ABSENT, LINK_BYTES, JournalEntry, Position, Version
from antiphon.storage.string_value import StringValue

STORE_ID = UUID(int=7)


def key_of(letter: str) -> str:
    """Return the key that the scenes call *letter*."""
    return f"p/{letter}"


class Surroundings(Protocol):
    """What a store needs of the world that it is in."""

    time: Ticking
    written: list[JournalEntry]

    def step(self, label: str) -> None: ...

    def tell(self, what: object) -> None: ...


class Ticking:
    """Stands in for the module ``time``: it moves only when a scene says so."""

    CLOCK_BOOTTIME = 7

    def __init__(self, stage: Stage) -> None:
        self.now = 1000.0
        self._stage = stage

    def monotonic(self) -> float:
        self._stage.tell(self.now)
        return self.now

    time = perf_counter = monotonic

    def clock_gettime(self, _: int) -> float:
        return self.monotonic()

    def time_ns(self) -> int:
        return int(self.monotonic() * 1e9)

    monotonic_ns = time_ns

    def sleep(self, _: float) -> None:
        """Nothing waits for this clock."""


class Source(AbstractStore):
    """The backing store, its journal, and all that they ever were.

    Args:
        world: where its calls are steps.
        lag: changes that ``get`` is behind: a replica or proxy stands before it.
        has_versions: whether its values have versions that a cache can use.

    Attributes:
        is_slow: whether the entries of its journal come one by one.
    """

    is_slow = False

    def __init__(self, world: Surroundings, *, lag: int = 0, has_versions: bool = True) -> None:
        super().__init__()
        self.store_id: UUID | None = STORE_ID
        self.world = world
        self.lag = lag
        self.has_versions = has_versions
        self.history: list[JournalEntry] = []
        self._links: dict[Version, bytes] = {}
        self.lives = 1
        self.first = 0
        #: Each state of all keys, and the time since when it was the store's.
        self.moments: list[tuple[float, dict[str, Version]]] = [(0.0, {})]

    # -- What happens to it --------------------------------------------------

    def change(self, *letters: str) -> list[JournalEntry]:
        """Commit one change a key, all in one."""
        made: list[JournalEntry] = []
        for letter in letters:
            sequence = len(self.history) + 1
            entry_id = bytes([self.lives, sequence]) + b"-entry"
            version, key = Version(1, sequence, entry_id), key_of(letter)
            self._links[version] = self.now_head().entry_id[:LINK_BYTES]
            last = len(made) == len(letters) - 1
            made.append(JournalEntry(version, key, "update", None, b"", last, 0))
            self.history.append(made[-1])
        self._note()
        return made

    def restore(self, count: int) -> None:
        """Lose the last *count* changes, as a restored backup does."""
        del self.history[len(self.history) - count :]
        self.lives += 1
        self._note()

    def link_of(self, entry: JournalEntry) -> bytes:
        """Return the beginning of the id of what was before *entry* when it was committed."""
        return self._links[entry.version]

    def truncate(self) -> None:
        """Forget the journal's entries; the values stay."""
        self.first = len(self.history)

    def _note(self) -> None:
        self.moments.append((self.world.time.now, self.state()))

    def state(self, upto: int | None = None) -> dict[str, Version]:
        """Return the version of each key, after the first *upto* changes."""
        return {str(entry.key): entry.version for entry in self.history[:upto]}

    def position_of(self, entry: JournalEntry) -> Position:
        return Position(STORE_ID, *entry.version)

    # -- What it is asked ----------------------------------------------------

    def now_head(self) -> Position:
        """Return the head, without a step."""
        if self.history:
            return self.position_of(self.history[-1])
        return Position(STORE_ID, 1, 0, b"the-zero")

    def head(self) -> Position:
        self.world.step("store answers with its head")
        head = self.now_head()
        # It arrives whenever the next step comes.
        self.world.tell(head)
        return head

    def since(self, position: Position) -> Iterable[JournalEntry]:
        self.world.step("journal is read")
        found = self._since(position)
        self.world.tell(found)
        if found is None:
            raise PositionLost(f"no such position: {position}")
        return self._slowly(found) if self.is_slow else found

    def _slowly(self, entries: list[JournalEntry]) -> Iterator[JournalEntry]:
        # Between two entries anything may happen, as between two pages.
        for entry in entries:
            self.world.step("an entry of the journal arrives")
            yield entry

    def _since(self, position: Position) -> list[JournalEntry] | None:
        at = position.sequence
        if not self.first <= at <= len(self.history):
            return None
        known = self.history[at - 1].version.entry_id if at else b"the-zero"
        return self.history[at:] if known == position.entry_id else None

    def get(self, key: str) -> Any:
        self.world.step("store is read")
        upto = max(0, len(self.history) - self.lag)
        version = self.state(upto).get(key)
        self.world.tell(version)
        if version is None:
            raise KeyNotFound(key)
        value = StringValue(str(version).encode(), {}, 1.0, 1.0)
        value.version = version if self.has_versions else None
        return value

    def get_metadata(self, key: str, select: Iterable[str] | None = None) -> dict[str, Any]:
        return self.get(key).metadata  # type: ignore[no-any-return]

    def exists(self, key: str) -> bool:
        return key in self.state()

    def set(self, key: str, value: Any, buffer_size: int = 0, *, expect: Any = None) -> Any:
        self.world.step("store is written")
        found = self.state().get(key, ABSENT)
        is_right = expect is None or expect == found
        self.world.tell(is_right)
        if not is_right:
            raise VersionConflict(key, expect, found)
        (entry,) = self.change(key[2:])
        self.world.written.append(entry)
        return entry.version

    def is_connected(self) -> bool:
        return True

    def connect(self, credentials: Any = None) -> None:
        """It always is."""
