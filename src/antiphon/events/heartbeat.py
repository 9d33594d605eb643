"""A regular beat, as events."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

from antiphon.errors import HeartbeatRunning
from antiphon.events.abstract_event_manager import BaseEvent, BaseEventManager
from antiphon.events.package_globals import get_event_manager

#: Seconds between two beats at least, so that slow listeners leave others some time.
MIN_WAIT_S = 0.001


class HeartbeatEvent(BaseEvent):
    """One beat.

    Attributes:
        source: the ``Heartbeat``.
        time: when it was emitted, seconds of ``time.monotonic()``.
        frame: 0 for the first beat, then 1, 2, …
        interval: seconds between two beats, as asked for.
    """

    # It tells of this process's time; another process has its own.
    travels: ClassVar[bool] = False


class Heartbeat:
    """Emits a ``HeartbeatEvent`` again and again, about *interval* seconds apart.

    Listeners run on the thread that beats: while one takes longer than the
    interval, the next beat waits.

    Attributes:
        interval: seconds between two beats; may be set at any time.
        event_manager: what emits them.
        frame_count: how many beats there were.
    """

    def __init__(
        self, interval: float = 1 / 50.0, event_manager: BaseEventManager | None = None
    ) -> None:
        self.interval = interval
        self.frame_count = 0
        self.event_manager = get_event_manager() if event_manager is None else event_manager
        self._state = "waiting"
        self._changes = 0
        self._changed = threading.Condition()
        self._beating = threading.Lock()

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``paused`` or ``stopped``.

        While it runs, set ``paused`` to keep it from beating, ``running`` to go
        on, ``stopped`` to end it; each takes effect at once.
        """
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        with self._changed:
            self._changes += state != self._state
            self._state = state
            self._changed.notify_all()

    def run(self) -> None:
        """Beat on this thread until ``state`` is set to ``stopped``.

        Raises:
            HeartbeatRunning: it beats already; it goes on.
        """
        self._claim()
        self._run()

    def serve(self) -> threading.Thread:
        """Beat on a daemon thread of its own, and return that thread.

        Raises:
            HeartbeatRunning: it beats already; it goes on.
        """
        self._claim()
        thread = threading.Thread(target=self._run, name="Heartbeat", daemon=True)
        thread.start()
        return thread

    def _claim(self) -> None:
        if not self._beating.acquire(blocking=False):
            raise HeartbeatRunning(
                f"the heartbeat of {self.interval} s runs already: set its state to 'stopped' first"
            )
        self.state = "running"

    def _run(self) -> None:
        try:
            while True:
                changes = self._changes  # before the state: a change of it must not be missed
                state = self._state
                if state not in ("running", "paused"):
                    break
                wait_s = self._beat() if state == "running" else None
                self._wait_for_change(changes, wait_s)
        finally:
            self.state = "stopped"
            self._beating.release()

    def _wait_for_change(self, changes: int, wait_s: float | None) -> None:
        # Not for another state: it may have been paused and gone on in the meantime.
        with self._changed:
            self._changed.wait_for(lambda: self._changes != changes, wait_s)

    def _beat(self) -> float:
        """Emit one beat; return how many seconds to wait for the next."""
        now = time.monotonic()
        self.event_manager.emit(
            HeartbeatEvent(source=self, time=now, frame=self.frame_count, interval=self.interval)
        )
        self.frame_count += 1
        return max(now + self.interval - time.monotonic(), MIN_WAIT_S)
