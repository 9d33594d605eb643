"""What is taken out of a player to show that the checker finds it missing; and its wall clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

#: What can be taken out.
MECHANISMS = ("reservation", "version", "head", "order")

_time, _time_ns = time.time, time.time_ns
_jumped_s = 0.0


def jump(seconds: float) -> None:
    """Let the wall clock of this process be *seconds* off from now on."""
    global _jumped_s
    _jumped_s = seconds
    time.time = lambda: _time() + _jumped_s
    time.time_ns = lambda: _time_ns() + int(_jumped_s * 1e9)


def apply(without: str, mounted: Any, source: Any) -> None:
    """Take *without* out of the reading half of a cache."""
    ledger = mounted.filling.ledger
    if without == "reservation":
        # Whatever was voided meanwhile: what is kept gets a reservation of its own.
        fill = type(ledger).fill
        _replace(ledger, "fill", lambda held, value: fill(ledger, ledger.reserve(held.key), value))
    elif without == "version":
        void, many = ledger.void, ledger.void_many
        _replace(ledger, "void", lambda key, version: void(key, None))
        _replace(ledger, "void_many", lambda all_: many([(key, None) for key, _ in all_]))
    elif without == "head":
        for journal in getattr(source, "stores", [source]):
            _replace(journal, "head", _own_position(ledger, journal))


def _own_position(ledger: Any, journal: Any) -> Any:
    head = journal.head
    return lambda: ledger.positions().get(journal.store_id) or head()


@contextlib.contextmanager
def of_keeper(without: str, mounted: Any) -> Iterator[None]:
    """Take *without* out of invalidators that are made meanwhile."""
    filling = mounted.filling
    ledger = filling.ledger
    if without == "order":
        filling.ledger = _AdvanceFirst(ledger)
    try:
        yield
    finally:
        filling.ledger = ledger


class _AdvanceFirst:
    """Counts changes first, and applies them a moment later."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self._later: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def void(self, key: str, version: Any) -> bool:
        self._later.append((key, version))
        return True

    def void_many(self, changes: Any) -> list[bool]:
        self._later += changes
        return [True] * len(changes)

    def advance(self, position: Any) -> None:
        self._ledger.advance(position)
        later, self._later = self._later, []
        if later:
            time.sleep(0.05)
            self._ledger.void_many(later)


def _replace(what: Any, name: str, method: Any) -> None:
    object.__setattr__(what, name, method)
