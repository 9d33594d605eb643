"""Clients that wait for a store to change; none of them holds a thread.

One thread for each served store waits for its journal, as long as anybody
waits for it, and wakes them through their event loops.  Woken, a request is
answered like any other: who asks is found out anew, and the journal is read by
a worker thread, as the user may see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from antiphon.server.answers import RETRY_AFTER_S, Refused
from antiphon.storage.journal import Journal, Position
from antiphon.storage.journals import wait_for_change, wake

logger = logging.getLogger(__name__)

#: Clients that may wait for one store at a time, unless told otherwise.
MAX_WAITING = 500

#: Longest wait in seconds, whatever a client asks for: proxies cut a
#: connection on which nothing happens, mostly after a minute.
MAX_WAIT_S = 50.0

#: Seconds after which the thread looks whether anybody still waits.
_SLICE_S = 0.5

#: Seconds before a journal that cannot be read is read again.
_FAILED_PAUSE_S = 0.5


@dataclass(eq=False, slots=True)
class _Turn:
    """One client that waits until the head is not *position*."""

    position: Position
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.woken.set)


class Waiting:
    """Who waits for one served store.

    Args:
        limit: how many clients may wait at a time.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._turns: set[_Turn] = set()
        self._thread: threading.Thread | None = None
        #: That the thread waits for.
        self._journal: Journal | None = None
        self._is_ended = False

    @property
    def is_ended(self) -> bool:
        """Whether nobody may wait any more: the server is stopping."""
        return self._is_ended

    @property
    def count(self) -> int:
        """How many clients wait now."""
        return len(self._turns)

    def begin(self) -> None:
        """Let clients wait, which they may from the start, again after ``end``."""
        self._is_ended = False

    def end(self) -> None:
        """Have all who wait answered now, and let nobody wait any more.  Twice is fine."""
        with self._lock:
            self._is_ended = True
            turns = list(self._turns)
            journal = self._journal
        for turn in turns:
            turn.wake()
        if journal is not None:
            wake(journal)

    @contextlib.contextmanager
    def turn(self, journal: Journal, position: Position) -> Iterator[asyncio.Event]:
        """Give an event that is set once the head of *journal* is not *position*.

        Begun before the journal is read: a commit after that is not missed.
        """
        turn = _Turn(position, asyncio.get_running_loop())
        with self._lock:
            self._turns.add(turn)
            if self._thread is None and not self._is_ended:
                self._journal = journal
                self._thread = threading.Thread(
                    target=self._watch, args=(journal,), name="store-watcher", daemon=True
                )
                self._thread.start()
        try:
            yield turn.woken
        finally:
            with self._lock:
                self._turns.discard(turn)

    def check_room(self) -> None:
        """Raise ``Refused`` if more clients have a turn than may wait."""
        if len(self._turns) > self._limit:
            raise Refused(
                503,
                "too many clients wait for changes; ask for the head now and then",
                error="StoreUnavailable",
                headers=[(b"retry-after", b"%d" % RETRY_AFTER_S)],
            )

    def _watch(self, journal: Journal) -> None:
        head: Position | None = None
        while self._goes_on():
            try:
                head = journal.head() if head is None else wait_for_change(journal, head, _SLICE_S)
            except Exception as exc:  # of whatever store; who waits meets it, and is told
                logger.debug("cannot wait for changes: %s", exc)
                head = None
                self._wake_all_but(None)
                if not self._is_ended:
                    time.sleep(_FAILED_PAUSE_S)
            else:
                self._wake_all_but(head)

    def _goes_on(self) -> bool:
        with self._lock:
            if self._turns and not self._is_ended:
                return True
            self._thread = self._journal = None
            return False

    def _wake_all_but(self, head: Position | None) -> None:
        """Wake all who are not at *head*."""
        with self._lock:
            turns = [turn for turn in self._turns if turn.position != head]
        for turn in turns:
            turn.wake()


async def first_of(woken: asyncio.Event, gone: asyncio.Future[None], timeout_s: float) -> None:
    """Return when one of the two has happened, or after *timeout_s*."""
    waking = asyncio.ensure_future(woken.wait())
    either: list[asyncio.Future[Any]] = [waking, gone]
    try:
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancelled(waking)


async def cancelled(task: asyncio.Future[Any]) -> None:
    """Cancel *task*, and return when it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
