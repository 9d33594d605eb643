"""Dead letters: events that could not be handled, and say why.

They keep their routing key and headers, and wait in one queue for each system
until someone looks (``antiphon dlq``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from antiphon.messaging.topology import QueueSpec
from antiphon.messaging.transport import Message

#: Header with the name of the subscription; ``"broadcast"`` for listeners without a name.
SUBSCRIPTION_HEADER = "antiphon-subscription"
#: Header with the name of the queue that the event was in: where a replay puts it.
QUEUE_HEADER = "antiphon-queue"
#: Header with the kind of failure, see ``Reason``.
REASON_HEADER = "antiphon-reason"
#: Header with the last error, as text.
ERROR_HEADER = "antiphon-error"
#: Header with how often it was tried.
ATTEMPTS_HEADER = "antiphon-attempts"
#: Header with the time of death, milliseconds since the Unix epoch.
DEAD_AT_HEADER = "antiphon-dead-at"
#: All of them: what a replay takes away.
DEATH_HEADERS = (
    SUBSCRIPTION_HEADER,
    QUEUE_HEADER,
    REASON_HEADER,
    ERROR_HEADER,
    ATTEMPTS_HEADER,
    DEAD_AT_HEADER,
)

#: Why an event is dead: its listener raised each time; the process died each time; it was no
#: message of ours.
Reason = Literal["failed", "crashed", "undecodable"]

#: Dead letters that are kept; the oldest beyond are dropped.
MAX_DEAD_LETTERS = 100_000

#: Characters of an error that a header holds.
MAX_ERROR_LENGTH = 1000

#: Unreadable messages of the broadcast queue that one process keeps in some seconds: every
#: process on the broker gets each of them, and a broken sender makes thousands.
MAX_CORRUPT, CORRUPT_INTERVAL_S = 10, 10.0


def dead_queue(system: str) -> str:
    """Return the name of the queue of the dead letters of *system*."""
    return f"{system}.dead"


def dead_queue_spec(system: str) -> QueueSpec:
    """Return how the queue of the dead letters of *system* is declared."""
    name = dead_queue(system)
    return QueueSpec(
        name, name, is_exclusive=False, is_consumed=False, max_messages=MAX_DEAD_LETTERS
    )


def dead_letter(
    message: Message,
    *,
    queue: str,
    subscription: str,
    reason: Reason,
    error: str,
    attempts: int,
    home: str | None = None,
) -> Message:
    """Return *message* as a dead letter.

    Args:
        message: what could not be handled: one event, or bytes that nobody can read.
        queue: name of the queue for dead letters.
        subscription: who could not.
        reason: in which way.
        error: what was raised last, as text; it is cut.
        attempts: how often it was tried.
        home: name of the queue that it belongs into.
    """
    text = error.encode("utf-8", "replace").decode()[:MAX_ERROR_LENGTH]
    given = message.headers or {}
    # What is there of these is the sender's, and would say where a replay puts it.
    headers = {name: value for name, value in given.items() if name not in DEATH_HEADERS}
    headers[SUBSCRIPTION_HEADER] = subscription
    if home is not None:
        headers[QUEUE_HEADER] = home
    headers[REASON_HEADER] = reason
    headers[ERROR_HEADER] = text
    headers[ATTEMPTS_HEADER] = attempts
    headers[DEAD_AT_HEADER] = time.time_ns() // 1_000_000
    return replace(message, headers=headers, persistent=True, exchange=None, queue=queue)


class Rationing:
    """Lets through so many in so many seconds.

    Args:
        at_most: how many.
        within_s: in how many seconds.
        clock: tells the seconds.
    """

    def __init__(
        self,
        at_most: int = MAX_CORRUPT,
        within_s: float = CORRUPT_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_most = at_most
        self._within_s = within_s
        self._clock = clock
        self._passed: deque[float] = deque()

    def passes(self) -> bool:
        """Return whether one more may pass now; if so, it has."""
        now = self._clock()
        while self._passed and now - self._passed[0] >= self._within_s:
            self._passed.popleft()
        if len(self._passed) >= self._at_most:
            return False
        self._passed.append(now)
        return True
