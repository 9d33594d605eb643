"""The buffer of a bus whose events are on disk as well."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from antiphon.errors import MessagingError, PublishBufferFull
from antiphon.messaging.batching import Address, BufferPolicy
from antiphon.messaging.outgoing import OutgoingBuffer
from antiphon.messaging.spool import Spool
from antiphon.messaging.transport import Message

#: Bytes of events that are read back at once.
REFILL_BYTES = 4 * 1024 * 1024


class SpooledBuffer(OutgoingBuffer):
    """An ``OutgoingBuffer`` that is bounded by its disk; memory holds what comes next.

    Positions are those of the spool, which go on from one process to the next.
    What the spool holds at the beginning is given out first.

    Args:
        spool: gets every event before anybody else; is closed with the buffer.
        max_events: how many to hold in memory at most.
        max_bytes: how many bytes of them.
        policy: what else there is to choose.
        wake: called when there is something to take and nobody looks.
    """

    def __init__(
        self,
        spool: Spool,
        max_events: int,
        max_bytes: int,
        policy: BufferPolicy,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(max_events, max_bytes, policy, wake=wake)
        self.spool = spool
        self._position = self._finished = spool.first
        self._aside: deque[tuple[Address | Message, bytes]] = deque()
        self._is_writing = False
        self._found = (spool.first, spool.end)
        self._backlog = spool.end - spool.first  # events on disk that are not in memory
        spool.seek(spool.first)
        self._update_room()

    @property
    def recovered(self) -> int:
        return self._found[1] - self._found[0]

    @property
    def emitted(self) -> int:
        return self.appended - self._found[1]

    @property
    def spooled_bytes(self) -> int:
        return self.spool.bytes

    def close(self) -> None:
        with self._lock:
            self.spool.close()

    def abandon(self) -> None:
        super().abandon()
        self.spool.abandon()

    def _update_room(self) -> None:
        self._room = -1  # each event is written, under the lock

    def _waiting(self) -> int:
        return len(self._fresh) + self._backlog

    def _has_room(self, size: int) -> bool:
        return self.spool.has_room(size)

    def _put(self, address: Address | Message, envelope: bytes) -> None:
        if self._is_writing:
            # A finalizer emits, in the middle of a write of this very thread.
            self._aside.append((address, envelope))
            return
        self._is_writing = True
        try:
            self._write(address, envelope)
            while self._aside:
                self._write(*self._aside.popleft())
        finally:
            self._is_writing = False

    def _write(self, address: Address | Message, envelope: bytes) -> None:
        if isinstance(address, Message):
            raise TypeError("a spool takes events, not messages")
        is_kept = not self._backlog and super()._has_room(len(envelope))
        if not is_kept and not self._backlog:
            self.spool.mark()
        key, headers, *rest = address
        exchange = rest[0] if rest else None
        self.spool.append((key, headers, exchange, self._policy.publisher), envelope)
        if is_kept:
            super()._put(address, envelope)
        else:
            self._backlog += 1

    def _refill(self) -> None:
        if self._fresh or not self._backlog:
            return
        max_events = max(1, self.max_events - self._in_hand)
        max_bytes = max(1, min(REFILL_BYTES, self._bytes_room))
        skipped, items = self.spool.read(max_events, max_bytes)
        self._backlog -= skipped + len(items)
        self._fresh.extend(items)
        self._bytes_room -= sum(len(envelope) for _, envelope in items)
        if skipped:
            self._position += skipped
            self._advanced()

    def _drop_some(self) -> bool:
        """Drop what is left of the oldest segment of which something waits."""
        if not self._waiting():
            return False
        end = self.spool.drop(self._position)
        count = end - self._position
        # What memory holds of later segments goes, too: it is read back.
        while self._fresh:
            self._bytes_room += len(self._fresh.pop()[1])
        self._position = end
        self._backlog = self.spool.end - end
        self._dropped += count
        self._advanced()
        return True

    def _advanced(self) -> None:
        super()._advanced()
        if self._finished > self.spool.first:
            self.spool.confirm(self._finished)
            self._admit()

    def _full(self, what_was_done: str) -> MessagingError:
        self._rejected += 1
        return PublishBufferFull(
            f"the spool {self.spool.path} is full: {len(self)} events ({self.spool.bytes} bytes) "
            f"wait for the broker, which takes none or takes them too slowly{what_was_done}; this "
            "event was not emitted: open the bus with a larger spool_bytes, or find out why the "
            "broker takes nothing"
        )
