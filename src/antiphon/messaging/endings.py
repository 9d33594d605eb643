"""Buses that are open in this process: closed at its end, abandoned in its children."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.messaging.bus import BrokerEventManager

#: Seconds that a bus which nobody closed gets at the end of the program.
EXIT_TIMEOUT_S = 2.0

#: Random bytes in the id of a bus.
_ID_BYTES = 9


class OpenBuses:
    """Every bus that is open; weakly held."""

    def __init__(self) -> None:
        self._buses: weakref.WeakSet[BrokerEventManager] = weakref.WeakSet()
        self._number = itertools.count(1)

    def new_id(self) -> str:
        """Return an id that no other bus has: the process id, a number and random hex digits."""
        return f"{os.getpid()}.{next(self._number)}.{os.urandom(_ID_BYTES).hex()}"

    def add(self, bus: BrokerEventManager) -> None:
        """Take note that *bus* is open."""
        self._buses.add(bus)

    def discard(self, bus: BrokerEventManager) -> None:
        """Take note that *bus* was closed."""
        self._buses.discard(bus)

    def close_all(self) -> None:
        """Close what is still open, soon."""
        for bus in tuple(self._buses):
            bus.close(EXIT_TIMEOUT_S)

    def abandon_all(self) -> None:
        """In a forked child: none of them is this process's."""
        for bus in tuple(self._buses):
            with contextlib.suppress(OSError):  # the child goes on whatever its sockets say
                bus.abandon()
        self._buses = weakref.WeakSet()


#: The buses of this process.
opened = OpenBuses()

atexit.register(opened.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=opened.abandon_all)
