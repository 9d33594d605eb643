"""What a bus has emitted and the broker has not confirmed yet, in order.

Emitting threads append, the transport's publishing thread takes.  An event
stays here until the broker confirmed it; after a lost connection everything
unconfirmed is given out again, in the same order and with the same bytes.

While the broker keeps up, an event is a message.  When events come faster, they
wait here until a confirm comes, and then go out together: runs of events with
the same address are joined into one message, and never reordered.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter

from antiphon.errors import MessagingError, PublishBufferFull
from antiphon.messaging.batching import Address, BufferPolicy, joined
from antiphon.messaging.holding import Hold
from antiphon.messaging.room import Waiter, may_wait
from antiphon.messaging.transport import Message
from antiphon.wire.encoding import Encoder

#: Messages under way from which on further events gather.  So many cover the events of a slow
#: publisher (200/s) while the slowest broker (40 ms) confirms; benchmarks/messaging.
GATHER_AT = 8

#: Events under way, at most.  So many come again after a lost connection, and receivers know
#: the ids of more (inbox.MAX_REMEMBERED); at 300 000 events/s a confirm may take 25 ms.
MAX_UNDER_WAY = 8000

#: Bytes of events that are taken at once, about: each is copied twice on its way.
MAX_TAKEN_BYTES = 8 * 1024 * 1024

_DEFAULT_POLICY = BufferPolicy()
_envelope_of = itemgetter(1)


class OutgoingBuffer:
    """A bounded, ordered buffer of events under way.

    Args:
        max_events: how many unconfirmed events to keep at most.  Threads that
            emit at the same instant may exceed it by one event each.
        max_bytes: how many bytes of them to keep at most; one event is
            always accepted into an empty buffer, whatever its size.
        policy: what else there is to choose.
        wake: called when there is something to take and nobody looks.
    """

    def __init__(
        self,
        max_events: int,
        max_bytes: int,
        policy: BufferPolicy = _DEFAULT_POLICY,
        *,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.max_events = max_events
        self.max_bytes = max_bytes
        self._policy = policy
        #: For those who emit many events that come together.
        self.hold = Hold(policy, lambda: self.appended, wake)
        self._wake = wake
        # Emitting threads do one thing with it, which is atomic; all else is done under the lock.
        self._fresh: deque[tuple[Address | Message, bytes]] = deque()
        self._again: deque[tuple[Message, int]] = deque()  # to be taken first
        self._taken: deque[tuple[Message, int]] = deque()  # with the position of its last event
        self._position = 0  # events that left _fresh
        self._finished = 0  # position up to which all are confirmed or dropped
        self._in_hand = 0  # events in _again and _taken
        self._room = max_events  # length that _fresh may have; -1 if each event is to be looked at
        self._bytes_room = max_bytes
        self._is_hungry = True
        self._confirmed = self._returned = self._dropped = self._rejected = 0
        self._messages = 0
        self._blocked_s = 0.0
        self._awaited: int | None = None  # the nearest position that somebody waits for
        self._waiters: deque[Waiter] = deque()
        self._ending: Callable[[], Exception] | None = None
        self._settler = 0  # the thread that makes room, and so must not wait for it
        self._lock = threading.RLock()  # reentrant: a finalizer may emit at any point
        self._moved = threading.Condition(self._lock)

    # -- For the bus -----------------------------------------------------------

    def add(self, address: Address | Message, envelope: bytes) -> None:
        """Put one event at the end.

        Args:
            address: where it goes; best one and the same object for one key.
            envelope: what the codec made of it.

        Raises:
            PublishBufferFull: there was no room; it was not taken.
            MessagingError: what ``end`` was told.
        """
        size = len(envelope)
        if len(self._fresh) < self._room and size <= self._bytes_room:
            # Two threads may disturb each other's subtraction; take() puts it right.
            self._bytes_room -= size
            self._fresh.append((address, envelope))
        else:
            self._add_slowly(address, envelope, size)
        if self._is_hungry:
            self._is_hungry = False
            self._wake()

    def append(self, message: Message) -> None:
        """Put *message*, which is complete, at the end, as one event; raises as ``add``."""
        self.add(message, message.body)

    def end(self, error: Callable[[], Exception]) -> None:
        """Accept nothing from now on; who waits for room gets what *error* makes."""
        with self._lock:
            self._ending = error
            for waiter in self._waiters:
                waiter.refuse(error())
            self._waiters.clear()
            self._update_room()
            self._moved.notify_all()

    def close(self) -> None:
        """Give back what it has of the system; twice is fine."""

    def abandon(self) -> None:
        """In a forked child: leave alone what is the parent's."""
        # Whoever held the lock in the parent does not exist here.
        self._lock = threading.RLock()
        self._moved = threading.Condition(self._lock)

    @property
    def appended(self) -> int:
        """How many events were ever appended."""
        with self._lock:
            return self._position + self._waiting()

    @property
    def recovered(self) -> int:
        """How many events were there at the beginning, of an earlier process."""
        return 0

    @property
    def emitted(self) -> int:
        """How many events were appended by this process."""
        return self.appended

    @property
    def confirmed(self) -> int:
        """How many events the broker has confirmed."""
        return self._confirmed

    @property
    def unroutable(self) -> int:
        """How many events no queue took when they were published."""
        return self._returned

    @property
    def dropped(self) -> int:
        """How many events were dropped to make room."""
        return self._dropped

    @property
    def rejected(self) -> int:
        """How many events found no room, so that ``add`` raised."""
        return self._rejected

    @property
    def blocked_s(self) -> float:
        """How many seconds threads have waited for room, all together."""
        return self._blocked_s

    @property
    def spooled_bytes(self) -> int:
        """How many bytes are on disk."""
        return 0

    @property
    def messages(self) -> int:
        """How many messages the events became."""
        return self._messages

    def __len__(self) -> int:
        """How many events are neither confirmed nor dropped."""
        with self._lock:
            return self._in_hand + self._waiting()

    def wait_settled(
        self, upto: int, timeout_s: float, alive: Callable[[], bool] = lambda: True
    ) -> int:
        """Wait until the first *upto* events are confirmed or dropped; return how many are not.

        Args:
            upto: a value that ``appended`` once had.
            timeout_s: seconds to wait at most.
            alive: asked now and then; waiting ends when it says False.
        """
        deadline = time.monotonic() + timeout_s
        self.hold.step()  # a listener may wait between two events of its own thread's bulk
        with self._moved:
            while self._finished < upto:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not alive():
                    return min(upto - self._finished, len(self))
                self._awaited = min(upto, self._awaited or upto)
                self._moved.wait(min(remaining, 1.0))
            return 0

    # -- For the transport's publishing thread -----------------------------------

    def take(self, max_messages: int) -> Sequence[Message]:
        """Return the next messages to publish, and keep them until they are confirmed.

        After ``settle`` it is to be called again: what is held back waits for that.
        """
        is_held = len(self._again) < max_messages and self._gather(max_messages - len(self._again))
        batch = [self._again.popleft() for _ in range(min(max_messages, len(self._again)))]
        self._taken.extend(batch)
        # While much is under way a confirm will soon have this called, which then takes all
        # that has come; a wake for each event would cost more than publishing it.  Set only
        # now, and then a look: an event that came just before has woken nobody.
        is_much = len(self._taken) >= GATHER_AT or self._in_hand >= MAX_UNDER_WAY
        self._is_hungry = not is_held and not is_much
        if self._is_hungry and self._waiting():
            self._is_hungry = False
            self._wake()
        return [message for message, _ in batch]

    def settle(self, count: int) -> None:
        """Forget the *count* oldest taken messages: the broker has them."""
        self._settler = threading.get_ident()  # not in take(), which an emitting thread may call
        events = size = 0
        with self._lock:
            for _ in range(count):
                message, self._finished = self._taken.popleft()
                events += message.count
                size += len(message.body)
            self._confirmed += events
            self._in_hand -= events
            self._bytes_room += size
            self._advanced()

    def rewind(self) -> None:
        """Put everything taken and not confirmed back to the front."""
        self._settler = threading.get_ident()
        self._again.extendleft(reversed(self._taken))
        self._taken.clear()

    def returned(self, message: Message) -> None:
        """Count *message* as one that nobody got."""
        self._returned += Encoder.joined_in(message.body)

    # -- Taking ------------------------------------------------------------------

    def _gather(self, max_messages: int) -> bool:
        """Make messages of what waits; return whether the rest wakes the taker when it is due."""
        with self._lock:
            self._refill()
            policy, is_bulk = self.hold.policy_at(self._position)
            ready = self.hold.ready(self._position, len(self._fresh))
            is_held = self.hold.is_on
            count = min(ready, max_messages * policy.batch_events, MAX_UNDER_WAY - self._in_hand)
            under_way = len(self._taken) + len(self._again)
            if policy.batch_events > 1 and under_way >= (1 if is_bulk else GATHER_AT):
                is_held = is_held or (is_bulk and count % policy.batch_events > 0)
                count -= count % policy.batch_events
            if count <= 0:
                return is_held
            if self.max_bytes - self._bytes_room > MAX_TAKEN_BYTES:
                count = self._within_bytes(count)
            # First, so that the bound holds at every moment: who finds no room waits for the lock.
            self._in_hand += count
            self._update_room()
            items = [self._fresh.popleft() for _ in range(count)]
            size = 0
            for message in joined(items, policy):
                self._position += message.count
                size += len(message.body)
                self._again.append((message, self._position))
                self._messages += 1
            self._bytes_room -= size - sum(map(len, map(_envelope_of, items)))
            return is_held

    def _within_bytes(self, count: int) -> int:
        size = 0
        for index in range(count):
            size += len(self._fresh[index][1])
            if size >= MAX_TAKEN_BYTES:
                return index + 1
        return count

    # -- Room; all under the lock ----------------------------------------------------

    def _add_slowly(self, address: Address | Message, envelope: bytes, size: int) -> None:
        with self._lock:
            if self._ending is not None:
                raise self._ending()
            if not self._waiters and self._has_room(size):
                self._put(address, envelope)
                return
            self.hold.step()  # there is never room while it holds all
            if self._policy.when_full == "drop_oldest":
                while not self._has_room(size) and self._drop_some():
                    pass
                if self._has_room(size):
                    self._put(address, envelope)
                else:  # all that is older is under way
                    self._dropped += 1
            elif self._policy.when_full == "block" and self._may_wait():
                self._wait_for_room(address, envelope)
            else:
                raise self._full("")

    def _may_wait(self) -> bool:
        return may_wait() and threading.get_ident() != self._settler

    def _wait_for_room(self, address: Address | Message, envelope: bytes) -> None:
        waiter = Waiter(self._lock, (address, envelope))
        self._waiters.append(waiter)
        self._update_room()
        began = time.monotonic()
        try:
            waiter.wait(self._policy.block_timeout_s)
        finally:
            waited_s = time.monotonic() - began
            self._blocked_s += waited_s
            if not waiter.is_over:
                self._waiters.remove(waiter)
                self._update_room()
        if not waiter.is_over:
            raise self._full(f", also after {waited_s:.1f} s")

    def _admit(self) -> None:
        """Let those in who wait for room, in the order in which they came."""
        while self._waiters:
            address, envelope = self._waiters[0].item
            if not self._has_room(len(envelope)):
                return
            waiter = self._waiters.popleft()
            try:
                self._put(address, envelope)
            except MessagingError as exc:
                waiter.refuse(exc)
            else:
                waiter.let_in()

    def _advanced(self) -> None:
        """Do what follows when events were confirmed or dropped."""
        if not self._in_hand:
            self._finished = self._position
            if not self._waiting():
                self._bytes_room = self.max_bytes
        self._admit()
        self._update_room()
        if self._awaited is not None and self._finished >= self._awaited:
            self._awaited = None  # whoever goes on waiting says so again
            self._moved.notify_all()

    def _update_room(self) -> None:
        is_plain = not self._waiters and self._ending is None
        self._room = self.max_events - self._in_hand if is_plain else -1

    def _full(self, what_was_done: str) -> MessagingError:
        self._rejected += 1
        return PublishBufferFull(
            f"{len(self)} events ({self.max_bytes - self._bytes_room} bytes) wait for the broker, "
            f"which takes none or takes them too slowly{what_was_done} (bounds: {self.max_events} "
            f"events, {self.max_bytes} bytes); this event was not emitted: call flush() now and "
            "then while emitting many, or open the bus with larger bounds"
        )

    # -- What a buffer with a spool does otherwise -------------------------------------

    def _waiting(self) -> int:
        return len(self._fresh)

    def _has_room(self, size: int) -> bool:
        kept = self._in_hand + len(self._fresh)
        return not kept or (kept < self.max_events and size <= self._bytes_room)

    def _put(self, address: Address | Message, envelope: bytes) -> None:
        self._bytes_room -= len(envelope)
        self._fresh.append((address, envelope))

    def _drop_some(self) -> bool:
        """Drop the oldest event that nobody has taken; return whether there was one."""
        if not self._fresh:
            return False
        _, envelope = self._fresh.popleft()
        self._bytes_room += len(envelope)
        self._position += 1
        self._dropped += 1
        self._advanced()
        return True

    def _refill(self) -> None:
        """Make events available that are kept elsewhere."""
