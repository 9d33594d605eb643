"""Jobs one after the other, of which one that hangs holds nobody up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

#: Seconds for which the others wait for a job; then they get another thread.
PATIENCE_S = 1.0

#: Seconds to wait for a thread that has nothing to do any more.
_JOIN_S = 1.0

Job = Callable[[], None]


class Hands:
    """Runs jobs on one thread; a job that takes long keeps that, and the others get a new one.

    For one thread that gives the jobs.

    Args:
        name: of the threads.
        patience_s: seconds from which a job takes long.
    """

    def __init__(self, name: str, *, patience_s: float = PATIENCE_S) -> None:
        self._name = name
        self._patience_s = patience_s
        self._hand: _Hand | None = None

    def run(self, jobs: deque[Job], is_ending: Callable[[], bool]) -> None:
        """Run *jobs*, and return when all have ended that do not take long.

        Args:
            jobs: raise nothing; they are taken out.
            is_ending: whether to return without the rest.
        """
        while jobs and not is_ending():
            hand = self._hand = self._hand or _Hand(self._name)
            before = hand.done
            hand.begin(jobs)
            while not hand.is_over.wait(self._patience_s):
                if hand.done == before or is_ending():
                    hand.leave()
                    self._hand = None
                    break
                before = hand.done

    def end(self) -> None:
        """End the thread that is at rest; others end when their jobs do."""
        hand, self._hand = self._hand, None
        if hand is not None:
            hand.leave()
            hand.thread.join(_JOIN_S)


class _Hand:
    """One thread.

    Attributes:
        thread: that thread.
        done: how many jobs it has done.
        is_over: set while it has none.
    """

    def __init__(self, name: str) -> None:
        self.done = 0
        self.is_over = threading.Event()
        self._jobs: deque[Job] = deque()
        self._begun = threading.Event()
        self._has_left = False
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def begin(self, jobs: deque[Job]) -> None:
        """Begin to take from *jobs*."""
        self._jobs = jobs
        self.is_over.clear()
        self._begun.set()

    def leave(self) -> None:
        """End after the present job."""
        self._has_left = True
        self._begun.set()

    def _run(self) -> None:
        while True:
            self._begun.wait()
            self._begun.clear()
            while not self._has_left:
                try:
                    job = self._jobs.popleft()
                except IndexError:
                    break
                job()
                self.done += 1
            self.is_over.set()
            if self._has_left:
                return
