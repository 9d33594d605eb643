"""Streams of a named subscription: what was not read waits at the broker."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any

from antiphon.messaging.streams import E, Stream
from antiphon.messaging.subscription_batch import GivenBack


class Handover:
    """The listener of the subscription: returns when the reader is done with the event.

    Used by one thread of the subscription at a time.  It holds its stream weakly,
    also while it waits, so that a stream that was dropped ends.
    """

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._is_over = False
        self._is_pending = False
        self._stream: weakref.ref[DurableStream[Any]] | None = None

    def attach(self, stream: DurableStream[Any]) -> None:
        """Hand events to *stream*."""
        self._stream = weakref.ref(stream)

    def __call__(self, event: Any) -> None:
        """Offer *event* to the reader, and wait until it has handled it.

        Raises:
            GivenBack: it never will.
        """
        with self._moved:
            if self._is_over:
                raise GivenBack
            self._is_pending = True
        stream = self._stream() if self._stream is not None else None
        if stream is not None:
            stream.put(event)
        del stream
        with self._moved:
            self._moved.wait_for(lambda: self._is_over or not self._is_pending)
            if self._is_pending:
                raise GivenBack

    def handled(self) -> None:
        """Take note that the reader is done with the event that it has."""
        with self._moved:
            self._is_pending = False
            self._moved.notify_all()

    def end(self) -> None:
        """Give back the event that is waited for, and all that follow."""
        with self._moved:
            self._is_over = True
            self._moved.notify_all()


class DurableStream(Stream[E]):
    """A stream that misses nothing: it has one event at a time, the rest waits at the broker.

    An event counts as handled when the next one is asked for, and at the end of
    an ``async with`` that ends without an exception.  Any other, such as one in
    whose handling the task was cancelled or the process died, comes again to
    whoever subscribes under the name next.  One task reads it.
    """

    def __init__(
        self,
        begin: Callable[[Stream[Any]], Callable[[], None]],
        handover: Handover,
    ) -> None:
        super().__init__(begin, max_events=1)
        self._handover = handover
        self._has_event = False
        handover.attach(self)

    async def __anext__(self) -> E:
        """Return the next event; the one before counts as handled.

        Raises:
            StopAsyncIteration: the stream or its bus was closed.
            RuntimeError: it belongs to another loop, or another task waits for an event.
        """
        if self._readers:
            raise RuntimeError("a stream of a subscription is read by one task")
        self._handled()
        event = await super().__anext__()
        self._has_event = True
        return event

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._handled()
        # On a thread, to the end: what was begun with goes back to the broker.
        closing = asyncio.get_running_loop().run_in_executor(None, self.close)
        await asyncio.shield(closing)

    async def aclose(self) -> None:
        """Close it without the loop waiting for the broker; the event at hand comes again."""
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self) -> None:
        """Unsubscribe; the event at hand, and all others, wait at the broker.  Twice is fine."""
        self._handover.end()
        self._events.clear()
        super().close()

    def _end_without_loop(self, end: Callable[[], None]) -> None:
        # This is the subscription's own thread, which the end waits for.
        threading.Thread(target=end, name="antiphon stream end", daemon=True).start()

    def _handled(self) -> None:
        if self._has_event:
            self._has_event = False
            self._handover.handled()


def end_when_dropped(
    stream: Stream[Any], handover: Handover, close: Callable[[], None]
) -> Callable[[], None]:
    """Return what ends the subscription, which also happens when *stream* is dropped."""

    def end_soon() -> None:
        # Inside the garbage collector: nothing that waits.
        threading.Thread(target=end, name="antiphon stream end", daemon=True).start()

    def end() -> None:
        dropped.detach()
        handover.end()
        close()

    dropped = weakref.finalize(stream, end_soon)
    dropped.atexit = False
    return end
