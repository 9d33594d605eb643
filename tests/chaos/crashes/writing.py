"""The processes that commit, one of which is killed, and what they tell each other meanwhile."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from antiphon.errors import StoreError
from antiphon.events.api import EventManager
from antiphon.messaging.bus import open_bus
from antiphon.messaging.options import BusOptions
from antiphon.outbox.opening import attach
from antiphon.outbox.options import Timing
from antiphon.storage.dynamic_url_store import DynamicURLStore
from antiphon.testing.store_server import serve
from tests.chaos.crashes.children import forked
from tests.chaos.crashes.recording import recorded_url
from tests.chaos.crashes.tracing import Call, Fate, Traced

#: Leases as short as the tests are; and renewed often, so that writers die while they do.
TIMING = Timing(lease_s=0.3, renew_s=0.01, tick_s=0.005, patience_s=0.02)


class Target(NamedTuple):
    """A system call of a writer.

    Attributes:
        is_main: whether the first thread makes it; it is the one that commits, unless
            the writer is a server.
        number: how many calls that others can see it, or all other threads, made before.
        torn: whether half of what it writes is written.
    """

    is_main: bool
    number: int
    torn: bool = False


#: Says what becomes of a writer at a call, from that and from how many steps are over.
FateOf = Callable[[Call, Target, int], Fate]


#: So many steps are over as long as nobody may be killed.
_NOT_BEGUN = -1


class Signals:
    """What writers and the one that watches them tell each other."""

    def __init__(self) -> None:
        self._ready, self._begin, self._go = os.pipe(), os.pipe(), os.pipe()
        # Shared; and writing to it is no system call.
        self._progress = mmap.mmap(-1, 8)
        self.note(_NOT_BEGUN)

    # -- For the writers -------------------------------------------------------

    def ready(self, where: str = "") -> None:
        """Say that everything stands, and where."""
        os.write(self._ready[1], f"{where}\n".encode())

    def wait_go(self) -> None:
        """Wait for ``go``."""
        os.read(self._go[0], 1)

    def wait_begin(self) -> None:
        """Wait for ``begin``."""
        os.read(self._begin[0], 1)

    def note(self, done: int) -> None:
        """Say how many steps are over; with 0 killing may begin."""
        self._progress[:] = struct.pack("q", done)

    # -- For who watches them ----------------------------------------------------

    def heard(self) -> str:
        """Wait for ``ready``; return where."""
        os.close(self._ready[1])
        with open(self._ready[0], closefd=False) as pipe:
            line = pipe.readline()
        if not line:
            raise RuntimeError("the writer did not come so far that it could be killed")
        return line.strip()

    def go(self) -> None:
        """Let the first process go on."""
        os.write(self._go[1], b".")

    def begin(self) -> None:
        """Let the second process begin."""
        os.write(self._begin[1], b".")

    @property
    def done(self) -> int:
        """How many steps are over."""
        number: int = struct.unpack("q", self._progress)[0]
        return number

    def close(self) -> None:
        """Let go of everything, in the process that watches."""
        for descriptor in (self._ready[0], *self._begin, *self._go):
            os.close(descriptor)


def watch(
    write: Callable[[Signals], None],
    afar: Callable[[str, Signals], None] | None,
    fate_of: FateOf,
) -> int:
    """Run a writer; return how many steps were over at its end.

    Args:
        write: what the writer does, which may be killed.
        afar: what a second process does, which is told where the first one is and
            lives, if the first one is a server.
        fate_of: says when the writer is killed.

    Raises:
        RuntimeError: it failed by itself.
    """
    signals = Signals()
    pid = forked(lambda: write(signals))
    where = signals.heard()
    second = None if afar is None else forked(lambda: afar(where, signals))
    counts: Counter[bool] = Counter()

    def asked(call: Call) -> Fate:
        if signals.done == _NOT_BEGUN:
            return Fate.LIVE
        is_main = call.thread == pid
        target = Target(is_main, counts[is_main])
        counts[is_main] += 1
        return fate_of(call, target, signals.done)

    traced = Traced(pid)
    signals.go()
    signals.begin()
    try:
        status = traced.run(asked)
    finally:
        _end(second)
    signals.close()
    if status:
        raise RuntimeError(f"the writer failed by itself: status {status}")
    return max(0, signals.done)


def _end(process: int | None) -> None:
    if process is not None:
        # It may have ended, and been met among the threads of the other one.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def commit(store: Any, steps: Any, signals: Signals) -> None:
    """Do *steps* to *store*, and say how many are over."""
    signals.note(0)
    for number, step in enumerate(steps, start=1):
        step.do(store)
        signals.note(number)


def serve_until_told(store: Any, signals: Signals) -> None:
    """Serve *store* over HTTP until the client is done."""
    with serve(store) as served:
        signals.ready(served.url)
        signals.wait_go()
        signals.wait_go()


def commit_from_afar(url: str, steps: Any, signals: Signals) -> None:
    """Do *steps* to the store that is served at *url*."""
    store = DynamicURLStore(f"{url}/keys", f"{url}/query")
    store.event_manager = EventManager()
    store.connect()
    signals.wait_begin()
    # The server is gone.
    with contextlib.suppress(StoreError):
        commit(store, steps, signals)
        signals.go()


def recording_bus(path: Any) -> Any:
    """Return a bus with a quick outbox that writes down in *path* what it publishes."""
    bus = open_bus(recorded_url(path), options=BusOptions(outbox=False))
    attach(bus, timing=TIMING)
    return bus
