"""Waiting until the journal of a namespace grows, with Redis itself as the one that tells."""

from __future__ import annotations

import math
import time

from antiphon.errors import PositionLost, StoreUnavailable
from antiphon.storage.journal import JournalEntry, Position
from antiphon.storage.redis_client import RedisClient
from antiphon.storage.redis_layout import Layout, parse_entry
from antiphon.storage.redis_reading import Reader
from antiphon.storage.redis_wire import pack_command

#: Seconds after which a waiting connection is asked anew.  Redis does not tell
#: that the journal was removed, nor a network that it is cut.
_ASK_ANEW_S = 5.0

#: Journal entries that one ``tail`` returns at most.
_TAIL = 100


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

    def tail(self, position: Position, timeout_s: float) -> list[JournalEntry]:
        """Return the next entries after *position* once there are any; see ``TailedJournal``.

        Raises:
            PositionLost: the journal has not (any more) the entry at *position*.
            StoreUnavailable: Redis is gone, or the client was closed meanwhile.
        """
        ask = self._asking(position, timeout_s, _TAIL)
        at = f"{position.epoch}-{position.sequence}"
        # Redis answers what follows in the same message when the first is over: with the head,
        # or with the entry at the position, whose random id shows that it is the same history.
        check = (
            pack_command("XRANGE", self._journal, at, at)
            if position.sequence
            else self._reader.asking_head
        )
        found, present = self._client.wait_for([ask, check], timeout_s)
        if not found:
            return []
        if position.sequence:
            is_known = bool(present) and present[0][1][1].startswith(
                position.entry_id.hex().encode()
            )
        else:
            is_known = self._reader.position_of(present).store_id == position.store_id
        if not is_known:
            raise PositionLost(f"the journal has no entry {position} (any more)")
        # One stream was asked for: [[its name, [[id, [field, text]], …]]].
        return [parse_entry(*entry) for entry in found[0][1]]

    def has_input(self) -> bool:
        """Return whether there is an answer for somebody who waits; a quick hint."""
        return self._client.has_input()

    def _block(self, position: Position, wait_s: float) -> Position:
        """Return the head once there is an entry after *position*, or *wait_s* are over."""
        # The head is asked for with the same message: Redis answers that when the first is over.
        ask = self._asking(position, wait_s, 1)
        _, meta = self._client.wait_for([ask, self._reader.asking_head], wait_s)
        return self._reader.position_of(meta)

    def _asking(self, position: Position, wait_s: float, most: int) -> bytes:
        after = f"{position.epoch}-{position.sequence}"
        blocking = ("BLOCK", math.ceil(wait_s * 1000))
        return pack_command("XREAD", "COUNT", most, *blocking, "STREAMS", self._journal, after)
