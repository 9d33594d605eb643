"""Waiting until a journal grows: at once for own commits, by looking for those of others.

No medium tells every other process of a commit by itself: sqlite and files
have to be looked at.  One look is a few microseconds, so looking a few dozen
times a second, seldom when nothing happens for a while, costs next to nothing
(0.5 % of a processor; tests/unit/storage/test_journal_watch.py).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import NamedTuple

from antiphon.storage.journal import Position

#: Longest single wait, in seconds: what the operating system takes.
_LONGEST_WAIT_S = 3600.0


class Pauses(NamedTuple):
    """Seconds between two looks at a medium that others change, too.

    Attributes:
        first_s: after the first look.
        longest_s: when nothing has changed for a while.
    """

    first_s: float
    longest_s: float


#: Growth of the pause from one look to the next.
_GROWTH = 1.4


class JournalWatch:
    """Lets threads of this process wait for changes of one store."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._told = 0
        self._woken = 0
        #: Threads that wait now; read without a lock by whoever commits.
        self.waiting = 0
        _watches.add(self)

    def tell(self) -> None:
        """Wake who waits: the journal grew, or the store was closed."""
        # A thread that begins to wait just now looks after it has said so, and
        # finds what was committed before this was asked.
        if self.waiting:
            with self._changed:
                self._told += 1
                self._changed.notify_all()

    def wake(self) -> None:
        """Have all who wait return what the head is now, be it new or not."""
        with self._changed:
            self._woken += 1
            self._changed.notify_all()

    def wait(
        self,
        head: Callable[[], Position],
        position: Position,
        timeout_s: float,
        pauses: Pauses | None,
    ) -> Position:
        """Return what *head* does once that is another than *position*; see ``WaitingJournal``.

        Args:
            head: looks.  What it raises is raised here.
            position: where the caller is.
            timeout_s: seconds to wait at most.
            pauses: between looks; None: nobody but this process can change it.
        """
        deadline = time.monotonic() + timeout_s
        pause = _LONGEST_WAIT_S if pauses is None else pauses.first_s
        with self._changed:
            self.waiting += 1
            woken = self._woken
        try:
            while True:
                told = self._told
                found = head()
                left = deadline - time.monotonic()
                if found != position or left <= 0 or self._woken != woken:
                    return found
                with self._changed:
                    if self._told == told and self._woken == woken:
                        self._changed.wait(min(left, pause, _LONGEST_WAIT_S))
                if pauses is not None:
                    pause = min(pause * _GROWTH, pauses.longest_s)
        finally:
            with self._changed:
                self.waiting -= 1


#: Those of this process.
_watches: weakref.WeakSet[JournalWatch] = weakref.WeakSet()


def _mend_in_child() -> None:
    # Whoever waits, or held the lock just then, is in the parent.
    for watch in list(_watches):
        watch._changed = threading.Condition()
        watch.waiting = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mend_in_child)
