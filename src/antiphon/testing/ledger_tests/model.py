"""A ledger against a plain model: random histories, made and checked by Hypothesis."""

from __future__ import annotations

# ruff: noqa: S101 - a suite is made of asserts
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from antiphon.storage.journal import Position, Version
from antiphon.storage.ledger import CacheLedger, Reservation
from antiphon.testing.ledger_tests.base import (
    OTHER_STORE_ID,
    STORE_ID,
    fill_of,
    position,
    read,
    version,
)

#: Steps of each history.
STEPS = 30

KEYS = ("", "a", "p/", "p/a", "p/ü\n\x00", "q")

_keys = st.sampled_from(KEYS)
_prefixes = st.sampled_from(["", "p/", "p/a", "x"])
_versions = st.none() | st.builds(
    version, st.integers(1, 5), st.integers(1, 2), history=st.integers(0, 1)
)
_positions = st.builds(
    position,
    st.integers(1, 5),
    st.integers(1, 2),
    store_id=st.sampled_from([STORE_ID, OTHER_STORE_ID]),
)
_data = st.sampled_from([b"", b"x", b"\x00\xff" * 40])


@dataclass
class PlainLedger:
    """The rules of ``antiphon.storage.ledger``, as plainly as they can be written."""

    entries: dict[str, tuple[bytes, Version | None, bool]] = field(default_factory=dict)
    standing: dict[bytes, str] = field(default_factory=dict)
    noted: dict[tuple[bool, str], tuple[int, int]] = field(default_factory=dict)
    positions: dict[UUID, Position] = field(default_factory=dict)
    bases: dict[str, Version] = field(default_factory=dict)
    pushes: dict[str, bytes] = field(default_factory=dict)
    is_vouched_for: bool = False

    def void(self, key: str, at: Version | None) -> bool:
        self._end(key)
        self._note((False, key), at)
        return self._drop(key, at)

    def void_prefix(self, prefix: str, at: Version | None) -> int:
        for key in KEYS:
            if key.startswith(prefix):
                self._end(key)
        self._note((True, prefix), at)
        below = [key for key in KEYS if key.startswith(prefix)]
        return sum([self._drop(key, at) for key in below])

    def _end(self, key: str) -> None:
        self.standing = {token: k for token, k in self.standing.items() if k != key}

    def _note(self, name: tuple[bool, str], at: Version | None) -> None:
        if at is not None:
            self.noted[name] = max(self.noted.get(name, (0, 0)), at[:2])

    def _drop(self, key: str, at: Version | None) -> bool:
        if key not in self.entries:
            return False
        _, kept, is_checked = self.entries[key]
        is_late = kept is not None and at is not None and is_checked and kept[:2] > at[:2]
        if is_late or (kept is not None and kept == at):
            return False
        del self.entries[key]
        return True

    def fill(self, token: bytes, data: bytes, at: Version | None) -> bool:
        key = self.standing.pop(token, None)
        if key is None:
            return False
        for (is_prefix, name), noted in self.noted.items():
            concerns = key.startswith(name) if is_prefix else key == name
            if concerns and at is not None and at[:2] < noted:
                return False
        _, kept, is_checked = self.entries.get(key, (b"", None, False))
        if is_checked and kept is not None and at is not None and at[:2] < kept[:2]:
            return False
        self.entries[key] = (data, at, True)
        return True

    def confirm(self, token: bytes, at: Version | None) -> bytes | None:
        key = self.standing.pop(token, None)
        if key is None or key not in self.entries:
            return None
        data, kept, is_checked = self.entries[key]
        if kept is None or kept != at:
            if not is_checked:
                del self.entries[key]
            return None
        self.entries[key] = (data, kept, True)
        return data

    def suspect(self) -> None:
        self.standing = {}
        self.entries = {key: (data, at, False) for key, (data, at, _) in self.entries.items()}

    def advance(self, to: Position | None) -> None:
        if to is None:
            self.positions, self.noted = {}, {}
            return
        present = self.positions.get(to.store_id)
        if present is None or present.epoch != to.epoch or present.sequence <= to.sequence:
            self.positions[to.store_id] = to


class LedgerMachine(RuleBasedStateMachine):
    """One random history on a ledger that two handles share."""

    handles: tuple[CacheLedger, CacheLedger]

    reservations: Any = Bundle("reservations")

    def __init__(self) -> None:
        super().__init__()
        self.turn = 0
        self.model = PlainLedger()
        _empty(self.handles[0])
        self.beats = self.handles[0].lookup("").beat or 0

    @property
    def ledger(self) -> CacheLedger:
        """The handles take turns."""
        self.turn = 1 - self.turn
        return self.handles[self.turn]

    @rule(target=reservations, key=_keys)
    def reserve(self, key: str) -> Reservation:
        reservation = self.ledger.reserve(key)
        self.model.standing[reservation.token] = key
        return reservation

    # Not used up: a second use has to fail.
    @rule(reservation=reservations, data=_data, at=_versions)
    def fill(self, reservation: Reservation, data: bytes, at: Version | None) -> None:
        expected = data if self.model.fill(reservation.token, data, at) else None
        assert expected == read(self.ledger.fill(reservation, fill_of(data, at)))

    @rule(key=_keys, data=_data, at=_versions)
    def read_through(self, key: str, data: bytes, at: Version | None) -> None:
        self.fill(self.reserve(key), data, at)

    @rule(reservation=reservations, at=_versions)
    def confirm(self, reservation: Reservation, at: Version | None) -> None:
        expected = self.model.confirm(reservation.token, at)
        assert expected == read(self.ledger.confirm(reservation, at))

    @rule(key=_keys)
    def confirm_present(self, key: str) -> None:
        if key in self.model.entries:
            self.confirm(self.reserve(key), self.model.entries[key][1])

    @rule(reservation=consumes(reservations))
    def release(self, reservation: Reservation) -> None:
        self.model.standing.pop(reservation.token, None)
        self.ledger.release(reservation)

    @rule(key=_keys, at=_versions)
    def void(self, key: str, at: Version | None) -> None:
        assert self.model.void(key, at) == self.ledger.void(key, at)

    @rule(changes=st.lists(st.tuples(_keys, _versions), max_size=6))
    def void_many(self, changes: list[tuple[str, Version | None]]) -> None:
        expected = [self.model.void(key, at) for key, at in changes]
        assert expected == self.ledger.void_many(changes)

    @rule(prefix=_prefixes, at=_versions)
    def void_prefix(self, prefix: str, at: Version | None) -> None:
        assert self.model.void_prefix(prefix, at) == self.ledger.void_prefix(prefix, at)

    @rule()
    def suspect(self) -> None:
        self.model.suspect()
        self.ledger.suspect()

    @rule(keys=st.lists(_keys, max_size=3))
    def evict(self, keys: list[str]) -> None:
        expected = sum(self.model.entries.pop(key, None) is not None for key in keys)
        assert expected == self.ledger.evict(keys)

    @rule(to=st.none() | _positions)
    def advance(self, to: Position | None) -> None:
        self.model.advance(to)
        self.ledger.advance(to)

    @rule(is_sure=st.booleans())
    def vouch(self, is_sure: bool) -> None:
        self.model.is_vouched_for = is_sure
        if is_sure:
            self.ledger.beat()
        else:
            self.ledger.doubt()

    @rule(key=_keys, at=_versions, note=st.none() | _data)
    def write_own(self, key: str, at: Version | None, note: bytes | None) -> None:
        self.ledger.set_base(key, at)
        self.ledger.note_push(key, note)
        _put(self.model.bases, key, at)
        _put(self.model.pushes, key, note)

    @invariant()
    def all_handles_agree_with_the_model(self) -> None:
        model, ledger = self.model, self.ledger
        found = {key: ledger.lookup(key).entry for key in KEYS}
        held = {
            key: (read(entry), entry.version, entry.checked)
            for key, entry in found.items()
            if entry is not None
        }
        sizes = {key: len(data) for key, (data, _, _) in model.entries.items()}
        only = next(iter(model.positions.values())) if len(model.positions) == 1 else None
        assert model.entries == held
        assert sorted(model.entries) == sorted(ledger.keys())
        assert sizes == dict(ledger.sizes())
        assert (len(sizes), sum(sizes.values())) == ledger.usage()
        assert (model.positions, only) == (ledger.positions(), ledger.position())
        assert (model.bases, model.pushes) == (_bases(ledger), ledger.pushes())

    @invariant()
    def beats_grow_while_the_cache_is_vouched_for(self) -> None:
        beat = self.ledger.lookup("").beat
        assert self.model.is_vouched_for == (beat is not None)
        if beat is not None:
            assert beat >= self.beats
            self.beats = beat


def _put(kept: dict[str, Any], key: str, what: Any) -> None:
    if what is None:
        kept.pop(key, None)
    else:
        kept[key] = what


def _bases(ledger: CacheLedger) -> dict[str, Version]:
    bases = {key: ledger.base(key) for key in KEYS}
    return {key: base for key, base in bases.items() if base is not None}


def _empty(ledger: CacheLedger) -> None:
    """Make of a ledger that was used one that was not, but for its beats."""
    ledger.void_prefix("", None)
    ledger.advance(None)
    ledger.beat()
    for key in KEYS:
        ledger.set_base(key, None)
        ledger.note_push(key, None)


def check_against_model(ledger: CacheLedger, other: CacheLedger, *, examples: int) -> None:
    """Try random histories on a medium; fails with the shortest one that goes wrong."""

    class Machine(LedgerMachine):
        handles = (ledger, other)

        def __init__(self) -> None:
            super().__init__()
            self.handles[0].doubt()

    run_machine(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
