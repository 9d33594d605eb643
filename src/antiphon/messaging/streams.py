"""Events for asyncio: what a dispatch thread puts in, and a loop takes out."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from antiphon.errors import StreamOverrun
from antiphon.events.abstract_event_manager import BaseEvent

E = TypeVar("E", bound=BaseEvent)


class Feed:
    """The listener of a stream for one of its classes; the bus holds it weakly.

    Args:
        stream: gets the events.
        others: classes whose own feeds tell of an event that is of both.
    """

    def __init__(self, stream: Stream[Any], others: tuple[type, ...]) -> None:
        self._stream = weakref.ref(stream)
        self._others = others

    def put(self, event: Any) -> None:
        """Hand *event* on, if its stream is still there."""
        stream = self._stream()
        if stream is not None and not isinstance(event, self._others):
            stream.put(event)


class Stream(Generic[E]):
    """Events as an asynchronous iterator and context manager; made by ``bus.stream``.

    It begins to listen at ``async with`` or with the first event that is asked
    for, and belongs to the loop that runs then.  It ends at the end of the
    ``async with``, with ``close()``, when nothing refers to it any more (after
    ``break``), and with its bus or its loop; a reader that waits then is let go.

    Attributes:
        missed: events that found no room, so far.
    """

    def __init__(
        self,
        begin: Callable[[Stream[Any]], Callable[[], None]],
        max_events: int,
    ) -> None:
        self._begin = begin
        self._end: Callable[[], None] | None = None
        self._max_events = max_events
        # Reentrant: a finalizer may emit at any point.
        self._lock = threading.RLock()
        self._events: deque[E] = deque()
        self._readers: list[asyncio.Future[None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beginning: asyncio.Future[None] | None = None
        self._is_over = False
        self._gap = 0
        self.missed = 0

    @property
    def waiting(self) -> int:
        """How many events have come and were not read yet."""
        return len(self._events)

    @property
    def is_closed(self) -> bool:
        """Whether nothing more comes in; what came before can still be read."""
        return self._is_over

    # -- For the reader, on its loop -----------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> E:
        """Return the next event.

        Raises:
            StreamOverrun: here events are missing, since more came than there is
                room for; the next call goes on behind the gap.
            StopAsyncIteration: the stream or its bus was closed.
            RuntimeError: it belongs to another loop.
        """
        await self._listen()
        while True:
            if self._events:  # only this loop takes events out
                return self._events.popleft()
            reader = asyncio.get_running_loop().create_future()
            with self._lock:
                if self._events:
                    continue
                gap, self._gap = self._gap, 0
                if not gap:
                    if self._is_over:
                        raise StopAsyncIteration
                    self._readers.append(reader)
            if gap:
                raise StreamOverrun(
                    f"{gap} events are missing here: more than {self._max_events} waited to be "
                    "read; read faster, ask for fewer, raise max_events, or name a subscription, "
                    "whose events wait at the broker"
                )
            await reader

    async def __aenter__(self) -> Self:
        """Begin; what is emitted anywhere from then on is read, if the bus is connected."""
        await self._listen()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def aclose(self) -> None:
        """As ``close``, under the name that generators have for it."""
        self.close()

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError("a stream is read on the event loop on which it began")
        if self._end is not None or self._is_over:
            return
        if self._beginning is None:
            # On a thread: the broker's answer to a binding takes a while.
            self._beginning = loop.run_in_executor(None, self._begin_now)
        # Shielded: a reader that is cancelled leaves the others their beginning.
        await asyncio.shield(self._beginning)

    def _begin_now(self) -> None:
        end = self._begin(self)
        with self._lock:
            if not self._is_over:
                self._end = end
                return
        end()  # closed meanwhile

    # -- From any thread -------------------------------------------------------------

    def close(self) -> None:
        """Stop listening; what waits can still be read, then iteration ends.  Twice is fine."""
        with self._lock:
            self._is_over = True
            end, self._end = self._end, None
        if end is not None:
            end()
        self._wake()

    def put(self, event: E) -> None:
        """Take over *event* on the dispatch thread, without waiting; may be the one too many."""
        with self._lock:
            if self._is_over:
                return
            # Behind a gap nothing is taken until the reader has come to it: it is told of
            # the gap where that is.
            if self._gap or len(self._events) >= self._max_events:
                self._gap += 1
                self.missed += 1
                return
            self._events.append(event)
            is_awaited = bool(self._readers)
        if is_awaited or self._loop is None or self._loop.is_closed():
            self._wake()

    def _wake(self) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._wake_readers)
        except RuntimeError:  # the loop was closed: nobody will read any more
            with self._lock:
                self._is_over = True
                self._events.clear()
                end, self._end = self._end, None
            if end is not None:
                self._end_without_loop(end)

    def _end_without_loop(self, end: Callable[[], None]) -> None:
        end()

    def _wake_readers(self) -> None:
        with self._lock:
            readers, self._readers = self._readers, []
        for reader in readers:
            if not reader.done():
                reader.set_result(None)

    def __repr__(self) -> str:
        state = "closed" if self._is_over else "open" if self._end is not None else "not begun"
        return f"<Stream: {state}, {len(self._events)} events wait>"
