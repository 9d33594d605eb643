"""What a bus has emitted and the broker has not confirmed yet, in order.

Emitting threads append, the transport's publishing thread takes.  A message
stays here until the broker confirmed it; after a lost connection everything
unconfirmed is given out again, in the same order and with the same bytes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from antiphon.errors import PublishBufferFull
from antiphon.messaging.transport import Message


class OutgoingBuffer:
    """A bounded, ordered buffer of messages under way.

    Appending never blocks.  When a bound is reached it raises: nothing that was
    accepted is ever dropped, so the caller decides what to do with the rest.

    Args:
        max_events: how many unconfirmed events to keep at most.
        max_bytes: how many bytes of bodies to keep at most; one message is
            always accepted into an empty buffer, whatever its size.
    """

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._waiting: deque[Message] = deque()
        self._taken: deque[Message] = deque()
        self._bytes = 0
        self._appended = 0
        self._settled = 0
        self._returned = 0
        self._flushers = 0
        self._moved = threading.Condition()  # reentrant: a finalizer may emit at any point

    # -- For the bus -----------------------------------------------------------

    def append(self, message: Message) -> None:
        """Put *message* at the end.

        Raises:
            PublishBufferFull: a bound is reached; *message* was not taken.
        """
        size = len(message.body)
        with self._moved:
            kept = self._appended - self._settled
            if kept and (kept >= self.max_events or self._bytes + size > self.max_bytes):
                raise PublishBufferFull(
                    f"{kept} events ({self._bytes} bytes) wait for the broker, which takes none or "
                    f"takes them too slowly (bounds: {self.max_events} events, {self.max_bytes} "
                    "bytes); this event was not emitted: call flush() now and then while emitting "
                    "many, or open the bus with larger bounds"
                )
            self._appended += message.count
            self._bytes += size
            self._waiting.append(message)

    @property
    def appended(self) -> int:
        """How many events were ever appended."""
        return self._appended

    @property
    def confirmed(self) -> int:
        """How many events the broker has confirmed."""
        return self._settled

    @property
    def unroutable(self) -> int:
        """How many events no queue took when they were published."""
        return self._returned

    def __len__(self) -> int:
        """How many events are not confirmed."""
        return self._appended - self._settled

    def wait_settled(
        self, upto: int, timeout_s: float, alive: Callable[[], bool] = lambda: True
    ) -> int:
        """Wait until the first *upto* events are confirmed; return how many are not.

        Args:
            upto: a value that ``appended`` once had.
            timeout_s: seconds to wait at most.
            alive: asked now and then; waiting ends when it says False.
        """
        deadline = time.monotonic() + timeout_s
        with self._moved:
            self._flushers += 1
            try:
                while (left := upto - self._settled) > 0:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0 or not alive():
                        return left
                    self._moved.wait(min(remaining, 1.0))
                return 0
            finally:
                self._flushers -= 1

    # -- For the transport's publishing thread -----------------------------------

    def take(self, max_messages: int) -> Sequence[Message]:
        """Return the next messages to publish, and keep them until they are confirmed."""
        if not self._waiting:
            return ()
        with self._moved:
            batch = [self._waiting.popleft() for _ in range(min(max_messages, len(self._waiting)))]
            self._taken.extend(batch)
            return batch

    def settle(self, count: int) -> None:
        """Forget the *count* oldest taken messages: the broker has them."""
        with self._moved:
            for _ in range(count):
                message = self._taken.popleft()
                self._settled += message.count
                self._bytes -= len(message.body)
            if self._flushers:
                self._moved.notify_all()

    def rewind(self) -> None:
        """Put everything taken and not confirmed back to the front."""
        with self._moved:
            self._waiting.extendleft(reversed(self._taken))
            self._taken.clear()

    def returned(self, message: Message) -> None:
        """Count *message* as one that nobody got."""
        self._returned += message.count
