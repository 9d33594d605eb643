"""The outbox of a bus: vouches for what this process commits, sweeps up what others left."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

from antiphon.errors import (
    BusClosed,
    MessagingError,
    NotConnected,
    ReadOnlyStore,
    StoreError,
    StoreUnavailable,
)
from antiphon.events.api import BaseEventManager
from antiphon.events.event_id import EventIds
from antiphon.messaging.broker_event_manager import BrokerEventManager
from antiphon.outbox.hands import PATIENCE_S, Hands
from antiphon.outbox.options import Counts, OutboxStats, Timing
from antiphon.outbox.sweeper import Sweeper
from antiphon.outbox.vouching import Vouching
from antiphon.storage.outbox_ledger import OutboxLedger
from antiphon.storage.shielding import shield_of
from antiphon.storage.tellings import Tellings

logger = logging.getLogger(__name__)

#: Seconds that a store which is being disconnected waits for the broker's confirmations.
LEAVE_TIMEOUT_S = 1.0

#: Seconds to wait for the thread while it is at work on a store that is being disconnected.
_AT_WORK_TIMEOUT_S = 5.0

#: Seconds between two lines of the log about one store.
_LOG_INTERVAL_S = 60.0


class Outbox:
    """Looks after the stores of one bus, on threads of its own.

    Made and attached by ``antiphon.open_bus``; stores add themselves.  The threads
    begin with the first store whose medium keeps a ledger for outboxes: one that
    keeps time, one that looks at the stores, and one more for each that takes long.

    Args:
        bus: publishes, and is the event manager of the stores.
        timing: how quick it is.
    """

    def __init__(self, bus: BrokerEventManager, *, timing: Timing | None = None) -> None:
        self._bus = bus
        self._timing = timing or Timing()
        self._ids = EventIds()
        self._counts = Counts()
        self._lock = threading.Lock()
        self._watched: dict[UUID, _Watched] = {}
        self._is_ending = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    # -- For stores ----------------------------------------------------------

    def add(self, store: Any, ledger: OutboxLedger, manager: BaseEventManager) -> Tellings:
        """Look after *store*, which is open and gets *manager*, that of this outbox."""
        tellings = Tellings(self._ids, manager)
        with self._lock:
            watched = self._watched.get(store.store_id)
            if watched is None:
                watched = _Watched(self._bus, self._ids.publisher, self._timing, self._counts)
                self._watched[store.store_id] = watched
            watched.add(store, ledger, tellings)
            if self._thread is None and not self._is_ending.is_set():
                # Whose events others publish are not told twice to who heard them when they
                # were emitted.
                self._bus.vouch_for(self._ids.publisher)
                self._thread = threading.Thread(
                    target=self._run, name="antiphon outbox", daemon=True
                )
                self._thread.start()
        return tellings

    def remove(self, store: Any) -> None:
        """Look after *store* no more: its medium is being closed.

        Waits a moment for the broker to confirm what this process committed, so
        that nobody has to publish it again.
        """
        watched = self._watched.get(store.store_id)
        if watched is None:
            return
        is_waiting = self._bus.is_connected and not self._is_ending.is_set()
        watched.leave(store, LEAVE_TIMEOUT_S if is_waiting else 0.0)
        with self._lock:
            # What is open is remembered, for the case that the store comes back.
            if watched.is_empty and watched.is_settled:
                self._watched.pop(store.store_id, None)

    # -- For the bus, and for programs ---------------------------------------

    def stats(self) -> OutboxStats:
        """Return the counters."""
        watched, counts = list(self._watched.values()), self._counts
        now_ns = time.time_ns()
        since = [
            each.sweeper.waits_since_ns
            for each in watched
            if each.sweeper.waits_since_ns is not None
        ]
        return OutboxStats(
            stores=sum(not each.is_empty for each in watched),
            swept=counts.swept,
            orphaned=counts.orphaned,
            waiting=sum(each.sweeper.waiting for each in watched),
            lag_s=max(0, now_ns - min(since)) / 1e9 if since else 0.0,
            position_lost=counts.position_lost,
            unpublishable=counts.unpublishable,
            renewals=counts.renewals,
        )

    def wake(self) -> None:
        """Have the thread look at its stores now."""
        self._woken.set()

    def stop(self, timeout_s: float) -> None:
        """Say what is confirmed by now, and end; the bus has sent what it could."""
        self._is_ending.set()
        self._woken.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)
            if thread.is_alive():
                logger.warning("the outbox is still at work on a store that does not answer")
        deadline = time.monotonic() + timeout_s
        for each in list(self._watched.values()):
            each.say_last(0.0, max(0.0, deadline - time.monotonic()))

    def abandon(self) -> None:
        """In a forked child: do nothing any more; the parent does it."""
        self._is_ending.set()
        self._watched = {}
        self._lock = threading.Lock()

    # -- The thread ----------------------------------------------------------

    def _run(self) -> None:
        # A medium that hangs must not keep the leases of the others from being renewed.
        hands = Hands("antiphon outbox hand")
        is_ending = self._is_ending.is_set
        while not is_ending():
            self._woken.wait(self._timing.tick_s)
            self._woken.clear()
            with self._lock:
                watched = list(self._watched.values())
            looks = (functools.partial(each.look, is_ending) for each in watched)
            hands.run(deque(looks), is_ending)
        hands.end()


class _Watched:
    """One medium, by whatever store objects of this process."""

    def __init__(
        self, bus: BrokerEventManager, owner: bytes, timing: Timing, counts: Counts
    ) -> None:
        self._bus = bus
        self._counts = counts
        self._vouching = Vouching(bus, owner, timing)
        self.sweeper = Sweeper(bus, owner, self._vouching, timing, counts)
        self._stores: tuple[tuple[weakref.ref[Any], OutboxLedger], ...] = ()
        self._lock = threading.RLock()
        self._hangs = False
        self._logged_at = float("-inf")

    @property
    def is_empty(self) -> bool:
        return not self._stores

    @property
    def is_settled(self) -> bool:
        return self._vouching.advance()

    def add(self, store: Any, ledger: OutboxLedger, tellings: Tellings) -> None:
        kept = [each for each in self._stores if each[0]() not in (None, store)]
        self._stores = (*kept, (weakref.ref(store), ledger))
        self._vouching.add(tellings)

    def leave(self, store: Any, timeout_s: float) -> None:
        self.say_last(timeout_s)
        self._stores = tuple(each for each in self._stores if each[0]() not in (None, store))

    def _store(self) -> tuple[Any, OutboxLedger] | None:
        """Return a store of the medium, one behind a shield if there is one."""
        present = [(store, ledger) for ref, ledger in self._stores if (store := ref()) is not None]
        present.sort(key=lambda each: shield_of(each[0].event_manager) is None)
        return present[0] if present else None

    def look(self, is_ending: Callable[[], bool]) -> None:
        """Do what is due; what goes wrong is logged, and tried again the next time.

        Nothing if another thread is at it.
        """
        if not self._lock.acquire(blocking=False):
            return
        try:
            found = self._store()
            if found is not None:
                self._look(*found, is_ending)
        finally:
            self._lock.release()

    def _look(self, store: Any, ledger: OutboxLedger, is_ending: Callable[[], bool]) -> None:
        begun, has_more = time.monotonic(), True
        try:
            while has_more and not is_ending():
                self._vouching.look_at(store)
                self._vouching.advance()
                self._say(ledger)
                has_more = self.sweeper.sweep(store, ledger, is_ending)
            self._hangs = False
        except (StoreError, MessagingError) as exc:
            took_s = time.monotonic() - begun
            self._hangs = isinstance(exc, StoreUnavailable) and took_s >= PATIENCE_S
            self._log(store, exc)
        except Exception:  # of a store that is not ours, say; the next look may do
            logger.exception("the outbox of %r failed", store)

    def say_last(self, timeout_s: float, at_work_s: float = _AT_WORK_TIMEOUT_S) -> None:
        """Say up to where all is confirmed, after waiting a moment for that.

        Args:
            timeout_s: seconds to wait for the broker.
            at_work_s: seconds to wait for a thread that is at work on it.
        """
        # What hangs is waited for once, not again for each question.
        if not self._lock.acquire(timeout=0.0 if self._hangs else at_work_s):
            return
        try:
            found = self._store()
            if found is not None and not self._hangs:
                self._say_last(*found, timeout_s)
        finally:
            self._lock.release()

    def _say_last(self, store: Any, ledger: OutboxLedger, timeout_s: float) -> None:
        try:
            deadline = time.monotonic() + timeout_s
            with contextlib.suppress(NotConnected):  # it is being disconnected
                self._vouching.look_at(store)
            if not self._vouching.advance(timeout_s):  # and then of what was committed since
                self._vouching.advance(max(0.0, deadline - time.monotonic()))
            self._say(ledger, last=len(self._stores) == 1)
        except (StoreError, MessagingError) as exc:
            self._log(store, exc)

    def _say(self, ledger: OutboxLedger, *, last: bool = False) -> None:
        lease = self._vouching.due_lease(last=last)
        # Who is cut off from the broker is not to be waited for: another may publish it.
        if lease is None or not (last or self._bus.is_connected):
            return
        try:
            ledger.renew(lease)
        except StoreUnavailable as exc:
            # Who holds it may do so for long, and sweeping need not write.
            logger.info("the lease is written later: %s", exc)
            return
        self._vouching.wrote(lease)
        self._counts.renewals += 1

    def _log(self, store: Any, exc: Exception) -> None:
        now = time.monotonic()
        if (
            isinstance(exc, (BusClosed, NotConnected, ReadOnlyStore))
            or now - self._logged_at < _LOG_INTERVAL_S
        ):
            return
        self._logged_at = now
        logger.warning("the outbox of %r goes on later: %s", store, exc)
