"""Single flight: of readers that miss the same key at once, one reads the source.

Who may take what another one's flight brought (docs/explanation/freshness.md,
interleaving 14):

- Whoever began to read before the flight did: the source was asked during
  their own read, as if they had asked themselves.
- Whoever came while it was under way, if the flight began within the bound of
  their read: what it brings was right then.  With a bound of 0 nobody: they
  wait, and the first of them flies again, for all of these.

    reader A          source          reader B (bound 0)
    takes off
    asks for k  --->  version 1
                      version 2, of which B's user knows
                                      reads k: a flight is under way, waits
    lands version 1                   must not take it; takes off itself
                      version 2 <---  asks for k
                                      lands version 2

A flight that brought nothing to keep (it failed, or the key was voided while it
was under way) is nobody's but its own reader's; the others fly by themselves.
An own write of the key voids its flight: readers from then on take off anew.

    reader A          user in B                   reader C (bound 3)
    takes off
    asks for k: 1
                      pushes 2, voids the flight
                                                  reads k: no flight, takes off
    lands version 1   (refused by the ledger)     lands version 2

A change that is applied after a flight kept its value, and before it lands,
drops what was kept.  Whoever reads after that finds nothing, and the flight: so
what a flight of before brings is taken only if it is there still (``holds``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from antiphon.storage.forking import Forked

_T = TypeVar("_T")

#: Seconds that a reader waits for another's flight; then it flies by itself.
FLIGHT_WAIT_S = 10.0


class Landed(Generic[_T]):
    """What a flight brought.

    Args:
        cargo: what it brought.
        began_at: when it took off.
    """

    __slots__ = ("began_at", "cargo")

    def __init__(self, cargo: _T, began_at: float) -> None:
        self.cargo = cargo
        self.began_at = began_at


class _Flight(Generic[_T]):
    def __init__(self, number: int, began_at: float) -> None:
        self.number = number
        self.began_at = began_at
        #: Made by the first who waits, which is seldom; set when it has landed.
        self.is_over: threading.Event | None = None
        self.has_landed = False
        self.cargo: _T | None = None
        #: The one that was taken by those to whom this one was of no use.
        self.next: _Flight[_T] | None = None


class Flights(Forked, Generic[_T]):
    """The flights of one kind under way in this process.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._under_way: dict[str, _Flight[_T]] = {}
        self._taken_off = 0
        #: Readers that took what another one's flight brought.
        self.shared = 0
        self._renew_in_children("_lock")

    def _forked(self) -> None:
        # Flights of before a fork are the parent's, and never land here.
        self._under_way.clear()

    def run(
        self,
        key: str,
        act: Callable[[], _T | None],
        *,
        within_s: float,
        holds: Callable[[_T], bool] = lambda _: True,
    ) -> Landed[_T] | None:
        """Return what *act* returns, or what it returned to another reader of *key*.

        Args:
            key: what is read.
            act: reads it; None if there is nothing that others could use.  Its
                errors are for its own caller.
            within_s: the bound of this read.
            holds: whether what a flight brought that took off before this read
                is right still, as far as is known here.
        """
        ticket = self._taken_off
        ends_at = self._clock() + FLIGHT_WAIT_S
        missed: _Flight[_T] | None = None
        while True:
            flight, is_mine = self._board(key, missed)
            if is_mine:
                return self._fly(key, flight, act)
            if flight.is_over is not None:
                flight.is_over.wait(max(0.0, ends_at - self._clock()))
            cargo = flight.cargo
            if cargo is None:
                return self._alone(act)
            is_young = self._clock() - flight.began_at < within_s
            if flight.number > ticket or (is_young and holds(cargo)):
                with self._lock:
                    self.shared += 1
                return Landed(cargo, flight.began_at)
            missed = flight

    def void(self, key: str) -> None:
        """Let no reader from now on take what a flight of *key* under way brings."""
        with self._lock:
            self._under_way.pop(key, None)

    def _board(self, key: str, missed: _Flight[_T] | None) -> tuple[_Flight[_T], bool]:
        """Return the flight to wait for, and whether it is the caller's to fly."""
        with self._lock:
            if missed is not None and missed.next is not None:
                # It may have landed already, and began after all who missed the last.
                return _awaited(missed.next), False
            flight = self._under_way.get(key)
            is_mine = flight is None
            if flight is None:
                self._taken_off += 1
                flight = self._under_way[key] = _Flight(self._taken_off, self._clock())
            else:
                _awaited(flight)
            if missed is not None:
                missed.next = flight
            return flight, is_mine

    def _fly(
        self, key: str, flight: _Flight[_T], act: Callable[[], _T | None]
    ) -> Landed[_T] | None:
        cargo: _T | None = None
        try:
            cargo = act()
        finally:
            with self._lock:
                if self._under_way.get(key) is flight:
                    del self._under_way[key]
                    flight.cargo = cargo
                flight.has_landed = True
            if flight.is_over is not None:
                flight.is_over.set()
        return None if cargo is None else Landed(cargo, flight.began_at)

    def _alone(self, act: Callable[[], _T | None]) -> Landed[_T] | None:
        began_at = self._clock()
        cargo = act()
        return None if cargo is None else Landed(cargo, began_at)


def _awaited(flight: _Flight[_T]) -> _Flight[_T]:
    """Return *flight* after noting that somebody waits for it; under the lock."""
    if flight.is_over is None and not flight.has_landed:
        flight.is_over = threading.Event()
    return flight
