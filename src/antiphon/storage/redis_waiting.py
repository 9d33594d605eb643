"""Waiting until the journal of a namespace grows, with Redis itself as the one that tells."""

from __future__ import annotations

import math
import time

from antiphon.errors import StoreUnavailable
from antiphon.storage.journal import Position
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout
from antiphon.storage.redis_reading import Reader
from antiphon.storage.redis_wire import pack_command

#: Seconds after which a waiting connection is asked anew.  Redis does not tell
#: that the journal was removed, nor a network that it is cut.
_ASK_ANEW_S = 5.0


class Waiter:
    """Waits for commits of anybody to one namespace.

    Args:
        client: the connections; who waits has one alone.
        layout: the names of the keys.
        reader: reads the head.
    """

    def __init__(self, client: RedisClient, layout: Layout, reader: Reader) -> None:
        self._client = client
        self._reader = reader
        self._journal = layout.name("journal")
        self._wakes = 0

    def wake(self) -> None:
        """Have all who wait return the head now, be it new or not."""
        self._wakes += 1
        self._client.interrupt()

    def wait(self, position: Position, timeout_s: float) -> Position:
        """Return the head as soon as it is another than *position*; see ``WaitingJournal``.

        Raises:
            StoreUnavailable: Redis is gone, or the client was closed meanwhile.
        """
        deadline = time.monotonic() + timeout_s
        broken, wakes = False, self._wakes
        head = self._reader.head()
        while head == position and (left := deadline - time.monotonic()) > 0:
            if self._wakes != wakes:
                break
            try:
                head = self._block(position, min(left, _ASK_ANEW_S))
                broken = False
            except StoreUnavailable:
                # A restarted Redis may have another head.  Twice in a row is no restart.
                if broken or self._client.is_closed:
                    raise
                broken = self._wakes == wakes
                head = self._reader.head()
        return head

    def _block(self, position: Position, wait_s: float) -> Position:
        """Return the head once there is an entry after *position*, or *wait_s* are over."""
        after = f"{position.epoch}-{position.sequence}"
        blocking = ("BLOCK", math.ceil(wait_s * 1000))
        # The head is asked for with the same message: Redis answers that when the first is over.
        ask = pack_command("XREAD", "COUNT", 1, *blocking, "STREAMS", self._journal, after)
        _, meta = self._client.wait_for([ask, self._reader.asking_head], wait_s)
        return self._reader.position_of(meta)
