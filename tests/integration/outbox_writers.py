"""Processes that commit to a store and die, and what the tests of outboxes share."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from antiphon import BrokerEventManager, BusOptions
from antiphon.messaging.bus import open_bus
from antiphon.outbox.opening import attach
from antiphon.outbox.options import Timing

#: Leases that a test can wait for.
QUICK = Timing(lease_s=0.6, renew_s=0.2, tick_s=0.05, patience_s=0.2)

#: The beginning of all writers: a connected store on a bus, and how to die.
_OPENED = """
import itertools, os, signal, sys
from antiphon import open_store
from antiphon.messaging.bus import open_bus
from antiphon.outbox.opening import attach
from antiphon.outbox.options import Timing
from antiphon.outbox.sweeper import Sweeper

amqp, system, url, *more = sys.argv[1:]

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

bus = open_bus(amqp, system=system)
attach(bus, timing=Timing(lease_s=0.6, renew_s=0.2, tick_s=0.05, patience_s=0.2))
store = open_store(url, event_manager=bus)
store.connect()
store.from_bytes(more[0] + "-told", b"")
bus.flush(20)
"""

#: Dies after its commit, before the bus has heard of it.
BEFORE_EMIT = (
    _OPENED
    + """
type(store)._tell = die
store.from_bytes(more[0] + "-untold", b"")
"""
)

#: Dies when the bus has two of the five events of a commit.
AMID_EMITS = (
    _OPENED
    + """
emit, counted = bus.emit, itertools.count()
type(bus).emit = lambda self, event, block=True: (
    die() if type(event).__name__ == "StoreSetEvent" and next(counted) == 2 else emit(event, block)
)
with store.transaction():
    for number in range(5):
        store.from_bytes(f"{more[0]}-{number}", b"")
"""
)

#: Dies when the bus has the event, and has sent nothing of it.
BEFORE_SEND = (
    _OPENED
    + """
bus._outgoing.take = lambda count: ()
store.from_bytes(more[0] + "-unsent", b"")
die()
"""
)

#: Writes on and on, in transactions too, until it is killed.
ENDLESS = (
    _OPENED
    + """
os.write(1, b"begun\\n")
for number in itertools.count():
    if number % 5 == 0:
        with store.transaction():
            store.from_bytes(f"{more[0]}-{number}", b"x")
            store.from_bytes(f"{more[0]}-{number}-too", b"x")
            store.delete(f"{more[0]}-{number}")
    else:
        store.from_bytes(f"{more[0]}-{number}", b"x" * 100)
"""
)

#: Sweeps, and dies when the broker has confirmed what it published.
KILLED_SWEEPER = (
    _OPENED
    + """
def confirmed(self, ledger, swept, position):
    if self._published:
        die()
    ledger.sweep_to(swept, position)

Sweeper._move = confirmed
signal.pause()
"""
)


def started(source: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start *source* in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def killed(*processes: subprocess.Popen[bytes]) -> None:
    """Wait until all have killed themselves."""
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert -9 == process.returncode, errors.decode()


def sweeping_bus(url: str, system: str, timing: Timing = QUICK, **options: Any) -> Any:
    """Return a bus with an outbox that tests can wait for."""
    bus: BrokerEventManager = open_bus(url, system=system, options=BusOptions(**options))
    attach(bus, timing=timing)
    return bus
