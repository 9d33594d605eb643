"""Each mechanism of a cache is needed: without it some order of steps breaks an invariant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
from cache_world import Rules, World
from stepped_source import STORE_ID
from stepping import Violation
from test_all_interleavings import (
    Scene,
    confirmed,
    confirmed_and_lost,
    equal_numbers,
    equal_numbers_overtaken,
    fill_race,
    filled_and_lost,
    lost_last,
    overtaken,
    play,
    position_last,
    restored,
    suspected,
    truncated,
)

from antiphon.caching.applier import Applier
from antiphon.caching.history import History
from antiphon.storage.freshness_questions import Questions
from antiphon.storage.journal import Position
from antiphon.storage.memory_ledger import MemoryLedger


class Unreserved(MemoryLedger):
    """Keeps what is filled, whatever was voided since its reservation."""

    def fill(self, reservation: Any, value: Any) -> Any:
        return super().fill(self.reserve(reservation.key), value)


class Unversioned(MemoryLedger):
    """Forgets the version of what it voids."""

    def void(self, key: str, version: Any) -> bool:
        return super().void(key, None)

    def void_many(self, changes: Any) -> list[bool]:
        return super().void_many([(key, None) for key, _ in changes])


class Unsuspecting(MemoryLedger):
    """Calls everything checked."""

    def suspect(self) -> None:
        """Nothing is suspect."""


class Reserving(MemoryLedger):
    """Suspects entries, and lets fills that are under way go on."""

    def suspect(self) -> None:
        under_way = self._reservations
        super().suspect()
        self._reservations = under_way


class Confirming(MemoryLedger):
    """Confirms whatever version there is."""

    def confirm(self, reservation: Any, version: Any) -> Any:
        present = self.lookup(reservation.key).entry
        return super().confirm(reservation, present.version if present else version)


class _Between:
    """Stands between an applier and its ledger."""

    def __init__(self, ledger: Any) -> None:
        self.ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


class AdvanceFirst(_Between):
    """Counts a change first and applies it then."""

    def __init__(self, ledger: Any) -> None:
        super().__init__(ledger)
        self._later: list[Callable[[], object]] = []

    def void(self, key: str, version: Any) -> bool:
        self._later.append(lambda: self.ledger.void(key, version))
        return True

    def void_many(self, changes: Any) -> list[bool]:
        self._later.append(lambda: self.ledger.void_many(changes))
        return [True] * len(changes)

    def advance(self, position: Position | None) -> None:
        self.ledger.advance(position)
        while self._later:
            self._later.pop()()


class AdvanceBeforeSuspect(_Between):
    """Counts the new head first and suspects then."""

    is_due = False

    def suspect(self) -> None:
        self.is_due = True

    def void_prefix(self, prefix: str, version: Any) -> int:
        return 0

    def advance(self, position: Position | None) -> None:
        self.ledger.advance(position)
        if position is not None and self.is_due:
            self.is_due = False
            self.ledger.suspect()


class SuspectBeforeHead(_Between):
    """Suspects everything, and reads the head then."""

    def __init__(self, ledger: Any, journal: Any) -> None:
        super().__init__(ledger)
        self._journal = journal

    def suspect(self) -> None:
        """It was done before the head was read."""

    def void_prefix(self, prefix: str, version: Any) -> int:
        return 0

    # What it is as a journal.

    @property
    def store_id(self) -> Any:
        return self._journal.store_id

    def head(self) -> Position:
        self.ledger.suspect()
        return self._journal.head()  # type: ignore[no-any-return]

    def since(self, position: Position) -> Any:
        return self._journal.since(position)


def _suspect_first(ledger: Any, journal: Any) -> Applier:
    between = SuspectBeforeHead(ledger, journal)
    return Applier(between, between, "p/")  # type: ignore[arg-type]


def _over_gaps(self: Any, position: Position, link: bytes) -> bool:
    """Follow every event at once: it is the newest that is known."""
    self.position = position
    return True


def _believing(world: World) -> Position:
    """Take the cache's own position for the head."""
    return world.ledger.positions().get(STORE_ID) or world.source.now_head()


MISSING: dict[str, tuple[list[tuple[Scene, dict[str, Any]]], Rules]] = {
    "reservation": (
        [(fill_race, {"has_versions": False})],
        Rules(ledger=lambda world: Unreserved(world.time.monotonic)),
    ),
    "version": (
        [(fill_race, {"lag": 1})],
        Rules(ledger=lambda world: Unversioned(world.time.monotonic)),
    ),
    "position last": (
        [(position_last, {})],
        Rules(applier=lambda ledger, journal: Applier(AdvanceFirst(ledger), journal, "p/")),
    ),
    "suspect": (
        [(suspected, {})],
        Rules(
            ledger=lambda world: Unsuspecting(world.time.monotonic),
            applier=lambda ledger, journal: Applier(AdvanceBeforeSuspect(ledger), journal, "p/"),
        ),
    ),
    "suspect ends reservations": (
        [(restored, {})],
        Rules(ledger=lambda world: Reserving(world.time.monotonic)),
    ),
    "suspect, then advance": (
        [(suspected, {})],
        Rules(applier=lambda ledger, journal: Applier(AdvanceBeforeSuspect(ledger), journal, "p/")),
    ),
    "head, then suspect": ([(truncated, {})], Rules(applier=_suspect_first)),
    "version of a confirm": (
        [(confirmed, {})],
        Rules(ledger=lambda world: Confirming(world.time.monotonic)),
    ),
}


@pytest.mark.parametrize("missing", MISSING)
def test_without_it_an_invariant_is_broken(missing: str) -> None:
    """The model finds the order that shows why the mechanism is there."""
    scenes, rules = MISSING[missing]
    for scene, kwargs in scenes:
        with pytest.raises(Violation):
            play(scene, rules=rules, **kwargs)


def test_without_asking_for_the_head_a_lost_last_event_is_never_found() -> None:
    """A cache that believes its own position is fresh for ever."""
    believing = patch("stepped_source.Source.head", lambda self: _believing(self.world))

    with believing, pytest.raises(Violation, match="I2"):
        play(lost_last)


def test_without_links_equal_numbers_are_taken_for_a_continuation() -> None:
    """An event with the next number may be of a store that went back, and came on again."""
    hear = History.hear
    unlinked = patch.object(History, "hear", lambda self, position, link: hear(self, position))

    with unlinked, pytest.raises(Violation, match="I"):
        play(equal_numbers)


def test_without_asking_the_journal_late_events_pass_for_new_ones() -> None:
    """A position past a head by its number may be one that the store has lost."""
    believing = patch.object(Questions, "_have", lambda self, positions: True)

    with believing, pytest.raises(Violation, match="I2"):
        play(equal_numbers_overtaken)


@pytest.mark.parametrize("scene", [filled_and_lost, confirmed_and_lost])
def test_without_a_look_at_the_position_what_is_lost_later_is_kept(scene: Scene) -> None:
    """What no event told of is gone from the store, and fresh in the cache."""
    keeping = patch(
        "antiphon.storage.filling_mount.ahead_of", lambda ledger, journals: lambda version: False
    )

    with keeping, pytest.raises(Violation, match="I"):
        play(scene)


def test_with_an_advance_over_gaps_an_overtaken_change_is_forgotten() -> None:
    """The event that came is not all that happened before it."""
    hasty = patch("antiphon.caching.history.History.hear", _over_gaps)

    with hasty, pytest.raises(Violation, match="I1"):
        play(overtaken)
