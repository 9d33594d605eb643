"""Keeps a mounted cache right: drops what the backing store's changes make stale."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from antiphon.caching import switching
from antiphon.caching.applier import Applier
from antiphon.caching.asking import JournalThread
from antiphon.caching.changes import Heard, Outcome
from antiphon.caching.checks import Checks
from antiphon.caching.following import WAIT_S, JournalFollower, followers_of
from antiphon.caching.intake import OWN_WAIT_S, Intake
from antiphon.caching.listening import Listening
from antiphon.caching.stats import InvalidatorStats
from antiphon.caching.tailing import JournalTail, tails_of
from antiphon.caching.telling import Telling
from antiphon.caching.trust import Trust
from antiphon.errors import InvalidValue, StoreError
from antiphon.events.abstract_event_manager import BaseEventManager
from antiphon.messaging.bus import BrokerEventManager
from antiphon.storage.courtesy import any_of
from antiphon.storage.forking import Forked
from antiphon.storage.freshness import boot_clock
from antiphon.storage.journals import journals_of
from antiphon.storage.memory_ledger import MemoryLedger
from antiphon.storage.mounted_store import MountedStore

__all__ = ["CHECK_INTERVAL_S", "REPAIR_JITTER_S", "CacheInvalidator", "InvalidatorStats"]

logger = logging.getLogger(__name__)

#: Seconds between two looks into the backing store's journal.  They find what
#: no event told of: a lost last event, a writer that died before publishing.
CHECK_INTERVAL_S = 1.0

#: Seconds within which the caches of one broker look into the journal, each at
#: a moment of its own, when it is back: not all ask the same store at once.
REPAIR_JITTER_S = 0.25

#: Seconds after which a check that failed is tried again, at most.
_RETRY_S = 0.5

#: Seconds that ``stop()`` gives a wait for a journal.  One over HTTP may take
#: longer, and then ends by itself, or when its store is disconnected.
_WAIT_ENDS_S = 0.5

#: Seconds that ``stop()`` waits for each other thread.
_STOP_TIMEOUT_S = 5.0


class CacheInvalidator(Forked):
    """Drops the entries of a cache that the backing store's changes make stale.

    Args:
        mounted: a ``MountedStore(..., fill=True)``, connected.
        bus: where the backing store's events are heard.  A started invalidator
            is held by its bus; nobody else needs to.  None follows the journals
            of the backing store alone: for programs without a broker, and
            caches over HTTP.
        check_interval_s: seconds between two looks into the journal.
        tails_journal: whether changes are also heard of from journals that hand them
            out (Redis), which is sooner than by the bus, at the cost of a connection
            each.
        switch_interval_s: while started, threads of this process take turns
            after so many seconds (``sys.setswitchinterval``), if that is sooner
            than they do.  With Python's 0.005 an invalidation waits as long for
            a thread that reads without pause.

    Raises:
        InvalidValue, ValueError: an argument makes no sense.

    While it cannot hear of changes the cache is in doubt: nothing is served
    from it that the backing store's head does not confirm at that very read.
    After a break the journal is read first, and only then the cache is trusted
    again.
    """

    def __init__(
        self,
        mounted: MountedStore,
        bus: BrokerEventManager | None = None,
        *,
        check_interval_s: float = CHECK_INTERVAL_S,
        switch_interval_s: float | None = None,
        tails_journal: bool = True,
    ) -> None:
        _check_arguments(mounted, bus, check_interval_s, switch_interval_s)
        self.mounted = mounted
        self._bus = bus
        self._interval_s = check_interval_s
        self._switch_interval_s = switch_interval_s
        self._tails_journal = tails_journal
        filler, backing = mounted.filling, mounted.backing_store
        self._journals = journals_of(backing)
        if bus is None and self._journals is None:
            raise InvalidValue(
                f"{backing!r} keeps no journal that could be followed: give CacheInvalidator a bus"
            )
        manager: BaseEventManager = mounted.event_manager if bus is None else bus
        self._telling = Telling(mounted, manager)
        self._trust = Trust(filler.ledger, filler.freshness, self._tell_trust)
        self._applier = Applier(
            filler.ledger, self._journals, mounted.mount_point, moved=filler.freshness.advanced
        )
        self._freshness = filler.freshness
        self._is_instant = is_instant = isinstance(filler.ledger, MemoryLedger)
        self._intake = Intake(
            self._applier,
            is_instant=is_instant,
            when_applied=self._applied,
            when_failed=self._failed,
        )
        self._listening = Listening(
            backing,
            self._journals,
            bus,
            self._take,
            take_many=self._intake.take_many if is_instant else None,
        )
        self._followers: list[JournalFollower] = []
        self._hearing: Sequence[JournalThread] = ()
        self._checks = Checks(self._check, self._is_check_needed, check_interval_s)
        self._starting = threading.Lock()
        self._renew_in_children("_starting")
        #: Held by who begins or ends, and a listener of theirs may end it.
        self._changing = threading.RLock()
        self._running = self._is_up = False
        self._checked_at: float | None = None
        #: The rebuilds after which all own keys were compared with the source; None: never yet.
        self._compared_after: int | None = None

    def __repr__(self) -> str:
        how = "trusted" if self.is_trusted else f"in doubt, {self.doubt}"
        return f"<CacheInvalidator of {self.mounted!r}: {how}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- How it is -----------------------------------------------------------

    def _forked(self) -> None:
        self._changing = threading.RLock()

    @property
    def is_trusted(self) -> bool:
        """Whether this invalidator vouches for the cache now."""
        return self._trust.is_given

    @property
    def doubt(self) -> str | None:
        """Why it does not vouch for the cache; None while it does."""
        return self._trust.why

    def is_alive(self) -> bool:
        """Return False if it was started, and a thread of it has ended without ``stop()``."""
        are_alive = self._checks.is_alive() and all(one.is_alive() for one in self._hearing)
        return are_alive or not self._running

    def stats(self) -> InvalidatorStats:
        """Return what was done so far."""
        counts = self._applier.counts
        shown_at = self._shown_at()
        return InvalidatorStats(
            applied=counts.applied,
            dropped=counts.dropped,
            gaps=self._applier.gaps,
            repairs=counts.repairs,
            rebuilds=counts.rebuilds,
            foreign=counts.foreign,
            conflicts=self._telling.conflicts,
            doubts=self._trust.doubts,
            coalesced=counts.coalesced,
            prefixes=counts.prefixes,
            staleness_s=None if shown_at is None else max(0.0, boot_clock() - shown_at),
        )

    def _shown_at(self) -> float | None:
        """Return as of when it is known that no change is missing."""
        followed = min((one.confirmed_at for one in self._followers), default=float("-inf"))
        checked = self._checked_at
        return checked if checked is None else max(checked, followed)

    # -- Beginning and ending ------------------------------------------------

    def start(self) -> Self:
        """Listen, check the cache against the journal, and vouch for it.  Twice is fine.

        If the backing store or the broker cannot be reached now, the cache
        stays in doubt and the invalidator goes on trying.

        Raises:
            BusClosed, BrokerRefused: nothing was started.
        """
        with self._changing:
            with self._starting:
                self._running = True
            if not self._is_up:
                self._start()
        return self

    def _start(self) -> None:
        try:
            # Listening comes first: what changes while the journal is read is heard.
            self._intake.start()
            self._listening.start()
        except BaseException:
            self._running = False
            raise
        self._is_up = True
        if self._switch_interval_s is not None:
            switching.shorten(self._switch_interval_s)
        if self._bus is not None:
            self._bus.on_state(self._state_changed)
            tails: list[JournalTail] = []
            if self._tails_journal:
                self._hearing = tails = tails_of(
                    self._journals,
                    self._applier.positions,
                    self._intake.take_many,
                    self._is_hearing,
                )
            if self._is_instant:
                arrivals = [tail.has_arrivals for tail in tails]
                self._freshness.courtesy.ask(any_of([*arrivals, self._bus.has_arrivals]))
        else:
            self._hearing = self._followers = followers_of(
                self._journals,
                self._applier.positions,
                self._checks.check_now,
                wait_s=min(WAIT_S, 5 * self._interval_s),
            )
        self._checks.start()
        for each in self._hearing:
            each.start()

    def stop(self) -> None:
        """Stop listening and vouching; the entries stay.  Twice is fine."""
        with self._starting:
            if not self._running:
                return
            self._running = False
        with self._changing:
            # Somebody may have begun anew meanwhile, or it never began.
            if self._is_up and not self._running:
                self._is_up = False
                self._stop()

    def _stop(self) -> None:
        self._checks.end()
        for each in self._hearing:
            each.stop()
        self._listening.stop()
        if self._bus is not None:
            self._bus.off_state(self._state_changed)
            self._freshness.courtesy.release()
        if self._trust.is_given and self._applier.unverified:
            self._show_the_end()
        self._trust.end()
        if self._switch_interval_s is not None:
            switching.restore(self._switch_interval_s)
        self._intake.stop(_STOP_TIMEOUT_S)
        for each in self._hearing:
            each.join(_WAIT_ENDS_S)
        self._checks.join(_STOP_TIMEOUT_S)

    def _show_the_end(self) -> None:
        """Note where the journal is, so that the next process need not check all entries anew."""
        try:
            self._applier.catch_up(after_doubt=False, tell=self._telling.applied)
        except StoreError as exc:
            logger.debug("the journal could not be read at the end: %s", exc)

    # -- What is heard -------------------------------------------------------

    def _take(self, change: Heard, is_own: bool) -> None:
        # Who writes through a store that names no keys waits for the journal to be read.
        begun = self._checks.begun
        self._intake.take(change, is_own=is_own)
        is_unnamed = is_own and change.redacted and self._running
        if is_unnamed and not self._checks.wait_after(begun, OWN_WAIT_S):
            self._failed("a change was made of which only the journal knows the key")

    def _applied(self, outcome: Outcome) -> None:
        if not outcome.is_consistent:
            self._failed("the backing store has another history")
        elif outcome.is_unnamed or self._applier.is_long_unverified:
            self._checks.look_in(0)
        if outcome.applied:
            self._tell(self._telling.applied, outcome.applied)

    def _tell_trust(self, why: str | None) -> None:
        self._tell(self._telling.trust, why)

    def _tell(self, call: Callable[[Any], None], argument: Any) -> None:
        # What is heard early is applied where no listener may run.
        if self._bus is None:
            call(argument)
        else:
            self._bus.call_with_listeners(call, argument)

    def _failed(self, why: str) -> None:
        if self._running:
            # Here only in memory: whoever emits must not wait for a medium that fails.
            self._trust.withdraw(why)
            self._checks.look_in(0)

    def _state_changed(self, state: str) -> None:
        if state != "connected":
            self._trust.withdraw_everywhere("the broker cannot be reached")
            self._checks.look_in(0)
        else:
            self._checks.look_in(random.uniform(0, REPAIR_JITTER_S))  # noqa: S311 - no secret

    # -- Looking into the journal --------------------------------------------

    def _is_check_needed(self) -> bool:
        """Whether to look; not while others wait on the journals."""
        return not (self._followers and self._is_hearing() and self._trust.is_given)

    def _check(self) -> bool:
        """Read the journals on; vouch for the cache if changes were heard of all the while."""
        mark, began_at = self._trust.mark, boot_clock()
        try:
            self._applier.catch_up(after_doubt=not self._trust.is_given, tell=self._telling.applied)
            self._checked_at = began_at
            if self._is_hearing():
                self._trust.vouch(mark, self._is_hearing)
            elif self._running:
                self._trust.withdraw_everywhere(self._why_deaf())
            self._compare_own_writes()
        except Exception as exc:  # whatever a store of others raises ends no thread
            # Of the backing store, or of the cache's medium.
            why = f"it cannot be checked: {exc}"
            if why != self._trust.why:
                is_known = isinstance(exc, StoreError)
                logger.warning("the cache is in doubt, since %s", why, exc_info=not is_known)
            self._trust.withdraw_everywhere(why)
            self._checks.look_in(min(_RETRY_S, self._interval_s) * random.uniform(0.5, 1))  # noqa: S311
            return False
        return True

    def _compare_own_writes(self) -> None:
        """Find the conflicts that arose while nobody looked, and no journal tells of any more."""
        rebuilds = self._applier.counts.rebuilds
        if self._compared_after == rebuilds:
            return
        try:
            for found in list(self.mounted.filling.own.conflicts()):
                self._tell(self._telling.conflict, found)
            self._compared_after = rebuilds
        except StoreError as exc:
            logger.warning("cannot compare unpushed keys with their source yet: %s", exc)

    def _why_deaf(self) -> str:
        if self._bus is None:
            return "a journal of its backing store does not answer"
        return "its bus was closed" if self._bus.is_closed else "the broker cannot be reached"

    def _is_hearing(self) -> bool:
        """Whether changes are heard of now."""
        if not self._running:
            return False
        if self._bus is not None:
            return self._bus.is_connected
        return all(follower.is_answered for follower in self._followers)


def _check_arguments(
    mounted: object, bus: object, check_interval_s: float, switch_interval_s: float | None
) -> None:
    if not isinstance(mounted, MountedStore):
        raise InvalidValue(
            f"CacheInvalidator takes a MountedStore(..., fill=True) and a bus, not {mounted!r}"
        )
    if bus is not None and not hasattr(bus, "on_state"):
        raise InvalidValue(
            f"the bus of a CacheInvalidator is what open_bus(url) returns, or None to follow the"
            f" journal alone; not {bus!r}"
        )
    for name, value in (
        ("check_interval_s", check_interval_s),
        ("switch_interval_s", switch_interval_s),
    ):
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ValueError(f"{name} is {value!r}; it must be above 0 seconds")
