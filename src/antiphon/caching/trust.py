"""Whether an invalidator vouches for its cache, and who is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from antiphon.errors import StoreError
from antiphon.storage.forking import Forked
from antiphon.storage.freshness import Freshness
from antiphon.storage.ledger import CacheLedger

logger = logging.getLogger(__name__)


class Trust(Forked):
    """The trust that one invalidator has in its cache.  Thread-safe.

    Args:
        ledger: of the cache; its beat is what readers in other processes see.
        freshness: tells the readers of this process.
        tell: called with None when the cache is vouched for, with the reason
            when it is not any more.

    Attributes:
        why: why the cache is not vouched for; None while it is.
        doubts: times it stopped being vouched for.
    """

    def __init__(
        self, ledger: CacheLedger, freshness: Freshness, tell: Callable[[str | None], None]
    ) -> None:
        self.why: str | None = "it was not checked yet"
        self.doubts = 0
        self._ledger = ledger
        self._freshness = freshness
        self._tell = tell
        self._lock = threading.Lock()
        #: Counts breaks, so that a check that one interrupted vouches for nothing.
        self._breaks = 0
        #: Whether the beat in the ledger may be ours.
        self._has_beaten = False
        self._renew_in_children("_lock")

    def _forked(self) -> None:
        self.why, self._has_beaten = "its invalidator is that of the parent process", False

    @property
    def is_given(self) -> bool:
        """Whether this invalidator vouches for the cache now."""
        return self.why is None

    @property
    def mark(self) -> int:
        """Take it before a check, and give it to ``vouch`` after."""
        return self._breaks

    def vouch(self, mark: int, is_hearing: Callable[[], bool]) -> None:
        """Vouch for the cache if nothing broke since *mark*, and changes are heard of.

        Raises:
            StoreError: the cache's medium lost what it had noted, or cannot be
                reached; it is in doubt.
        """
        if mark != self._breaks or not is_hearing():
            return
        self._has_beaten = True
        # Without the lock: the medium may take its time, and doubt must not wait.
        self._ledger.beat()
        with self._lock:
            is_right = mark == self._breaks and is_hearing()
            if is_right:
                self._freshness.vouch()
                was, self.why = self.why, None
        if not is_right:
            self._doubt_everywhere()
        elif was is not None:
            self._tell(None)

    def withdraw(self, why: str) -> None:
        """Stop vouching to the readers of this process; waits for no medium."""
        with self._lock:
            self._breaks += 1
            self._freshness.doubt(why)
            was, self.why = self.why, why
            self.doubts += was is None
        if was is None:
            self._tell(why)

    def withdraw_everywhere(self, why: str) -> None:
        """Stop vouching to everybody, if this invalidator is who did."""
        self.withdraw(why)
        self._doubt_everywhere()

    def _doubt_everywhere(self) -> None:
        if not self._has_beaten:
            # Another invalidator of the same cache may vouch, and goes on.
            return
        try:
            self._ledger.doubt()
        except StoreError as exc:
            logger.warning("cannot note the doubt in the cache: %s", exc)
        else:
            self._has_beaten = False

    def end(self) -> None:
        """Stop vouching, without doubt that stays: another invalidator may come."""
        self.withdraw_everywhere("its invalidator was stopped")
        self._freshness.lift()
