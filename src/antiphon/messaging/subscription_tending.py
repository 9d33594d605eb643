"""Keeps what a durable subscription has in hand within the broker's patience."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from antiphon.messaging.subscription_hand import Hand
from antiphon.messaging.subscription_mover import Mover
from antiphon.messaging.subscription_timetable import Timetable

logger = logging.getLogger(__name__)

#: Seconds between looks at what has been in hand for too long: a quarter of what it may be,
#: within these bounds.
_TEND_SHARE, _MIN_TEND_S, _MAX_TEND_S = 0.25, 0.05, 15.0


class Tending:
    """Looks again and again at what is in hand, and moves away what has been there too long.

    When one call of a listener takes longer than the broker waits, all that is in
    hand goes back to the queue, and is taken anew once the call has returned.

    Args:
        name: of the subscription, for logs.
        hand: what is in hand.
        mover: moves.
        timetable: for the pauses between looks.
        hold_s: seconds that a message may wait to be begun with.
        share_s: seconds that the rest of one that was begun with may wait.
        lend_s: seconds that a call may take until everything goes back.
        began_at: returns when the call under way began, see ``BatchRunner``; None
            if there is none, or it may take as long as it likes.
        give_back: stops consuming; what is in hand goes back and is stale.
        take_back: consumes again.
    """

    def __init__(
        self,
        name: str,
        hand: Hand,
        mover: Mover,
        timetable: Timetable,
        *,
        hold_s: float,
        share_s: float,
        lend_s: float,
        began_at: Callable[[], float | None],
        give_back: Callable[[], None],
        take_back: Callable[[], None],
    ) -> None:
        self._name = name
        self._hand = hand
        self._mover = mover
        self._timetable = timetable
        self._hold_s = hold_s
        self._share_s = share_s
        self._lend_s = lend_s
        self._began_at = began_at
        self._give_back = give_back
        self._take_back = take_back
        self._pause_s = min(max(share_s * _TEND_SHARE, _MIN_TEND_S), _MAX_TEND_S)
        self._changing = threading.Lock()
        self._is_lent = False
        self._is_over = False

    def begin(self) -> None:
        """Look from now on."""
        self._timetable.after(self._pause_s, self._look)

    def end(self) -> bool:
        """Look no more, and take nothing back; return whether all has gone back just now."""
        with self._changing:
            self._is_over = True
            return self._is_lent

    def returned(self, elapsed_s: float) -> None:
        """Take note, on the thread that called the listener, that it returned."""
        if elapsed_s <= self._lend_s:
            return
        with self._changing:
            if self._is_lent and not self._is_over:
                logger.info("subscription %r: the listener returned; consuming again", self._name)
                self._take_back()
            self._is_lent = False

    def _look(self) -> None:
        if self._is_over:
            return
        self._lend(time.monotonic())
        self._move(time.monotonic())
        self._timetable.after(self._pause_s, self._look)

    def _lend(self, now: float) -> None:
        with self._changing:
            # Whoever returns after this look waits for the lock, and finds that it was lent.
            began_at = self._began_at()
            if began_at is None or now - began_at <= self._lend_s or self._is_lent:
                return
            if not self._is_over:
                logger.warning(
                    "subscription %r: a call of the listener has taken %.0f s; what is in hand "
                    "goes back to the queue until it returns",
                    self._name,
                    now - began_at,
                )
                self._is_lent = True
                self._give_back()

    def _move(self, now: float) -> None:
        """Move away what has been in hand for too long."""
        hand = self._hand
        with hand.moved:
            hand.prune()
            late = [
                one
                for one in hand.batches
                if now - one.since > self._share_s and one.rest and not one.is_own
            ]
            arrivals = []
            while hand.arrivals and now - hand.arrivals[0][1] > self._hold_s:
                arrivals.append(hand.arrivals.popleft()[0])
        for batch in late:
            self._mover.move_rest(batch)
        for arrival in arrivals:
            if not hand.is_stale(arrival):
                self._mover.put_aside(arrival)
