"""Trap 4: after a lost history nothing of it is called checked, whatever the interleaving.

Every order of two readers, who confirm or fill, and of a store whose history is
rewritten is tried, on the rules of the ledger alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from antiphon.storage.journal import Version
from antiphon.storage.ledger import Fill, Reservation
from antiphon.storage.memory_ledger import MemoryLedger

KEY = "p/a"


def version(history: int) -> Version:
    """Return the version of the key in a history: the numbers are the same in all of them."""
    return Version(1, 7, history.to_bytes(8, "big"))


class World:
    """A backing store whose history may be rewritten, and a cache with an entry of it."""

    def __init__(self, *, changes_key: bool) -> None:
        self.ledger = MemoryLedger()
        self.changes_key = changes_key
        self.history = 0
        #: The history whose loss was told of last.
        self.told = 0
        self.reservations: dict[str, Reservation] = {}
        self.answers: dict[str, int] = {}
        self.ledger.fill(self.ledger.reserve(KEY), self.value(0))

    def value(self, history: int) -> Fill:
        return Fill(io.BytesIO(b"%d" % history), {}, None, None, version(history))

    def reserve(self, who: str) -> None:
        self.reservations[who] = self.ledger.reserve(KEY)

    def ask(self, who: str) -> None:
        self.answers[who] = self.history

    def settle(self, who: str) -> None:
        """Confirm what is there, or fill if there is nothing to confirm."""
        reservation, answer = self.reservations[who], self.answers[who]
        entry = self.ledger.lookup(KEY).entry
        if entry is not None and not entry.checked:
            self.ledger.confirm(reservation, version(answer))
        else:
            self.ledger.fill(reservation, self.value(answer))

    def rewrite(self, who: str) -> None:
        # A backup is restored; the key may be the same in it, or another.
        self.history += 1 if self.changes_key else 0

    def suspect(self, who: str) -> None:
        self.told = self.history
        self.ledger.suspect()

    def evict(self, who: str) -> None:
        self.ledger.evict([KEY])

    def hear(self, who: str) -> None:
        self.ledger.void(KEY, version(self.history))

    def check(self) -> None:
        """What is checked is of the history that was told of last, or of a later one."""
        entry = self.ledger.lookup(KEY).entry
        if entry is not None and entry.checked:
            assert int(entry.data.read()) >= self.told


def orders(rest: dict[str, tuple[str, ...]]) -> Iterator[list[tuple[str, str]]]:
    """Yield every order of the actors' steps that keeps each actor's own."""
    if not any(rest.values()):
        yield []
    for who, steps in rest.items():
        if steps:
            for following in orders({**rest, who: steps[1:]}):
                yield [(who, steps[0]), *following]


READER = ("reserve", "ask", "settle")


@pytest.mark.parametrize("changes_key", [True, False])
@pytest.mark.parametrize(
    "others",
    [
        {"store": ("rewrite", "suspect", "rewrite", "suspect")},
        {"store": ("rewrite", "suspect"), "room": ("evict",)},
        {"store": ("rewrite", "suspect", "hear")},
    ],
    ids=["twice", "evicted", "heard"],
)
def test_nothing_of_a_lost_history_is_checked(
    others: dict[str, tuple[str, ...]], *, changes_key: bool
) -> None:
    """Also where only ids differ; and what is right comes to be checked in the end."""
    tried = 0
    for order in orders({"one": READER, "two": READER, **others}):
        world = World(changes_key=changes_key)
        for who, step in order:
            getattr(world, step)(who)
            world.check()
        for _ in range(2):
            for step in READER:
                getattr(world, step)("last")
        entry = world.ledger.lookup(KEY).entry
        tried += 1

        assert entry is not None
        assert (True, b"%d" % world.history) == (entry.checked, entry.data.read())
    assert tried > 500
