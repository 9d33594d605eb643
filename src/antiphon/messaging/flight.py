"""What one connection has published and the broker has not confirmed yet."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence

from antiphon.messaging.transport import Message

logger = logging.getLogger(__name__)

_number = itertools.count(1).__next__


class Forward:
    """Messages that are published past the ``Outgoing``; see ``Transport.forward``.

    Attributes:
        id: travels as the message id, so that a message which comes back
            unroutable is known as one of these.
        messages: what is to be published.
    """

    def __init__(self, messages: Sequence[Message], done: Callable[[bool], None]) -> None:
        self.id = f"forward-{_number()}"
        self.messages = tuple(messages)
        self._left = len(self.messages)
        self._was_taken = True
        self._done: Callable[[bool], None] | None = done

    def confirmed(self) -> bool:
        """Take note that the broker has one more of the messages; return whether it has all."""
        self._left -= 1
        return self._left <= 0

    def returned(self) -> None:
        """Take note that no queue took one of them; its confirm follows."""
        self._was_taken = False

    def finish(self, *, is_confirmed: bool) -> None:
        """Tell the caller, once."""
        done, self._done = self._done, None
        if done is None:
            return
        try:
            done(is_confirmed and self._was_taken)
        except Exception:  # the caller's own error must not cost the connection
            logger.exception("what was to follow a forwarded message failed")


class Flight:
    """The messages under way on one channel, in the order in which they were published.

    Not thread-safe: its owner holds a lock.  A broker confirms in any order, one by one
    or many at once; here a message counts as confirmed when all older ones are,
    so that what is sent again after a loss is in order.
    """

    def __init__(self) -> None:
        self._parts: deque[int | Forward] = deque()  # after _settled: bytes, or whose it is
        self._early: set[int] = set()  # confirmed before some older one
        self._forwards: dict[str, Forward] = {}
        self._published = 0  # delivery tag of the newest message
        self._settled = 0  # all up to this tag are confirmed
        self.bytes = 0

    def __len__(self) -> int:
        """How many messages are not confirmed."""
        return self._published - self._settled

    def sent(self, sizes: Sequence[int]) -> None:
        """Take note of messages of the ``Outgoing`` that were published, by the bytes in each."""
        self._parts.extend(sizes)
        self._published += len(sizes)
        self.bytes += sum(sizes)

    def sent_forward(self, forward: Forward) -> None:
        """Take note that all messages of *forward* were published."""
        self._parts.extend([forward] * len(forward.messages))
        self._published += len(forward.messages)
        self._forwards[forward.id] = forward

    def returned(self, message_id: str | None) -> bool:
        """Take note that a message came back; return whether it was a forwarded one."""
        forward = self._forwards.get(message_id or "")
        if forward is not None:
            forward.returned()
        return forward is not None

    def refused(self, tag: int, *, is_multiple: bool) -> bool:
        """Take note of a nack; return whether it concerns forwards only, which can fail alone."""
        first = self._settled + 1 if is_multiple else tag
        if not self._settled < first <= tag <= self._published:
            return False
        parts = [self._parts[one - self._settled - 1] for one in range(first, tag + 1)]
        forwards = [part for part in parts if isinstance(part, Forward)]
        if len(forwards) < len(parts):
            return False
        for forward in forwards:
            forward.returned()
        return True

    def confirmed(self, tag: int, *, is_multiple: bool) -> tuple[int, list[Forward]]:
        """Take note of a confirm.

        Returns:
            How many messages of the ``Outgoing`` are settled by it, and the
            forwards that are complete.
        """
        if is_multiple:
            upto = max(tag, self._settled)
        elif tag == self._settled + 1:
            upto = tag
        else:
            self._early.add(tag)
            return 0, []
        if self._early:
            while upto + 1 in self._early:
                upto += 1
            self._early = {early for early in self._early if early > upto}
        return self._settle(min(upto, self._published))

    def _settle(self, upto: int) -> tuple[int, list[Forward]]:
        settled = 0
        complete: list[Forward] = []
        for _ in range(upto - self._settled):
            part = self._parts.popleft()
            if isinstance(part, int):
                self.bytes -= part
                settled += 1
            elif part.confirmed():
                complete.append(part)
                del self._forwards[part.id]
        self._settled = upto
        return settled, complete

    def reset(self) -> list[Forward]:
        """Forget everything, for a new channel; return those that were not confirmed."""
        lost = list(self._forwards.values())
        self._published = self._settled = self.bytes = 0
        self._early.clear()
        self._parts.clear()
        self._forwards.clear()
        return lost
