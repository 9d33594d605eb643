"""Traps 5 and 14: an old value must not be cached after its invalidation.

Every interleaving of two readers and a writer is tried, on the rules alone.
"""

import io
import itertools
from collections.abc import Callable, Iterator

import pytest

from antiphon.storage.journal import Version
from antiphon.storage.ledger import Fill, Reservation
from antiphon.storage.memory_ledger import MemoryLedger

KEY = "p/a"


def version(sequence: int) -> Version:
    return Version(1, sequence, sequence.to_bytes(8, "big"))


class World:
    """A backing store at some version, the events under way, and a cache."""

    def __init__(self, *, lag: int, by_prefix: bool) -> None:
        self.ledger = MemoryLedger()
        self.lag = lag
        self.by_prefix = by_prefix
        self.sequence = 1
        self.told = 1
        self.reservations: dict[str, Reservation] = {}
        self.read_versions: dict[str, int] = {}

    def reserve(self, who: str) -> None:
        self.reservations[who] = self.ledger.reserve(KEY)

    def read(self, who: str) -> None:
        # A second cache, a replica or a proxy between us and the store may lag.
        self.read_versions[who] = max(1, self.sequence - self.lag)

    def fill(self, who: str) -> None:
        seen = self.read_versions[who]
        value = Fill(io.BytesIO(str(seen).encode()), {}, None, None, version(seen))
        self.ledger.fill(self.reservations[who], value)

    def write(self, who: str) -> None:
        self.sequence += 1

    def hear(self, who: str) -> None:
        self.told += 1
        if self.by_prefix:
            self.ledger.void_prefix("p/", version(self.told))
        else:
            self.ledger.void(KEY, version(self.told))
        self.check()

    def check(self) -> None:
        """Nothing older than what was heard of may be in the cache."""
        entry = self.ledger.lookup(KEY).entry
        if entry is not None:
            assert entry.version is not None
            assert entry.version.sequence >= self.told


def interleavings(lengths: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every order of the actors' steps, each actor's own in order."""
    if not any(lengths):
        yield ()
        return
    for who, left in enumerate(lengths):
        if left:
            rest = tuple(n - (i == who) for i, n in enumerate(lengths))
            for order in interleavings(rest):
                yield (who, *order)


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("by_prefix", [False, True])
def test_no_interleaving_keeps_an_old_value(lag: int, by_prefix: bool) -> None:
    """Two readers fill while two writes are made and heard of, in all 4 200 orders."""
    tried = 0
    for order in interleavings((3, 3, 4)):
        world = World(lag=lag, by_prefix=by_prefix)
        fill: tuple[Callable[[str], None], ...] = (world.reserve, world.read, world.fill)
        steps = (fill, fill, (world.write, world.hear, world.write, world.hear))
        cursors = [itertools.count().__next__ for _ in steps]
        for who in order:
            steps[who][cursors[who]()](str(who))
            if world.told == world.sequence:
                world.check()
        tried += 1

    assert 4200 == tried
